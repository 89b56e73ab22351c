"""A golden set on the bundled model, run by the watcher in the background while the kernel asks something else."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.model
ROWS = [{"id": str(n), "q": f"Say the number {n}."} for n in range(6)]


def test_a_golden_set_runs_in_the_background_while_the_kernel_prompts(ws, model_path):
    ws.models.add(str(model_path), name="smollm2")
    ws.prompts.save("ask", "{{ q }}")
    ws.prompts.alias("ask@1", "production")
    ws.data.add("qa", ROWS)
    settings = {"model": "smollm2", "temperature": 0, "max_tokens": 6, "exact": True}
    ws.monitor.golden.add("qa", "ask@production", "qa", "length", **settings)
    ws.monitor.alerts.add(name="quality", metric="golden:qa")
    watcher = ws.monitor.watch("1h")
    assert ws.prompts.run("ask", {"q": "Hello."}, **settings).usage.output_tokens > 0
    end = time.monotonic() + 200
    while not watcher.status().looks:
        assert time.monotonic() < end
        time.sleep(0.05)
    watcher.stop()
    entry = ws.monitor.alerts.board().entries[0]
    assert (entry.standing.state, entry.standing.error, entry.standing.n) == ("ok", "", 6)
    again = ws.monitor.golden.run("qa")
    first = ws.monitor.golden.series("qa")[0]
    assert again.look == first.look == 1  # computed anew, and it came out as before
    assert again.run != first.run
    assert again.results[0].difference == 0
    assert not again.dropped
