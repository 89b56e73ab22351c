"""Keeps calls of models within the budgets.

Before a call, what it may use at most is reserved in the store, in one transaction with the look at what is left; so
two kernels that share the store never hand out the same tokens, calls or dollars twice. The request is lowered
to what is left, and the engine stops at that token. When the call ends, the reservation goes and what was really
used is booked.

Time cannot be reserved without shutting others out. A call gets what is left as its deadline, and looks every
`CHECK_S` seconds whether others have used it up meanwhile: together they overrun by at most that and one step of the
model for each call that runs. Rows of a map share their steps, so they are booked when they end: there the bound is
what the rows in flight use.
"""

from __future__ import annotations

import json
import math
import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import BudgetError
from llmops_jupyter.monitor.cost import budgets as accounts
from llmops_jupyter.monitor.cost.budget import CALL, MINUTE_S, Budget, amount
from llmops_jupyter.monitor.cost.budgets import Budgets
from llmops_jupyter.monitor.cost.pricing import Rates, rates_of
from llmops_jupyter.monitor.cost.scope import is_prompt
from llmops_jupyter.tracing import Tracer
from llmops_jupyter.tracing.notebooks import is_notebook
from llmops_jupyter.tracing.process import is_dead

if TYPE_CHECKING:
    from llmops_jupyter.prompts.spending import Call

CHECK_S = 0.25
# A limit that floating-point sums miss by so little is met.
TINY = 1e-9
COUNTED = ("tokens", "output_tokens", "calls")


@dataclass(frozen=True)
class Need:
    """What a call takes of a unit: at once, for each token that it writes, and for each second."""

    fixed: float = 0.0
    a_token: float = 0.0
    a_second: float = 0.0


@dataclass
class Leave:
    """A limit of a budget that concerns a call, with what it needs of it, what was used before, and when last."""

    budget: Budget
    unit: str
    limit: float
    need: Need
    before: float
    last: float = 0.0


class Purse:
    """The budgets of a workspace, as runs of prompts ask for them.

    Args:
        tracer: knows the store, this process and the notebook.
    """

    def __init__(self, budgets: Budgets, tracer: Tracer) -> None:
        self.budgets = budgets
        self.store = budgets.store
        self.tracer = tracer

    def check(self, call: Call) -> None:
        """Raise a BudgetError if nothing is left for a call; nothing is reserved."""
        limits = self._concerned(call)
        if limits:
            needs = _needs(call, {unit for _, unit, _ in limits})
            _lower(self._left(self.store.read(), limits, needs), call, self.budgets.now())

    def permit(self, call: Call) -> Permit | None:
        """Reserve for a call; None if no budget concerns it.

        Raises:
            BudgetError: nothing is left; it says of what, what was used, and how to go on.
        """
        limits = self._concerned(call)
        if not limits:
            return None
        number = secrets.token_hex(8)
        # Tokens are counted before anybody has to wait for the store.
        needs = _needs(call, {unit for _, unit, _ in limits})
        with self.store.write() as conn:
            process = self.tracer.register_process(conn)
            self._sweep(conn)
            # Other processes may have used something since the budgets were read.
            leaves = self._left(conn, limits, needs)
            now = self.budgets.now()
            request, because = _lower(leaves, call, now)
            for leave in leaves:
                if leave.budget.per != CALL:
                    need, most = leave.need, request.sampling.max_tokens
                    reserved = need.fixed + need.a_token * most
                    rate = need.a_second if call.alone else 0.0
                    conn.execute(
                        "INSERT INTO budget_reservations(call, account, unit, amount, rate, started, "
                        "process_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (number, leave.budget.account, leave.unit, reserved, rate, now, process),
                    )
        self.tracer.registered()
        return Permit(
            self, call, number, leaves, request, because, _uncounted(limits, leaves, call)
        )

    def _concerned(self, call: Call) -> list[tuple[Budget, str, float]]:
        notebook: str | None = None
        found = []
        for budget in self.budgets.in_force():
            if "notebook" in budget.scope and notebook is None:
                provenance = self.tracer.provenance
                notebook = (provenance().notebook if provenance else None) or ""
            if self._concerns(budget.scope, call, notebook or ""):
                found += [(budget, unit, limit) for unit, limit in budget.limits.items()]
        return found

    def _concerns(self, scope: Mapping[str, str], call: Call, notebook: str) -> bool:
        held = {"session": call.session or "", "deployment": call.deployment}
        for kind, name in scope.items():
            if kind == "prompt":
                meant = is_prompt(self.store.read(), name, call.prompt, call.version)
            elif kind == "notebook":
                meant = is_notebook(notebook, name)
            else:
                meant = held[kind] == name
            if not meant:
                return False
        return True

    def _left(
        self,
        conn: sqlite3.Connection,
        limits: list[tuple[Budget, str, float]],
        needs: Mapping[str, Need],
    ) -> list[Leave]:
        """What each limit has left for a call; limits of what cannot be known here are left out."""
        now = self.budgets.now()
        found = []
        for budget, unit, limit in limits:
            if unit in needs:
                before = accounts.used(conn, budget, unit, now)
                before += accounts.running(conn, budget, unit, now)
                last = accounts.latest(conn, budget, unit)
                found.append(Leave(budget, unit, limit, needs[unit], before, last))
        return found

    def _sweep(self, conn: sqlite3.Connection) -> None:
        """Book what dead processes had reserved: they may have used all of it."""
        rows = conn.execute(
            "SELECT DISTINCT p.* FROM budget_reservations r JOIN processes p ON p.id = r.process_id"
        ).fetchall()
        for dead in [row["id"] for row in rows if is_dead(row)]:
            left = conn.execute(
                "SELECT account, unit, amount, started FROM budget_reservations WHERE process_id = ?",
                (dead,),
            ).fetchall()
            for row in left:
                _book(conn, row["account"], row["unit"], row["started"], row["amount"])
            conn.execute("DELETE FROM budget_reservations WHERE process_id = ?", (dead,))


