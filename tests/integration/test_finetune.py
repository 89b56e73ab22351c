"""Fine-tuning from rows to an adapter that is served, with runs that are stopped, killed and gone on with."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from finetunes import QUICK, ROWS, lines, needs_trainer, wait_for_step
from processes import wait_until

import llmops_jupyter as lo
from llmops_jupyter.commands import finetune
from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import DataError, EngineError, ModelChangedError, OptionError
from llmops_jupyter.finetune import job
from llmops_jupyter.records import Message, Sampling

needs_trainer()


@pytest.fixture(scope="module")
def opened(tiny_chat, tmp_path_factory):
    with lo.open(tmp_path_factory.mktemp("tuned") / ".llmops") as made:
        made.models.add(tiny_chat, name="tiny")
        yield made


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def whole(opened, told):
    """A run that nothing happened to."""
    return opened.finetune.run(ROWS, "parity", tell=told.append, **QUICK)


@pytest.fixture
def tuning(ws, tiny_chat):
    ws.models.add(tiny_chat, name="tiny")
    yield ws
    for run in ws.finetune.list():
        pid = job.process_of(run.folder)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            assert wait_until(lambda folder=run.folder: job.process_of(folder) is None)


def test_rows_become_an_adapter_with_its_curve_and_its_samples(opened, whole, told):
    assert (whole.status, whole.step, whole.steps, whole.adapter) == (
        "finished",
        30,
        30,
        "parity@1",
    )
    assert [step for step, _, _ in whole.losses] == list(range(1, 31))
    assert whole.evals[0][0] == 0
    assert whole.evals[0][1] > 10 * whole.best[1]
    assert {e["kind"] for e in lines(whole.folder)} >= {"facts", "base", "step", "eval", "end"}
    assert len(whole.samples) == 3
    for sample in whole.samples:
        assert sample.wanted.startswith("It is ")
        assert sample.before != sample.after
    assert sum(s.after == s.wanted for s in whole.samples) >= 2
    assert whole.chart() is not None
    assert any("steps" in said and "of memory" in said for said in told)
    assert any(said.startswith("step ") and "left" in said for said in told)
    assert opened.models.get("parity").metadata.kind == "adapter"
    assert opened.finetune.get("parity").as_dict() == whole.as_dict()
    assert [r.id for r in opened.finetune.list()] == [whole.id]
    kept = opened.data.get(whole.data)
    assert (kept.ref, len(kept)) == ("parity@1", len(ROWS))


def test_what_is_served_is_what_was_trained(whole):
    assert whole.facts["base_kl"] <= 0.01
    assert whole.facts["served_kl"] <= 0.01


def test_the_engine_answers_with_the_adapter_and_as_ever_without(opened, whole):
    engine = opened.engine.engine("tiny")
    worn = [(str(opened.engine.adapter("parity", "tiny", 1.0).path), 1.0)]

    def answer(adapters):
        request = Request(
            "r",
            messages=(Message("user", "What is 8?"),),
            sampling=Sampling(temperature=0.0, max_tokens=20, seed=0),
            adapters=tuple(adapters),
        )
        (done,) = [e for e in engine.generate([request]) if isinstance(e, Finished)]
        return done.text

    (bare,) = engine.logprobs(["What is 8? It is even."])
    before, after = answer([]), answer(worn)
    assert after.startswith("It is ")
    assert after.endswith(".")
    assert before != after
    (wearing,) = engine.logprobs(["What is 8? It is even."], worn)
    assert np.abs(wearing - bare).max() > 1
    (again,) = engine.logprobs(["What is 8? It is even."])
    assert np.array_equal(again, bare)
    assert answer([]) == before


def test_base_and_adapter_are_compared_on_rows_that_were_not_learned(opened, whole):
    outcome = opened.finetune.compare("parity")
    losses, answers = outcome.evals
    assert losses.difference < 0
    assert (answers.a, answers.b) == ("tiny@1", "parity@1")
    assert answers.metric == "exact"
    assert "on the eval rows" in outcome.sentence()


def test_rows_of_a_general_set_that_cannot_be_used_are_named_and_left_out(opened, whole):
    def turn(role, content):
        return {"role": role, "content": content}

    good = [[turn("user", f"Say {n}."), turn("assistant", f"{n}!")] for n in range(4)]
    bad = {
        "asks": [turn("user", "What?"), turn("assistant", "That."), turn("user", "Sure?")],
        "blank": [turn("user", "What?"), turn("assistant", "  ")],
        "long": [turn("user", "What?"), turn("assistant", "long " * 90)],
        "none": "no list",
    }
    rows = [{"id": str(n), "messages": m} for n, m in enumerate(good)]
    rows += [{"id": name, "messages": m} for name, m in bad.items()]
    outcome = opened.finetune.compare("parity", general=rows)
    assert outcome.general.n == 4
    (note,) = outcome.notes
    assert note.startswith("left out of the general set: 4 rows (row none: ")
    for why in ("row asks: the last message", "row blank: the answer is", "row long: "):
        assert why in note
    assert note in outcome.sentence()
    with pytest.raises(DataError, match="No row of the general set can be used: row none"):
        opened.finetune.compare("parity", general=rows[-1:])


def test_a_run_without_eval_rows_is_shown_and_compared_on_a_general_set_alone(tuning):
    options = {**QUICK, "max_steps": 2, "eval_share": 0}
    run = tuning.finetune.run(ROWS, "parity", **options)
    assert (run.evals, run.adapter) == ((), "parity@1")
    context = SimpleNamespace(
        workspace=tuning, variables={"held": ROWS[:5]}, progress=lambda: print
    )
    values = {"run": None, "no_compare": False, "metric": None, "general": None}
    *views, last = finetune.show_(context, values).views
    assert "no eval rows to compare on" in last
    assert run.line() in views[0]
    with pytest.raises(DataError, match="no eval rows"):
        tuning.finetune.compare("parity")
    shown = finetune.show_(context, {**values, "general": "held"})
    assert (shown.value["evals"], shown.value["general"]["n"]) == ([], 5)


def test_a_run_whose_process_is_killed_is_gone_on_with_as_if_nothing_had_happened(tuning, whole):
    run = tuning.finetune.start(ROWS, "parity", save_every=0.5, **QUICK)
    wait_for_step(run.folder, 9)
    pid = job.process_of(run.folder)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineError, match=r"ended from outside.*%finetune resume parity"):
        tuning.finetune.wait(run.id)
    killed = tuning.finetune.get()
    assert killed.status == "interrupted"
    assert 9 <= killed.step < 30
    assert not killed.adapter
    assert wait_until(lambda: not psutil.pid_exists(pid)), "nobody waited for the process"
    done = tuning.finetune.wait(tuning.finetune.resume("parity").id)
    assert done.status == "finished"
    assert done.adapter == "parity@1"
    assert lines(done.folder, "resumed"), "it went on from a checkpoint"
    assert np.allclose(done.losses, whole.losses, atol=1e-3)
    assert np.allclose(done.evals, whole.evals, atol=1e-3)
    with pytest.raises(OptionError, match="come to its end"):
        tuning.finetune.resume("parity")


def test_a_run_killed_after_its_adapter_was_written_goes_on_to_the_adapter(tuning):
    run = tuning.finetune.start(ROWS, "parity", **{**QUICK, "max_steps": 4})
    compares = {"kind": "phase", "text": "comparing the served adapter with the trained one"}
    assert wait_until(lambda: compares in lines(run.folder, "phase"), seconds=120)
    os.kill(job.process_of(run.folder), signal.SIGKILL)
    assert wait_until(lambda: tuning.finetune.get().status == "interrupted")
    done = tuning.finetune.wait(tuning.finetune.resume("parity").id)
    assert (done.status, done.adapter) == ("finished", "parity@1")


def test_a_run_that_is_stopped_leaves_its_best_and_goes_on_to_the_end(tuning, whole):
    run = tuning.finetune.start(ROWS, "parity", **QUICK)
    wait_for_step(run.folder, 7)
    with pytest.raises(OptionError, match="is running"):
        tuning.finetune.resume("parity")
    tuning.finetune.stop("parity")
    stopped = tuning.finetune.wait()
    assert stopped.status == "stopped"
    assert 7 <= stopped.step < 30
    assert stopped.adapter == "parity@1"
    assert all(sample.after for sample in stopped.samples)
    with pytest.raises(OptionError, match="not running"):
        tuning.finetune.stop("parity")
    going_on = tuning.finetune.resume("parity")
    assert going_on.status == "running"
    done = tuning.finetune.wait()
    assert (done.status, done.adapter) == ("finished", "parity@2")
    assert np.allclose(done.losses, whole.losses, atol=1e-3)
    for ref in ("parity@1", "parity@2"):
        tuning.models.check_unchanged(tuning.models.get(ref))
        assert tuning.engine.adapter(ref, "tiny", 1.0).path.is_file()


def test_a_run_that_is_stopped_before_its_first_step_makes_no_adapter(tuning):
    run = tuning.finetune.start(ROWS, "parity", **QUICK)
    tuning.finetune.stop()
    stopped = tuning.finetune.wait()
    assert (stopped.status, stopped.step, stopped.adapter) == ("stopped", 0, "")
    assert not lines(run.folder, "step")
    assert tuning.models.adapters() == []


def test_in_the_background_whoever_looks_next_registers_the_adapter(tuning, tmp_path):
    run = tuning.finetune.start(ROWS, "parity", **{**QUICK, "epochs": 2})
    place = tuning.path
    with lo.open(place) as one, lo.open(place) as other, ThreadPoolExecutor(2) as both:

        def follow(ws):
            return list(ws.finetune.watch(run.id))[-1]

        seen = list(both.map(follow, (one, other)))
        assert {(r.status, r.adapter) for r in seen} == {("finished", "parity@1")}
        rows = one.store.rows(
            "SELECT seq, event FROM finetune_events WHERE run_id = ? ORDER BY seq", (run.id,)
        )
        written = (run.folder / job.EVENTS).read_text("utf-8").splitlines()
        assert [row[0] for row in rows] == list(range(len(written)))
        assert len(one.models.adapters()) == 1


def test_weights_of_another_model_are_not_trained(tuning, tmp_path):
    from tiny_chats import write_folder

    other = write_folder(tmp_path / "other", seed=2)
    with pytest.raises(EngineError, match=r"do not answer like those that are served: mean KL"):
        tuning.finetune.run(ROWS, "parity", weights=other, **QUICK)
    failed = tuning.finetune.get()
    assert (failed.status, failed.adapter, failed.losses) == ("failed", "", ())


def test_what_has_grown_beyond_numbers_is_no_adapter_and_a_lower_rate_is_named(tuning):
    wild = {**QUICK, "learning_rate": 1.0, "alpha": 1e5, "max_grad_norm": 1e6}
    with pytest.raises(EngineError, match=r"no numbers?\b.*--learning-rate 0\.2"):
        tuning.finetune.run(ROWS, "parity", **wild)
    assert tuning.finetune.get().status == "failed"
    assert tuning.models.adapters() == []


def test_a_base_that_has_changed_is_not_gone_on_with(tuning, tmp_path, tiny_chat):
    from tiny_chats import write_chat

    copy = tmp_path / "own.gguf"
    copy.write_bytes(tiny_chat.read_bytes())
    tuning.models.add(copy, name="own")
    run = tuning.finetune.start(ROWS, "parity", model="own", **QUICK)
    wait_for_step(run.folder, 2)
    os.kill(job.process_of(run.folder), signal.SIGKILL)
    assert wait_until(lambda: tuning.finetune.get().status == "interrupted")
    write_chat(copy, seed=3)
    with pytest.raises(ModelChangedError, match="own"):
        tuning.finetune.resume()
