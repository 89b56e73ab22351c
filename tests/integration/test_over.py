"""A prompt over a data frame in a kernel, broken off in the middle and gone on with."""

from __future__ import annotations

import re
import sys

import pytest

import llmops_jupyter as lo

pytest.importorskip("ipykernel", reason="needs ipykernel (extra demo)")
pytest.importorskip("pandas", reason="needs pandas (extra data)")

from kernels import Kernel

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
]
ROWS = 120
CELL = (
    "%%prompt count --over df -o table --max-tokens 4 --temperature 0\n"
    "user: Which number follows {{ n }}?"
)


@pytest.fixture(params=["private", "shared"])
def kernel(request, runtime, monkeypatch, model_path, tmp_path):
    monkeypatch.setenv("LLMOPS_WORKER", request.param)
    monkeypatch.setenv("LLMOPS_WORKER_IDLE_S", "0.5")
    made = Kernel(tmp_path)
    assert made.run("%load_ext llmops_jupyter").error is None
    code = f"import pandas as pd; df = pd.DataFrame({{'n': range({ROWS})}})"
    assert made.run(code).error is None
    yield made
    made.close()


def texts(run):
    """What the cell has said, one line after the other."""
    return [one["data"]["text/plain"] for one in [*run.shown, *run.updates]]


def done(text):
    """How many rows a line of progress says are done; 0 of another line."""
    found = re.match(rf"(\d+)/{ROWS} rows", text)
    return int(found[1]) if found else 0


def traces(status):
    with lo.open(worker="off") as ws:
        return {t.trace_id for t in ws.traces.newest(limit=1000, prompt="count@1", status=status)}


def test_an_interrupted_cell_keeps_its_rows_and_goes_on_with_the_rest(kernel):
    kernel.run(CELL, until=lambda run: max(map(done, texts(run)), default=0) >= 40)
    kernel.manager.interrupt_kernel()
    run = kernel.collect()
    assert run.error["ename"] == "KeyboardInterrupt"
    (last,) = {text for text in texts(run) if "interrupted" in text}
    assert last.endswith("interrupted: run the cell again to go on")
    first = done(last)
    assert 40 <= first < ROWS
    assert any("completion" in text and "finish_reason" in text for text in texts(run))
    assert kernel.run("len(table)").text == str(first)
    assert kernel.run("all(c.text for c in table)").text == "True"
    before = traces("ok")
    # A row may have ended at the very moment of the interrupt; it is computed again.
    assert first <= len(before) <= first + 1
    assert 0 < len(traces("interrupted")) <= 40

    run = kernel.run(CELL)
    assert run.error is None
    shown = [text for text in texts(run) if done(text)]
    (resumed,) = {re.search(r"(\d+) from the run that was broken off", text)[1] for text in shown}
    assert first <= int(resumed) <= len(before)
    assert done(shown[0]) >= first
    assert done(shown[-1]) == ROWS
    assert kernel.run("len(table), len(table.failures)").text == f"({ROWS}, 0)"
    assert kernel.run("list(table.to_pandas().n) == list(df.n)").text == "True"
    ids = kernel.run("' '.join(c.trace_id for c in table)").text.strip("'").split()
    after = traces("ok")
    assert set(ids) <= after
    assert len(after) - ROWS == len(before) - int(resumed) == len(before - set(ids))
    with lo.open(worker="off") as ws:
        roots = [ws.traces.get(i).root for i in ids]
    asked = [root.attributes["llmops.prompt.variables"]["n"] for root in roots]
    assert asked == list(range(ROWS))
