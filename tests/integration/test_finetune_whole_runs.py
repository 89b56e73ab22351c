"""Whole runs of learning on a small model: the loss falls, and a stopped run gives the same curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from learners import KINDS, PEFT_WARNS, apart, flat, make, sequences
from tiny_models import HEADS, write_llama

from llmops_jupyter.errors import EngineError
from llmops_jupyter.finetune import checkpoints
from llmops_jupyter.finetune.training import Material, Training

pytestmark = pytest.mark.filterwarnings(PEFT_WARNS)
BUDGET = 400


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    return write_llama(path, kv_heads=HEADS // 2, kind="Q8_0")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# Few tokens that come again and again, so that there is something to learn.
TRAIN = [[one] for seed in range(3) for one in sequences(seed, most=9)]
EVALS = [[one] for one in sequences(7, most=9)]


def run(learner, folder, recipe, *, budget=BUDGET, stops_at=None, evals=EVALS):
    """The events of a run, and the run."""
    told = []
    made = Training(
        learner, Material(TRAIN, evals), recipe, folder, budget, told.append, learner.width
    )
    if stops_at is not None:
        made.stopped = lambda: made.progress.step == stops_at
    made.run()
    return told, made


def learner_of(kind, file, **settings):
    learner = make(kind, file, **{"learning_rate": 0.01, "batch_size": 5, "epochs": 4, **settings})
    return learner, learner._recipe


def values(told, kind, key="loss"):
    return [event[key] for event in told if event["kind"] == kind]


def test_the_loss_falls_and_the_best_look_is_kept(kind, file, tmp_path):
    learner, recipe = learner_of(kind, file, learning_rate=0.03, epochs=8, patience=0)
    told, made = run(learner, tmp_path, recipe)
    losses, looks = values(told, "step"), values(told, "eval")
    assert np.mean(losses[-3:]) < 0.6 * np.mean(losses[:3])
    assert looks[-1] < 0.8 * looks[0]
    assert made.progress.best == min(looks)
    learner.put(checkpoints.load_best(tmp_path))
    assert made.eval_loss() == pytest.approx(min(looks), rel=1e-5)


def test_a_stopped_run_goes_on_to_the_same_curve(kind, file, tmp_path):
    settings = {"dropout": 0.2, "epochs": 3, "max_steps": 7}
    folders = [tmp_path / name for name in ("whole", "parts")]
    for folder in folders:
        folder.mkdir()
    learner, recipe = learner_of(kind, file, **settings)
    whole, _ = run(learner, folders[0], recipe)
    told = []
    for stop in (2, 5, None):
        # Each sitting is a process of its own, with other random numbers before.
        fresh, _ = learner_of(kind, file, **settings, seed=3)
        if stop == 2:
            fresh.restore(learner_of(kind, file, **settings)[0].state())
        events, made = run(fresh, folders[1], recipe, stops_at=stop)
        told += events
    assert values(told, "resumed", "step") == [2, 5]
    assert values(told, "step") == pytest.approx(values(whole, "step"), rel=1e-6)
    assert values(told, "eval") == pytest.approx(values(whole, "eval"), rel=1e-6)
    assert apart(flat(fresh.lora()), flat(learner.lora())) < 1e-5
    assert made.progress.step == 7


@pytest.mark.parametrize(
    ("settings", "budget"), [({"packing": "off"}, BUDGET), ({}, 16), ({"checkpointing": "on"}, 30)]
)
def test_how_it_is_read_does_not_change_what_is_learned(kind, file, tmp_path, settings, budget):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    learner, recipe = learner_of(kind, file, max_steps=4)
    plain, ours = run(learner, folders[0], recipe)
    other, recipe = learner_of(kind, file, max_steps=4, **settings)
    told, theirs = run(other, folders[1], recipe, budget=budget)
    assert values(told, "step") == pytest.approx(values(plain, "step"), rel=1e-4)
    assert values(told, "eval") == pytest.approx(values(plain, "eval"), rel=1e-4)
    assert theirs.progress.plain == ours.progress.plain > ours.progress.tokens


def test_both_learners_learn_the_same(file, tmp_path):
    told = {}
    lora = learner_of("mlx", file)[0].lora()
    for kind in KINDS:
        learner, recipe = learner_of(kind, file, max_steps=8)
        learner.put(lora)
        (tmp_path / kind).mkdir()
        told[kind], _ = run(learner, tmp_path / kind, recipe)
    for event in ("step", "eval"):
        assert values(told["mlx"], event) == pytest.approx(values(told["torch"], event), rel=1e-3)


def test_a_run_whose_loss_is_no_number_ends_and_leaves_the_last_checkpoint(kind, file, tmp_path):
    learner, recipe = learner_of(kind, file, looks=0)
    run(learner, tmp_path, recipe, stops_at=1)
    kept = (tmp_path / checkpoints.STATE).read_bytes()
    lora = learner.lora()
    broken = {module: (a, b * float("nan")) for module, (a, b) in lora.factors.items()}
    learner.restore = lambda state: learner.put(replace(lora, factors=broken))
    with pytest.raises(EngineError, match="no longer a number at step 2"):
        run(learner, tmp_path, recipe)
    assert (tmp_path / checkpoints.STATE).read_bytes() == kept
