"""The loss of the tokens that are learned, with logits for a few of them at a time.

Logits of all tokens at once would be the largest tensor by far (tokens x vocabulary, in float32), and their
gradient another. Here the gradient of the hidden states is computed together with the loss, chunk by chunk,
as Wijmans et al. do it ("Cut Your Losses in Large-Vocabulary Language Models", 2024); only tokens that are
learned have logits at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CHUNK = 256


def answer_loss(
    hidden: Any, head: Callable[[Any], Any], targets: Any, weights: Any, chunk: int = CHUNK
) -> Any:
    """The weighted sum of the cross entropies, as a tensor that can be differentiated by `hidden`.

    Args:
        hidden: the last hidden states before the tokens that are learned, shape (n, width).
        head: from hidden states to logits; its own weights get no gradient.
        targets: token ids, shape (n,).
        weights: how often each counts, shape (n,).
        chunk: rows of logits that exist at a time.
    """
    import torch

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, states: Any) -> Any:
            total = torch.zeros((), dtype=torch.float32, device=states.device)
            gradient = torch.empty_like(states) if states.requires_grad else None
            for begin in range(0, len(states), chunk):
                part = slice(begin, begin + chunk)
                loss, slope = _of_chunk(
                    states[part], head, targets[part], weights[part], learns=gradient is not None
                )
                total += loss
                if gradient is not None:
                    gradient[part] = slope
            ctx.gradient = gradient
            return total

        @staticmethod
        def backward(ctx: Any, outer: Any) -> Any:
            return ctx.gradient * outer.to(ctx.gradient.dtype)

    return Loss.apply(hidden)


def _of_chunk(
    states: Any, head: Callable[[Any], Any], targets: Any, weights: Any, *, learns: bool
) -> tuple[Any, Any]:
    """Loss of some rows, and its gradient by their hidden states if it is wanted."""
    import torch

    with torch.set_grad_enabled(learns):
        rows = states.detach().requires_grad_(learns)
        losses = torch.nn.functional.cross_entropy(head(rows).float(), targets, reduction="none")
        loss = (losses * weights).sum()
        slope = torch.autograd.grad(loss, rows)[0] if learns else None
    return loss.detach(), slope
