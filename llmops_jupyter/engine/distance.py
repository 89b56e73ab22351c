"""How far apart two models are in what they expect next, over many short prompts.

Measured is the Kullback-Leibler divergence KL(first ‖ second) of the next token, in nats. A model may be
changed by adapters, and either may be another library's: what counts are tokens and log-probabilities.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine import child
from llmops_jupyter.errors import EngineError, OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROMPTS, WORDS = 50, 24
LONGEST, LAST = 64, 8
# Tokens that are computed at once; of longer prompts the rest follows.
BATCH = 256
Adapter = tuple["str | os.PathLike[str]", float]


@dataclass(frozen=True)
class Predictions:
    """The tokens of each prompt, and log-probabilities of all next tokens after the last ones of each.

    `logprobs` has a row for each of these places, prompt by prompt.
    """

    tokens: tuple[tuple[int, ...], ...]
    logprobs: NDArray[np.float32]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Sequence[int], NDArray[np.float32]]]) -> Predictions:
        """What another library predicts: tokens, each with log-probabilities of shape (places, vocabulary)."""
        import numpy as np

        tokens = tuple(tuple(int(token) for token in ids) for ids, _ in pairs)
        rows = [np.asarray(logprobs, np.float32) for _, logprobs in pairs]
        return cls(tokens, np.concatenate(rows))


@dataclass(frozen=True)
class Distance:
    """KL(first ‖ second) in nats over `places` of `prompts`: the mean and the largest.

    `agree` is the share of the places at which both hold the same token for the likeliest.
    """

    mean: float
    most: float
    agree: float
    places: int
    prompts: int

    def __str__(self) -> str:
        return (
            f"KL {self.mean:.4f} nats (at most {self.most:.3f}), the same likeliest token at "
            f"{self.agree:.0%} of {self.places} places in {self.prompts} prompts"
        )


def bundled_prompts(count: int = PROMPTS) -> list[str]:
    """Beginnings of English prose, each with another content; a few hundred at most."""
    from llmops_jupyter.engine.perplexity import bundled_text

    words = bundled_text().split()
    step = max(1, (len(words) - WORDS) // max(count, 1))
    return [" ".join(words[i * step : i * step + WORDS]) for i in range(count)]


def predict(
    model: str | os.PathLike[str],
    prompts: Sequence[str | Sequence[int]],
    *,
    adapters: Sequence[Adapter] = (),
    threads: int | None = None,
    last: int = LAST,
    longest: int | None = LONGEST,
) -> Predictions:
    """What a GGUF model expects next, computed in a child process.

    Args:
        model: its file.
        prompts: texts or tokens.
        adapters: (path, scale) of GGUF adapters.
        threads: None takes all physical cores.
        last: places of each prompt after which it is asked, or as many as there are; each takes four bytes for
            every token of the vocabulary.
        longest: tokens that are read of each prompt; None reads all.

    Raises:
        ModelError: an adapter does not fit the model.
        OptionError: no prompt has a token, or `last` or `longest` is less than 1.
    """
    import numpy as np

    from llmops_jupyter.engine.cores import default_threads

    if last < 1 or (longest is not None and longest < 1):
        raise OptionError("last and longest are numbers of tokens from 1.")
    with tempfile.TemporaryDirectory(prefix="llmops-") as folder:
        out = Path(folder) / "logprobs.npy"
        values = {
            "model": str(Path(model).absolute()),
            "adapters": [[str(Path(path).absolute()), float(scale)] for path, scale in adapters],
            "prompts": [p if isinstance(p, str) else list(p) for p in prompts],
            "threads": threads or default_threads(),
            "last": last,
            "longest": longest,
            "out": str(out),
        }
        tokens: list[list[int]] = child.call(f"{__name__}:predict_here", values)
        return Predictions(tuple(tuple(row) for row in tokens), np.load(out))


def predict_here(
    _: child.Report,
    *,
    model: str,
    adapters: list[list[Any]],
    prompts: list[str | list[int]],
    threads: int,
    last: int,
    longest: int | None,
    out: str,
) -> list[list[int]]:
    """The same in this process; the log-probabilities go to a file."""
    import numpy as np

    from llmops_jupyter.engine import native
    from llmops_jupyter.engine.adapters import LoadedAdapters, checked
    from llmops_jupyter.engine.context import Context, Size
    from llmops_jupyter.models import read_metadata

    loaded = native.load_model(Path(model), None)
    vocabulary = native.Vocabulary(loaded)
    held = LoadedAdapters(loaded, read_metadata(model).architecture)
    try:
        tokens = [_tokens(vocabulary, prompt)[:longest] for prompt in prompts]
        if not tokens or not all(tokens):
            raise OptionError("A prompt has no token. Give texts that are not empty.")
        pairs = held.pairs(checked([(a[0], a[1]) for a in adapters]))
        most = max(map(len, tokens))
        # Short prompts are computed in a batch of one size, whatever their lengths.
        batch = LONGEST if most <= LONGEST else BATCH
        size = Size(1, -(-most // BATCH) * BATCH, batch, min(last, batch))
        context = Context(loaded, size, threads, 1, vocabulary.size)
        try:
            context.use_adapters(pairs)
            rows = [row for each in tokens for row in _rows(context, each, last)]
        finally:
            context.free()
    finally:
        held.free()
        native.library().llama_model_free(loaded)
    np.save(out, np.array(rows, np.float32))
    return tokens


def compare(first: Predictions, second: Predictions) -> Distance:
    """How far the second is from the first.

    Raises:
        EngineError: they read other tokens, or have other vocabularies.
    """
    import numpy as np

    if first.tokens != second.tokens or first.logprobs.shape != second.logprobs.shape:
        raise EngineError(
            "The two models read different tokens, so they cannot be compared. Compare a model with a "
            "copy of it."
        )
    found = np.empty(len(first.logprobs))
    for i, (p, q) in enumerate(zip(first.logprobs, second.logprobs, strict=True)):
        # float64, since the terms nearly cancel.
        wide = p.astype(np.float64)
        found[i] = (np.exp(wide) * (wide - q)).sum()
    same = first.logprobs.argmax(axis=1) == second.logprobs.argmax(axis=1)
    return Distance(
        mean=float(found.mean()),
        most=float(found.max()),
        agree=float(same.mean()),
        places=len(found),
        prompts=len(first.tokens),
    )


def _tokens(vocabulary: Any, prompt: str | list[int]) -> list[int]:
    found = vocabulary.tokenize(prompt, add_special=True) if isinstance(prompt, str) else prompt
    return [int(token) for token in found]


def _rows(context: Any, tokens: list[int], last: int) -> list[NDArray[np.float32]]:
    """Log-probabilities after each of the last tokens, computed batch by batch."""
    from llmops_jupyter.engine.context import Piece
    from llmops_jupyter.engine.sampler import log_partition

    context.clear()
    first, rows = max(0, len(tokens) - last), []
    for begin in range(0, len(tokens), context.size.batch):
        part = tokens[begin : begin + context.size.batch]
        wanted = min(len(part), max(0, begin + len(part) - first))
        (place,) = context.feed([Piece(0, part, wanted)])
        for offset in range(len(part) - wanted, len(part)):
            row = context.logits(place + offset)
            rows.append(row - log_partition(row))
    return rows
