"""The training loop around a learner that says what it is told to: looks, the best, ends, order."""

from __future__ import annotations

import errno
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from llmops_jupyter.errors import DataError, EngineError, StoreFullError
from llmops_jupyter.finetune import checkpoints
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.packing import Tokens
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.training import Material, Training, as_line


class Scripted:
    """A learner whose looks at the eval examples give these losses; it counts its steps."""

    width, facts = 2000, {}

    def __init__(self, looks=(), losses=(), *, shares=True):
        self.looks, self.losses, self.shares = list(looks), list(losses), shares
        self.taken, self.packs = 0, []

    def learn(self, pack):
        self.packs.append(pack)
        return (self.losses.pop(0) if self.losses else 1.0) * pack.learned

    def step(self, rate, learned):
        self.taken += 1
        return 0.5

    def loss(self, pack):
        self.packs.append(pack)
        return self.looks.pop(0) * pack.learned

    def lora(self):
        a = np.full((1, 2), self.taken, dtype=np.float32)
        return Lora("llama", 1, 2.0, {"model.layers.0.mlp.up_proj": (a, a.T.copy())})

    def state(self):
        return {"taken": np.array(self.taken)}

    def restore(self, state):
        self.taken = int(state["taken"])


def example(*ids):
    return [Tokens(ids, len(ids) - 1)]


TRAIN = [example(1, 2, i) for i in range(10)]
EVALS = [example(3, 4, 5)]


def training(learner, folder, train=TRAIN, evals=EVALS, told=None, budget=100, **settings):
    recipe = Recipe(**{"batch_size": 2, "epochs": 2, "looks": 1, "save_every": 10**6, **settings})
    return Training(
        learner,
        Material(train, evals),
        recipe,
        folder,
        budget,
        (told if told is not None else []).append,
        learner.width,
    )


def of_kind(events, kind):
    return [event for event in events if event["kind"] == kind]


def test_the_eval_examples_are_looked_at_before_and_as_often_as_the_recipe_says(tmp_path):
    told = []
    done = training(Scripted([5, 4, 3, 2, 1]), tmp_path, told=told, evals=EVALS).run()
    assert [e["step"] for e in of_kind(told, "eval")] == [0, 5, 10]
    assert (done.best, done.best_step, done.ended) == (3, 10, "finished")
    told.clear()
    training(Scripted([9] * 9), tmp_path / "b", told=told, evals=[]).run()
    assert of_kind(told, "eval") == []


@pytest.fixture(autouse=True)
def folders(tmp_path):
    (tmp_path / "b").mkdir()


def test_the_last_step_is_looked_at_too(tmp_path):
    told = []
    training(Scripted([5, 4, 3, 2]), tmp_path, told=told, max_steps=7).run()
    assert [e["step"] for e in of_kind(told, "eval")] == [0, 5, 7]


def test_the_best_look_is_kept_and_the_run_ends_when_none_is_better(tmp_path):
    told = []
    learner = Scripted([5, 4, 3.5, 3.6, 3.7, 1])
    done = training(learner, tmp_path, told=told, epochs=9, patience=2).run()
    assert [e["best"] for e in of_kind(told, "eval")] == [False, True, True, False, False]
    assert (done.ended, done.best, done.best_step, done.step) == ("early", 3.5, 10, 20)
    kept = checkpoints.load_best(tmp_path)
    assert kept.factors["model.layers.0.mlp.up_proj"][0].tolist() == [[10.0, 10.0]]
    assert kept.scale == 2.0
    assert training(learner, tmp_path, epochs=9, patience=2).run().step == 20, "it has ended"


def test_a_run_that_took_all_its_steps_has_finished_however_its_last_look_was(tmp_path):
    done = training(Scripted([5, 3, 4]), tmp_path, patience=1).run()
    assert (done.ended, done.step, done.worse) == ("finished", 10, 1)


def test_a_better_look_makes_patience_anew_and_none_never_ends(tmp_path):
    looks = [5, 6, 4, 6, 6, 3]
    assert training(Scripted(looks), tmp_path, epochs=5, patience=3).run().ended == "finished"
    worse = [1, 2, 2, 2, 2, 2]
    done = training(Scripted(worse), tmp_path / "b", epochs=5, patience=0).run()
    assert (done.ended, done.best, done.best_step) == ("finished", 2, 5), "the base is no look"
    assert checkpoints.load_best(tmp_path / "b") is not None


def test_models_that_share_no_beginnings_read_each_example_alone(tmp_path):
    learner = Scripted([5, 4, 3], shares=False)
    training(learner, tmp_path).run()
    assert {pack.examples for pack in learner.packs} == {1}
    whole = Scripted([5, 4, 3])
    training(whole, tmp_path / "b", packing="off").run()
    assert 2 in {pack.examples for pack in whole.packs}
    assert {pack.tokens / pack.examples for pack in whole.packs} == {3}


