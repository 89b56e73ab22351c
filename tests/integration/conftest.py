"""Fixtures: a runtime folder for workers, which leaves no process behind; engines of endpoints; a server of one; a small model."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from processes import MARK, marked, wait_until
from remote_calls import KEY
from remote_processes import started, stop


@pytest.fixture
def runtime(monkeypatch):
    """The folder in which this test's workers are found; they must all be gone in the end."""
    # A socket's address is short, so the folder is not under pytest's own.
    base = Path(tempfile.mkdtemp(prefix="lw-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    monkeypatch.setenv(MARK, base.name)
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in paths if p))
    folder = base / "llmops-jupyter"
    folder.mkdir(mode=0o700)
    yield folder
    gone = wait_until(lambda: not marked(base.name))
    left = marked(base.name)
    for process in left:
        process.kill()
    shutil.rmtree(base, ignore_errors=True)
    assert gone, f"processes were left behind: {left}"


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory):
    """The file of a small model that can be asked and fine-tuned within seconds."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")
    from tiny_chats import write_chat

    return write_chat(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture
def impatient(monkeypatch):
    """Calls of endpoints are made again almost at once, and the variable REMOTE_TEST_KEY holds a key."""
    from llmops_jupyter.engine.remote import pace

    monkeypatch.setattr(pace, "BASE_S", 0.01)
    monkeypatch.setenv("REMOTE_TEST_KEY", KEY)


@pytest.fixture
def opened():
    """Opens engines of a server or an address; they are closed after the test."""
    from llmops_jupyter.engine.remote import RemoteEngine
    from llmops_jupyter.models.endpoint import Endpoint

    engines = []

    def make(server, *, model="m", flavour="auto", concurrency=8, key_env="", **options):
        url = server if isinstance(server, str) else server.url
        endpoint = Endpoint(url, model, key_env, None, concurrency, flavour)
        engines.append(RemoteEngine(endpoint, model_name="far", **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture(scope="session")
def python_server(model_path, tmp_path_factory):
    """llama_cpp.server with the bundled model."""
    for name in ("fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"llama_cpp.server needs {name}, which is not installed (extra test)")
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model_path)]
    command += ["--model_alias", "smollm2", "--n_ctx", "1024", "--n_threads", "1"]
    command += ["--logits_all", "True", "--interrupt_requests", "False", "--verbose", "False"]
    url, process = started(command, tmp_path_factory.mktemp("server") / "log")
    yield url
    stop(process)
