"""Which passages answer a question of an evaluation, and how well a ranking of them does."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from llmops_jupyter.errors import DataError
from llmops_jupyter.rag.wordmatch import plain
from llmops_jupyter.records import Hit

# The share of a quotation's pairs of words that a passage must have.
ENOUGH_OF_IT = 0.5
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Wanted:
    """A question with what answers it.

    Args:
        row_id: of the row.
        question: in words.
        sources: documents that answer it, names or patterns.
        quotes: texts that a passage must have, whole or for the most part.
        answer: in words, for what a model says.
        answerable: False: no document answers it.
        generated: it was made by a model from a passage.
    """

    row_id: str
    question: str
    sources: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()
    answer: str = ""
    answerable: bool = True
    generated: bool = False


@dataclass(frozen=True)
class Ranked:
    """How well a ranking answers a question: figures at k, from 0 to 1."""

    recall: float
    ndcg: float
    reciprocal_rank: float
    precision: float
    first: int | None


def wanted(pairs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Wanted]:
    """The questions of rows with the columns question, source, quote, answer, answerable, generated.

    Raises:
        DataError: a row has no question, or nothing that says what answers it.
    """
    found = []
    for row_id, row in pairs:
        question = str(row.get("question") or "").strip()
        if not question:
            raise DataError(
                f"Row {row_id} has no question. Name the column of questions 'question'; columns: {', '.join(row)}."
            )
        one = Wanted(
            row_id,
            question,
            _several(row.get("source")),
            _several(row.get("quote"), split=False),
            str(row.get("answer") or row.get("expected") or ""),
            _true(row.get("answerable", True)),
            _true(row.get("generated")),
        )
        if one.answerable and not (one.sources or one.quotes):
            raise DataError(
                f"Row {row_id} does not say what answers {question!r:.80}: give a column 'source' (a document or a "
                "pattern) or 'quote' (words of the passage), or 'answerable' with False."
            )
        found.append(one)
    if not found:
        raise DataError("There are no questions. Give rows with the columns question and source.")
    return found


def ranked(one: Wanted, hits: Sequence[Hit], k: int) -> Ranked:
    """Recall, nDCG, reciprocal rank and average precision at k.

    With quotations a passage is right that has one, and recall is the share of the quotations that are there; with
    sources only, documents are ranked, each by its best passage. nDCG is scikit-learn's, with binary relevance.
    """
    import numpy as np
    from sklearn.metrics import ndcg_score

    if one.quotes:
        right = [[_has(hit.text, quote) for quote in one.quotes] for hit in hits[:k]]
        flags = [any(row) for row in right]
        recall = float(np.mean([any(row[i] for row in right) for i in range(len(one.quotes))]))
        # A quotation that was found twice counts once; the ideal has each once, at the top.
        flags = _firsts(right)
        missing = sum(not any(row[i] for row in right) for i in range(len(one.quotes)))
    else:
        documents = list(dict.fromkeys(hit.source for hit in hits))[:k]
        matched = [[_fits(source, s) for s in one.sources] for source in documents]
        flags = _firsts(matched)
        missing = sum(not any(row[i] for row in matched) for i in range(len(one.sources)))
        recall = 1 - missing / len(one.sources)
    first = flags.index(True) + 1 if True in flags else None
    truth = [float(f) for f in flags] + [1.0] * missing
    ndcg = 0.0
    if any(flags):
        padded = truth + [0.0] * max(0, 2 - len(truth))
        # What was missed stands after all places that are looked at.
        gap = [0.0] * k
        truth = padded[: len(flags)] + gap + padded[len(flags) :]
        ndcg = float(ndcg_score([truth], [list(range(len(truth), 0, -1))], k=k))
    precisions = [sum(flags[: i + 1]) / (i + 1) for i, flag in enumerate(flags) if flag]
    return Ranked(
        recall,
        ndcg,
        0.0 if first is None else 1 / first,
        sum(precisions) / len(precisions) if precisions else 0.0,
        first,
    )


def covered(one: Wanted, hits: Sequence[Hit]) -> float | None:
    """The share of the quotations' words pairs that the passages have together; None without quotations."""
    if not one.quotes:
        return None
    there = set().union(*(_pairs(hit.text) for hit in hits)) if hits else set()
    shares = [len(_pairs(q) & there) / len(_pairs(q)) for q in one.quotes if _pairs(q)]
    return sum(shares) / len(shares) if shares else None


def _firsts(matched: Sequence[Sequence[bool]]) -> list[bool]:
    """Whether each place has something that is wanted and was not there before it."""
    seen: set[int] = set()
    flags = []
    for row in matched:
        new = {i for i, yes in enumerate(row) if yes} - seen
        seen |= new
        flags.append(bool(new))
    return flags


def _has(text: str, quote: str) -> bool:
    if " ".join(plain(quote).split()).casefold() in " ".join(plain(text).split()).casefold():
        return True
    of_it, there = _pairs(quote), _pairs(text)
    if not of_it:
        return False
    # A quotation that is cut between two passages, or a passage that lies within it.
    return len(of_it & there) / min(len(of_it), max(8, len(there))) >= ENOUGH_OF_IT


def _pairs(text: str) -> set[tuple[str, str]]:
    words = [w.casefold() for w in _WORD.findall(plain(text))]
    return set(pairwise(words)) or {(w, "") for w in words}


def _fits(source: str, pattern: str) -> bool:
    return source == pattern or fnmatch.fnmatch(source, pattern) or source.endswith(f"/{pattern}")


def _true(value: Any) -> bool:
    return str(value).strip().lower() not in ("false", "0", "no", "none", "")


def _several(value: Any, *, split: bool = True) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, list | tuple):
        return tuple(str(v) for v in value if v)
    return tuple(v.strip() for v in str(value).split("|") if v.strip()) if split else (str(value),)
