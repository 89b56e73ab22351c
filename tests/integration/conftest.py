"""Fixtures: a runtime folder for workers, which leaves no process behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from processes import MARK, marked, wait_until


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
