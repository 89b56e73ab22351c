"""Budgets: what may be used, of what, in which time, and what was used.

A budget is a row with a version; the usage belongs to its account, which stays when the budget is changed, so that
raising one does not forget what was used. Usage is kept by the minute, a rolling window is exact to a minute.
"""

from __future__ import annotations

import json
import math
import numbers
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from llmops_jupyter.config import number
from llmops_jupyter.errors import OptionError, StoreError, did_you_mean, unknown_name
from llmops_jupyter.render.html import table_html, text_table
from llmops_jupyter.render.quantities import quantity
from llmops_jupyter.store import Store, aliases

UNITS: Mapping[str, str] = {
    "tokens": "tokens",
    "output_tokens": "output tokens",
    "seconds": "s",
    "calls": "calls",
    "dollars": "$",
    "joules": "J",
}
SCOPES = ("prompt", "notebook", "session", "deployment")
CALL, DAY, TOTAL = "call", "day", "total"
WARN = 0.8
MINUTE_S = 60
MOST_HOURS = 24 * 366


@dataclass(frozen=True)
class Budget:
    """What may be used.

    Args:
        name: its name.
        version: grows with each change.
        limits: amounts by unit; see `UNITS`.
        per: 'call', 'day' (from midnight to midnight here), 'total', or hours as in '24h', the last so many.
        scope: what it is for, by kind; see `SCOPES`. Empty is the whole workspace.
        warn: the share at which it warns.
        account: whose usage counts; that of earlier versions.
        created_at: UTC, ISO 8601.
    """

    name: str
    version: int
    limits: Mapping[str, float]
    per: str = TOTAL
    scope: Mapping[str, str] = field(default_factory=dict)
    warn: float = WARN
    account: str = ""
    created_at: str = ""

    @property
    def hours(self) -> float | None:
        """Length of a rolling window."""
        return float(self.per[:-1]) if self.per.endswith("h") else None

    def since(self, now: float) -> float:
        """When the window began that holds now, in seconds since 1970."""
        if self.per == DAY:
            return _midnight(now, 0)
        return now - self.hours * 3600 if self.hours is not None else 0.0

    def words(self) -> str:
        """Its limits in words, such as ``500 output tokens a day for prompt support``."""
        limits = ", ".join(amount(value, unit) for unit, value in self.limits.items())
        window = {CALL: "a call", DAY: "a day", TOTAL: "in total"}.get(self.per)
        of = " and ".join(f"{kind} {name}" for kind, name in self.scope.items())
        return f"{limits} {window or f'in any {self.hours:g} hours'} for {of or 'the workspace'}"

    def resets(self, now: float) -> str:
        """When what was used no longer counts, in words."""
        if self.per == CALL:
            return "It holds for each call."
        if self.per == DAY:
            return f"It begins anew at {datetime.fromtimestamp(_midnight(now, 1)):%Y-%m-%d %H:%M}."  # noqa: DTZ006 - the user's own midnight
        if self.hours is not None:
            return f"What was used counts for {self.hours:g} hours."
        return "It does not begin anew by itself."


@dataclass(frozen=True)
class BudgetState:
    """A budget with what was used of it in the window that holds now; `running` is reserved by calls that run."""

    budget: Budget
    used: Mapping[str, float]
    running: Mapping[str, float]
    at: float

    @property
    def share(self) -> float:
        """The largest share of a limit that was used."""
        if self.budget.per == CALL:
            return 0.0
        return max((_share(self.used[u], x) for u, x in self.budget.limits.items()), default=0.0)

    @property
    def status(self) -> str:
        """'ok', 'warning' from the share at which it warns, 'used up'."""
        if self.share >= 1:
            return "used up"
        return "warning" if self.share >= self.budget.warn else "ok"

    def left(self, unit: str) -> float:
        """What is left of a limit, without what running calls have reserved."""
        return max(0.0, self.budget.limits[unit] - self.used[unit] - self.running[unit])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        budget = self.budget
        return {
            "name": budget.name,
            "version": budget.version,
            "limits": dict(budget.limits),
            "per": budget.per,
            "scope": dict(budget.scope),
            "warn": budget.warn,
            "used": dict(self.used),
            "running": dict(self.running),
            "share": self.share,
            "status": self.status,
        }

    def row(self) -> dict[str, Any]:
        """A line of a table."""
        budget = self.budget
        used = ", ".join(
            f"{_number(self.used[u], u)} of {amount(x, u)}" for u, x in budget.limits.items()
        )
        return {
            "budget": f"{budget.name}@{budget.version}",
            "for": budget.words().partition(" for ")[2],
            "used": "each call" if budget.per == CALL else used,
            "limit": budget.words().partition(" for ")[0],
            "share": "" if budget.per == CALL else f"{self.share:.0%}",
            "status": self.status,
        }

    def __str__(self) -> str:
        return text_table([self.row()])


