"""States on disk: whole or not at all, within their bound, for their owner's eyes only."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_jupyter.engine import statefile
from llmops_jupyter.engine.saved import STALE_S, SavedStates
from llmops_jupyter.engine.statefile import SUFFIX

ONE, TWO = "1" * 64, "2" * 64
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX rights, signals or limits")


def content(seed, tokens=300, size=2000):
    """Tokens and a state that follow from a number."""
    noise = np.random.default_rng(seed)
    found = noise.integers(0, 50_000, tokens).astype(np.int32)
    return found, noise.integers(0, 256, size).astype(np.uint8)


def keep(states, seed, identity=ONE, **more):
    return states.write(identity, *content(seed, **more), 1.5, time.time())


def files(states, suffix=SUFFIX):
    return sorted(states.folder.glob(f"*{suffix}"))


@pytest.fixture
def states(tmp_path):
    return SavedStates(tmp_path / "prefixes", 10**6)


def test_a_state_comes_back_as_it_was(states):
    kept = keep(states, 1)
    keep(states, 2, identity=TWO)
    again = SavedStates(states.folder, states.most)
    (entry,) = again.entries(ONE)
    tokens, state = content(1)
    assert np.array_equal(entry.tokens, tokens)
    assert entry.seconds == 1.5
    assert np.array_equal(again.read(entry), state)
    assert entry.size == kept.size == entry.path.stat().st_size
    assert again.usage().entries == 2
    assert again.notes == []


@posix
def test_only_the_owner_may_read(states):
    old = os.umask(0)
    try:
        keep(states, 1)
        states.clear()
        keep(states, 2)
    finally:
        os.umask(old)
    assert stat.S_IMODE(states.folder.stat().st_mode) == 0o700
    assert all(not p.stat().st_mode & 0o077 for p in states.folder.iterdir())
    states.folder.chmod(0o755)
    assert states.entries(ONE) == []
    assert keep(states, 3) is None
    assert "open to others (mode 755" in states.notes[0]


def test_the_same_state_is_not_written_twice(states):
    before = keep(states, 1).path.stat()
    assert keep(states, 1) is not None
    (after,) = [p.stat() for p in files(states)]
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_changed_byte_anywhere_is_found_and_the_file_dropped(states, data):
    path = keep(states, 1).path
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    fresh = SavedStates(states.folder, states.most)
    assert [fresh.read(entry) for entry in fresh.entries(ONE)] in ([], [None])
    assert not path.exists()
    assert "was damaged and was deleted" in fresh.notes[0]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), known=st.booleans())
def test_a_file_of_another_length_is_dropped(states, data, known):
    path = keep(states, 1).path
    raw = path.read_bytes()
    fresh = SavedStates(states.folder, states.most)
    entries = fresh.entries(ONE) if known else []
    length = data.draw(st.integers(0, len(raw) - 1))
    path.write_bytes(raw[:length] if data.draw(st.booleans()) else raw + raw[: length + 1])
    assert [fresh.read(entry) for entry in entries or fresh.entries(ONE)] in ([], [None])
    assert not path.exists()
    assert len(fresh.notes) == 1


@pytest.mark.parametrize(
    "raw",
    [b"", b"GGUF", b"x" * 5000, statefile.START.pack(statefile.MAGIC, 1, 2**31) + b"{}" * 9]
    + [statefile.START.pack(statefile.MAGIC, 1, len(t)) + t for t in (b"[1]", b'{"tokens": -1}')],
)
def test_a_foreign_file_under_such_a_name_is_dropped(states, raw):
    path = keep(states, 1).path
    path.write_bytes(raw)
    fresh = SavedStates(states.folder, states.most)
    assert fresh.entries(ONE) == []
    assert not path.exists()


def test_a_state_under_the_name_of_another_is_dropped(states):
    theirs, ours = keep(states, 1, identity=TWO).path, keep(states, 1).path
    theirs.replace(ours)
    assert SavedStates(states.folder, states.most).entries(ONE) == []
    other, one = keep(states, 2), keep(states, 1)
    (entry,) = [e for e in states.entries(ONE) if e.path == one.path]
    other.path.replace(one.path)
    assert states.read(entry) is None
    assert files(states) == []


def test_files_that_are_not_ours_are_left_alone(states):
    keep(states, 1)
    (states.folder / "notes.txt").write_text("mine")
    (states.folder / f"link{SUFFIX}").symlink_to(states.folder / "notes.txt")
    states.clear()
    assert (states.folder / "notes.txt").read_text() == "mine"


def test_the_bound_is_kept_and_those_used_longest_ago_go_first(states):
    states.most = 3 * keep(states, 0).size
    for seed in (1, 2):
        keep(states, seed)
    for age, path in enumerate(files(states)):
        os.utime(path, (time.time() - 100 - age,) * 2)
    oldest = max(files(states), key=lambda p: time.time() - p.stat().st_mtime)
    (used,) = [e for e in states.entries(ONE) if e.path == oldest]
    assert states.read(used) is not None
    keep(states, 3)
    assert used.path.exists()
    assert states.usage().entries == 3
    assert states.usage().bytes <= states.most
    assert keep(states, 4, size=9000) is None
    assert states.usage().entries == 3
    states.most = used.size
    keep(states, 5, identity=TWO)
    assert [p.name[:8] for p in files(states)] == ["2" * 8]


def test_one_that_has_vanished_was_never_there(states):
    keep(states, 1)
    (entry,) = states.entries(ONE)
    entry.path.unlink()
    assert states.read(entry) is None
    assert states.entries(ONE) == []
    assert states.notes == []


def test_clearing_leaves_nothing_and_lets_nothing_older_in(states):
    made = time.time()
    keep(states, 1)
    half = states.folder / f"x{SUFFIX}.1.part"
    half.write_bytes(b"half")
    gone = states.clear()
    assert (gone.entries, files(states), half.exists()) == (1, [], False)
    states.write(ONE, *content(2), 1.0, made)
    assert states.entries(ONE) == []
    keep(states, 3)
    assert len(states.entries(ONE)) == 1


def test_a_folder_that_cannot_be_written_is_told_of_once(tmp_path):
    (tmp_path / "file").write_text("")
    states = SavedStates(tmp_path / "file", 10**6)
    for seed in range(3):
        assert keep(states, seed) is None
    assert len(states.notes) == 1
    assert "not saved in" in states.notes[0]
    under = SavedStates(tmp_path / "file" / "prefixes", 10**6)
    assert keep(under, 1) is None
    assert under.entries(ONE) == []


@posix
def test_a_disk_that_gets_full_leaves_no_half_file(states):
    import resource

    keep(states, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        assert [keep(states, seed, size=300_000) for seed in (2, 3)] == [None, None]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(states.notes) == 1
    assert "not saved in" in states.notes[0]
    assert files(states, ".part") == []
    assert len(states.entries(ONE)) == 1


RACE = """
import random, sys, time
import numpy as np
from pathlib import Path
from llmops_jupyter.engine.saved import SavedStates
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
states, chance = SavedStates(folder, 200_000), random.Random(seed)
def content(n):
    noise = np.random.default_rng(n)
    tokens = noise.integers(0, 50_000, 300).astype(np.int32)
    return tokens, noise.integers(0, 256, 20_000 + n).astype(np.uint8)
