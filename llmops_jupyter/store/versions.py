"""What has numbered versions and aliases, whatever its content: found, listed, compared, pointed at."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, Protocol, TypeVar

from llmops_jupyter.errors import OptionError
from llmops_jupyter.store import aliases
from llmops_jupyter.store.connection import Store

if TYPE_CHECKING:
    from llmops_jupyter.render.difference import Difference


class Version(Protocol):
    """One version of something with a name."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def ref(self) -> str: ...


V = TypeVar("V", bound=Version)


class Versions(ABC, Generic[V]):
    """The versions of one kind of thing in a store. A kind says how they are read and what may move."""

    KIND: ClassVar[str]
    # What is said of a version that has no such part; '' where nothing is said.
    ABSENT: ClassVar[Mapping[str, str]] = {}

    def __init__(self, store: Store) -> None:
        self.store = store

    def get(self, reference: str) -> V:
        """The version meant by ``name`` (the highest), ``name@3`` or ``name@alias``.

        Raises:
            UnknownNameError: there is none.
        """
        name, selector = aliases.parse_reference(reference, self.KIND)
        conn = self.store.read()
        return self._load(
            conn, name, aliases.resolve(conn, self.KIND, name, selector, self._numbers(name))
        )

    def history(self, name: str) -> Sequence[V]:
        """All versions of a name, newest first."""
        name, _ = aliases.parse_reference(name, self.KIND)
        conn = self.store.read()
        return [self._load(conn, name, v) for v in sorted(self._numbers(name), reverse=True)]

    def diff(self, a: str, b: str | None = None) -> Difference:
        """What changed from `a` to `b`; with one name only, from the version before to the highest."""
        from llmops_jupyter.render.difference import Difference, text_of

        if b is None:
            after = self.get(a)
            older = [v for v in self.history(after.name) if v.version < after.version]
            if not older:
                raise OptionError(f"{after.ref} is the first version: there is nothing to compare.")
            before = older[0]
        else:
            before, after = self.get(a), self.get(b)
        old, new = self._parts(before), self._parts(after)
        absent = {title: self.ABSENT.get(title, "") for title in {**old, **new}}
        old, new = {**absent, **old}, {**absent, **new}
        return Difference(
            text_of(old),
            text_of(new),
            (before.ref, after.ref),
            {title: (text, new[title]) for title, text in old.items()},
        )

    def alias(
        self,
        reference: str,
        alias: str,
        note: str = "",
        *,
        expected: int | Literal["any"] | None = "any",
    ) -> V:
        """Point an alias at a version.

        Args:
            reference: of the version.
            alias: to be moved, or made.
            note: why.
            expected: where it points as far as the caller knows, None for nowhere; left out, that does not matter.

        Raises:
            ConflictError: it points at another version by now; nothing was changed.
        """
        found = self.get(reference)
        with self.store.write() as conn:
            aliases.check_expected(conn, self.KIND, found.name, alias, expected)
            aliases.set_alias(conn, self.KIND, found.name, alias, found.version, note)
            self._moved(conn, found.name, alias)
        return self.get(found.ref)

    def unalias(self, reference: str, note: str = "") -> None:
        """Remove the alias in ``name@alias``."""
        name, selector = aliases.parse_reference(reference, self.KIND)
        with self.store.write() as conn:
            aliases.remove_alias(conn, self.KIND, name, selector or "", note)
            self._moved(conn, name, selector or "")

    def alias_log(self, name: str) -> Sequence[aliases.AliasChange]:
        """Every change of the aliases of a name, oldest first."""
        return aliases.history(self.store.read(), self.KIND, name)

    @abstractmethod
    def _numbers(self, name: str) -> Sequence[int]:
        """The numbers of the versions of a name; an UnknownNameError if there are none."""

    @abstractmethod
    def _load(self, conn: sqlite3.Connection, name: str, version: int) -> V:
        """A version that is there."""

    @abstractmethod
    def _parts(self, version: V) -> Mapping[str, str]:
        """A version as text for people to compare, by what it is; the first part is what it is mainly."""

    def _moved(self, conn: sqlite3.Connection, name: str, alias: str) -> None:
        """An alias is about to point elsewhere, in the same transaction."""
