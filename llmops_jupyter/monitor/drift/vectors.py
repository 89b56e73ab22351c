"""Vectors of texts: from an embedding model, or where there is none from their words, which is said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from llmops_jupyter.errors import DataError
from llmops_jupyter.monitor.drift.collecting import Tell, first_sessions
from llmops_jupyter.monitor.drift.sample import Sample, Vectors, halved, unit_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

HASHED, WIDTH = "hashed-words-1", 1024
HASHED_NAME = "hashed words (no embedding model)"
NONE = "none"


class Embedding(Protocol):
    """What makes vectors of texts."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def digest(self) -> str:
        """Of the weights."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of unit length, one a text."""
        ...


class HashedWords:
    """Counts of words and pairs of words in 1,024 places, for where there is no embedding model.

    It knows words and no meaning: the same said in other words is new to it. Words that are everywhere are
    weighed down in a check, by the pooled rows, so that both sides are weighed alike.
    """

    name = HASHED_NAME
    digest = HASHED

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Logarithms of the counts, of unit length."""
        import numpy as np
        from sklearn.feature_extraction.text import HashingVectorizer

        counter = HashingVectorizer(
            n_features=WIDTH, ngram_range=(1, 2), alternate_sign=False, norm=None
        )
        counts = counter.transform(texts).toarray().astype(np.float32)
        return unit_length(np.log1p(counts))


def embedded(sample: Sample, model: Embedding, most: int, tell: Tell | None = None) -> Sample:
    """The sample with vectors of its texts, of at most about `most` rows; what has some already keeps them.

    Raises:
        DataError: the model gave a vector that is no direction.
    """
    import numpy as np

    made = dict(sample.vectors)
    notes = []
    chosen = first_sessions(sample, most)
    for name, texts in sample.texts.items():
        if name in made:
            continue
        rows = np.asarray([i for i in chosen if texts[i].strip()], np.int64)
        if len(rows):
            unlike = {texts[i]: None for i in rows}
            found = _embed(model, list(unlike), tell)
            place = {text: i for i, text in enumerate(unlike)}
            values = found[[place[texts[i]] for i in rows]]
            made[name] = Vectors(model.name, model.digest, rows, values)
    if len(chosen) < len(sample):
        notes.append(f"texts of {len(chosen):,} of the {len(sample):,} rows are embedded")
    if made and model.digest == HASHED and not sample.vectors:
        notes.append(
            "there is no embedding model, so texts are compared by their words: "
            'pip install "llmops-jupyter[demo]" or %model add one'
        )
    return replace(sample, vectors=made, notes=(*sample.notes, *notes))


def _embed(model: Embedding, texts: list[str], tell: Tell | None) -> NDArray[np.float32]:
    import numpy as np

    parts = []
    for begin in range(0, len(texts), 256):
        parts.append(np.asarray(model.embed(texts[begin : begin + 256]), np.float32))
        if tell is not None:
            tell(min(begin + 256, len(texts)))
    found = np.concatenate(parts)
    bad = ~np.isfinite(found).all(1)
    if bad.any():
        raise DataError(
            f"The model {model.name} gave NaN for {int(bad.sum())} of {len(texts)} texts. "
            "Use another embedding model: embedder=NAME."
        )
    return halved(unit_length(found))


def check_alike(first: Vectors, second: Vectors) -> None:
    """Check that vectors of a baseline and of a window are of one model.

    Raises:
        DataError: they are of two.
    """
    widths = first.values.shape[1], second.values.shape[1]
    if first.digest != second.digest or widths[0] != widths[1]:
        raise DataError(
            f"The baseline's vectors are of {first.embedder} ({widths[0]:,} numbers each) and the window's of "
            f"{second.embedder} ({widths[1]:,} numbers each), and vectors of two models do not mix. "
            "Use the same model, or make the baseline anew."
        )


def weighted(first: Vectors, second: Vectors) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The vectors of both sides as they are compared.

    Raises:
        DataError: they are of two models.
    """
    import numpy as np

    check_alike(first, second)
    if first.digest != HASHED:
        return first.values, second.values
    pooled = np.concatenate([first.values, second.values])
    having = (pooled > 0).sum(0)
    weights = np.log((1 + len(pooled)) / (1 + having)) + 1
    both = unit_length((pooled * weights).astype(np.float32))
    return both[: len(first.values)], both[len(first.values) :]
