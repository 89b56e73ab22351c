"""Search: by words, by vectors, and both joined by their ranks."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.rag.coarse import Signs
from llmops_jupyter.rag.kept import STEP, IndexRow
from llmops_jupyter.rag.vectors import Vectors
from llmops_jupyter.rag.words import match_of
from llmops_jupyter.records import Hit
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmops_jupyter.rag.embedding import Embedder

# Ranks of both legs are joined by 1 / (RRF + rank); measured, see docs/rag.md.
RRF = 10
# What the best ranks of a passage's document count beside its own.
DOCUMENT = 0.5
# Passages of each leg that are joined.
DEPTH = 100
# Rows up to which all are compared exactly, and of those that a filter leaves; measured, see docs/rag.md.
EXACT, FEW = 100_000, 20_000
# Rows that the first pass hands on to be compared exactly: at least, and for each passage of a leg.
RESCORED, PER_RESULT = 2_000, 30
MODES = ("auto", "hybrid", "words", "vectors")
# What is weighed against what when passages are not to say the same.
MMR = 0.7


@dataclass(frozen=True)
class Found:
    """A passage with what each leg says of it; ranks from 1, None where it was not among the first."""

    chunk_id: int
    score: float
    word_rank: int | None = None
    vector_rank: int | None = None
    word_score: float | None = None
    cosine: float | None = None


@dataclass(frozen=True)
class Held:
    """The vectors of one generation of an index.

    Args:
        generation: of the index.
        ids: the passage of each row, 0 for rows that nobody has.
        alive: the rows that somebody has; None if these are all.
        rows: of the vectors, mapped.
        signs: of the rows, where there are many.
    """

    generation: int
    ids: NDArray[np.int64]
    alive: NDArray[np.int64] | None
    rows: NDArray[np.float32]
    signs: Signs | None

    def scored(
        self, query: NDArray[np.float32], depth: int, among: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.float32]]:
        """Rows, None for all of them, with their products with the query.

        Of many rows only those that come near it by their signs.
        """
        count = len(self.rows) if among is None else len(among)
        if self.signs is not None and count > FEW:
            among = self.signs.nearest(query, max(RESCORED, PER_RESULT * depth), among)
        elif among is None or (self.signs is None and 4 * count > len(self.rows)):
            scores = _products(self.rows, query)
            return among, scores if among is None else scores[among]
        return among, _products(self.rows[among], query)


@dataclass
class Searcher:
    """Searches one index; what it holds in memory is read anew when the index has changed."""

    store: Store
    index: IndexRow
    vectors: Vectors
    # One value, since several threads may search.
    _held: Held | None = field(default=None, repr=False)

    def search(
        self,
        query: str,
        k: int,
        *,
        embedder: Embedder | None,
        mode: str = "auto",
        where: Mapping[str, Any] | None = None,
        depth: int = DEPTH,
    ) -> list[Found]:
        """The best passages, best first.

        Raises:
            OptionError: an option cannot be used.
        """
        if mode not in MODES:
            raise OptionError(f"mode is one of {', '.join(MODES)}, not {mode!r}.")
        if mode in ("hybrid", "vectors") and embedder is None:
            raise OptionError("This index has no vectors: it finds by words only (mode='words').")
        allowed = self._allowed(where) if where else None
        words = self._by_words(query, max(depth, k), allowed) if mode != "vectors" else []
        found: list[tuple[int, float]] = []
        if mode != "words" and embedder is not None and query.strip():
            found = self._by_vectors(embedder.embed([query])[0], max(depth, k), allowed)
        return joined(words, found, k, self._documents([i for i, _ in (*words, *found)]))

    def _by_words(
        self, query: str, depth: int, allowed: Mapping[int, int] | None
    ) -> list[tuple[int, float]]:
        """Ids with BM25, higher is better."""
        match = match_of(query)
        if not match:
            return []
        several = () if self._alone() else (self.index.id,)
        rows = self.store.rows(
            words_query(several=bool(several)),
            (match, *several, depth if allowed is None else -1),
        )
        pairs = [(row[0], row[1]) for row in rows if allowed is None or row[0] in allowed]
        return pairs[:depth]

    def _alone(self) -> bool:
        row = self.store.row("SELECT count(*) FROM rag_indexes")
        return row is not None and row[0] == 1

    def _by_vectors(
        self, query: NDArray[np.float32], depth: int, allowed: Mapping[int, int] | None
    ) -> list[tuple[int, float]]:
        """Ids with cosines, higher is better."""
        import numpy as np

        held = self._loaded()
        among = held.alive
        if allowed is not None:
            among = np.sort(np.fromiter(allowed.values(), np.int64, len(allowed)))
            among = among[(among >= 0) & (among < len(held.ids))]
            among = among[np.isin(held.ids[among], np.fromiter(allowed, np.int64, len(allowed)))]
        if not len(held.ids) or (among is not None and not len(among)):
            return []
        query = query.astype(np.float32)
        places, scores = held.scored(query, depth, among)
        count = min(depth, len(scores))
        best = np.argpartition(-scores, count - 1)[:count]
        best = best[np.lexsort((best, -scores[best]))]
        rows = best if places is None else places[best]
        return [
            (int(i), float(s)) for i, s in zip(held.ids[rows], scores[best], strict=True) if i > 0
        ]

    def _loaded(self) -> Held:
        """What is held of the vectors; read anew if the index has changed."""
        import numpy as np

        row = self.store.row(
            "SELECT generation, next_vector FROM rag_indexes WHERE id = ?", (self.index.id,)
        )
        assert row is not None
        held = self._held
        if held is not None and held.generation == row[0]:
            return held
        ids = np.zeros(row[1], np.int64)
        pairs = self.store.rows(
            "SELECT id, vector FROM rag_chunks WHERE index_id = ? AND vector IS NOT NULL",
            (self.index.id,),
        )
        places = np.fromiter((pair[1] for pair in pairs), np.int64, len(pairs))
        chunks = np.fromiter((pair[0] for pair in pairs), np.int64, len(pairs))
        there = places < len(ids)
        ids[places[there]] = chunks[there]
        used = int(places[there].max()) + 1 if there.any() else 0
        ids, rows = ids[:used], self.vectors.read(used)
        alive = None if ids.all() else np.flatnonzero(ids)
        signs = None
        if used > EXACT and self.vectors.coarse is not None:
            signs = self.vectors.coarse.load(rows, row[0])
        self._held = Held(row[0], ids, alive, rows, signs)
        return self._held

    def _documents(self, chunks: Sequence[int]) -> dict[int, int]:
        """The document of each passage."""
        found: dict[int, int] = {}
        for begin in range(0, len(chunks), STEP):
            some = chunks[begin : begin + STEP]
            rows = self.store.rows(
                f"SELECT id, document_id FROM rag_chunks WHERE id IN ({','.join('?' * len(some))})",
                tuple(some),
            )
            found.update({row[0]: row[1] for row in rows})
        return found

    def _allowed(self, where: Mapping[str, Any]) -> dict[int, int]:
        """Passages of documents that fit with the rows of their vectors, -1 if they have none.

        `source` is a pattern, other keys are those of the metadata.
        """
        rows = self.store.rows(
            "SELECT id, source, metadata FROM rag_documents WHERE index_id = ? AND error = ''",
            (self.index.id,),
        )
        documents = [
            row[0] for row in rows if _fits(row["source"], json.loads(row["metadata"]), where)
        ]
        found: dict[int, int] = {}
        for begin in range(0, len(documents), STEP):
            some = documents[begin : begin + STEP]
            marks = ",".join("?" * len(some))
            rows = self.store.rows(
                f"SELECT id, coalesce(vector, -1) FROM rag_chunks WHERE document_id IN ({marks})",
                tuple(some),
            )
            found.update((row[0], row[1]) for row in rows)
        return found


def _products(rows: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows times query, on one thread: memory is the limit.

    The threads of a matrix product go on spinning, and the embedding of the next query takes 40 ms, not 5.
    """
    import numpy as np

    found: NDArray[np.float32] = np.einsum("ij,j->i", rows, query)
    return found


