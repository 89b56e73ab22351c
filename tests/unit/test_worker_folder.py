"""The runtime folder is ours alone, or it is not used."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from llmops_jupyter.engine.worker import folder as folders
from llmops_jupyter.engine.worker.folder import (
    DoubtError,
    Place,
    checked_folder,
    lock,
    runtime_folder,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights are POSIX modes here")


@pytest.fixture
def base():
    """A short path: a socket's address has little room."""
    made = Path(tempfile.mkdtemp(prefix="lw-")).resolve()
    yield made
    shutil.rmtree(made)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_for_the_owner_only(base):
    made = checked_folder(base / "run")
    assert mode(made) == 0o700
    assert checked_folder(made) == made


@pytest.mark.parametrize("rights", [0o755, 0o770, 0o701, 0o777])
def test_a_folder_that_others_may_enter_is_not_used(base, rights):
    (base / "run").mkdir()
    (base / "run").chmod(rights)
    with pytest.raises(DoubtError, match=f"open to others .mode {rights:o} instead of 700"):
        checked_folder(base / "run")


def test_a_link_or_a_file_is_no_folder(base):
    (base / "real").mkdir(mode=0o700)
    (base / "link").symlink_to(base / "real")
    (base / "file").touch()
    with pytest.raises(DoubtError, match="is not a folder"):
        checked_folder(base / "link")
    with pytest.raises(DoubtError, match="cannot be made"):
        checked_folder(base / "file")


def test_a_folder_that_others_could_replace_is_not_used(base):
    (base / "open").mkdir()
    (base / "open").chmod(0o777)
    with pytest.raises(DoubtError, match="others may write"):
        checked_folder(base / "open" / "run")
    (base / "open").chmod(0o1777)
    checked_folder(base / "open" / "run")


def test_a_folder_of_somebody_else_is_not_used(base, monkeypatch):
    checked_folder(base / "run")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(DoubtError, match="belongs to somebody else"):
        checked_folder(base / "run")


def test_a_path_too_long_for_a_socket_is_left_for_a_short_one(base, monkeypatch):
    deep = base / ("d" * 90)
    with pytest.raises(DoubtError, match="too long"):
        checked_folder(deep)
    monkeypatch.setattr(folders, "_default", lambda: deep)
    monkeypatch.setattr(folders.tempfile, "gettempdir", lambda: str(base))
    assert runtime_folder() == base / f"llmops-{os.getuid()}"
    monkeypatch.setattr(folders, "_default", lambda: None)
    assert runtime_folder() == base / f"llmops-{os.getuid()}"


def test_the_runtime_folder_of_the_session_is_used(base, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    assert runtime_folder() == base / "llmops-jupyter"


def test_a_key_is_fresh_secret_and_read_only_if_it_is_ours(base):
    place = Place(base, "name")
    key = place.make_key()
    assert len(key) == 32
    assert place.read_key() == key
    assert mode(place.key) == 0o600
    assert place.make_key() != key
    assert [p.name for p in base.iterdir()] == ["name.key"]
    place.key.chmod(0o640)
    with pytest.raises(DoubtError, match="open to others"):
        place.read_key()
    place.key.chmod(0o600)
    place.key.write_bytes(b"short")
    with pytest.raises(DoubtError, match="damaged"):
        place.read_key()
    place.key.unlink()
    with pytest.raises(DoubtError, match="cannot be read"):
        place.read_key()
    (base / "elsewhere").write_bytes(key)
    place.key.symlink_to(base / "elsewhere")
    with pytest.raises(DoubtError, match="cannot be read"):
        place.read_key()


def test_a_log_is_made_anew_and_followed_nowhere(base):
    place = Place(base, "name")
    (base / "precious").write_text("kept")
    place.log.symlink_to(base / "precious")
    with place.make_log() as log:
        log.write(b"hello")
    assert place.log.read_bytes() == b"hello"
    assert mode(place.log) == 0o600
    assert (base / "precious").read_text() == "kept"


def test_the_lock_is_waited_for_and_given_up_on(base):
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock(base):
            held.set()
            done.wait(20)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(20)
    with pytest.raises(DoubtError, match="was not free"), lock(base, 0.1):
        pass
    done.set()
    other.join()
    with lock(base, 5):
        pass
