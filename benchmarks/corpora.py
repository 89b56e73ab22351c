"""The data sets of the retrieval rows, as LLMOPS_BENCH_DATA has them, and what is found in them.

Of SciFact only the training queries are read: those of the test are held out.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# What is made once and kept between runs: indexes, vectors of peers.
KEPT = Path(__file__).parent.parent / "build" / "bench"
Span = tuple[str, int, int]


class DataMissing(Exception):  # noqa: N818 - a reason for a row, not a fault
    """The data set is not there; the message says so."""


@dataclass(frozen=True)
class Scifact:
    """Abstracts by id as (title, text); queries by id; the relevant abstracts of each query."""

    documents: Mapping[str, tuple[str, str]]
    queries: Mapping[str, str]
    relevant: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Question:
    """A question with the places that answer it."""

    text: str
    spans: tuple[Span, ...]


def scifact(*, quick: bool) -> Scifact:
    """The set; when quick, 500 abstracts and the queries that they answer.

    Raises:
        DataMissing: it is not there.
    """
    folder = data_folder("scifact")
    relevant: dict[str, set[str]] = {}
    with (folder / "qrels" / "train.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if int(row["score"]) > 0:
                relevant.setdefault(row["query-id"], set()).add(row["corpus-id"])
    documents = {row["_id"]: (row["title"], row["text"]) for row in _lines(folder / "corpus.jsonl")}
    queries = {
        row["_id"]: row["text"]
        for row in _lines(folder / "queries.jsonl")
        if row["_id"] in relevant
    }
    if quick:
        queries = dict(list(queries.items())[:60])
        wanted = set().union(*(relevant[q] for q in queries))
        others = [d for d in documents if d not in wanted][: 300 - len(wanted)]
        documents = {d: documents[d] for d in (*sorted(wanted), *others)}
    return Scifact(documents, queries, {q: frozenset(relevant[q]) for q in queries})


def chunking(*, quick: bool) -> tuple[dict[str, str], list[Question]]:
    """Texts by name, and the questions; when quick, of the two shortest texts.

    Raises:
        DataMissing: the set is not there.
    """
    folder = data_folder("chroma_chunking")
    texts = {p.stem: p.read_text("utf-8") for p in sorted((folder / "corpora").glob("*.md"))}
    if quick:
        texts = dict(sorted(texts.items(), key=lambda pair: len(pair[1]))[:2])
    questions = []
    with (folder / "questions_df.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["corpus_id"] in texts:
                spans = tuple(
                    (row["corpus_id"], r["start_index"], r["end_index"])
                    for r in json.loads(row["references"])
                )
                questions.append(Question(row["question"], spans))
    return texts, questions


def ndcg(found: Sequence[str], relevant: frozenset[str], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k, each gain 0 or 1."""
    gained = sum(1 / math.log2(rank + 2) for rank, d in enumerate(found[:k]) if d in relevant)
    return gained / sum(1 / math.log2(rank + 2) for rank in range(min(k, len(relevant))))


def recall(question: Question, passages: Sequence[Span]) -> float:
    """The share of the answering characters that the passages cover together."""
    wanted = {(name, i) for name, begin, end in question.spans for i in range(begin, end)}
    got = {(name, i) for name, begin, end in passages for i in range(begin, end)}
    return len(wanted & got) / len(wanted)


def fused(legs: Sequence[Sequence[str]], k: int = 20) -> list[str]:
    """Reciprocal rank fusion of rankings."""
    scores: dict[str, float] = {}
    for leg in legs:
        for rank, one in enumerate(leg, 1):
            scores[one] = scores.get(one, 0.0) + 1 / (k + rank)
    return sorted(scores, key=lambda one: -scores[one])


def data_folder(name: str) -> Path:
    given = os.environ.get("LLMOPS_BENCH_DATA")
    if not given:
        raise DataMissing("not run: LLMOPS_BENCH_DATA is unset")
    folder = Path(given) / name
    if not folder.is_dir():
        raise DataMissing(f"not run: LLMOPS_BENCH_DATA has no folder {name}")
    return folder


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
