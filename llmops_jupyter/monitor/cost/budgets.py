"""The budgets of a store, and what was used of them.

A budget is a row with a version; the usage belongs to its account, which stays when the budget is changed, so that
raising one does not forget what was used. Usage is kept by the minute, a rolling window is exact to a minute.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from llmops_jupyter.errors import StoreError, unknown_name
from llmops_jupyter.monitor.cost import scope as scopes
from llmops_jupyter.monitor.cost.budget import CALL, MINUTE_S, Budget, BudgetList, BudgetState
from llmops_jupyter.monitor.cost.limits import changed, limit, scope_name
from llmops_jupyter.store import Store, aliases


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
            UnknownNameError: a prompt that is there has no such version or alias; nothing has changed.
        """
        aliases.check_name("budget", name)
        given = {k: limit(k, v) for k, v in limits.items() if v is not None}
        places = {k: scope_name(k, v) for k, v in (scope or {}).items() if v is not None}
        with self.store.write() as conn:
            scopes.check(conn, places)
            before = _in_force(conn, name)
            made = changed(before, name, given, per, places, warn)
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
                scopes.remark(conn, budget),
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


def latest(conn: sqlite3.Connection, budget: Budget, unit: str) -> float:
    """When the latest use is booked, in seconds since 1970; 0 if there was none."""
    found = conn.execute(
        "SELECT max(minute) FROM budget_usage WHERE account = ? AND unit = ? AND used > 0",
        (budget.account, unit),
    ).fetchone()
    return float((found[0] or 0) * MINUTE_S)


def running(conn: sqlite3.Connection, budget: Budget, unit: str, now: float) -> float:
    """What running calls have reserved, and what they have used by the time that passed."""
    if budget.per == CALL:
        return 0.0
    rows = conn.execute(
        "SELECT amount, rate, started FROM budget_reservations WHERE account = ? AND unit = ?",
        (budget.account, unit),
    ).fetchall()
    return float(sum(a + rate * max(0.0, now - started) for a, rate, started in rows))


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
