"""What a budget is for: whether a call is of it, and whether there is such a thing yet."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence

from llmops_jupyter.errors import UnknownNameError, did_you_mean
from llmops_jupyter.monitor.cost.budget import CALL, Budget
from llmops_jupyter.store import aliases

PROMPT = "prompt"


def check(conn: sqlite3.Connection, scope: Mapping[str, str]) -> None:
    """See that a prompt that is there has the version or alias that is named; one that is not may yet come.

    Raises:
        UnknownNameError: it has not.
    """
    if PROMPT not in scope:
        return
    name, selector = aliases.parse_reference(scope[PROMPT])
    versions = _versions(conn, name)
    if versions and not (selector and _split(conn, name, selector)):
        aliases.resolve(conn, PROMPT, name, selector, versions)


def is_prompt(conn: sqlite3.Connection, reference: str, prompt: str, version: int | None) -> bool:
    """Whether a call is of a prompt: any version of a name, a number, or what an alias points at or splits."""
    name, _, selector = reference.partition("@")
    if name != prompt:
        return False
    if not selector:
        return True
    if selector.isdigit():
        return int(selector) == version
    if version in _split(conn, name, selector):
        return True
    return aliases.all_aliases(conn, PROMPT, name).get(selector) == version


def remark(conn: sqlite3.Connection, budget: Budget) -> str:
    """What of all that a budget is for is not there yet, so that it protects nothing; '' if there is nothing to say."""
    said = _of_prompt(conn, budget.scope)
    if said:
        return said
    others = [f"{kind} {name}" for kind, name in budget.scope.items() if kind != PROMPT]
    if others and budget.per != CALL and not _has_counted(conn, budget):
        return f"no call of {' and '.join(others)} yet"
    return ""


def _of_prompt(conn: sqlite3.Connection, scope: Mapping[str, str]) -> str:
    if PROMPT not in scope:
        return ""
    name = scope[PROMPT].partition("@")[0]
    if not _versions(conn, name):
        rows = conn.execute("SELECT DISTINCT name FROM prompt_versions").fetchall()
        return (
            f"no prompt {name!r} yet.{did_you_mean(name, [row[0] for row in rows])}".removesuffix(
                "."
            )
        )
    try:
        check(conn, scope)
    except UnknownNameError:
        return f"no {scope[PROMPT]} any more"
    return ""


def _has_counted(conn: sqlite3.Connection, budget: Budget) -> bool:
    return any(
        conn.execute(
            f"SELECT 1 FROM {table} WHERE account = ? LIMIT 1", (budget.account,)
        ).fetchone()
        for table in ("budget_usage", "budget_reservations")
    )


def _versions(conn: sqlite3.Connection, name: str) -> list[int]:
    rows = conn.execute("SELECT version FROM prompt_versions WHERE name = ?", (name,)).fetchall()
    return [row[0] for row in rows]


def _split(conn: sqlite3.Connection, name: str, alias: str) -> Sequence[int]:
    """The versions between which an alias is split now."""
    row = conn.execute(
        "SELECT arms FROM prompt_splits WHERE name = ? AND alias = ? AND ended_at IS NULL",
        (name, alias),
    ).fetchone()
    return [] if row is None else [arm[0] for arm in json.loads(row[0])]
