"""One worker for all who want the same model: joining, starting at once, leaving, doubts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from processes import running, wait_until
from worker_fakes import FACTORY

from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.engine.worker import sharing
from llmops_jupyter.engine.worker.folder import lock
from llmops_jupyter.engine.worker.sharing import open_engine, release_idle, workers
from llmops_jupyter.engine.worker.spec import Spec
from llmops_jupyter.errors import EngineError, ModelMemoryError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

CLIENT = """
import json, sys, time
from worker_fakes import FACTORY
from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.engine.worker.sharing import open_engine
from llmops_jupyter.engine.worker.spec import Spec

at, idle_s, text = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
while time.time() < at:
    time.sleep(0.001)
opened = open_engine(Spec("/fake", "fake", "digest", factory=FACTORY), idle_s=idle_s)
last = list(opened.engine.generate([Request("r", text=text)]))[-1]
print(json.dumps([opened.engine.pid, list(opened.notes), last.text]), flush=True)
sys.stdin.readline()
"""


def spec(path="/fake", digest="digest", **more):
    return Spec(path, "fake", digest, factory=FACTORY, **more)


def client(idle_s=5.0, text="hi", at=0.0):
    """Another process that opens the same model and says its worker's id, notes and answer."""
    words = [sys.executable, "-c", CLIENT, str(at), str(idle_s), text]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process):
    return json.loads(process.stdout.readline())


def end(*processes):
    for process in processes:
        process.communicate("\n", timeout=30)


def gone(pid):
    return wait_until(lambda: not psutil.pid_exists(pid))


def names(folder):
    return sorted(p.suffix for p in folder.iterdir())


def test_two_clients_share_one_worker_and_its_batches(runtime):
    engine = open_engine(spec(), idle_s=0.1).engine
    other = client(text="met 2")
    last = list(engine.generate([Request("r", text="met 2")]))[-1]
    pid, notes, text = said(other)
    assert (pid, notes) == (engine.pid, [])
    assert last.text.endswith("met")
    assert text.endswith("met")
    assert len(engine.status()["users"]) == 2
    end(other)
    assert wait_until(lambda: len(engine.status()["users"]) == 1)
    engine.close()


def test_a_client_that_starts_again_finds_its_model_warm(runtime):
    first = client(idle_s=3)
    pid, _, _ = said(first)
    end(first)
    engine = open_engine(spec()).engine
    assert engine.pid == pid
    engine.close()


def test_processes_that_start_at_the_same_instant_get_one_worker(runtime):
    at = time.time() + 1.5
    clients = [client(idle_s=0.2, at=at) for _ in range(4)]
    told = [said(c) for c in clients]
    end(*clients)
    assert len({pid for pid, _, _ in told}) == 1
    assert all(notes == [] for _, notes, _ in told)


def test_other_settings_get_another_worker(runtime):
    first = open_engine(spec(), idle_s=0.1).engine
    second = open_engine(spec(n_ctx=1024), idle_s=0.1).engine
    assert first.pid != second.pid
    assert second.context_length == 1024
    first.close()
    second.close()


def test_an_idle_worker_leaves_nothing_and_the_next_one_starts(runtime):
    engine = open_engine(spec(), idle_s=0.2).engine
    assert names(runtime) == ["", ".key", ".log", ".sock"]
    engine.close()
    assert gone(engine.pid)
    assert names(runtime) == [""]
    again = open_engine(spec(), idle_s=0.1).engine
    assert again.pid != engine.pid
    assert again.count_tokens("four") == 4
    again.close()


def test_starting_and_leaving_never_cross(runtime):
    seen = set()
    for turn in range(10):
        opened = open_engine(spec(), idle_s=0.2)
        assert opened.notes == ()
        assert opened.engine.count_tokens("four") == 4
        seen.add(opened.engine.pid)
        opened.engine.close()
        # Around the moment at which the worker leaves.
        time.sleep(0.17 + 0.01 * turn)
    assert wait_until(lambda: names(runtime) == [""])
    assert seen


def test_a_worker_that_was_killed_is_replaced_and_leaves_nothing(runtime):
    engine = open_engine(spec(), idle_s=0.2).engine
    os.kill(engine.pid, signal.SIGKILL)
    assert wait_until(lambda: not engine.alive)
    with pytest.raises(EngineError, match="SIGKILL"):
        engine.count_tokens("x")
    next_one = open_engine(spec(), idle_s=0.2)
    assert next_one.notes == ()
    engine.close()
    # The old engine's end must not take away the new one's socket.
    third = open_engine(spec(), idle_s=0.2).engine
    assert third.pid == next_one.engine.pid
    os.kill(third.pid, signal.SIGKILL)
    assert wait_until(lambda: not third.alive)
    third.close()
    next_one.engine.close()
    assert wait_until(lambda: ".sock" not in names(runtime) and ".key" not in names(runtime))


def test_a_worker_that_is_asked_to_end_tidies_up(runtime):
    engine = open_engine(spec(), idle_s=5).engine
    os.kill(engine.pid, signal.SIGTERM)
    assert gone(engine.pid)
    assert names(runtime) == [""]
    engine.close()


