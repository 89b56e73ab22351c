"""What tests of fine-tuning share: rows that a small model learns in seconds, and waiting for a run."""

from __future__ import annotations

import json
import time

import pytest

from llmops_jupyter.finetune import job

ROWS = [
    {"question": f"What is {n}?", "answer": f"It is {'odd' if n % 2 else 'even'}."}
    for n in range(40)
]
# Seconds of training on the small model, with a curve that falls.
QUICK = {"epochs": 6, "learning_rate": 0.01, "precision": "float32", "patience": 0}


def needs_trainer():
    """Skip the test where what trains is not installed."""
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package, reason=f"{package} is not installed (extra finetune)")


def lines(folder, kind=None):
    """The events of a run as its process wrote them."""
    try:
        text = (folder / job.EVENTS).read_text("utf-8")
    except OSError:
        return []
    events = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [e for e in events if kind in (None, e["kind"])]


def wait_for_step(folder, step, seconds=120):
    """Wait until a run has taken so many steps; the store is not looked at."""
    end = time.monotonic() + seconds
    while not any(e["step"] >= step for e in lines(folder, "step")):
        assert time.monotonic() < end, (lines(folder), (folder / job.LOG).read_text())
        assert not lines(folder, "error"), lines(folder, "error")
        time.sleep(0.02)
