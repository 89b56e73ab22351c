"""Indexing: only what changed is read, cut and embedded; a broken file is told and passed over."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DataError, LLMOpsError, MissingDependencyError
from llmops_jupyter.rag import kept
from llmops_jupyter.rag.chunking import Chunk, chunks_of
from llmops_jupyter.rag.embedding import Embedder
from llmops_jupyter.rag.kept import IndexRow
from llmops_jupyter.rag.reading import read_document
from llmops_jupyter.rag.sections import Document
from llmops_jupyter.rag.vectors import Vectors
from llmops_jupyter.rag.walking import Found, source_of
from llmops_jupyter.store import Store

# Passages that are embedded before documents are committed.
TOGETHER = 128
# Characters of a token, where there is no embedding model to count them.
CHARACTERS = 4
Tell = Callable[[str], None]


@dataclass
class AddReport:
    """What adding came to.

    Args:
        added: documents that are new.
        changed: documents whose content is another now.
        unchanged: documents that were left as they are.
        removed: documents that are no longer in the folder.
        skipped: sources that could not be read, with the reason.
        chunks: passages of the added and changed documents.
        embedded: passages whose vectors were computed; others had one.
        truncated: passages longer than the embedder's window.
        seconds: that it took.
    """

    index: str
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    chunks: int = 0
    embedded: int = 0
    truncated: int = 0
    seconds: float = 0.0

    def sentence(self) -> str:
        """The report on one line."""
        parts = [
            f"{self.index}: {self.added} added, {self.changed} changed, {self.unchanged} unchanged"
        ]
        if self.removed:
            parts.append(f"{self.removed} removed")
        if self.skipped:
            parts.append(f"{len(self.skipped)} skipped")
        parts.append(f"{self.chunks} passages, {self.embedded} embedded")
        if self.truncated:
            parts.append(
                f"{self.truncated} longer than the embedder's window: their ends are not found by meaning"
            )
        return " · ".join([*parts, f"{self.seconds:.1f} s"])

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**vars(self)}

    def __str__(self) -> str:
        lines = [f"skipped {source}: {why}" for source, why in list(self.skipped.items())[:20]]
        return "\n".join([self.sentence(), *lines])


@dataclass
class _Waiting:
    """A document whose passages wait for their vectors."""

    document: Document
    chunks: list[Chunk]
    size: int
    mtime_ns: int
    is_new: bool


class Indexing:
    """Adds documents to one index.

    Args:
        store: of the workspace.
        index: that is added to.
        vectors: its file.
        embedder: None for an index of words.
        flag: what a passage carries that a reader should know, such as instructions.
        tell: told how far it is.
    """

    def __init__(
        self,
        store: Store,
        index: IndexRow,
        vectors: Vectors,
        embedder: Embedder | None,
        *,
        flag: Callable[[str], Sequence[str]],
        tell: Tell | None = None,
    ) -> None:
        self.store, self.index, self.vectors = store, index, vectors
        self.embedder, self.flag, self.tell = embedder, flag, tell
        self.report = AddReport(index.name)
        self._waiting: list[_Waiting] = []
        self._began = time.monotonic()

    def add_files(self, files: Sequence[Found], folder: str | None = None) -> AddReport:
        """Add files; with `folder`, documents below it that are no longer there are taken out.

        Documents are committed as they are done: a call that is broken off goes on where it stopped.
        """
        known = kept.documents(self.store, self.index.id)
        try:
            for number, found in enumerate(files, 1):
                self._add_file(found, known)
                self._say(number, len(files))
            self._flush()
        finally:
            self.report.seconds = time.monotonic() - self._began
        if folder is not None:
            self._remove_gone({f.source for f in files}, known, folder)
        return self.report

    def add_texts(self, documents: Iterable[Document], total: int | None = None) -> AddReport:
        """Add documents that are no files."""
        known = kept.documents(self.store, self.index.id)
        for number, document in enumerate(documents, 1):
            before = known.get(document.source)
            if before is not None and before.digest == document.digest and not before.error:
                self.report.unchanged += 1
            else:
                self._cut(document, 0, 0, is_new=before is None)
            self._say(number, total)
        self._flush()
        self.report.seconds = time.monotonic() - self._began
        return self.report

    def _add_file(self, found: Found, known: Mapping[str, kept.DocumentRow]) -> None:
        before = known.get(found.source)
        try:
            stat = found.path.stat()
        except OSError as e:
            self.report.skipped[found.source] = f"it cannot be read: {e.strerror}"
            return
        same = (stat.st_size, stat.st_mtime_ns)
        if before is not None and (before.size, before.mtime_ns) == same:
            if before.error:
                self.report.skipped[found.source] = before.error
            else:
                self.report.unchanged += 1
            return
        try:
            document = read_document(found.path, found.source)
        except MissingDependencyError:
            raise
        except (LLMOpsError, OSError) as e:
            self.report.skipped[found.source] = str(e)
            kept.keep_error(self.store, self.index.id, found.source, str(e), *same)
            return
        if before is not None and before.digest == document.digest and not before.error:
            kept.touch(self.store, before, *same)
            self.report.unchanged += 1
            return
        self._cut(document, *same, is_new=before is None)

    def _cut(self, document: Document, size: int, mtime_ns: int, *, is_new: bool) -> None:
        window = self.embedder.window if self.embedder else None
        chunks = chunks_of(document.sections, self._count, tokens=self._tokens(), window=window)
        self._waiting.append(_Waiting(document, chunks, size, mtime_ns, is_new))
        if sum(len(w.chunks) for w in self._waiting) >= TOGETHER:
            self._flush()

    def _flush(self) -> None:
        """Give the waiting passages their vectors, and commit their documents."""
        waiting, self._waiting = self._waiting, []
        rows = self._vectors([c for w in waiting for c in w.chunks])
        place = 0
        for one in waiting:
            made = []
            for chunk in one.chunks:
                made.append((chunk, self.flag(chunk.text), rows[place]))
                place += 1
            kept.keep_document(
                self.store, self.index.id, one.document, made, size=one.size, mtime_ns=one.mtime_ns
            )
            self.report.added += one.is_new
            self.report.changed += not one.is_new
            self.report.chunks += len(one.chunks)
            self.report.truncated += sum(c.truncated for c in one.chunks)

    def _vectors(self, chunks: Sequence[Chunk]) -> list[int | None]:
        """A row of its own for each passage; what the index has already is copied and not computed."""
        import numpy as np

        if self.embedder is None or not chunks:
            return [None] * len(chunks)
        known = kept.vectors_by_digest(self.store, self.index.id, (c.digest for c in chunks))
        texts = {c.digest: c.embedded for c in chunks if c.digest not in known}
        made = (
            dict(zip(texts, self.embedder.embed(list(texts.values())), strict=True))
            if texts
            else {}
        )
        self.report.embedded += len(texts)
        if known:
            there = self.vectors.read(max(known.values()) + 1)
            made.update({digest: np.array(there[row]) for digest, row in known.items()})
        values = np.stack([made[c.digest] for c in chunks])
        rows = kept.take_rows(self.store, self.index.id, len(chunks))
        self.vectors.write(rows, values)
        return list(rows)

    def _remove_gone(
        self, there: set[str], known: Mapping[str, kept.DocumentRow], folder: str
    ) -> None:
        below = f"{folder.rstrip('/')}/" if folder else ""
        for source in known:
            is_file = bool(known[source].mtime_ns)
            if is_file and source.startswith(below) and source not in there:
                with self.store.write() as conn:
                    kept.drop_document(conn, self.index.id, source)
                self.report.removed += 1

    def _count(self, text: str) -> int:
        if self.embedder is None:
            return -(-len(text) // CHARACTERS)
        return self.embedder.count(text)

    def _tokens(self) -> int:
        return int(self.index.settings["tokens"])

    def _say(self, number: int, total: int | None) -> None:
        if self.tell is None:
            return
        elapsed = time.monotonic() - self._began
        left = ""
        if total and number < total and elapsed > 2:
            left = f" · about {elapsed / number * (total - number):.0f} s left"
        of = f"/{total}" if total else ""
        self.tell(
            f"{self.index.name}: {number}{of} documents, {self.report.embedded} passages embedded{left}"
        )


def text_document(source: str, text: str, metadata: Mapping[str, Any] | None = None) -> Document:
    """A document that is no file."""
    from llmops_jupyter.rag.sections import Section

    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Document(source, digest, (Section(text),), dict(metadata or {}))


def row_documents(
    rows: Iterable[tuple[str, Mapping[str, Any]]], column: str, prefix: str
) -> Iterator[Document]:
    """A document for each row of a table: its text column, the others as metadata.

    Raises:
        DataError: a row has no such column.
    """
    from llmops_jupyter.rag.reading import row_section

    for number, (row_id, row) in enumerate(rows, 1):
        if column not in row:
            raise DataError(
                f"Row {row_id!r} has no column {column!r}. Columns: {', '.join(map(str, row))}."
            )
        section = replace(row_section(row, number, column), locator=f"row {row_id}")
        digest = hashlib.sha256(
            repr(sorted(row.items())).encode("utf-8", "surrogatepass")
        ).hexdigest()
        yield Document(f"{prefix}#{row_id}", digest, (section,), section.metadata)


def folder_of(given: Any, base: Path) -> str | None:
    """The folder whose documents are kept in step, if a folder was named; '' is the project's own."""
    path = Path(given).expanduser()
    if not path.is_dir():
        return None
    found = source_of(path, base)
    return "" if found == "." else found
