"""An index of documents: added to, searched, looked after, forgotten."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import (
    DataError,
    EngineError,
    OptionError,
)
from llmops_jupyter.rag import kept, searching
from llmops_jupyter.rag.embedding import Embedder
from llmops_jupyter.rag.fitness import Health, health_of
from llmops_jupyter.rag.forgetting import Forgotten, delete_securely, forget
from llmops_jupyter.rag.indexing import AddReport, Indexing, Tell, folder_of, row_documents
from llmops_jupyter.rag.instructions import flags_of
from llmops_jupyter.rag.kept import IndexRow
from llmops_jupyter.rag.searching import Found, Searcher
from llmops_jupyter.rag.status import Status, status_of
from llmops_jupyter.rag.vectors import Vectors
from llmops_jupyter.rag.walking import find
from llmops_jupyter.records import Hit
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Tracer

K, MOST_K = 8, 1_000
# Longer queries are cut: no question has so many characters.
MOST_QUERY = 4_000


class Index:
    """One index of a workspace.

    Args:
        tracer: of the workspace.
        row: the index as the store has it.
        embedder: opens its model; not called before it is needed.
        vectors: its vectors.
        base: the project's folder, below which files have relative names.
    """

    def __init__(
        self,
        tracer: Tracer,
        row: IndexRow,
        embedder: Callable[[str], Embedder],
        vectors: Vectors,
        base: Path,
    ) -> None:
        self.base = base
        self.tracer = tracer
        self.store: Store = tracer.store
        self.row = row
        self._open = embedder
        self.vectors = vectors
        self._searcher = Searcher(self.store, row, vectors)
        self._fingerprint: tuple[int, str] = (-1, "")

    @property
    def name(self) -> str:
        return self.row.name

    def embedder(self) -> Embedder | None:
        """The model of the index; None where it finds by words only.

        Raises:
            EngineError: the model is another one than the index was made with.
        """
        if not self.row.embedder:
            return None
        found = self._open(self.row.embedder)
        if found.digest != self.row.embedder_digest:
            raise EngineError(
                f"The index {self.name!r} was made with another {self.row.embedder!r} than the one registered now, "
                "and vectors of two models do not mix. Register the old one again, or make a new index."
            )
        return found

    def add(
        self,
        given: Any,
        *,
        patterns: Sequence[str] = (),
        column: str | None = None,
        progress: Tell | None = None,
    ) -> AddReport:
        """Add a file, a folder, a pattern, or rows; only what changed is read and embedded.

        Of a folder that was added before, documents that are gone are taken out. What cannot be read is told in
        the report and passed over.

        Args:
            given: a path or pattern, several of them, a data set, a DataFrame or rows.
            patterns: which files of a folder, such as ``*.md``.
            column: of rows: the one with the text.
            progress: told how far it is.

        Raises:
            UnknownNameError: there is no such file or folder.
            DataError: there is nothing to add.
        """
        delete_securely(self.store)
        work = Indexing(
            self.store, self.row, self.vectors, self.embedder(), flag=flags_of, tell=progress
        )
        if isinstance(given, str | Path):
            given = [given]
        if isinstance(given, list | tuple) and all(isinstance(g, str | Path) for g in given):
            if not given:
                raise DataError("There is nothing to add. Name a file or a folder.")
            for one in given:
                files = find(one, patterns, base=self.base)
                work.add_files(files, None if patterns else folder_of(one, self.base))
            return work.report
        return work.add_texts(*self._rows(given, column))

    def search(
        self,
        query: str,
        k: int = K,
        *,
        mode: str = "auto",
        where: Mapping[str, Any] | None = None,
        diverse: bool = False,
        rerank: Callable[[str, Sequence[str]], Sequence[float]] | None = None,
    ) -> list[Hit]:
        """The best passages, best first.

        Args:
            query: what is looked for; nothing in it is an operator.
            k: how many.
            mode: 'auto' (hybrid, or words where there are no vectors), 'hybrid', 'words' or 'vectors'.
            where: ``{"source": "docs/*", "year": 2024}``: only documents that fit.
            diverse: passages that do not repeat each other.
            rerank: scores passages for the query; the best are put in its order.

        Raises:
            OptionError: an option cannot be used.
        """
        found = self.find(query, k, mode=mode, where=where, diverse=diverse, rerank=rerank)
        return searching.hits(self.store, found)

    def find(
        self,
        query: str,
        k: int = K,
        *,
        mode: str = "auto",
        where: Mapping[str, Any] | None = None,
        diverse: bool = False,
        rerank: Callable[[str, Sequence[str]], Sequence[float]] | None = None,
    ) -> list[Found]:
        """As `search`, with what each leg says of a passage."""
        if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MOST_K:
            raise OptionError(f"k is a number of passages from 1 to {MOST_K:,}, not {k!r}.")
        if not isinstance(query, str) or not query.strip():
            raise OptionError("The query is empty. Say what to look for.")
        query = query[:MOST_QUERY]
        embedder = self.embedder() if mode != "words" else None
        more = 4 * k if diverse or rerank else k
        found = self._searcher.search(query, more, embedder=embedder, mode=mode, where=where)
        if rerank is not None:
            texts = [hit.text for hit in searching.hits(self.store, found)]
            scores = _checked(rerank(query, texts), len(texts))
            order = sorted(range(len(found)), key=lambda i: -scores[i])
            found = [found[i] for i in order]
        if diverse and self.row.embedder:
            found = searching.diverse(found, self._vectors_of(found), k)
        return found[:k]

    def hits(self, found: Sequence[Found]) -> list[Hit]:
        """The passages that `find` found, with text and place, in the same order; without those that are gone since."""
        return searching.hits(self.store, found)

    def paired(self, found: Sequence[Found]) -> list[tuple[Hit, Found]]:
        """The passages that `find` found, each with what the legs say of it."""
        by_id = {str(one.chunk_id): one for one in found}
        return [(hit, by_id[hit.chunk_id]) for hit in self.hits(found)]

    def documents(self) -> Mapping[str, kept.DocumentRow]:
        """The documents by source, those that could not be read among them."""
        return kept.documents(self.store, self.row.id)

    def forget(self, source: str) -> Forgotten:
        """Take a document out so that nothing of it is left in the bytes of the store or the vectors.

        Passages in the messages of traces, and answers that were made with them, are replaced as well. Backups,
        exports and cassettes are not reached, and what is returned says so.

        Raises:
            UnknownNameError: there is no such document, and no run was given one of that name.
        """
        return forget(self, source)

    def status(self) -> Status:
        """The health of the index; a search is timed, for which its model is loaded."""
        return status_of(self)

    def health(self) -> Health:
        """What is well and what is not, found without a model."""
        return health_of(self)

    def fingerprint(self) -> str:
        """Of the documents' contents and the embedder: equal for equal answers to a search."""
        import hashlib

        row = self.store.row("SELECT generation FROM rag_indexes WHERE id = ?", (self.row.id,))
        generation = -1 if row is None else row[0]
        if self._fingerprint[0] == generation != -1:
            return self._fingerprint[1]
        found = hashlib.sha256(self.row.embedder_digest.encode())
        for source, document in sorted(self.documents().items()):
            found.update(f"{source}\t{document.digest}\n".encode("utf-8", "surrogatepass"))
        self._fingerprint = generation, found.hexdigest()[:12]
        return self._fingerprint[1]

    def counted(self, word: str, most: int) -> tuple[int, int]:
        """How many passages have a word in any of its forms, up to `most`, and how many there are."""
        asked = '"' + word.replace('"', '""') + '"'
        row = self.store.row(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM rag_text t CROSS JOIN rag_chunks c ON c.id = t.rowid "
            "WHERE rag_text MATCH ? AND c.index_id = ? LIMIT ?)), "
            "(SELECT count(*) FROM rag_chunks WHERE index_id = ?)",
            (asked, self.row.id, most, self.row.id),
        )
        assert row is not None
        return row[0], row[1]

    def flagged(self, hits: Sequence[Hit]) -> set[str]:
        """Ids of those passages that carry instructions or hidden text."""
        marks = ",".join("?" * len(hits))
        rows = self.store.rows(
            f"SELECT id FROM rag_chunks WHERE flags != '[]' AND id IN ({marks})",
            tuple(int(hit.chunk_id) for hit in hits),
        )
        return {str(row[0]) for row in rows}

    def _rows(self, given: Any, column: str | None) -> tuple[Any, int | None]:
        """Documents of rows."""
        from llmops_jupyter.prompts.rows import Rows
        from llmops_jupyter.rag.reading import TEXTS

        if not isinstance(given, Rows):
            raise DataError("What is added is a path, a data set or rows.")
        pairs = list(given.pairs)
        if not pairs:
            raise DataError("There are no rows to add.")
        chosen = column or next((c for c in TEXTS if c in pairs[0][1]), None)
        if chosen is None:
            raise DataError(
                f"Which column has the text? Name it: --column. Columns: {', '.join(pairs[0][1])}."
            )
        return row_documents(pairs, chosen, "rows"), len(pairs)

    def _vectors_of(self, found: Sequence[Found]) -> dict[int, Any]:
        rows = {}
        for one in found:
            row = self.store.row("SELECT vector FROM rag_chunks WHERE id = ?", (one.chunk_id,))
            if row is not None and row[0] is not None:
                rows[one.chunk_id] = row[0]
        if not rows:
            return {}
        values = self.vectors.read(max(rows.values()) + 1)
        return {chunk: values[row] for chunk, row in rows.items()}


def _checked(scores: Sequence[float], count: int) -> list[float]:
    """A reranker's scores, one for each passage.

    Raises:
        OptionError: they are not.
    """
    try:
        found = [float(score) for score in scores]
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        raise OptionError(
            f"A reranker gives a finite number for each of the {count} passages; this one gave {scores!r:.80}."
        )
    return found
