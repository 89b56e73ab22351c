"""The quiet line of alarms under the next cell: each one once, and once more when it is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import LLMOpsError

if TYPE_CHECKING:
    from llmops_jupyter.workspace import Workspace

MOST = 3
ALL = "all"
ACTIVE = "SELECT rule, state, change_id FROM alert_standings WHERE state IN ('warning', 'alert') ORDER BY rule"


class Notices:
    """What this kernel has said of alarms; it asks the store one small question after each cell."""

    def __init__(self) -> None:
        self._store = ""
        self._said: dict[str, int] = {}
        self._shown: set[str] = set()

    def ran(self, command: str, values: Mapping[str, Any]) -> None:
        """Note that a command of %monitor has shown rules, of which this cell need not be told again."""
        if command in ("status", "panel"):
            self._shown.add(ALL)
        if command != "alerts":
            return
        action, what = values.get("action") or "list", values.get("what")
        if action == "list":
            self._shown.add(ALL)
        elif action in ("look", "show"):
            self._shown.add(what or ALL)

    def after_cell(self, workspace: Workspace | None, say: Callable[[str], None]) -> None:
        """Say what is new of alarms, in one line; a cell that has looked at them itself has shown them."""
        shown, self._shown = self._shown, set()
        if workspace is None:
            return
        try:
            if workspace.store.id != self._store:
                self._store, self._said = workspace.store.id, {}
            found = {r["rule"]: int(r["change_id"]) for r in workspace.store.rows(ACTIVE)}
            if found or self._said:
                self._say(workspace, found, say, shown)
        except (LLMOpsError, sqlite3.Error):
            return  # the cell has run; that its store cannot be read is said where it is used

    def _say(
        self,
        workspace: Workspace,
        found: dict[str, int],
        say: Callable[[str], None],
        shown: Container[str],
    ) -> None:
        new = [rule for rule, change in found.items() if self._said.get(rule) != change]
        over = [rule for rule in self._said if rule not in found]
        if not new and not over:
            return
        board = {e.rule.name: e for e in workspace.monitor.alerts.board().entries}
        # What is silenced may be said once it is not any more; what is known need not be.
        heard = [rule for rule in new if rule in board and board[rule].silence is None]
        told = [board[rule] for rule in heard if board[rule].acknowledged is None]
        told += [board[rule] for rule in over if rule in board and board[rule].silence is None]
        self._said = {rule: change for rule, change in self._said.items() if rule in found}
        self._said |= {rule: found[rule] for rule in heard}
        lines = [e.line() for e in told if ALL not in shown and e.rule.name not in shown]
        if lines:
            more = f", and {len(lines) - MOST} more" if len(lines) > MOST else ""
            say(f"monitor: {'; '.join(lines[:MOST])}{more} — %monitor alerts")
