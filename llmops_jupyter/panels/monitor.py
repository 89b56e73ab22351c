"""The widget of rules: where they stand, a timeline of one, alarms with buttons."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.monitor.alerts.states import ALERT, WARNING
from llmops_jupyter.panels.assets import script, style
from llmops_jupyter.panels.base import LookingPanel, text_of
from llmops_jupyter.panels.boards import bundle_of, rule_of, timeline_of, traces_of

if TYPE_CHECKING:
    from llmops_jupyter.monitor import Monitor
    from llmops_jupyter.monitor.alerts.board import Board
    from llmops_jupyter.monitor.alerts.rules import Rule

LOOK_S = 2.0
# What a saved notebook keeps is made anew this often, and a browser that says nothing for so long shows the panel no
# more.
KEEP_S, SEEN_S = 30.0, 900.0
SILENCE = "1h"
FAILED = "That failed. %monitor alerts shows the rules."


class MonitorPanel(LookingPanel):
    """Shows rules, and one of them in more detail, and is refreshed while somebody can see it.

    The browser says when the panel comes into sight and leaves it; a thread refreshes it meanwhile, so that the kernel
    stays free. Nothing is looked at by itself: that is what a watcher does, or the button.

    Args:
        monitor: the stage of a workspace.
        rule: shown first; the worst one if not given.
        tell: told what a saved notebook keeps, as a MIME bundle.

    Raises:
        UnknownNameError: there is no such rule.
    """

    _esm = script("monitor")
    _css = style("monitor")
    rules = traitlets.List().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    timeline = traitlets.Dict().tag(sync=True)
    traces = traitlets.Dict().tag(sync=True)
    what = "panel of rules"

    def __init__(
        self,
        monitor: Monitor,
        rule: str | None = None,
        tell: Callable[[dict[str, str]], None] | None = None,
    ) -> None:
        if rule:
            monitor.alerts.get(rule)
        super().__init__(tell)
        self.monitor = monitor
        self._rule, self._seen_until, self._busy = rule or "", 0.0, False
        self._show(monitor.alerts.board())

    def bundle(self) -> dict[str, str]:
        """The rules as text, table and picture."""
        board = self.monitor.alerts.board()
        return bundle_of(self.monitor, board, self._chosen(board))

    def _take(self, action: str, content: Mapping[str, Any]) -> None:
        if action == "seen":
            self._seen(on=content.get("on") is True)
            return
        with self._lock:
            self._heard, self._said = text_of(content.get("ask")), FAILED
            try:
                self._said = self._act(action, text_of(content.get("rule")))
            except LLMOpsError as e:
                self._said = str(e)
            finally:
                self._refresh()

    def _act(self, action: str, name: str) -> str:
        """Do what was asked for; what is said of it."""
        alerts = self.monitor.alerts
        if action == "choose":
            self._rule = alerts.get(name).name
            self.traces = {}
        elif action == "silence":
            alerts.silence(name, SILENCE)
        elif action == "speak":
            alerts.speak(name)
        elif action == "acknowledge":
            alerts.acknowledge(name)
        elif action == "traces":
            found = traces_of(self.monitor, alerts.looks(alerts.get(name).name))
            self.traces = {"rule": name, "rows": found}
            return "" if found else "This rule has kept no traces of its last looks."
        elif action == "look":
            alerts.rules()
            threading.Thread(target=self._check, name="llmops-panel-look", daemon=True).start()
        return ""

    def _check(self) -> None:
        """Look at all rules beside what the kernel does, and say if that fails."""
        said = ""
        with self._lock:
            if self._busy:
                return
            self._busy = True
        try:
            self._refresh()
            if self.monitor.alerts.look(wait=False).skipped:
                said = "A look is under way already."
        except (LLMOpsError, sqlite3.Error) as e:
            said = str(e)
        finally:
            with self._lock:
                self._busy, self._said = False, said
            self._refresh()

    def _seen(self, *, on: bool) -> None:
        """Refresh while somebody sees the panel."""
        with self._lock:
            self._seen_until = time.monotonic() + SEEN_S if on else 0.0
            if on:
                self._refresh()
                self._follow("monitor")
        self._wake.set()

    def _every_s(self) -> float:
        return LOOK_S

    def _look(self) -> bool:
        return time.monotonic() < self._seen_until and self._refresh()

    def _refresh(self) -> bool:
        """Show the rules as they are now; whether that was possible."""
        with self._lock:
            try:
                self._show(self.monitor.alerts.board())
            except (LLMOpsError, sqlite3.Error) as e:  # the workspace was closed, its disk is full
                self.shown = {**self.shown, "said": str(e), "heard": self._heard}
                return False
        return True

    def _chosen(self, board: Board) -> Rule | None:
        """The rule that is shown: the one that was chosen, else the worst one."""
        found = {entry.rule.name: entry for entry in board.entries}
        if self._rule in found:
            return found[self._rule].rule
        rank = {ALERT: 0, WARNING: 1}
        ordered = sorted(board.entries, key=lambda e: rank.get(e.standing.state, 2))
        return ordered[0].rule if ordered else None

    def _show(self, board: Board) -> None:
        rule = self._chosen(board)
        rows = [rule_of(entry) for entry in board.entries]
        with self.hold_sync():
            self.rules = rows
            looks = self.monitor.alerts.looks(rule.name) if rule is not None else []
            self.timeline = timeline_of(rule, looks) if rule is not None else {}
            self.shown = {
                "rule": rule.name if rule is not None else "",
                "title": board.title(),
                "watch": self.monitor.watcher.status().sentence(),
                "said": self._said,
                "heard": self._heard,
                "looking": self._busy,
            }
        self._keep(board.title(), KEEP_S, lambda: bundle_of(self.monitor, board, rule))
