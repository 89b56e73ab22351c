"""A budget, and how it stands: what may be used, of what, in which time, and what was used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from llmops_jupyter.render.html import bundle, table_html, text_table
from llmops_jupyter.render.quantities import quantity

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

    def resets(self, now: float, last: float) -> str:
        """When what was used no longer counts, in words.

        Args:
            now: seconds since 1970.
            last: when the latest use is booked; later than now if the clock went back meanwhile.
        """
        back = ""
        if last > now + MINUTE_S and (self.per == DAY or self.hours is not None):
            back = f"The clock went back: use is booked until {_told(last)}. "
        if self.per == CALL:
            return "It holds for each call."
        if self.per == DAY:
            return f"{back}It begins anew at {_told(_midnight(max(now, last), 1))}."
        if self.hours is not None:
            return f"{back}What was used counts for {self.hours:g} hours."
        return "It does not begin anew by itself."


@dataclass(frozen=True)
class BudgetState:
    """A budget with what was used of it in the window that holds now.

    Args:
        budget: the budget.
        used: by finished calls, by unit.
        running: what is reserved by calls that run.
        at: when, in seconds since 1970.
        remark: what it is for and is not there yet, so that it protects nothing.
    """

    budget: Budget
    used: Mapping[str, float]
    running: Mapping[str, float]
    at: float
    remark: str = ""

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
            "remark": self.remark,
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
            "status": f"{self.status}; {self.remark}" if self.remark else self.status,
        }

    def __str__(self) -> str:
        return text_table([self.row()])


class BudgetList(list[BudgetState]):
    """Budgets as a table."""

    def __str__(self) -> str:
        return text_table([state.row() for state in self])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        rows = [state.row() for state in self]
        return bundle(str(self), table_html(rows))


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


def _told(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment):%Y-%m-%d %H:%M}"  # noqa: DTZ006 - the user's own clock


def _midnight(now: float, days: int) -> float:
    """Seconds since 1970 of the midnight that began this day here, or of one so many days later."""
    day = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)  # noqa: DTZ006 - as above
    return (day + timedelta(days=days)).timestamp()
