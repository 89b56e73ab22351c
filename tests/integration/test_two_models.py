"""Two models of one workspace, side by side, in this process and in workers."""

from __future__ import annotations

import math
import sys
import threading

import pytest

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")

from tiny_embedders import write_qwen

import llmops_jupyter as lo
from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import EngineError
from llmops_jupyter.records import Sampling

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
]
QUESTION = "system: Answer in one short sentence.\nuser: What is the capital of France?"
ENDLESS = Sampling(0, 200, logit_bias=(("<|im_end|>", -math.inf), ("<|endoftext|>", -math.inf)))


@pytest.fixture(params=["off", "private", "shared"])
def two(request, runtime, monkeypatch, model_path, tmp_path):
    """A workspace with the bundled model and a tiny one that writes nonsense of its own."""
    monkeypatch.setenv("LLMOPS_WORKER", request.param)
    monkeypatch.setenv("LLMOPS_WORKER_IDLE_S", "0.2")
    with lo.open(temperature=0.0, max_tokens=16) as ws:
        ws.models.add(write_qwen(tmp_path / "tiny.gguf"), name="tiny")
        yield ws


def ends(events):
    return [e for e in events if isinstance(e, Finished)]


def test_two_threads_ask_both_models_in_turn_and_get_the_right_ones_answers(two):
    asked = two.prompts.scratch(QUESTION)
    nonsense = str(two.prompts.run(asked, model="tiny"))
    answers = {"smollm2": [], "tiny": []}
    together = threading.Barrier(2)

    def ask(names):
        for name in names * 3:
            together.wait(60)
            answers[name].append(str(two.prompts.run(asked, model=name)))

    threads = [
        threading.Thread(target=ask, args=(names,))
        for names in (["smollm2", "tiny"], ["tiny", "smollm2"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers["tiny"] == [nonsense] * 6
    assert len(answers["smollm2"]) == 6
    assert all("Paris" in text for text in answers["smollm2"])
    assert {s["model"] for s in two.engine.status()["loaded"]} == {"smollm2", "tiny"}
    traces = two.traces.newest(limit=20)
    assert sorted(t.model for t in traces) == ["smollm2"] * 6 + ["tiny"] * 7


def test_closing_one_in_mid_answer_of_both_ends_its_own_alone(two):
    first, second = two.engine.engine("smollm2"), two.engine.engine("tiny")
    mine = first.generate([Request("r", text="Once upon a time", sampling=ENDLESS)])
    others = second.generate(
        Request(str(i), text=f"{i} Once upon", sampling=ENDLESS, interactive=False)
        for i in range(40)
    )
    begun = [next(mine), next(others)]
    first.close()
    *_, broken_off = [begun[0], *mine]
    assert (broken_off.finish_reason, bool(broken_off.text)) == ("error", True)
    assert "closed" in str(broken_off.error)
    done = ends(others)
    assert len(done) == 40
    assert {(d.finish_reason, d.usage.output_tokens) for d in done} == {("length", 200)}
    for call in (
        lambda: ends(first.generate([Request("r", text="Hi")])),
        lambda: first.count_tokens("Hi"),
        lambda: first.embed(["Hi"]),
        lambda: first.score([("Hi", [" you"])]),
    ):
        with pytest.raises(EngineError, match=r"closed.*Open the workspace again"):
            call()
    assert second.count_tokens("Hi") == 2


def test_a_model_that_was_closed_is_loaded_again_when_it_is_asked_for(two):
    first, second = two.engine.engine("smollm2"), two.engine.engine("tiny")
    first.close()
    assert "Paris" in str(two.prompts.run(two.prompts.scratch(QUESTION), model="smollm2"))
    assert two.engine.engine("smollm2") is not first
    assert two.engine.engine("tiny") is second
