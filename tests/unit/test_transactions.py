"""Writes that are interrupted or forked leave neither a lock nor half a transaction."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from llmops_jupyter.errors import StoreError
from llmops_jupyter.store import open_store, transaction


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path) as opened:
        yield opened


def put(store, key):
    with store.write() as conn:
        conn.execute("INSERT INTO settings(key, value) VALUES (?, 1)", (key,))


def keys(store):
    return {row[0] for row in store.rows("SELECT key FROM settings")}


def check_usable(store, name):
    """This thread, another one and another process's connection can write."""
    put(store, f"{name} here")
    thread = threading.Thread(target=put, args=(store, f"{name} there"), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "the lock was left taken"
    other = sqlite3.connect(store.path, timeout=0, isolation_level=None)
    other.execute("INSERT INTO settings(key, value) VALUES (?, 1)", (f"{name} outside",))
    other.close()
    assert {f"{name} here", f"{name} there", f"{name} outside"} <= keys(store)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_an_interrupt_while_waiting_for_the_lock_leaves_nothing_open(store):
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.15, lambda: other.execute("COMMIT")).start()
    threading.Timer(0.03, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        put(store, "never")
        time.sleep(1)
    time.sleep(0.2)
    check_usable(store, "after")
    other.close()


class Strike:
    """Raise KeyboardInterrupt at the n-th step of the code that begins and ends a write."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.struck = False

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename != transaction.__file__ and frame.f_code.co_name not in (
            "begin",
            "finish",
            "_commit",
        ):
            return None
        if frame.f_code.co_name == "_abandon" or self.struck:
            return None
        self.left -= 1
        if self.left < 0:
            self.struck = True
            raise KeyboardInterrupt
        return self


def test_an_interrupt_at_any_step_leaves_nothing_open(store):
    for step in range(200):
        strike = Strike(step)
        before = sys.gettrace()
        sys.settrace(strike)
        try:
            put(store, f"step {step}")
        except KeyboardInterrupt as e:
            kept = e  # a notebook keeps the last traceback as well
        finally:
            sys.settrace(before)
        if not strike.struck:
            break
        check_usable(store, f"after {step}")
        assert kept.__traceback__
    assert step > 20
    assert f"step {step}" in keys(store)


def test_a_nested_write_belongs_to_the_outer_one(store):
    with pytest.raises(ValueError, match="stop"), store.write():
        put(store, "inner")
        with store.write():
            put(store, "deeper")
        raise ValueError("stop")
    assert keys(store) == set()
    with store.write():
        put(store, "inner")
        assert keys(store) == set()
    assert keys(store) == {"inner"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_writes_after_a_fork_whatever_other_threads_write(tmp_path):
    code = (
        "import os, sys, threading\nfrom llmops_jupyter.store import open_store\n"
        "s = open_store(sys.argv[1])\n"
        "def put(key):\n"
        "    with s.write() as c: c.execute('INSERT INTO settings VALUES (?, 1)', (key,))\n"
        "def fork(work):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        try: work()\n"
        "        except BaseException as e: print(e)\n"
        "        else: os._exit(0)\n"
        "        os._exit(1)\n"
        "    return os.waitpid(pid, 0)[1]\n"
        "put('parent')\n"
        "end = threading.Event()\n"
        "def busy():\n"
        "    while not end.is_set(): put(os.urandom(8).hex())\n"
        "thread = threading.Thread(target=busy); thread.start()\n"
        "for n in range(20): assert fork(lambda: (put(f'child {n}'), put(f'again {n}'))) == 0\n"
        "end.set(); thread.join()\n"
        "with s.write(): assert fork(lambda: put('inside')) != 0\n"
        "put('parent again')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    with open_store(tmp_path) as store:
        wanted = {f"{word} {n}" for word in ("child", "again") for n in range(20)}
        assert {*wanted, "parent", "parent again"} <= keys(store)
        assert "inside" not in keys(store)


def test_a_closed_store_says_so(tmp_path):
    store = open_store(tmp_path)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        put(store, "late")
