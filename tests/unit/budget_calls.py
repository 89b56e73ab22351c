"""Calls under a budget, and what is used and reserved of it."""

from __future__ import annotations

from datetime import datetime

PROMPT = "say something"


def set_clock(ws):
    """The time as budgets see it, noon at first: a list of one, which a test moves."""
    found = [datetime(2026, 3, 4, 12).timestamp()]
    ws.monitor._budgets.now = lambda: found[0]
    return found


def run(ws, **options):
    return ws.prompts.run(ws.prompts.scratch(PROMPT), **options)


def used(ws, name, unit):
    return ws.monitor.budget(name).used[unit]


def reserved(ws):
    return ws.store.rows("SELECT * FROM budget_reservations")
