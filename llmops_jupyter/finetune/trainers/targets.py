"""Which linear layers learn, by the names that transformers and mlx-lm both give them."""

from __future__ import annotations

from collections.abc import Iterable

from llmops_jupyter.errors import ModelArchitectureError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj")
MLP = ("gate_proj", "up_proj", "down_proj", "gate_up_proj")


def chosen(linear: Iterable[str], wanted: str) -> list[str]:
    """Those of a model's linear layers that a recipe's `targets` name; never the head.

    Raises:
        ModelArchitectureError: none of them is known.
    """
    kinds = {"all": ATTENTION + MLP, "attention": ATTENTION, "mlp": MLP}[wanted]
    names = list(linear)
    found = [name for name in names if name.rpartition(".")[2] in kinds]
    if not found:
        there = ", ".join(sorted({name.rpartition(".")[2] for name in names}))
        raise ModelArchitectureError(
            f"None of this model's linear layers ({there or 'it has none'}) is known to the "
            "trainer. Choose another base model; docs/finetune.md lists those tried."
        )
    return found