def words_query(*, several: bool) -> str:
    """The query for ids with BM25; where there are several indexes, for those of one of them.

    The plus keeps SQLite from looking each passage of the index up in the full text, which takes minutes.
    """
    only = "AND +rowid IN (SELECT id FROM rag_chunks WHERE index_id = ?) " if several else ""
    return (
        f"SELECT rowid, -bm25(rag_text, 1.0, 1.0) AS score FROM rag_text WHERE rag_text MATCH ? {only}"
        "ORDER BY score DESC LIMIT ?"
    )


def joined(
    words: Sequence[tuple[int, float]],
    vectors: Sequence[tuple[int, float]],
    k: int,
    documents: Mapping[int, int] | None = None,
) -> list[Found]:
    """Reciprocal rank fusion of both legs (Cormack, Clarke and Büttcher 2009); one alone keeps its order.

    With `documents`, that of each passage, a passage also counts by the best ranks of its document: one leg
    may find another passage of it.
    """
    by_word = {chunk: (rank, score) for rank, (chunk, score) in enumerate(words, 1)}
    by_vector = {chunk: (rank, score) for rank, (chunk, score) in enumerate(vectors, 1)}
    of = documents if documents is not None and words and vectors else {}
    best: list[dict[int, float]] = []
    for leg in (words, vectors):
        ranks: dict[int, float] = {}
        for rank, (chunk, _) in enumerate(leg, 1):
            if chunk in of:
                ranks.setdefault(of[chunk], 1 / (RRF + rank))
        best.append(ranks)
    found = []
    for chunk in dict.fromkeys([*by_word, *by_vector]):
        word, vector = by_word.get(chunk), by_vector.get(chunk)
        score = sum(1 / (RRF + leg[0]) for leg in (word, vector) if leg is not None)
        score += DOCUMENT * sum(ranks.get(of.get(chunk, -1), 0.0) for ranks in best)
        found.append(
            Found(
                chunk,
                score,
                word[0] if word else None,
                vector[0] if vector else None,
                word[1] if word else None,
                vector[1] if vector else None,
            )
        )
    found.sort(key=lambda f: (-f.score, f.chunk_id))
    return found[:k]


