"""What a command needs, and what it gives back to be shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.workspace import Workspace


AGAIN = "broken off; what there is was kept: run it again to go on"


@dataclass(frozen=True)
class Rows:
    """A table to show."""

    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[str] | None = None


class Advice(str):
    """A line that names magics; a terminal names its own commands instead."""

    __slots__ = ()


@dataclass(frozen=True)
class Result:
    """What a command came to.

    `views` are shown one after the other: a text is a line, `Rows` a table, anything else shows itself.
    `value` is the result as plain JSON values, or an object that a variable can take.
    """

    value: Any = None
    views: tuple[Any, ...] = ()


def line(text: str, value: Any = None) -> Result:
    """A result that is one line."""
    return Result({"message": text} if value is None else value, (text,))


def table(rows: Sequence[Mapping[str, Any]], empty: str) -> Result:
    """A result that is a table, or a line that says what to do when there is nothing."""
    return Result(list(rows), (Rows(rows),) if rows else (Advice(empty),))


class Context(Protocol):
    """Where a command runs: a notebook or a terminal."""

    @property
    def workspace(self) -> Workspace:
        """The open workspace."""
        ...

    @property
    def variables(self) -> Mapping[str, Any]:
        """Variables by name; in a terminal those given on the command line."""
        ...

    def progress(self) -> Callable[[str], None]:
        """A function that shows how far long work is, in place."""
        ...


def size(n: int) -> str:
    """Bytes for people: MB (1024 × 1024) or GB."""
    mb = n / 1024**2
    return f"{mb:,.0f} MB" if mb < 1024 else f"{mb / 1024:,.1f} GB"


def minute(stamp: str) -> str:
    """An ISO time to the minute."""
    return stamp[:16].replace("T", " ")


@contextmanager
def told(context: Context, goes_on: str = AGAIN) -> Iterator[Callable[[str], None]]:
    """Progress of long work; when it is broken off, the line says how it goes on, or the work itself did if ''."""
    show, last = context.progress(), [""]

    def tell(text: str) -> None:
        last[0] = text
        show(text)

    try:
        yield tell
    except KeyboardInterrupt:
        if goes_on:
            show(f"{last[0]} · {goes_on}")
        raise


def where_of(given: Sequence[str] | None) -> dict[str, Any] | None:
    """Filters from ``KEY=VALUE``; several of one key are alternatives.

    Raises:
        OptionError: one is written otherwise.
    """
    found: dict[str, list[str]] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise OptionError(f"{text!r} is no filter. Write KEY=VALUE, for instance source=*.md")
        found.setdefault(key, []).append(value)
    return dict(found) or None
