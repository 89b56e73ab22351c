"""Learners of both kinds on a small model, and sequences with shared beginnings for them."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import VOCABULARY

from llmops_jupyter.finetune.packing import Tokens, pack
from llmops_jupyter.finetune.recipe import Recipe

KINDS = ("torch", "mlx")
# PEFT asks transformers 5 by the name of version 4.
PEFT_WARNS = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
SMALL = {"rank": 4, "alpha": 8.0, "precision": "float32"}


def make(kind, path, architecture="llama", folder=None, **settings):
    """A learner; the test is skipped where its parts are not installed."""
    recipe = Recipe(**{**SMALL, **settings})
    if kind == "torch":
        pytest.importorskip("peft", reason="torch and peft are not installed (extra finetune)")
        import torch

        from llmops_jupyter.finetune.trainers.pytorch import TorchLearner

        # Threads cost more than matrices this small.
        torch.set_num_threads(1)
        return TorchLearner(path, architecture, recipe, folder=folder)
    pytest.importorskip("mlx_lm", reason="mlx-lm is not installed (extra mlx)")
    from llmops_jupyter.finetune.trainers.mlx import MlxLearner

    return MlxLearner(path, architecture, recipe, folder=folder)


def sequences(seed=0, most=VOCABULARY):
    """A tree: all begin alike, two of them go on alike, one is the beginning of another, one stands apart."""
    made = np.random.default_rng(seed)

    def some(count):
        return tuple(int(i) for i in made.integers(3, most, count))

    begin, more = some(7), some(4)
    return [
        Tokens((*begin, *more, *some(5)), 11),
        Tokens((*begin, *more, *some(3)), 8),
        Tokens((*begin, *more), 7),
        Tokens((*begin, *some(6)), 9),
        Tokens(some(9), 0),
    ]


def moved(learner, seed=5):
    """The learner with factors that are all in use; the second ones begin as zeros."""
    from dataclasses import replace

    made, lora = np.random.default_rng(seed), learner.lora()
    factors = {
        module: (a, made.standard_normal(b.shape).astype(np.float32) / 8)
        for module, (a, b) in lora.factors.items()
    }
    learner.put(replace(lora, factors=factors))
    return learner


def gradients(learner):
    """The gradients by module and factor, whatever the learner calls them."""
    return {
        name.removeprefix("base_model.model.")
        .replace(".lora_", ".")
        .removesuffix(".default.weight"): value
        for name, value in learner.gradients().items()
    }


def apart(ours, theirs):
    """The largest difference of any array, over the largest number in it."""
    assert ours.keys() == theirs.keys()
    return max(np.abs(ours[k] - theirs[k]).max() / np.abs(theirs[k]).max() for k in ours)


def flat(lora):
    """The factors of an adapter by module and factor."""
    pairs = {}
    for module, (a, b) in lora.factors.items():
        pairs[f"{module}.A"], pairs[f"{module}.B"] = a, b
    return pairs


def alone(group):
    """Each sequence in a pass of its own."""
    return [pack([sequence]) for sequence in group]
