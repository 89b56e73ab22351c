"""How a worker, its client or an answer ends: killed, interrupted, closed, forgotten."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from processes import running, wait_until
from worker_calls import ask, ends, posix, spec

from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.engine.worker.sharing import open_engine
from llmops_jupyter.errors import EngineError


@pytest.fixture(params=["private", "shared"])
def engine(request, runtime):
    opened = open_engine(spec(), mode=request.param, idle_s=0.1)
    assert opened.notes == ()
    yield opened.engine
    opened.engine.close()


@pytest.fixture
def private(runtime):
    opened = open_engine(spec(), mode="private")
    yield opened.engine
    opened.engine.close()


@posix
def test_a_worker_killed_in_mid_answer_leaves_the_text_so_far(engine):
    found = ends(ask(engine, "words 1000 0.01", "die 5"))
    assert found["1"].text == "0 1 2 3 4 "
    for done in found.values():
        assert done.finish_reason == "error"
        assert done.text.startswith("0 1 2 ")
        assert "SIGKILL" in str(done.error)
        assert "run the cell again" in str(done.error)
    assert not engine.alive
    with pytest.raises(EngineError, match="SIGKILL"):
        engine.count_tokens("x")
    with pytest.raises(EngineError, match="SIGKILL"):
        ask(engine, "hi")
    assert engine.status()["worker"] == "gone"


@posix
def test_a_worker_that_dies_in_a_long_run_ends_it(private):
    stream = private.generate(Request(str(n), text="die 2") for n in range(1000))
    seen = []
    with pytest.raises(EngineError, match="SIGKILL"):
        seen.extend(stream)
    assert 1 < len(ends(seen)) < 20


def test_a_native_assertion_is_quoted(private):
    done = ask(private, "abort")[-1]
    assert "Fatal Python error: Aborted" in str(done.error)


@posix
@pytest.mark.parametrize("where", ["call", "load", "stream"])
def test_an_interrupt_gives_the_thread_back_at_once(runtime, where):
    code = (
        "import os, signal, sys, threading, time\n"
        "from worker_fakes import FACTORY\n"
        "from llmops_jupyter.engine.protocol import Request\n"
        "from llmops_jupyter.engine.worker.sharing import open_engine\n"
        "from llmops_jupyter.engine.worker.spec import Spec\n"
        "path = 'slow 60' if sys.argv[1] == 'load' else '/fake'\n"
        "spec = Spec(path, 'm', 'd', factory=FACTORY)\n"
        "sent = []\n"
        "def interrupt():\n"
        "    sent.append(time.monotonic())\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "timer = threading.Timer(1.5, interrupt)\n"
        "try:\n"
        "    if sys.argv[1] == 'load':\n"
        "        timer.start()\n"
        "    engine = open_engine(spec, mode='private').engine\n"
        "    timer.start()\n"
        "    if sys.argv[1] == 'call':\n"
        "        engine.count_tokens('sleep 60')\n"
        "    for event in engine.generate([Request('r', text='met 99')]):\n"
        "        pass\n"
        "except KeyboardInterrupt:\n"
        "    print(time.monotonic() - sent[0], flush=True)\n"
        "    if sys.argv[1] != 'load':\n"
        "        assert engine.count_tokens('four') == 4\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, where], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    # A second for a busy machine; the benchmark measures it.
    assert float(done.stdout) < 1.0


@posix
def test_an_interrupt_of_the_process_group_leaves_the_worker_alone(private):
    pid = private.status()["pid"]
    assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, signal.SIGINT)
    assert private.count_tokens("four") == 4


@posix
def test_a_fork_is_told_and_does_not_disturb(engine):
    pid = os.fork()
    if pid == 0:
        told = 1
        with contextlib.suppress(BaseException):
            try:
                engine.count_tokens("x")
            except EngineError as e:
                told = 0 if "after a fork" in str(e) else 2
            engine.close()
        os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert engine.count_tokens("four") == 4


def test_a_closed_engine_says_so_and_its_private_worker_is_gone(runtime):
    engine = open_engine(spec(), mode="private").engine
    pid = engine.status()["pid"]
    engine.close()
    engine.close()
    assert not psutil.pid_exists(pid)
    assert not engine.alive
    with pytest.raises(EngineError, match="closed"):
        engine.count_tokens("x")
    with pytest.raises(EngineError, match="closed"):
        ask(engine, "hi")


def test_an_engine_that_is_forgotten_gives_its_worker_back(runtime):
    engine = open_engine(spec(), mode="private").engine
    pid = engine.status()["pid"]
    del engine
    assert wait_until(lambda: not psutil.pid_exists(pid))


def test_a_client_that_ends_in_mid_answer_ends_cleanly(runtime):
    code = (
        "from worker_fakes import FACTORY\n"
        "from llmops_jupyter.engine.protocol import Request\n"
        "from llmops_jupyter.engine.worker.sharing import open_engine\n"
        "from llmops_jupyter.engine.worker.spec import Spec\n"
        "engine = open_engine(Spec('/fake', 'm', 'd', factory=FACTORY), mode='private').engine\n"
        "stream = engine.generate([Request('r', text='words 10000 0.01')])\n"
        "next(stream)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert done.stderr == b""


@posix
def test_a_private_worker_ends_with_its_client_however_that_ends(runtime):
    code = (
        "import time\n"
        "from worker_fakes import FACTORY\n"
        "from llmops_jupyter.engine.worker.sharing import open_engine\n"
        "from llmops_jupyter.engine.worker.spec import Spec\n"
        "engine = open_engine(Spec('/fake', 'm', 'd', factory=FACTORY), mode='private').engine\n"
        "print(engine.pid, flush=True)\n"
        "engine.count_tokens('sleep 60')\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(child.stdout.readline())
    time.sleep(0.2)
    child.kill()
    child.communicate()
    assert wait_until(lambda: not running(worker))