right = 0
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    n = chance.randrange(16)
    if chance.random() < 0.5:
        states.write("1" * 64, *content(n), 1.0, time.time())
    for entry in states.entries("1" * 64):
        state = states.read(entry)
        if state is not None:
            assert np.array_equal(state, content(len(state) - 20_000)[1])
            right += 1
    if chance.random() < 0.02:
        states.clear()
assert states.notes == [], states.notes
print(right)
"""


def racer(folder, seed, seconds):
    words = [sys.executable, "-c", RACE, str(folder), str(seed), str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_write_read_and_clear_at_once_do_not_disturb_each_other(states):
    racers = [racer(states.folder, seed, 3) for seed in range(3)]
    for process in racers:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert int(out) > 0
    assert SavedStates(states.folder, 10**6).usage().bytes <= 200_000
    assert files(states, ".part") == []


@posix
def test_a_process_killed_while_it_writes_leaves_no_bad_state(states):
    chance = random.Random(0)
    for seed in range(6):
        process = racer(states.folder, 100 + seed, 60)
        deadline = time.monotonic() + 60
        while not files(states) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    for entry in states.entries(ONE):
        assert len(states.read(entry)) == entry.state_bytes
    assert states.notes == []
    left = states.folder / f"left{SUFFIX}.1.part"
    left.write_bytes(b"half")
    for half in files(states, ".part"):
        os.utime(half, (time.time() - STALE_S - 1,) * 2)
    for entry in states.entries(ONE):  # what is there is not written again
        states.drop(entry.path)
    keep(states, 1)
    assert files(states, ".part") == []