def diverse(
    found: Sequence[Found], vectors: Mapping[int, Any], k: int, weight: float = MMR
) -> list[Found]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): good passages that do not repeat others."""
    if not found:
        return []
    top = max(f.score for f in found) or 1.0
    left = list(found)
    chosen: list[Found] = []
    while left and len(chosen) < k:

        def gain(one: Found) -> float:
            alike = max(
                (
                    float(vectors[one.chunk_id] @ vectors[c.chunk_id])
                    for c in chosen
                    if one.chunk_id in vectors and c.chunk_id in vectors
                ),
                default=0.0,
            )
            return weight * one.score / top - (1 - weight) * alike

        best = max(left, key=gain)
        chosen.append(best)
        left.remove(best)
    return chosen


def hits(store: Store, found: Sequence[Found]) -> list[Hit]:
    """The passages with their text and place, in this order."""
    rows: dict[int, Any] = {}
    ids = [f.chunk_id for f in found]
    for begin in range(0, len(ids), STEP):
        some = ids[begin : begin + STEP]
        for row in store.rows(
            "SELECT c.id, c.text, c.locator, c.document_id, d.source FROM rag_chunks c JOIN rag_documents d "
            f"ON d.id = c.document_id WHERE c.id IN ({','.join('?' * len(some))})",
            tuple(some),
        ):
            rows[row[0]] = row
    return [
        Hit(
            rows[f.chunk_id]["text"],
            rows[f.chunk_id]["source"],
            rows[f.chunk_id]["locator"],
            f.score,
            str(rows[f.chunk_id]["document_id"]),
            str(f.chunk_id),
        )
        for f in found
        if f.chunk_id in rows
    ]


def _fits(source: str, metadata: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    for key, wanted in where.items():
        value = source if key == "source" else metadata.get(key)
        choices = wanted if isinstance(wanted, list | tuple | set) else [wanted]
        if not any(
            str(value) == choice or fnmatch.fnmatch(str(value), choice)
            if isinstance(choice, str)
            else value == choice
            for choice in choices
        ):
            return False
    return True
