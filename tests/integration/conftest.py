"""Fixtures: a runtime folder for workers, which leaves no process behind."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import psutil
import pytest

MARK = "WORKER_TEST"
GONE_S = 20.0


def marked(token):
    """Other processes that were started under this token."""
    return [p for p in psutil.process_iter() if p.pid != os.getpid() and mark_of(p) == token]


def mark_of(process):
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None


def running(pid):
    """Whether a process is there and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def zombies():
    """Children of this process that have ended and that nobody has waited for."""
    return [c for c in psutil.Process().children() if is_zombie(c)]


def is_zombie(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has been waited for between the two looks
        return False


def wait_until(condition, seconds=GONE_S):
    """Whether a condition comes to hold within some time."""
    end = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return bool(held)


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
    reaped = wait_until(lambda: not zombies())
    shutil.rmtree(base, ignore_errors=True)
    assert gone, f"processes were left behind: {left}"
    assert reaped, f"zombies were left behind: {zombies()}"


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory):
    """The file of a small model that can be asked and fine-tuned within seconds."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")
    from tiny_chats import write_chat

    return write_chat(tmp_path_factory.mktemp("tiny") / "tiny.gguf")