class Permit:
    """Leave to make a call; see `prompts.spending.Permit`."""

    def __init__(
        self,
        purse: Purse,
        call: Call,
        number: str,
        leaves: list[Leave],
        request: Request,
        because: Mapping[str, Leave],
        notes: tuple[str, ...],
    ) -> None:
        self.request = request
        self.lowered = "length" in because
        self._purse, self._call, self._number = purse, call, number
        self._leaves, self._because, self._notes = leaves, because, notes
        self._timed = [x for x in leaves if x.need.a_second and x.budget.per != CALL and call.alone]
        self._looked = time.monotonic()
        self._over: Leave | None = None
        self._settled = False

    def over(self) -> bool:
        """Whether others have used up what this call goes on using with time."""
        now = time.monotonic()
        if not self._timed or now - self._looked < CHECK_S:
            return False
        self._looked = now
        conn, at = self._purse.store.read(), self._purse.budgets.now()
        for leave in self._timed:
            taken = accounts.used(conn, leave.budget, leave.unit, at)
            taken += accounts.running(conn, leave.budget, leave.unit, at)
            if taken >= leave.limit:
                self._over = leave
                return True
        return False

    def settle(self, finished: Finished) -> Finished:
        """Book what the call took; the end as it is told, with 'budget' where a budget was the reason."""
        if self._settled:
            return finished
        self._settled = True
        notes = (*self._notes, *self._booked(finished))
        cut = self._over or self._because.get(finished.finish_reason)
        if finished.finish_reason == "length":
            # The end of the context may have come first.
            most = self.request.sampling.max_tokens
            cut = cut if finished.usage.output_tokens >= most else None
        if cut is not None and finished.finish_reason in ("length", "deadline", "budget"):
            reason = f"{_named(cut)} stopped the answer. {_advice(cut, self._purse.budgets.now())}"
            notes = (reason, *notes)
            return replace(finished, finish_reason="budget", notes=(*finished.notes, *notes))
        return replace(finished, notes=(*finished.notes, *notes)) if notes else finished

    def _booked(self, finished: Finished) -> tuple[str, ...]:
        asked = max((x.need.fixed for x in self._leaves if x.unit == "tokens"), default=0.0)
        spent = _spent(self._call, finished, {leave.unit for leave in self._leaves}, asked)
        now, notes = self._purse.budgets.now(), []
        with self._purse.store.write() as conn:
            conn.execute("DELETE FROM budget_reservations WHERE call = ?", (self._number,))
            for leave in self._leaves:
                if leave.budget.per == CALL:
                    continue
                _book(conn, leave.budget.account, leave.unit, now, spent[leave.unit])
                after = accounts.used(conn, leave.budget, leave.unit, now)
                line = leave.budget.warn * leave.limit
                if after - spent[leave.unit] < line <= after < leave.limit:
                    notes.append(
                        f"The budget {leave.budget.name!r} has {after / leave.limit:.0%} used: "
                        f"{amount(after, leave.unit)} of {amount(leave.limit, leave.unit)}."
                    )
        return tuple(notes)


def _lower(leaves: list[Leave], call: Call, now: float) -> tuple[Request, Mapping[str, Leave]]:
    """The request within what is left, and which limit would end it by its length or its deadline.

    Raises:
        BudgetError: a limit has nothing left.
    """
    request, because = call.request, {}
    for leave in leaves:
        need, left = leave.need, leave.limit - leave.before
        room = left - need.fixed + TINY * max(1.0, leave.limit)
        if room < 0 or left <= 0 or (need.a_token and room < need.a_token):
            raise BudgetError(f"{_refused(leave)} {_advice(leave, now)}")
        if need.a_token and room / need.a_token < request.sampling.max_tokens:
            most = math.floor(room / need.a_token)
            request = replace(request, sampling=replace(request.sampling, max_tokens=most))
            because["length"] = leave
    for leave in leaves:
        need = leave.need
        if not need.a_second or (not call.alone and leave.budget.per != CALL):
            continue
        seconds = (leave.limit - leave.before - need.fixed) / need.a_second
        if request.deadline_s is None or seconds < request.deadline_s:
            request = replace(request, deadline_s=max(seconds, 0.001))
            because["deadline"] = leave
    return request, because


