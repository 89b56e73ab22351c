"""The quiet line of alarms under the next cell: each one once, and once more when it is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmops_jupyter.errors import LLMOpsError

if TYPE_CHECKING:
    from llmops_jupyter.workspace import Workspace

MOST = 3
ACTIVE = "SELECT rule, state, change_id FROM alert_standings WHERE state IN ('warning', 'alert') ORDER BY rule"


class Notices:
    """What this kernel has said of alarms; it asks the store one small question after each cell."""

    def __init__(self) -> None:
        self._store = ""
        self._said: dict[str, int] = {}

    def after_cell(
        self, workspace: Workspace | None, cell: str, say: Callable[[str], None]
    ) -> None:
        """Say what is new of alarms, in one line; a cell that has looked at them itself has shown them."""
        if workspace is None:
            return
        try:
            if workspace.store.id != self._store:
                self._store, self._said = workspace.store.id, {}
            found = {r["rule"]: int(r["change_id"]) for r in workspace.store.rows(ACTIVE)}
            if found or self._said:
                self._say(workspace, found, say, shown="%monitor" in cell)
        except (LLMOpsError, sqlite3.Error):
            return  # the cell has run; that its store cannot be read is said where it is used

    def _say(
        self,
        workspace: Workspace,
        found: dict[str, int],
        say: Callable[[str], None],
        *,
        shown: bool,
    ) -> None:
        new = [rule for rule, change in found.items() if self._said.get(rule) != change]
        over = [rule for rule in self._said if rule not in found]
        if not new and not over:
            return
        board = {e.rule.name: e for e in workspace.monitor.alerts.board().entries}
        # What is silenced may be said later; what is known need not be.
        loud = [rule for rule in new if rule in board and board[rule].silence is None]
        told = [board[rule].line() for rule in loud if board[rule].acknowledged is None]
        told += [board[rule].line() for rule in over if rule in board]
        self._said = {
            rule: change for rule, change in found.items() if rule in loud or rule in self._said
        }
        if told and not shown:
            more = f", and {len(told) - MOST} more" if len(told) > MOST else ""
            say(f"monitor: {'; '.join(told[:MOST])}{more} — %monitor alerts")
