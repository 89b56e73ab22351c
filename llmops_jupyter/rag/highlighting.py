"""The words of a query in texts, matched as the index matches them: by SQLite's own tokenizer and stems."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from llmops_jupyter.rag.words import TOKENIZER, match_of

# No text has these marks: in what is shown, control characters that nobody sees are blanks.
BEGIN, END = "\x01", "\x02"
_BLANKS = dict.fromkeys((0, ord(BEGIN), ord(END)), " ")

# A text in pieces; true are those that match.
Pieces = list[tuple[str, bool]]


def highlighted(query: str, texts: Sequence[str]) -> list[Pieces]:
    """Each text in pieces, those that match a word of the query marked true.

    The index keeps no texts that FTS5 could mark, so a table in memory with the same tokenizer does it.
    """
    plain = [text.translate(_BLANKS) for text in texts]
    marked = _marked(match_of(query), plain)
    return [_pieces(marked.get(number, text)) for number, text in enumerate(plain)]


def places(pieces: Pieces) -> list[tuple[int, int]]:
    """Where the pieces that match begin and end, in characters of the text as JavaScript counts them (UTF-16)."""
    found, begin = [], 0
    for piece, marked in pieces:
        end = begin + len(piece.encode("utf-16-le", "surrogatepass")) // 2
        if marked:
            found.append((begin, end))
        begin = end
    return found


def excerpt(pieces: Pieces, most: int, before: int = 120) -> Pieces:
    """At most about `most` characters of a text, from a little before the first match."""
    text = "".join(piece for piece, _ in pieces)
    if len(text) <= most:
        return pieces
    first = 0
    for piece, marked in pieces:
        if marked:
            break
        first += len(piece)
    begin = max(0, min(first - before, len(text) - most)) if first < len(text) else 0
    space = text.find(" ", begin, begin + before) if begin else -1
    begin = space + 1 if space >= 0 else begin
    found: Pieces = [("…", False)] if begin else []
    place = 0
    for piece, marked in pieces:
        shown = piece[max(0, begin - place) : max(0, begin + most - place)]
        if shown:
            found.append((shown, marked))
        place += len(piece)
    if begin + most < len(text):
        found.append(("…", False))
    return found


def _marked(match: str, texts: Sequence[str]) -> dict[int, str]:
    """Texts that match by their number, with marks around what does."""
    if not match:
        return {}
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.execute(f"CREATE VIRTUAL TABLE passages USING fts5(text, tokenize='{TOKENIZER}')")
        conn.executemany("INSERT INTO passages(rowid, text) VALUES (?, ?)", enumerate(texts))
        rows = conn.execute(
            "SELECT rowid, highlight(passages, 0, ?, ?) FROM passages WHERE passages MATCH ?",
            (BEGIN, END, match),
        )
        return {row[0]: row[1] for row in rows}


def _pieces(text: str) -> Pieces:
    found: Pieces = []
    first, *others = text.split(BEGIN)
    if first:
        found.append((first, False))
    for other in others:
        inside, _, after = other.partition(END)
        found.append((inside, True))
        if after:
            found.append((after, False))
    return found
