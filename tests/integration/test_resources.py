"""What calls of the bundled model take, and budgets that stop it, in this process and in a worker."""

from __future__ import annotations

import time

import pytest

import llmops_jupyter as lo
from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.errors import BudgetError
from llmops_jupyter.records import Message, Sampling

pytestmark = pytest.mark.model
# What the interpreter's own threads may add to the one that computes, of one thread of the model.
SLACK = 1.5


@pytest.fixture(params=["off", "private"])
def live(request, own_home, runtime, model_path):
    with lo.open(worker=request.param, threads=1, temperature=0.0) as workspace:
        workspace.models.add(model_path, name="smollm2")
        yield workspace


def test_a_call_tells_seconds_and_memory_that_can_be_true(live):
    done = live.prompts.run(live.prompts.scratch("Name three rivers."), max_tokens=12)
    taken = done.resources
    assert 0 < taken.busy_s <= done.timing.total_s
    assert 0 < taken.cpu_s <= SLACK * taken.busy_s + 0.2
    assert 50e6 < taken.peak_bytes < 8e9
    assert not taken.shared
    trace = live.traces.get(done.trace_id)
    assert trace.root.resources == trace.spans[1].resources == taken
    report = live.monitor.costs(by="model")
    assert report.total.figures["cpu"].value == pytest.approx(taken.cpu_s)


def test_rows_that_run_together_share_what_was_spent(live):
    live.prompts.run(live.prompts.scratch("Hello"), max_tokens=1)  # the model is loaded
    began = time.perf_counter()
    table = live.prompts.map(
        live.prompts.scratch("Say something about {{ x }}."),
        [{"x": x} for x in ("rivers", "hills", "towns")],
        max_tokens=8,
    )
    took = time.perf_counter() - began
    assert 0 < sum(done.resources.busy_s for done in table) <= took
    assert all(done.resources.shared for done in table)


def test_an_answer_computed_alone_is_measured(live):
    done = live.prompts.run(live.prompts.scratch("Name a river."), max_tokens=4, seed=3)
    assert done.resources.busy_s > 0
    assert not done.resources.shared


def test_a_budget_stops_the_model_at_the_right_token(live):
    content = live.prompts.scratch("Tell me a long story about the sea.")
    whole = live.prompts.run(content, max_tokens=12)
    live.monitor.budget("sea", output_tokens=7)
    cut = live.prompts.run(content, max_tokens=12)
    assert cut.finish_reason == "budget"
    assert cut.usage.output_tokens == 7
    assert cut.text
    assert whole.text.startswith(cut.text)
    assert live.traces.get(cut.trace_id).status == "ok"
    with pytest.raises(BudgetError):
        live.prompts.run(content)


def test_a_prompt_is_counted_before_it_is_read_as_it_is_afterwards(live):
    content = live.prompts.scratch("system: Be brief.\nuser: Name a river.")
    asked = live.prompts.run(content, max_tokens=1).usage.input_tokens
    live.monitor.budget("all", tokens=asked + 3)
    cut = live.prompts.run(content, max_tokens=12)
    assert cut.usage.input_tokens + cut.usage.output_tokens == asked + 3
    assert live.monitor.budget("all").used == {"tokens": asked + 3}


def test_time_stops_the_model_and_keeps_what_it_wrote(live):
    content = live.prompts.scratch("Tell me a long story about the sea.")
    live.prompts.run(content, max_tokens=1)
    live.monitor.budget("sea", seconds=1.0)
    cut = live.prompts.run(content, max_tokens=4000)
    assert cut.finish_reason == "budget"
    assert 0 < cut.usage.output_tokens < 4000
    assert "'sea'" in cut.notes[0]


def test_a_label_scored_between_two_answers_leaves_no_account(engine):
    def ask():
        request = Request(
            "1", messages=(Message("user", "Hello"),), sampling=Sampling(0.0, 2, seed=1)
        )
        return list(engine.generate([request]))[-1]

    ask()
    engine.score([("The sky is", [" blue", " red"])])
    assert ask().resources.busy_s > 0
    assert engine._loaded.scheduler.meter._accounts == {}


def test_rows_on_mlx_share_what_was_spent(own_home, model_path):
    pytest.importorskip("mlx_lm", reason="mlx-lm is not installed (extra mlx)")
    pytest.importorskip(
        "mlx.core", reason="MLX has no library for this machine", exc_type=ImportError
    )
    with lo.open(worker="off", backend="mlx", temperature=0.0) as workspace:
        workspace.models.add(model_path, name="smollm2")
        alone = workspace.prompts.run(workspace.prompts.scratch("Hello"), max_tokens=3)
        assert 0 < alone.resources.busy_s <= alone.timing.total_s
        assert not alone.resources.shared
        began = time.perf_counter()
        table = workspace.prompts.map(
            workspace.prompts.scratch("Say something about {{ x }}."),
            [{"x": x} for x in ("rivers", "hills")],
            max_tokens=4,
        )
        took = time.perf_counter() - began
        assert 0 < sum(done.resources.busy_s for done in table) <= took
        assert all(done.resources.shared for done in table)
        seeded = workspace.prompts.run(workspace.prompts.scratch("Hi"), max_tokens=3, seed=1)
        assert seeded.resources.cpu_s > 0