class BudgetList(list[BudgetState]):
    """Budgets as a table."""

    def __str__(self) -> str:
        return text_table([state.row() for state in self])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        rows = [state.row() for state in self]
        return {"text/plain": str(self), "text/html": table_html(rows)}


class Budgets:
    """The budgets of a store.

    Args:
        now: seconds since 1970; a clock that goes back frees nothing, as use in the future counts.
    """

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self.store = store
        self.now = now

    def set(
        self,
        name: str,
        limits: Mapping[str, float | None],
        *,
        per: str | float | None = None,
        scope: Mapping[str, str | None] | None = None,
        warn: float | None = None,
        fresh: bool = False,
    ) -> BudgetState:
        """Make a budget, or change one: what is not given stays as it is; a limit of infinity goes.

        Args:
            name: of the budget.
            limits: amounts by unit.
            per: its window; see `Budget`.
            scope: what it is for, by kind.
            warn: the share at which it warns.
            fresh: forget what was used so far.

        Raises:
            OptionError: something cannot be used; nothing has changed.
        """
        aliases.check_name("budget", name)
        given = {k: _limit(k, v) for k, v in limits.items() if v is not None}
        places = {k: _scope(k, v) for k, v in (scope or {}).items() if v is not None}
        with self.store.write() as conn:
            before = _in_force(conn, name)
            made = _changed(before, name, given, per, places, warn)
            last = conn.execute(
                "SELECT max(version) FROM budgets WHERE name = ?", (name,)
            ).fetchone()[0]
            made = replace(made, version=(last or 0) + 1, created_at=self.store.now())
            moved = before is None or before.scope != made.scope or fresh
            account = f"{name} {made.version}" if moved else before.account if before else ""
            made = replace(made, account=account)
            if before is not None and not fresh and _same(before, made):
                made = before
            else:
                _write(conn, made)
        return self.state(made)

    def get(self, name: str) -> BudgetState:
        """A budget in force.

        Raises:
            UnknownNameError: there is none of that name.
        """
        found = _in_force(self.store.read(), name)
        if found is None:
            known = [b.name for b in self.in_force()]
            raise unknown_name(
                "budget",
                name,
                known,
                f"There are {', '.join(known) or 'none'}; see monitor.budgets().",
            )
        return self.state(found)

    def end(self, name: str) -> Budget:
        """Take a budget out of force; its versions stay."""
        found = self.get(name).budget
        with self.store.write() as conn:
            conn.execute(
                "UPDATE budgets SET ended_at = ? WHERE name = ? AND ended_at IS NULL",
                (self.store.now(), name),
            )
        return found

    def history(self, name: str) -> list[Budget]:
        """All versions of a budget, the oldest first."""
        rows = self.store.rows("SELECT * FROM budgets WHERE name = ? ORDER BY version", (name,))
        return [_budget(row) for row in rows]

    def in_force(self, conn: sqlite3.Connection | None = None) -> list[Budget]:
        """The budgets that hold."""
        sql = "SELECT * FROM budgets WHERE ended_at IS NULL ORDER BY name"
        rows = self.store.rows(sql) if conn is None else conn.execute(sql).fetchall()
        return [_budget(row) for row in rows]

    def states(self) -> BudgetList:
        """The budgets that hold, with what was used of each."""
        return BudgetList(self.state(budget) for budget in self.in_force())

    def state(self, budget: Budget) -> BudgetState:
        """A budget with what was used of it."""
        now, conn = self.now(), self.store.read()
        try:
            return BudgetState(
                budget,
                {unit: used(conn, budget, unit, now) for unit in budget.limits},
                {unit: running(conn, budget, unit, now) for unit in budget.limits},
                now,
            )
        except sqlite3.Error as e:
            raise StoreError(f"The budget cannot be read: {e}. Try again.") from e


def used(conn: sqlite3.Connection, budget: Budget, unit: str, now: float) -> float:
    """What finished calls have used in the window that holds now; use in the future counts as well."""
    if budget.per == CALL:
        return 0.0
    minute = math.floor(budget.since(now) / MINUTE_S)
    found = conn.execute(
        "SELECT total(used) FROM budget_usage WHERE account = ? AND unit = ? AND minute >= ?",
        (budget.account, unit, minute),
    ).fetchone()
    return float(found[0])


