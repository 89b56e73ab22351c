"""Which texts have a word, in any of its forms: by the tokenizer and stems of SQLite's full-text index."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence

from llmops_jupyter.rag.words import COMMON, TOKENIZER

_WORD = re.compile(r"\d+(?:[.,:]\d+)*|\w+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
# Chinese, Japanese, Korean and Thai write no spaces between words.
_SIGN = re.compile("[\u0e01-\u0e5b\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
# Without "one", which is seldom a number.
_ONES = (
    "zero - two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_TENS = "thirty forty fifty sixty seventy eighty ninety hundred"
_NAMED = {name: str(value) for value, name in enumerate(_ONES.split()) if name != "-"} | {
    name: str(10 * value) for value, name in enumerate(_TENS.split(), 3)
}
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_MONTHS = "january february march april june july august september october november december"
_SEASONS = "spring summer autumn winter"
_KINDS = {
    "day": frozenset(_DAYS.split()),
    "month": frozenset(_MONTHS.split()),
    "season": frozenset(_SEASONS.split()),
}


class WordMatch:
    """A few texts, looked up by word; the first has the number 0."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._conn = sqlite3.connect(":memory:")
        self._conn.execute(f"CREATE VIRTUAL TABLE t USING fts5(text, tokenize='{TOKENIZER}')")
        self._conn.executemany(
            "INSERT INTO t(rowid, text) VALUES (?, ?)", [(i, plain(t)) for i, t in enumerate(texts)]
        )
        self._known: dict[str, frozenset[int]] = {}

    def having(self, word: str) -> frozenset[int]:
        """The texts that have a word or another of its forms."""
        found = self._known.get(word)
        if found is None:
            asked = '"' + plain(word).replace('"', '""') + '"'
            rows = self._conn.execute("SELECT rowid FROM t WHERE t MATCH ?", (asked,))
            found = self._known[word] = frozenset(row[0] for row in rows)
        return found

    def close(self) -> None:
        """Free the memory."""
        self._conn.close()


def plain(text: str) -> str:
    """Text as it is compared: thousands without commas, signs of scripts without spaces apart, no lone surrogates."""
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = _SIGN.sub(r" \g<0> ", text)
    return text.encode("utf-8", "replace").decode()


def telling(text: str) -> list[str]:
    """The words of a text that say something, and its numbers, each once."""
    words = (w.lower() for w in _WORD.findall(plain(text)))
    return list(
        dict.fromkeys(
            w
            for w in words
            if w not in COMMON and (len(w) > 1 or w.isdigit() or _SIGN.fullmatch(w))
        )
    )


def numbers(text: str) -> set[str]:
    """The numbers of a text, as they are compared: 1,200 is 1200, 2.50 is 2.5, seven is 7."""
    found = {_plain_number(n) for n in _NUMBER.findall(plain(text))}
    return found | {_NAMED[w] for w in _WORD.findall(text.lower()) if w in _NAMED}


def kinds(text: str) -> dict[str, set[str]]:
    """Days, months and seasons of a text, by kind."""
    words = {w.removesuffix("s") for w in _WORD.findall(text.lower())}
    return {kind: words & names for kind, names in _KINDS.items()}


def _plain_number(text: str) -> str:
    text = text.strip(".,:")
    return text.rstrip("0").rstrip(".") if re.fullmatch(r"\d+\.\d+", text) else text


def any_of(match: WordMatch, words: Iterable[str]) -> frozenset[int]:
    """The texts that have one of these words."""
    return frozenset().union(*(match.having(w) for w in words))
