"""Rows on their way into the store: read to the end first, on disk when there are many."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from typing import IO

from llmops_jupyter.data.values import Row, canonical, digest

MOST_IN_MEMORY = 32 * 1024 * 1024


class Spool:
    """Rows in their order, each distinct one once. Use it as a context manager.

    `items` are (row id, hash of the row); the rows themselves lie in a temporary file that nobody else
    can open once they take more than 32 MB.
    """

    def __init__(self) -> None:
        self.items: list[tuple[str, str]] = []
        self._columns: dict[str, None] = {}
        self._seen: set[str] = set()
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=MOST_IN_MEMORY)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def add(self, row_id: str, row: Row) -> None:
        text = canonical(row)
        row_hash = digest(text)
        self._columns.update(dict.fromkeys(row))
        self.items.append((row_id, row_hash))
        if row_hash not in self._seen:
            self._seen.add(row_hash)
            self._file.write(f"{row_hash} {text}\n".encode())

    def rows(self) -> Iterator[tuple[str, str]]:
        """(hash, JSON text) of each distinct row."""
        self._file.seek(0)
        for line in self._file:
            row_hash, _, text = line.decode().rstrip("\n").partition(" ")
            yield row_hash, text

    @property
    def columns_json(self) -> str:
        """The names of all columns, in the order in which they came."""
        return json.dumps(list(self._columns), ensure_ascii=False)

    @property
    def content_hash(self) -> str:
        """The hash of ids and rows in their order."""
        found = hashlib.sha256()
        for number, (row_id, row_hash) in enumerate(self.items):
            found.update(f"{chr(10) if number else ''}{row_id}\t{row_hash}".encode())
        return found.hexdigest()
