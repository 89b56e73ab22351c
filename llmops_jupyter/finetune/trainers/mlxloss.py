"""The loss of the tokens that are learned, on MLX; see `trainers.loss`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llmops_jupyter.finetune.trainers.loss import CHUNK


def answer_loss(
    hidden: Any,
    head: Callable[[Any], Any],
    targets: Any,
    weights: Any,
    chunk: int = CHUNK,
    *,
    learns: bool = True,
) -> Any:
    """The weighted sum of the cross entropies, which can be differentiated by `hidden`.

    Args:
        hidden: the last hidden states before the tokens that are learned, shape (n, width).
        head: from hidden states to logits; its own weights get no gradient.
        targets: token ids, shape (n,).
        weights: how often each counts, shape (n,).
        chunk: rows of logits that exist at a time.
        learns: whether it will be differentiated.
    """
    import mlx.core as mx

    def of_chunk(rows: Any, ids: Any, counts: Any) -> Any:
        logits = head(rows).astype(mx.float32)
        likeliest = mx.logsumexp(logits, axis=-1)
        wanted = mx.take_along_axis(logits, ids[:, None], axis=-1)[:, 0]
        return ((likeliest - wanted) * counts).sum()

    def chunks(states: Any, compute: Callable[..., Any]) -> Iterator[Any]:
        """What `compute` gives for each chunk."""
        last: Any = None
        for begin in range(0, len(states), chunk):
            part = slice(begin, begin + chunk)
            rows = states[part]
            if last is not None:
                # Nothing else keeps MLX, which computes late, from holding the logits of all chunks at once.
                rows = mx.depends([rows], last)[0]
            found = compute(rows, targets[part], weights[part])
            last = list(found) if isinstance(found, tuple) else [found]
            yield found

    if not learns:
        return mx.stack(list(chunks(hidden, of_chunk))).sum()

    def with_slope(states: Any) -> tuple[Any, Any]:
        found = list(chunks(states, mx.value_and_grad(of_chunk)))
        total = mx.stack([loss for loss, _ in found]).sum()
        return total, mx.concatenate([slope for _, slope in found])

    made: Any = mx.custom_function(with_slope)

    @made.vjp
    def _(primals: Any, outer: Any, outputs: Any) -> Any:
        del primals
        return outer[0].astype(outputs[1].dtype) * outputs[1]

    return made(hidden)[0]
