"""Samples as rows of numbers, once for all folds: each piece of each text, and which text it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.guard_sets import Sample
from llmops_jupyter.guard.grams import grams
from llmops_jupyter.guard.pieces import pieces, signs_of
from llmops_jupyter.guard.signs import signs

BITS = 17
# Signs weigh more than single n-grams, of which a text has hundreds at unit length.
SIGN = 0.5


@dataclass(frozen=True)
class Bank:
    """Rows of pieces.

    Args:
        samples: the texts.
        rows: one row for each piece: hashed columns, then signs times `SIGN`.
        owner: the place of the text that a piece is of.
        whole: whether the piece is the text as it stands.
        sentence: whether the piece is a sentence, and no window or whole.
        counts: how many sentences each text has.
    """

    samples: Sequence[Sample]
    rows: Any
    owner: Any
    whole: Any
    sentence: Any
    counts: Any

    def best(self, weights: Any, bias: float, penalty: float) -> Any:
        """The highest logit of each text, less the penalty for its many sentences."""
        logits = self.rows @ weights + bias
        found = np.full(len(self.samples), -np.inf)
        np.maximum.at(found, self.owner, logits)
        return found - penalty * np.log(np.maximum(self.counts, 1))


def bank(samples: Sequence[Sample], most: int = 3_000) -> Bank:
    """The rows of samples, of each the first `most` characters."""
    texts: list[str] = []
    owner, whole, sentence, extra, counts = [], [], [], [], []
    for place, sample in enumerate(samples):
        text = sample.text[:most]
        found = pieces(text)
        counts.append(found.count)
        texts += found.texts
        extra.append(signs_of(found, signs))
        owner += [place] * len(found.texts)
        single = len(found.texts) == 1
        stripped = text.strip()
        whole += [single or t.strip() == stripped for t in found.texts]
        sentence += [
            (not members and t.strip() != stripped) or single
            for t, members in zip(found.texts, found.members, strict=True)
        ]
    made = grams(texts, BITS)
    columns = sparse.csr_matrix(
        (made.value.astype(np.float32), (made.row, made.column)), shape=(len(texts), 1 << BITS)
    )
    signed = sparse.csr_matrix(SIGN * np.concatenate(extra))
    rows = sparse.hstack([columns, signed], format="csr").astype(np.float32)
    return Bank(
        samples, rows, np.array(owner), np.array(whole), np.array(sentence), np.array(counts)
    )
