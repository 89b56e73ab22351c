"""Whether an adapter still does on a copy what it does on the model that it was trained for.

Compared is the Kullback-Leibler divergence KL(parent ‖ copy) of the next token, in nats, averaged over the
first tokens of a text: with the adapter on both, and without.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine import child
from llmops_jupyter.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOKENS = 128
LIMIT = 0.05
# With the adapter the copy may differ this much more than without: a factor, and nats beside it.
FACTOR, SPARE = 1.5, 0.005


@dataclass(frozen=True)
class Divergence:
    """Mean KL of parent and copy, with the adapter on both and without, and its effect on the parent."""

    with_adapter: float
    without: float
    effect: float

    @property
    def follows(self) -> bool:
        """Whether the adapter may be used with the copy."""
        return self.with_adapter <= min(LIMIT, FACTOR * self.without + SPARE)

    def as_dict(self) -> dict[str, float]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"KL {self.with_adapter:.4f} with the adapter, {self.without:.4f} without; "
            f"the adapter itself moves the model by {self.effect:.4f}"
        )


def diverge(
    parent: str | os.PathLike[str],
    copy: str | os.PathLike[str],
    adapter: tuple[str | os.PathLike[str], float],
    text: str,
    *,
    threads: int | None = None,
) -> Divergence:
    """Compare a model and its copy with an adapter (path, scale), in a child process.

    Raises:
        ModelError: the adapter does not fit the model.
        EngineError: the two are not copies of one model.
    """
    from llmops_jupyter.engine.cores import default_threads

    values = {
        "parent": str(Path(parent).absolute()),
        "copy": str(Path(copy).absolute()),
        "adapter": [str(Path(adapter[0]).absolute()), float(adapter[1])],
        "text": text,
        "threads": threads or default_threads(),
    }
    found: Mapping[str, float] = child.call(f"{__name__}:diverge_here", values)
    return Divergence(**found)


def diverge_here(
    _: child.Report, *, parent: str, copy: str, adapter: list[Any], text: str, threads: int
) -> dict[str, float]:
    """The same in this process; one model at a time is loaded."""
    tokens, plain, moved = _distributions(parent, adapter, text, threads)
    other_tokens, other_plain, other_moved = _distributions(copy, adapter, text, threads)
    if tokens != other_tokens or plain.shape != other_plain.shape:
        raise EngineError(
            "The two models have different tokenizers. Name a model and its own copy."
        )
    return Divergence(
        with_adapter=_kl(moved, other_moved),
        without=_kl(plain, other_plain),
        effect=_kl(plain, moved),
    ).as_dict()


def _kl(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Mean over rows of log-probabilities; float64, since the terms nearly cancel."""
    import numpy as np

    p = first.astype(np.float64)
    return float((np.exp(p) * (p - second)).sum(axis=1).mean())


def _distributions(
    path: str, adapter: list[Any], text: str, threads: int
) -> tuple[list[int], NDArray[np.float32], NDArray[np.float32]]:
    """The first tokens of the text, and log-probabilities after each without and with the adapter."""
    from llmops_jupyter.engine import native
    from llmops_jupyter.engine.adapters import LoadedAdapters, checked
    from llmops_jupyter.engine.context import Context, Size
    from llmops_jupyter.models import read_metadata

    model = native.load_model(Path(path), None)
    vocabulary = native.Vocabulary(model)
    adapters = LoadedAdapters(model, read_metadata(path).architecture)
    try:
        pairs = adapters.pairs(checked([(adapter[0], adapter[1])]))
        size = Size(1, 256, TOKENS, TOKENS)
        context = Context(model, size, threads, 1, vocabulary.size)
        try:
            tokens = vocabulary.tokenize(text, add_special=True)[:TOKENS]
            plain = _logprobs(context, tokens)
            context.use_adapters(pairs)
            return tokens, plain, _logprobs(context, tokens)
        finally:
            context.free()
    finally:
        adapters.free()
        native.library().llama_model_free(model)


def _logprobs(context: Any, tokens: list[int]) -> NDArray[np.float32]:
    import numpy as np

    from llmops_jupyter.engine.context import Piece
    from llmops_jupyter.engine.sampler import log_partition

    context.clear()
    context.feed([Piece(0, tokens, len(tokens))])
    rows = [context.logits(place) for place in range(len(tokens))]
    found: NDArray[np.float32] = np.array([row - log_partition(row) for row in rows], np.float32)
    return found
