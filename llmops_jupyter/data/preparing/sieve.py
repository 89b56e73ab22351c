"""Rows on their way through the rules: which stay, which go, and by which rule."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmops_jupyter.data.examples import Example
from llmops_jupyter.data.preparing.recipe import RULES
from llmops_jupyter.data.values import Row
from llmops_jupyter.privacy import redact

T = TypeVar("T")
Tell = Callable[[str], None]

EXAMPLES, CUT = 3, 240
SECONDS_BETWEEN = 0.5


@dataclass
class Entry:
    """A row as it stands: cleaned where it was, and what it teaches once it was read."""

    row_id: str
    row: Row
    example: Example = field(default_factory=Example)


@dataclass(frozen=True)
class Dropped:
    """A row that goes: by which rule, why, and the row that it is like."""

    entry: Entry
    rule: str
    detail: str
    like: str = ""

    def as_row(self) -> tuple[str, Row]:
        """The row with the reason in columns of its own."""
        why = {"_rule": self.rule, "_detail": self.detail, "_like": self.like}
        return self.entry.row_id, {**self.entry.row, **why}


class Sieve:
    """Collects the rows that go; rows of rules in `keep` are counted and stay."""

    def __init__(self, keep: Iterable[str] = ()) -> None:
        self.keep = frozenset(keep)
        self.dropped: list[Dropped] = []
        self.flagged: Counter[str] = Counter()
        self.examples: dict[str, list[dict[str, Any]]] = {}

    def drop(
        self, entry: Entry, rule: str, detail: str, like: str = "", *, flag: bool = False
    ) -> bool:
        """Whether the row goes; with `flag` it stays and is counted, as with its rule in `keep`."""
        assert rule in RULES, rule
        shown = self.examples.setdefault(rule, [])
        if len(shown) < EXAMPLES:
            text = shown_text(entry)
            shown.append({"row": entry.row_id, "why": plain(detail), "like": like, "text": text})
        if flag or rule in self.keep:
            self.flagged[rule] += 1
            return False
        self.dropped.append(Dropped(entry, rule, detail, like))
        return True

    @property
    def counts(self) -> dict[str, int]:
        """How many rows went, in the order of the rules."""
        counts = Counter(one.rule for one in self.dropped)
        return {rule: counts[rule] for rule in RULES if counts[rule]}


def shown_text(entry: Entry) -> str:
    """A row for a report, which lies in notebooks and repositories: without personal data, and cut."""
    text = entry.example.whole or " ".join(str(v) for v in entry.row.values() if v is not None)
    return plain(text)


def plain(text: str) -> str:
    """A text on one line, cut, without personal data."""
    line = " ".join(redact(text[: 4 * CUT])[0].split())
    return line if len(line) <= CUT else f"{line[: CUT - 1]}…"


def paced(items: Sequence[T], what: str, tell: Tell) -> Iterator[T]:
    """The items one by one, while `tell` hears how many are done and how long the rest takes."""
    began = said = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - said > SECONDS_BETWEEN and done:
            left = (now - began) / done * (len(items) - done)
            tell(f"{what}: {done:,} of {len(items):,}, about {left:.0f} s left")
            said = now
        yield item