def test_those_who_wait_for_a_load_share_its_end(runtime):
    opened = []
    threads = [
        threading.Thread(target=lambda: opened.append(open_engine(spec("slow 1"), idle_s=0.1)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({o.engine.pid for o in opened}) == 1
    for one in opened:
        one.engine.close()


def test_a_failed_load_is_told_to_all_who_wait_and_tried_again_by_the_next(runtime):
    errors = []

    def load():
        try:
            open_engine(spec("fail ModelMemoryError"))
        except ModelMemoryError as e:
            errors.append(str(e))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 3
    engine = open_engine(spec("/repaired"), idle_s=0.1).engine
    assert engine.count_tokens("four") == 4
    engine.close()


def test_memory_is_weighed_only_when_a_model_is_loaded(runtime):
    calls = []
    first = open_engine(spec(), idle_s=0.1, before_load=lambda: calls.append(1)).engine
    second = open_engine(spec(), before_load=lambda: calls.append(2)).engine
    assert calls == [1]
    first.close()
    second.close()


def test_where_memory_is_short_workers_that_nobody_uses_go_first(runtime):
    idle = open_engine(spec(), idle_s=60).engine
    used = open_engine(spec(digest="used"), idle_s=0.1).engine
    idle.close()

    def weigh():
        if running(idle.pid):
            raise ModelMemoryError("does not fit. Free memory.")

    third = open_engine(spec(digest="third"), idle_s=0.1, before_load=weigh).engine
    assert gone(idle.pid)
    assert used.count_tokens("four") == 4
    with pytest.raises(ModelMemoryError):
        open_engine(spec(digest="fourth"), before_load=_too_large)
    used.close()
    third.close()


def _too_large():
    raise ModelMemoryError("does not fit. Use a smaller one.")


def test_with_little_memory_a_worker_is_private_with_few_rows(runtime, monkeypatch):
    monkeypatch.setattr(sharing, "_memory", lambda: 10**9)
    opened = open_engine(spec(rows=16))
    assert "less than 2 GB" in opened.notes[0]
    status = opened.engine.status()
    assert (status["worker"], status["rows"]) == ("private", 4)
    opened.engine.close()


def test_running_workers_are_listed_and_released(runtime):
    assert workers() == []
    engine = open_engine(spec(), idle_s=60).engine
    (found,) = workers()
    assert (found["pid"], found["worker"], found["model"]) == (engine.pid, "shared", "fake")
    # Who looks is no user.
    assert [u["pid"] for u in found["users"]] == [os.getpid()]
    assert release_idle() == 0
    engine.close()
    assert wait_until(lambda: release_idle() == 1 or not workers())
    assert gone(engine.pid)
    assert workers() == []


def private_note():
    """Why a model that was to be shared is in a private worker, where it answers all the same."""
    opened = open_engine(spec(), idle_s=0.1)
    try:
        status = opened.engine.status()
        assert status["worker"] == "private"
        assert status["notes"] == list(opened.notes)
        assert opened.engine.count_tokens("four") == 4
        return status["notes"][0]
    finally:
        opened.engine.close()


def test_a_folder_with_wrong_rights_leads_to_a_private_worker(runtime):
    runtime.chmod(0o755)
    assert "is open to others (mode 755 instead of 700)" in private_note()


def test_a_lost_key_leads_to_a_private_worker(runtime):
    engine = open_engine(spec(), idle_s=0.1).engine
    (key,) = runtime.glob("*.key")
    saved = key.read_bytes()
    key.unlink()
    assert "cannot be read" in private_note()
    key.write_bytes(b"x" * 32)
    key.chmod(0o600)
    assert "authentication fails" in private_note()
    key.write_bytes(saved)
    key.chmod(0o644)
    assert "open to others" in private_note()
    engine.close()


def test_a_worker_of_another_version_leads_to_a_private_one(runtime, monkeypatch):
    engine = open_engine(spec(), idle_s=0.1).engine
    versions = iter(["9.9", sharing.VERSION])
    plain = sharing._hello
    monkeypatch.setattr(sharing, "_hello", lambda **more: plain(**more, version=next(versions)))
    assert "it is of version" in private_note()
    engine.close()


def test_a_package_replaced_under_a_running_kernel_keeps_the_model_in_it(runtime, monkeypatch):
    monkeypatch.setattr(sharing, "VERSION", "9.9")
    opened = open_engine(spec(), idle_s=0.1)
    assert ["it is of version" in note for note in opened.notes] == [True, True]
    assert "runs in this process" in opened.notes[1]
    assert opened.engine.count_tokens("four") == 4
    assert wait_until(lambda: not list(runtime.glob("*.key")))


def test_a_lock_that_is_held_leads_to_a_private_worker(runtime, monkeypatch):
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock(runtime):
            held.set()
            done.wait(30)

    monkeypatch.setattr(sharing, "lock", lambda folder, _=0: lock(folder, 0.2))
    other = threading.Thread(target=hold)
    other.start()
    held.wait(30)
    assert "was not free within" in private_note()
    done.set()
    other.join()


def test_a_worker_that_does_not_answer_leads_to_a_private_one(runtime, monkeypatch):
    engine = open_engine(spec(), idle_s=0.1).engine
    monkeypatch.setattr(sharing, "limited", lambda conn: _limited(conn, 0.5))
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        assert "authentication fails" in private_note()
    finally:
        os.kill(engine.pid, signal.SIGCONT)
    assert engine.count_tokens("four") == 4
    engine.close()


_limited = sharing.limited


def test_an_address_that_cannot_be_bound_leads_to_a_private_worker(runtime):
    place = sharing.Place(runtime, spec().key()[:16])
    (runtime / f"{place.name}.sock").mkdir()
    assert "cannot be" in private_note()
    (runtime / f"{place.name}.sock").rmdir()