def running(conn: sqlite3.Connection, budget: Budget, unit: str, now: float) -> float:
    """What running calls have reserved, and what they have used by the time that passed."""
    if budget.per == CALL:
        return 0.0
    rows = conn.execute(
        "SELECT amount, rate, started FROM budget_reservations WHERE account = ? AND unit = ?",
        (budget.account, unit),
    ).fetchall()
    return float(sum(a + rate * max(0.0, now - started) for a, rate, started in rows))


def amount(value: float, unit: str) -> str:
    """A limit with its unit, such as ``500 output tokens`` or ``$1.50``."""
    return quantity(value, UNITS[unit])


def _number(value: float, unit: str) -> str:
    return (
        f"{value:,.0f}"
        if UNITS[unit] in ("tokens", "output tokens", "calls")
        else amount(value, unit)
    )


def _share(value: float, limit: float) -> float:
    return value / limit if limit else 1.0


def _midnight(now: float, days: int) -> float:
    """Seconds since 1970 of the midnight that began this day here, or of one so many days later."""
    day = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)  # noqa: DTZ006 - as above
    return (day + timedelta(days=days)).timestamp()


def _limit(unit: str, value: Any) -> float:
    if unit not in UNITS:
        raise OptionError(
            f"There is no limit {unit!r}.{did_you_mean(unit, UNITS)} Limits: {', '.join(UNITS)}."
        )
    found = number(unit, value)
    if not found >= 0:
        raise OptionError(f"{unit} is a number that is at least 0, not {value!r:.80}.")
    return found


def _scope(kind: str, value: Any) -> str:
    if kind not in SCOPES:
        raise OptionError(
            f"A budget is for one of {', '.join(SCOPES)}, not {kind!r}.{did_you_mean(kind, SCOPES)}"
        )
    if not isinstance(value, str) or not value:
        raise OptionError(f"{kind} is a name, not {value!r:.80}.")
    if kind == "prompt":
        aliases.parse_reference(value)
    return value


def _per(value: Any) -> str:
    if isinstance(value, str) and value in (CALL, DAY, TOTAL):
        return value
    hourly = isinstance(value, numbers.Real) and not isinstance(value, bool)
    text = f"{float(value):g}h" if hourly else value
    if isinstance(text, str) and text.endswith("h"):
        try:
            hours = float(text[:-1])
        except ValueError:
            hours = math.nan
        if 0 < hours <= MOST_HOURS:
            return f"{hours:g}h"
    raise OptionError(
        f"per is 'call', 'day', 'total' or hours such as '24h' (at most {MOST_HOURS:,}), not {value!r:.80}."
    )


def _changed(
    before: Budget | None,
    name: str,
    limits: Mapping[str, float],
    per: Any,
    scope: Mapping[str, str],
    warn: Any,
) -> Budget:
    """A budget with what is given changed, checked whole."""
    start = before or Budget(name, 0, {})
    both = {**start.limits, **limits}
    kept = {unit: both[unit] for unit in UNITS if unit in both and math.isfinite(both[unit])}
    if not kept:
        raise OptionError(
            f"The budget {name!r} has no limit. Give one, for instance tokens=10_000; to end a budget: "
            f"monitor.end_budget({name!r})."
        )
    share = number("warn", start.warn if warn is None else warn)
    if not 0 < share <= 1:
        raise OptionError(f"warn is a share such as 0.8, not {warn!r:.80}.")
    return replace(
        start,
        limits=kept,
        per=start.per if per is None else _per(per),
        scope=dict(scope) if scope else dict(start.scope),
        warn=share,
    )


def _same(a: Budget, b: Budget) -> bool:
    return replace(a, version=0, created_at="") == replace(b, version=0, created_at="")


def _write(conn: sqlite3.Connection, budget: Budget) -> None:
    definition = {
        "limits": dict(budget.limits),
        "per": budget.per,
        "scope": dict(budget.scope),
        "warn": budget.warn,
    }
    conn.execute(
        "UPDATE budgets SET ended_at = ? WHERE name = ? AND ended_at IS NULL",
        (budget.created_at, budget.name),
    )
    conn.execute(
        "INSERT INTO budgets(name, version, definition, account, created_at) VALUES (?, ?, ?, ?, ?)",
        (budget.name, budget.version, json.dumps(definition), budget.account, budget.created_at),
    )


def _in_force(conn: sqlite3.Connection, name: str) -> Budget | None:
    row = conn.execute(
        "SELECT * FROM budgets WHERE name = ? AND ended_at IS NULL", (name,)
    ).fetchone()
    return None if row is None else _budget(row)


def _budget(row: sqlite3.Row) -> Budget:
    return Budget(
        row["name"],
        row["version"],
        **json.loads(row["definition"]),
        account=row["account"],
        created_at=row["created_at"],
    )