def test_each_epoch_has_every_example_once_in_an_order_of_its_own(tmp_path):
    run = training(Scripted(), tmp_path, batch_size=4)
    assert run.steps == 6
    epochs = [[s for step in part for s in run.batch(step)] for part in (range(3), range(3, 6))]
    for seen in epochs:
        assert Counter(seen) == Counter(one[0] for one in TRAIN)
    assert epochs[0] != epochs[1]
    assert run.batch(2) == training(Scripted(), tmp_path, batch_size=4).batch(2)
    other = training(Scripted(), tmp_path, batch_size=4, seed=1)
    assert [other.batch(s) for s in range(3)] != [run.batch(s) for s in range(3)]


def test_a_conversation_with_several_answers_is_one_example(tmp_path):
    answers = [Tokens((1, 2, 3), 2), Tokens((1, 2, 3, 4, 5), 4)]
    run = training(Scripted(), tmp_path, train=[answers, *TRAIN[:3]], batch_size=4)
    assert len(run.batch(0)) == 5
    assert run.steps == 2


def test_the_rate_of_each_step_is_the_recipes(tmp_path):
    told = []
    run = training(Scripted([1] * 9), tmp_path, told=told, learning_rate=0.5, warmup=0.3)
    run.run()
    rates = [e["rate"] for e in of_kind(told, "step")]
    assert rates == [run.recipe.rate_at(step, 10, 0.5) for step in range(10)]


def test_the_loss_that_is_told_is_of_a_token_and_smoothed(tmp_path):
    told = []
    training(Scripted([1] * 9, [3.0, 1.0]), tmp_path, told=told, max_steps=2).run()
    first, second = of_kind(told, "step")
    assert (first["loss"], first["smoothed"], first["learned"]) == (3.0, 3.0, 2)
    assert second["smoothed"] == pytest.approx(0.8 * 3 + 0.2 * 1)
    assert second["tokens"] == 8, "shared beginnings are counted once"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_with_advice(tmp_path, bad):
    with pytest.raises(EngineError, match=r"no longer a number at step 2.*--learning-rate 0\.1"):
        training(Scripted([1] * 9, [1.0, bad]), tmp_path, learning_rate=0.5).run()


@pytest.mark.parametrize("looks", [[float("nan")], [2.0, float("nan")]])
def test_an_eval_loss_that_is_no_number_ends_the_run_too(tmp_path, looks):
    told = []
    with pytest.raises(EngineError, match=r"eval examples is no number"):
        training(Scripted(looks), tmp_path, told=told).run()
    assert all(as_line(event) for event in told)


def test_a_run_that_is_asked_to_stop_keeps_where_it_is_and_goes_on(tmp_path):
    learner, told = Scripted([5, 4, 3]), []
    run = training(learner, tmp_path, told=told)
    run.stopped = lambda: learner.taken == 3
    assert run.run().ended == "stopped"
    later = training(Scripted([4, 3]), tmp_path, told=told)
    done = later.run()
    assert (done.ended, done.step, later.learner.taken) == ("finished", 10, 10)
    assert [e["step"] for e in of_kind(told, "resumed")] == [3]
    assert [e["step"] for e in of_kind(told, "step")] == list(range(1, 11))
    assert [e["step"] for e in of_kind(told, "eval")] == [0, 5, 10]


def test_events_are_lines_of_json(tmp_path):
    told = []
    training(Scripted([5, 4, 3]), tmp_path, told=told).run()
    assert all(json.loads(as_line(event))["kind"] == event["kind"] for event in told)


def test_a_checkpoint_has_the_shapes_that_were_kept(tmp_path):
    state = {"count": np.array(3), "a": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    checkpoints.save(tmp_path, state, {"best": float("inf")})
    found, facts = checkpoints.load(tmp_path)
    assert {name: value.shape for name, value in found.items()} == {"count": (), "a": (3, 2)}
    assert np.array_equal(found["a"], state["a"])
    assert facts == {"best": float("inf")}


@pytest.mark.parametrize("at", ["write", "flush"])
def test_where_the_disk_is_full_the_checkpoint_before_is_whole(tmp_path, monkeypatch, at):
    import safetensors.numpy

    whole = {"a": np.arange(4)}
    checkpoints.save(tmp_path, whole, {"step": 1})

    def full(*given, **_):
        if at == "write":
            Path(given[1]).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    place = (safetensors.numpy, "save_file") if at == "write" else (checkpoints.os, "fsync")
    monkeypatch.setattr(*place, full)
    with pytest.raises(StoreFullError, match=r"disk is full.*%finetune resume"):
        checkpoints.save(tmp_path, {"a": np.arange(9)}, {"step": 2})
    state, facts = checkpoints.load(tmp_path)
    assert np.array_equal(state["a"], whole["a"])
    assert facts == {"step": 1}
    assert not list(tmp_path.glob("*.tmp"))


def test_without_examples_there_is_nothing_to_learn(tmp_path):
    with pytest.raises(DataError, match="no examples"):
        training(Scripted(), tmp_path, train=[])
