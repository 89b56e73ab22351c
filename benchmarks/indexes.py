"""Indexes of the data sets, kept between runs: adding the same files again embeds nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import llmops_jupyter as lo
from benchmarks.corpora import KEPT


@contextmanager
def index_of(name: str, files: Mapping[str, str], tokens: int) -> Iterator[Any]:
    """An index in a workspace of its own with these Markdown files, as `%rag add` makes it."""
    home = KEPT / f"{name}-{tokens}"
    folder = home / "files"
    folder.mkdir(parents=True, exist_ok=True)
    for stem, text in files.items():
        path = folder / f"{stem}.md"
        if not path.is_file():
            path.write_text(text, "utf-8")
    with lo.open(home / ".llmops", worker="private") as ws:
        report = ws.rag.add("bench", folder, tokens=tokens)
        if report.embedded:
            print(f"  {name}, {tokens} tokens: {report}", flush=True)
        yield ws.rag.index("bench")


def stem_of(source: str) -> str:
    """The name under which a file was given."""
    return source.rpartition("/")[2].removesuffix(".md")
