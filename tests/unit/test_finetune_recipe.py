"""Recipes: what they allow, what they default to, and the schedule of the learning rate."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from llmops_jupyter.errors import OptionError
from llmops_jupyter.finetune.recipe import Recipe

NUMBERS = {
    "rank": (1, 1024),
    "dropout": (0, 0.9),
    "learning_rate": (1e-9, 1),
    "max_steps": (1, 10**7),
    "batch_size": (1, 10**5),
    "warmup": (0, 0.9),
    "weight_decay": (0, 1),
    "max_length": (8, 10**7),
    "tokens_per_pass": (16, 10**7),
    "eval_share": (0, 0.9),
    "patience": (0, 1000),
    "samples": (0, 50),
}


def test_the_defaults_are_those_that_evidence_speaks_for():
    recipe = Recipe()
    assert recipe.targets == "all"
    assert recipe.alpha / recipe.rank == 2
    assert recipe.batch_size <= 32
    assert recipe.learn == "all"


def test_every_setting_says_what_it_is():
    assert all(len(f.metadata["help"]) > 10 for f in fields(Recipe))


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_have_bounds_and_both_are_allowed(name):
    low, high = NUMBERS[name]
    for value in (low, high):
        assert getattr(Recipe(**{name: value}), name) == value
    for value in (low - 1, high + 1):
        told = re.escape(f"{name} must be between {low:g} and {high:g}")
        with pytest.raises(OptionError, match=told):
            Recipe(**{name: value})


@pytest.mark.parametrize("value", ["8", True, float("nan"), [8]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(OptionError, match="batch_size"):
        Recipe(batch_size=value)


def test_counts_are_whole_numbers():
    with pytest.raises(OptionError, match=r"rank is a whole number, not 8\.5"):
        Recipe(rank=8.5)
    assert type(Recipe(rank=8.0).rank) is int


@pytest.mark.parametrize("name", ["targets", "learn", "packing", "checkpointing", "precision"])
def test_a_choice_that_is_none_is_refused_with_those_there_are(name):
    with pytest.raises(OptionError, match=f"{name} is one of .*, not 'some'"):
        Recipe(**{name: "some"})


@pytest.mark.parametrize("value", ["no", 1, None])
def test_rslora_is_on_or_off(value):
    with pytest.raises(OptionError, match="rslora is true or false"):
        Recipe(rslora=value)


def test_a_recipe_is_made_again_from_its_values():
    recipe = Recipe(rank=4, targets="mlp", learning_rate=1e-3, rslora=True)
    assert Recipe.from_dict(recipe.as_dict()) == recipe
    assert Recipe.from_dict({}) == Recipe()


def test_a_setting_that_is_mistyped_is_named_with_the_one_that_was_meant():
    with pytest.raises(OptionError, match=r"no 'learning_rat'.*learning_rate"):
        Recipe.from_dict({"learning_rat": 1})


def test_the_rate_falls_with_the_width_of_the_model_if_none_is_given():
    assert Recipe().rate_for(2000) == pytest.approx(5e-4)
    assert Recipe().rate_for(576) == pytest.approx(5e-4 * (2000 / 576) ** 0.78)
    assert Recipe(learning_rate=3e-3).rate_for(576) == 3e-3


def test_the_rate_rises_evenly_then_falls_to_zero():
    recipe = Recipe(warmup=0.25)
    rates = [recipe.rate_at(step, 20, 1.0) for step in range(20)]
    assert rates[:5] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert rates[5:] == pytest.approx([(20 - step) / 15 for step in range(5, 20)])
    assert max(rates) == rates[5] == 1.0
    assert recipe.rate_at(20, 20, 1.0) == 0.0
    assert recipe.rate_at(3, 20, 0.02) == pytest.approx(0.02 * rates[3])


def test_without_warmup_the_first_rate_is_the_highest():
    assert Recipe(warmup=0).rate_at(0, 4, 0.5) == 0.5
    assert Recipe(warmup=0.05).rate_at(0, 1, 0.5) == 0.25


@pytest.mark.parametrize(
    ("settings", "examples", "steps"),
    [
        ({"epochs": 3, "batch_size": 8}, 16, 6),
        ({"epochs": 3, "batch_size": 8}, 17, 9),
        ({"epochs": 0.5, "batch_size": 8}, 32, 2),
        ({"epochs": 0.01, "batch_size": 8}, 8, 1),
        ({"epochs": 3, "batch_size": 8, "max_steps": 4}, 16, 4),
        ({"epochs": 1, "batch_size": 8, "max_steps": 40}, 16, 2),
    ],
)
def test_steps_follow_from_the_epochs(settings, examples, steps):
    assert Recipe(**settings).steps_for(examples) == steps


def test_a_run_of_an_earlier_version_keeps_its_looks():
    assert Recipe.from_kept({"evals": 7, "rank": 4}) == Recipe(looks=7, rank=4)
