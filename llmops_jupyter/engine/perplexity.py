"""How well a model expects a text, and how much worse a copy of it does.

Perplexity is exp(-mean log-probability of a token). Two models are compared on the same tokens: the mean
of the differences has far less spread than either mean, so a short text is enough to tell copies apart.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmops_jupyter.engine import child
from llmops_jupyter.errors import EngineError, OptionError

BLOCK = 64
FEWEST_BLOCKS = 8
LEVEL = 0.95
CONTEXT = 1024
MOST_CHARACTERS = 80_000


@dataclass(frozen=True)
class Judged:
    """A text's token ids, and the natural log-probability of each but the first."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]

    @property
    def perplexity(self) -> float:
        return math.exp(-sum(self.logprobs) / len(self.logprobs))


@dataclass(frozen=True)
class Ratio:
    """Perplexity of one model over that of another, with a paired 95 % interval."""

    value: float
    low: float
    high: float
    tokens: int
    blocks: int

    def __str__(self) -> str:
        return f"{self.value - 1:+.1%} ({self.low - 1:+.1%} to {self.high - 1:+.1%})"


@lru_cache(maxsize=1)
def bundled_text() -> str:
    """About 2,000 words of English prose of many kinds, written for this package."""
    return Path(__file__).with_name("prose.txt").read_text("utf-8")


def compare(reference: Judged, other: Judged) -> Ratio:
    """The perplexity of `other` over that of `reference`, on the same tokens.

    The interval is Student's t over means of blocks of 64 tokens, since neighbouring tokens depend on
    each other and blocks hardly do. Tokens after the last whole block count in neither.

    Raises:
        EngineError: the models cut the text into different tokens.
        OptionError: the text is too short.
    """
    if reference.tokens != other.tokens:
        raise EngineError(
            "The two models have different tokenizers, so their perplexities cannot be compared. "
            "Compare copies of one model."
        )
    blocks = len(reference.logprobs) // BLOCK
    if blocks < FEWEST_BLOCKS:
        raise OptionError(
            f"The text has {len(reference.tokens)} tokens; at least {FEWEST_BLOCKS * BLOCK + 1} are "
            "needed to tell copies apart. Take a longer text, or none for the bundled one."
        )
    import numpy as np
    from scipy import stats

    used = blocks * BLOCK
    losses = np.subtract(reference.logprobs[:used], other.logprobs[:used])
    means = losses.reshape(blocks, BLOCK).mean(axis=1)
    middle = float(means.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, blocks - 1) * means.std(ddof=1) / math.sqrt(blocks))
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half), used, blocks)


def judge(path: str | os.PathLike[str], text: str, *, threads: int | None = None) -> Judged:
    """Let a model judge a text, in a child process; of a long text the first 80,000 characters.

    Raises:
        OptionError: there is too little text.
        LLMOpsError: the model cannot be loaded.
    """
    values = {
        "path": str(Path(path).absolute()),
        "text": text[:MOST_CHARACTERS],
        "threads": threads,
    }
    found = child.call(f"{__name__}:judge_here", values)
    return Judged(tuple(found["tokens"]), tuple(found["logprobs"]))


def judge_here(
    _: child.Report, *, path: str, text: str, threads: int | None
) -> dict[str, Sequence[Any]]:
    """The same in this process."""
    from llmops_jupyter.engine.llamacpp import LlamaCppEngine

    engine = LlamaCppEngine(
        path, model_name="judged", model_digest="", n_ctx=CONTEXT, n_threads=threads, rows=1
    )
    try:
        tokens = engine.tokens(text)
        (logprobs,) = engine.logprobs([text])
    finally:
        engine.close()
    return {"tokens": tokens, "logprobs": [float(x) for x in logprobs]}
