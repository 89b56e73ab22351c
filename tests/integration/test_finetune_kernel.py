"""%finetune in a real kernel: the curve in the cell, interrupts, restarts, the background."""

from __future__ import annotations

import os
import signal

import pytest

pytest.importorskip("ipykernel", reason="needs ipykernel (extra demo)")

from finetunes import needs_trainer, wait_for_step
from kernels import Kernel
from processes import wait_until

import llmops_jupyter as lo
from llmops_jupyter.finetune import job

needs_trainer()
SETTINGS = "--learning-rate 0.01 --precision float32 --patience 0 -m tiny"
ROWS = (
    "rows = [{'question': f'What is {n}?', 'answer': f\"It is {'odd' if n % 2 else 'even'}.\"}\n"
    "        for n in range(40)]"
)


@pytest.fixture
def tuning(ws, tiny_chat):
    ws.models.add(tiny_chat, name="tiny")
    yield ws
    for run in ws.finetune.list():
        pid = job.process_of(run.folder)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def kernel(tuning, tmp_path):
    made = Kernel(tmp_path)
    made.run("%load_ext llmops_jupyter")
    assert made.run(ROWS).error is None
    yield made
    made.close()


def texts(run):
    return "\n".join(c["data"].get("text/plain", "") for c in (*run.shown, *run.updates))


def test_a_run_shows_its_curve_and_the_commands_show_what_came_of_it(kernel, tuning):
    run = kernel.run(f"%finetune run parity rows --epochs 6 {SETTINGS} -o made", timeout=180)
    assert run.error is None
    assert any("image/svg+xml" in c["data"] or "image/png" in c["data"] for c in run.updates)
    assert "the adapter is parity@1: %%prompt --adapter parity" in texts(run)
    assert kernel.run("made.status, made.adapter, made.step").text == "('finished', 'parity@1', 30)"
    assert kernel.run("made.recipe.patience").text == "0", "what is 0 was given all the same"
    listed = texts(kernel.run("%finetune list"))
    assert "parity@1" in listed
    assert "30 of 30" in listed
    assert "finished · step 30 of 30" in texts(kernel.run("%finetune status parity -o again"))
    assert kernel.run("again.id == made.id and again.losses == made.losses").text == "True"
    shown = kernel.run("%finetune show parity --no-compare -o shown")
    assert "It is even." in texts(shown)
    assert kernel.run("shown.id == made.id").text == "True"
    said = kernel.run(
        "%%prompt -m tiny --adapter parity --temperature 0 --max-tokens 12\nWhat is 8?"
    )
    assert said.last["data"]["text/markdown"].startswith("It is ")
    missed = kernel.run("%finetune status pairty")
    assert missed.error["ename"] == "UnknownNameError"
    assert "Did you mean 'parity'" in missed.error["evalue"]


def test_an_interrupt_gives_the_kernel_back_and_training_stops_after_its_step(kernel, tuning):
    kernel.run(
        f"%finetune run parity rows --epochs 100 {SETTINGS}",
        until=lambda run: texts(run).count("tokens/s") >= 4,  # the curve was drawn once
        timeout=180,
    )
    kernel.manager.interrupt_kernel()
    run = kernel.collect(timeout=60)
    assert "go on with: %finetune resume parity" in texts(run)
    assert run.error["ename"] == "KeyboardInterrupt"
    assert "run it again" not in texts(run)
    assert wait_until(lambda: tuning.finetune.get().status == "stopped", 60)
    stopped = tuning.finetune.get()
    assert 0 < stopped.step < stopped.steps
    assert stopped.adapter == "parity@1"


def test_a_run_in_the_background_outlives_its_kernel(kernel, tuning):
    run = kernel.run(f"%finetune run parity rows --epochs 6 {SETTINGS} --background -o made")
    assert run.error is None
    assert "trains in the background. %finetune status parity" in texts(run)
    assert kernel.run("made.status").text == "'running'"
    started = tuning.finetune.get()
    wait_for_step(started.folder, 1)
    pid = job.process_of(started.folder)
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    assert job.process_of(started.folder) == pid
    kernel.run("%load_ext llmops_jupyter")
    assert wait_until(lambda: job.process_of(started.folder) is None, 120)
    with lo.open(read_only=True) as other:
        assert other.finetune.get().adapter == "", "nobody has looked yet"
    assert "finished · step 30 of 30" in texts(kernel.run("%finetune status"))
    assert [a.ref for a in tuning.models.adapters()] == ["parity@1"]
