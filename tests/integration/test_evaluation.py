"""Evaluation on the bundled model: killed and gone on with; judged through an endpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from remote_fakes import Server

import llmops_jupyter as lo
from llmops_jupyter.evaluation.judges import rubric
from llmops_jupyter.models.endpoint import Endpoint

ROWS = 120
CODE = f"""
import llmops_jupyter as lo
with lo.open(worker="off") as ws:
    rows = [{{"n": str(n), "expected": str(n + 1)}} for n in range({ROWS})]
    run = ws.evaluation.run("count@1", rows, "contains", temperature=0.0, max_tokens=8)
    print(run.resumed, run.value("contains"))
"""


@pytest.mark.model
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_killed_evaluation_goes_on_with_what_it_had(ws, model_path):
    ws.models.add(model_path, name="smollm2")
    ws.prompts.save("count", "user: Which number follows {{ n }}?")
    process = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)

    def kept():
        return ws.store.row("SELECT count(*) FROM evaluation_outputs")[0]

    deadline = time.monotonic() + 120
    while kept() < 15:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    process.stdout.close()
    before = kept()
    assert before < ROWS
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    resumed, value = done.stdout.split()
    assert int(resumed) == before
    assert 0 <= float(value) <= 1
    assert kept() == ROWS
    with lo.open() as other:
        assert other.evaluation.get(1).n_rows == ROWS


def judging(knows):
    """An endpoint that answers as a schema wants, or tells how likely the first tokens are."""

    async def answer(asked, out):
        body = asked.body
        said = body["messages"][-1]["content"]
        right = next((label for text, label in knows.items() if text in said), "yes")
        if body.get("response_format"):
            await out.tell(json.dumps({"verdict": right}))
            return
        await out.reply({"error": {"message": "logprobs are not supported"}}, status=400)

    return answer


def test_a_judge_behind_an_endpoint_needs_no_probabilities(ws):
    knows = {item.output: item.label for item in rubric("relevance").check}
    with Server(judging(knows)) as server:
        ws.models.add_endpoint("far", Endpoint(server.url, "m"))
        rows = [
            {"question": "What is 2 + 2?", "a": "4"},
            {"question": "How many legs does a spider have?", "a": "Silk."},
        ]
        run = ws.evaluation.run("column=a", rows, "judge:relevance@far")
    scores = run.metric("judge:relevance@far").scores
    assert [s.label for s in scores] == ["yes", "no"]
    assert "made to choose" in scores[0].explanation
