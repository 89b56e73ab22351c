"""The bundled model in a worker: a kernel that outlives it, notebooks that share it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("ipykernel", reason="needs ipykernel (extra demo)")
from kernels import LONG, Kernel
from processes import running

import llmops_jupyter as lo
from llmops_jupyter.engine.worker.client import WorkerEngine

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
]
QUESTION = "system: Answer in one short sentence.\nuser: What is the capital of France?"
ASK = f"%%prompt capital -o reply --temperature 0 --max-tokens 24\n{QUESTION}"
OTHER = """
import json, sys
import llmops_jupyter as lo
with lo.open(temperature=0.0, max_tokens=24) as ws:
    done = ws.prompts.run(ws.prompts.scratch(sys.argv[1]))
    status = ws.engine.status()["loaded"][0]
    print(json.dumps([str(done), status["pid"], status["worker"]]), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def workers_on(runtime, monkeypatch, model_path):
    """Workspaces of this test and of its processes use a shared worker."""
    monkeypatch.setenv("LLMOPS_WORKER", "shared")
    monkeypatch.setenv("LLMOPS_WORKER_IDLE_S", "0.5")
    return runtime


@pytest.fixture
def kernel(workers_on, tmp_path):
    made = Kernel(tmp_path)
    assert made.run("%load_ext llmops_jupyter").error is None
    yield made
    made.close()


def worker_of(kernel):
    run = kernel.run("import llmops_jupyter as lo; lo.open().engine.engine().pid")
    return int(run.text)


def test_a_worker_killed_in_mid_answer_leaves_the_kernel_its_variables(kernel):
    kernel.run("precious = 41")
    first = worker_of(kernel)
    kernel.run(LONG, until=lambda run: len(run.updates) > 5)
    os.kill(first, signal.SIGKILL)
    run = kernel.collect()
    assert run.error["ename"] == "EngineError"
    assert "SIGKILL" in run.error["evalue"]
    shown = run.last["data"]["text/markdown"]
    assert len(shown) > 40
    assert kernel.run("precious + 1").text == "42"
    again = kernel.run(ASK)
    assert again.error is None
    assert "Paris" in again.last["data"]["text/markdown"]
    assert worker_of(kernel) != first
    assert not running(first)
    with lo.open(worker="off") as ws:
        errors = ws.traces.newest(limit=10, status="error")
        assert len(errors) == 1
        assert "dragon" in ws.traces.get(errors[0].trace_id).root.input[0].content


def test_a_restarted_kernel_finds_its_model_warm(kernel, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMOPS_WORKER_IDLE_S", "0.5")
    kernel.run("%config LLMOps.worker_idle_s = 20")
    kernel.run(ASK)
    first = worker_of(kernel)
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    kernel.run("%load_ext llmops_jupyter")
    assert kernel.run(ASK).error is None
    assert worker_of(kernel) == first
    os.kill(first, signal.SIGTERM)


def test_an_interrupt_keeps_the_worker_and_the_partial_answer(kernel):
    kernel.run(ASK)
    first = worker_of(kernel)
    kernel.run(LONG, until=lambda run: len(run.updates) > 5)
    kernel.manager.interrupt_kernel()
    run = kernel.collect()
    assert run.error["ename"] == "KeyboardInterrupt"
    assert kernel.run("len(str(tale)) > 10, tale.finish_reason").text == "(True, 'interrupted')"
    assert worker_of(kernel) == first
    assert "Paris" in kernel.run(ASK).last["data"]["text/markdown"]


def test_the_status_shows_the_worker(kernel):
    kernel.run(ASK)
    text = kernel.run("%model status").shown[-1]["data"]["text/plain"]
    pid = worker_of(kernel)
    for part in ("worker: shared", f"pid: {pid}", "memory: ", "waiting: 0", "tokens_per_s: "):
        assert part in text
    assert "used by: " in text


@pytest.fixture
def others(workers_on):
    """Two other processes that have asked the same question."""
    words = [sys.executable, "-c", OTHER, QUESTION]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    made = [subprocess.Popen(words, **pipes) for _ in range(2)]
    yield made
    for process in made:
        process.communicate("\n", timeout=60)


def test_two_notebooks_share_a_worker_and_answer_alike(others):
    told = [json.loads(other.stdout.readline()) for other in others]
    assert told[0] == told[1]
    assert "Paris" in told[0][0]
    assert told[0][2] == "shared"
    with lo.open(temperature=0.0, max_tokens=24) as ws:
        engine = ws.engine.engine()
        assert isinstance(engine, WorkerEngine)
        assert engine.pid == told[0][1]
        assert len(engine.status()["users"]) == 3


def test_a_map_goes_through_a_worker_and_is_recorded(workers_on, tmp_path):
    with lo.open(temperature=0.0, max_tokens=4) as ws:
        content = ws.prompts.scratch("Say {{ n }}")
        rows = [{"n": n} for n in range(12)]
        ws.engine.record(tmp_path / "c.json")
        live = ws.prompts.map(content, rows)
        ws.engine.replay(tmp_path / "c.json")
        played = ws.prompts.map(content, [*rows, rows[0]])
        assert [c.text for c in played][:12] == [c.text for c in live]
        assert not live.failures


def test_a_model_that_cannot_be_loaded_says_why_from_the_worker(workers_on, model_path, tmp_path):
    from llmops_jupyter.engine.worker.sharing import open_engine
    from llmops_jupyter.engine.worker.spec import Spec
    from llmops_jupyter.errors import ModelError

    broken = tmp_path / "broken.gguf"
    broken.write_bytes(model_path.read_bytes()[:1_000_000])
    for mode in ("shared", "private"):
        with pytest.raises(ModelError) as here:
            open_engine(Spec(str(broken), "m", "d", n_ctx=256), mode="off")
        with pytest.raises(type(here.value), match=r"."):
            open_engine(Spec(str(broken), "m", "d", n_ctx=256), mode=mode)


def test_exact_answers_are_the_same_in_and_out_of_a_worker(workers_on, engine):
    from llmops_jupyter.engine.protocol import Request
    from llmops_jupyter.engine.worker.sharing import open_engine
    from llmops_jupyter.engine.worker.spec import Spec
    from llmops_jupyter.records import Sampling

    request = Request("r", text="The sky is", exact=True, sampling=Sampling(0.8, 24, 7, logprobs=2))
    there = open_engine(
        Spec(str(engine.path), "smollm2", "bundled", n_ctx=2048, n_threads=1), idle_s=0.1
    ).engine
    here, done = (list(e.generate([request]))[-1] for e in (engine, there))
    assert (here.text, here.seed, here.usage.output_tokens) == (
        done.text,
        done.seed,
        done.usage.output_tokens,
    )
    assert here.logprobs == done.logprobs
    there.close()


def test_a_doubt_shows_in_the_status_and_the_doctor_names_it(workers_on, tmp_path):
    workers_on.chmod(0o755)
    with lo.open(temperature=0.0, max_tokens=4) as ws:
        ws.prompts.run(ws.prompts.scratch("Say hi."))
        (status,) = ws.engine.status()["loaded"]
        assert status["worker"] == "private"
        assert "mode 755 instead of 700" in status["notes"][0]
    words = [sys.executable, "-m", "llmops_jupyter.cli", "doctor"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False).stdout
    assert "models are not shared because" in told
    assert "LLMOPS_WORKER=private" in told
    workers_on.chmod(0o700)
    told = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False).stdout
    assert f"may share models through {workers_on}" in told
