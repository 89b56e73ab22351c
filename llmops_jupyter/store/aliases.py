"""Names, versions and aliases, the same for prompts and models.

An alias points at one version. Every change of an alias is appended to a log that is never rewritten,
so that it can be read and taken back.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llmops_jupyter.errors import (
    ConflictError,
    OptionError,
    UnknownNameError,
    did_you_mean,
    unknown_name,
)
from llmops_jupyter.store.connection import Store

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class AliasChange:
    """One entry of the log; a `version` of None means that the alias was removed."""

    id: int
    name: str
    alias: str
    version: int | None
    previous: int | None
    at: str
    note: str


def check_name(kind: str, name: str) -> str:
    """The name itself, if it may be used; else an OptionError that proposes one."""
    if NAME.fullmatch(name):
        return name
    proposal = re.sub(r"[^a-z0-9._-]+", "-", name.casefold()).strip("-._")
    hint = f" For example {proposal!r}." if NAME.fullmatch(proposal) else ""
    what = "data set" if kind == "data" else kind
    raise OptionError(
        f"{name!r} cannot be the name of a {what}: use small letters, digits, '.', '_' and '-', "
        f"beginning with a letter or digit.{hint}"
    )


def parse_reference(reference: str, kind: str = "prompt") -> tuple[str, str | None]:
    """Split ``name@selector``; the selector is a version number, an alias or None."""
    name, at, selector = str(reference).partition("@")
    check_name(kind, name)
    if not at:
        return name, None
    if not NAME.fullmatch(selector):
        raise OptionError(
            f"{reference!r} names no version: write {name}@3 for a number or {name}@production "
            "for an alias."
        )
    return name, selector


def check_alias(alias: str) -> str:
    """The alias itself, if it may be used."""
    if alias.isdigit() or alias == "latest":
        raise OptionError(
            f"{alias!r} cannot be an alias: numbers name versions, and the bare name is the latest. "
            "Choose a word such as 'production'."
        )
    return check_name("alias", alias)


def check_expected(
    conn: sqlite3.Connection,
    kind: str,
    name: str,
    alias: str,
    expected: int | Literal["any"] | None,
) -> None:
    """Refuse to move an alias that points elsewhere than its mover thinks; None is nowhere.

    Raises:
        ConflictError: it does; the message says where it points.
    """
    now = all_aliases(conn, kind, name).get(alias)
    if expected in ("any", now):
        return
    known = "nowhere" if expected is None else f"at version {expected}"
    where = "nowhere" if now is None else f"at version {now}"
    raise ConflictError(
        f"{name}@{alias} points {where} now, not {known}: somebody has moved it meanwhile. Nothing was changed; "
        "look at it again, then decide."
    )


def set_alias(
    conn: sqlite3.Connection, kind: str, name: str, alias: str, version: int, note: str = ""
) -> None:
    """Point an alias at a version and log it; the caller has checked that the version exists."""
    check_alias(alias)
    previous = all_aliases(conn, kind, name).get(alias)
    conn.execute(
        "INSERT INTO aliases(kind, name, alias, version) VALUES (?, ?, ?, ?) "
        "ON CONFLICT(kind, name, alias) DO UPDATE SET version = excluded.version",
        (kind, name, alias, version),
    )
    _log(conn, (kind, name, alias, version, previous, note))


def remove_alias(
    conn: sqlite3.Connection, kind: str, name: str, alias: str, note: str = ""
) -> None:
    """Take an alias away and log it."""
    known = all_aliases(conn, kind, name)
    if alias not in known:
        raise unknown_name("alias", alias, known, f"Aliases of {name!r}: {_listed(known)}.")
    conn.execute(
        "DELETE FROM aliases WHERE kind = ? AND name = ? AND alias = ?", (kind, name, alias)
    )
    _log(conn, (kind, name, alias, None, known[alias], note))


def _log(
    conn: sqlite3.Connection, entry: tuple[str, str, str, int | None, int | None, str]
) -> None:
    kind, name, alias, version, previous, note = entry
    conn.execute(
        "INSERT INTO alias_log(kind, name, alias, version, previous, at, note) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (kind, name, alias, version, previous, Store.now(), note),
    )


def all_aliases(conn: sqlite3.Connection, kind: str, name: str) -> dict[str, int]:
    """Aliases of a name with the version that each points at."""
    rows = conn.execute(
        "SELECT alias, version FROM aliases WHERE kind = ? AND name = ? ORDER BY alias",
        (kind, name),
    ).fetchall()
    return {row[0]: row[1] for row in rows}


def history(conn: sqlite3.Connection, kind: str, name: str) -> list[AliasChange]:
    """The log of a name's aliases, oldest first."""
    rows = conn.execute(
        "SELECT id, name, alias, version, previous, at, note FROM alias_log "
        "WHERE kind = ? AND name = ? ORDER BY id",
        (kind, name),
    ).fetchall()
    return [AliasChange(*row) for row in rows]


def resolve(
    conn: sqlite3.Connection,
    kind: str,
    name: str,
    selector: str | None,
    versions: Sequence[int],
) -> int:
    """The version that a selector means: None is the highest, a number itself, a word an alias."""
    if not versions:
        raise UnknownNameError(f"The {kind} {name!r} has no versions.")
    if selector is None:
        return max(versions)
    known = all_aliases(conn, kind, name)
    if selector.isdigit():
        if int(selector) in versions:
            return int(selector)
        raise UnknownNameError(
            f"The {kind} {name!r} has no version {selector}. It has {_span(versions)}; "
            f"see {'%model list' if kind == 'model' else f'%{kind} history {name}'}."
        )
    if selector in known:
        return known[selector]
    if selector == "latest":
        raise UnknownNameError(f"Write {name!r} without @latest: the bare name is the latest.")
    if kind == "data":
        raise UnknownNameError(
            f"{name}@{selector} names no version of a data set: write {name}@{max(versions)}. See %data "
            f"history {name}."
        )
    raise UnknownNameError(
        f"The {kind} {name!r} has no alias {selector!r}.{did_you_mean(selector, known)} "
        f"Aliases: {_listed(known)}. Set one with %{kind} alias {name}@{max(versions)} {selector}."
    )


def _listed(names: dict[str, int]) -> str:
    return ", ".join(names) or "none yet"


def _span(versions: Sequence[int]) -> str:
    low, high = min(versions), max(versions)
    return f"version {low}" if low == high else f"versions {low} to {high}"