def _needs(call: Call, units: set[str]) -> dict[str, Need]:
    """What a call takes of each unit; units that cannot be known for it are missing."""
    found = {
        "output_tokens": Need(a_token=1.0),
        "calls": Need(fixed=1.0),
        "seconds": Need(a_second=1.0),
    }
    asked = 0
    if units & {"tokens", "dollars"}:
        asked = _asked(call)
        found["tokens"] = Need(fixed=float(asked), a_token=1.0)
    if units & {"dollars", "joules"}:
        rates = rates_of(call.engine)
        if rates.price is not None:
            fixed, each = rates.price.input * asked, rates.price.output
            found["dollars"] = Need(fixed=fixed / 1e6, a_token=each / 1e6)
        elif rates.dollars_a_second is not None:
            found["dollars"] = Need(a_second=rates.dollars_a_second)
        if rates.watts is not None:
            found["joules"] = Need(a_second=rates.watts)
        elif rates.counted:
            found["joules"] = Need()
    return {unit: need for unit, need in found.items() if unit in units}


def _uncounted(
    limits: list[tuple[Budget, str, float]], leaves: list[Leave], call: Call
) -> tuple[str, ...]:
    """Which limits do not hold for a call, since nobody knows what it takes of them."""
    held = {(leave.budget.name, leave.unit) for leave in leaves}
    return tuple(
        f"The budget {budget.name!r} does not count this call: nothing says what {call.engine.model_name} costs in "
        f"{unit}. Say so in prices.json."
        for budget, unit, _ in limits
        if (budget.name, unit) not in held
    )


def _asked(call: Call) -> int:
    """Tokens of a call's prompt, with what it will get yet."""
    request = call.request
    count = call.engine.count_tokens(request.messages or request.text or "")
    if request.prefill:
        count += call.engine.count_tokens(request.prefill)
    if request.tools:
        told = json.dumps([tool.as_dict() for tool in request.tools], ensure_ascii=False)
        count += call.engine.count_tokens(told)
    return count + call.extra_tokens


def _spent(call: Call, finished: Finished, units: set[str], counted: float) -> dict[str, float]:
    """What a call took of each unit; `counted` are the tokens of its prompt as they were counted before."""
    usage, taken = finished.usage, finished.resources
    asked = float(usage.input_tokens)
    if finished.finish_reason == "interrupted" and not asked:
        asked = counted  # the engine's own count was lost
    made = bool(
        usage.input_tokens or usage.output_tokens or finished.finish_reason == "interrupted"
    )
    busy = finished.timing.total_s if taken is None or taken.busy_s is None else taken.busy_s
    found = {
        "tokens": asked + usage.output_tokens,
        "output_tokens": float(usage.output_tokens),
        "calls": float(made),
        "seconds": busy,
        "dollars": 0.0,
        "joules": 0.0,
    }
    if units & {"dollars", "joules"}:
        rates: Rates = rates_of(call.engine)
        found["joules"] = rates.joules(finished) or 0.0
        found["dollars"] = rates.dollars(finished) or 0.0
    return found


def _book(conn: sqlite3.Connection, account: str, unit: str, at: float, used: float) -> None:
    conn.execute(
        "INSERT INTO budget_usage(account, unit, minute, used) VALUES (?, ?, ?, ?) "
        "ON CONFLICT(account, unit, minute) DO UPDATE SET used = used + excluded.used",
        (account, unit, math.floor(at / MINUTE_S), used),
    )


def _named(leave: Leave) -> str:
    return f"The budget {leave.budget.name!r} ({leave.budget.words()})"


def _refused(leave: Leave) -> str:
    left = max(0.0, leave.limit - leave.before)
    if leave.budget.per == CALL:
        return f"{_named(leave)} is too small: this call needs {amount(leave.need.fixed, leave.unit)} before it answers."
    if left <= 0:
        return f"{_named(leave)} is used up: {amount(leave.before, leave.unit)} used or reserved by running calls."
    return (
        f"{_named(leave)} has {amount(left, leave.unit)} left, too little: this call needs "
        f"{amount(leave.need.fixed + leave.need.a_token, leave.unit)} for its prompt and one token."
    )


def _advice(leave: Leave, now: float) -> str:
    """When it begins anew, and a limit under which the call could go on: twice as much, or what it needs at least."""
    need, more = leave.need, 2 * leave.limit
    least = need.fixed + need.a_token + need.a_second
    if leave.budget.per != CALL:
        least += leave.before
    more = 2 * least if more < least else more
    return (
        f"{leave.budget.resets(now, leave.last)} To raise it: "
        f"monitor.budget({leave.budget.name!r}, {leave.unit}={_shown(more, leave.unit)})."
    )


def _shown(value: float, unit: str) -> str:
    """A limit as it is written in Python, rounded up; all that is counted is whole."""
    if value >= 1000 or unit in COUNTED:
        return f"{math.ceil(value - TINY * value):,}".replace(",", "_")
    digits = 3 - math.floor(math.log10(value)) if value else 0
    return f"{math.ceil(value * 10**digits - TINY) / 10**digits:.12g}"
