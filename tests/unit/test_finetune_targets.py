"""Which linear layers learn."""

from __future__ import annotations

import pytest

from llmops_jupyter.errors import ModelArchitectureError
from llmops_jupyter.finetune.trainers.targets import chosen

NAMES = ["lm_head", "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj", "a.qkv_proj"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("all", NAMES[1:]), ("attention", [NAMES[1], NAMES[3]]), ("mlp", [NAMES[2]])],
)
def test_layers_are_chosen_by_their_names_and_the_head_never_is(wanted, found):
    assert chosen(iter(NAMES), wanted) == found


def test_a_model_whose_layers_are_unknown_is_refused_with_their_names():
    with pytest.raises(ModelArchitectureError, match=r"\(in_proj, lm_head\) is known"):
        chosen(["lm_head", "a.in_proj", "b.in_proj"], "all")
    with pytest.raises(ModelArchitectureError, match="it has none"):
        chosen([], "all")
