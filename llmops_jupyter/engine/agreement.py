"""How far the next-token distributions of a served model are from those that another program computed.

A trainer runs the same weights in other code; this says whether what is trained and what is served answer
alike.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine import child

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 256


def apart(
    model: str | os.PathLike[str],
    pairs: Sequence[tuple[Sequence[int], NDArray[np.float32]]],
    *,
    adapter: str | os.PathLike[str] | None = None,
    threads: int | None = None,
) -> float:
    """The mean Kullback-Leibler divergence KL(theirs ‖ served) of the next token, in nats.

    Args:
        model: the GGUF file that is served.
        pairs: token ids with the log-probabilities that the other program gives after the last of them,
            shape (n, vocabulary), with n at most the number of ids.
        adapter: a GGUF adapter that the model has on.
        threads: that compute; the cores of this machine if not given.

    Raises:
        ModelError: the model or the adapter cannot be loaded.
        EngineError: the two have vocabularies of different sizes.
    """
    import numpy as np

    from llmops_jupyter.engine.cores import default_threads

    arrays: dict[str, Any] = {}
    for number, (ids, logprobs) in enumerate(pairs):
        arrays[f"ids.{number}"] = np.array(ids, np.int32)
        arrays[f"logprobs.{number}"] = np.asarray(logprobs, np.float32)
    # A file, since millions of numbers as JSON would take longer than to compute them.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "theirs.npz"
        np.savez(path, **arrays)
        values = {
            "model": str(Path(model).absolute()),
            "path": str(path),
            "adapter": None if adapter is None else str(Path(adapter).absolute()),
            "threads": threads or default_threads(),
        }
        found: float = child.call(f"{__name__}:apart_here", values)
    return found


def apart_here(
    _: child.Report, *, model: str, path: str, adapter: str | None, threads: int
) -> float:
    """The same in this process, with what the file at `path` holds."""
    import numpy as np

    from llmops_jupyter.engine import native
    from llmops_jupyter.engine.adapters import LoadedAdapters, checked
    from llmops_jupyter.engine.context import Context, Size
    from llmops_jupyter.errors import EngineError
    from llmops_jupyter.models import read_metadata

    with np.load(path) as kept:
        count = len(kept.files) // 2
        pairs = [(kept[f"ids.{i}"].tolist(), kept[f"logprobs.{i}"]) for i in range(count)]
    longest = max(len(ids) for ids, _ in pairs)
    loaded = native.load_model(Path(model), None)
    vocabulary = native.Vocabulary(loaded)
    adapters = LoadedAdapters(loaded, read_metadata(model).architecture)
    try:
        if any(theirs.shape[1] != vocabulary.size for _, theirs in pairs):
            raise EngineError("The two have different vocabularies. They are not the same model.")
        size = Size(1, -(-longest // BATCH) * BATCH, BATCH, BATCH)
        context = Context(loaded, size, threads, 1, vocabulary.size)
        try:
            if adapter is not None:
                context.use_adapters(adapters.pairs(checked([(adapter, 1.0)])))
            sums = [_of_pair(context, ids, theirs) for ids, theirs in pairs]
        finally:
            context.free()
    finally:
        adapters.free()
        native.library().llama_model_free(loaded)
    return sum(sums) / sum(len(theirs) for _, theirs in pairs)


def _of_pair(context: Any, ids: list[int], theirs: NDArray[np.float32]) -> float:
    """The divergence summed over the last tokens of a text."""
    import numpy as np

    from llmops_jupyter.engine.context import Piece
    from llmops_jupyter.engine.sampler import log_partition

    context.clear()
    first = len(ids) - len(theirs)
    total = 0.0
    for begin in range(0, len(ids), BATCH):
        part = ids[begin : begin + BATCH]
        outputs = max(0, min(len(part), begin + len(part) - first))
        (place,) = context.feed([Piece(0, part, outputs)])
        for offset in range(len(part) - outputs, len(part)):
            row = context.logits(place + offset)
            # float64, since the terms nearly cancel
            q = row.astype(np.float64) - log_partition(row)
            p = theirs[begin + offset - first].astype(np.float64)
            total += float((np.exp(p) * (p - q)).sum())
    return total
