"""The widget of rules: where they stand, a timeline of one, alarms with buttons."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.monitor.alerts.states import ALERT, WARNING
from llmops_jupyter.panels.boards import bundle_of, rule_of, timeline_of, traces_of
from llmops_jupyter.panels.styles import style

if TYPE_CHECKING:
    from llmops_jupyter.monitor import Monitor
    from llmops_jupyter.monitor.alerts.board import Board
    from llmops_jupyter.monitor.alerts.rules import Rule

HERE = Path(__file__).parent
LOOK_S = 2.0
# Refreshing takes at most a tenth of the time, what a saved notebook keeps is made anew this often, and a browser
# that says nothing for so long shows the panel no more.
SHARE, KEEP_S, SEEN_S = 10, 30.0, 900.0
SILENCE = "1h"
FAILED = "That failed. %monitor alerts shows the rules."


class MonitorPanel(anywidget.AnyWidget):
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

    _esm = HERE / "monitor.js"
    _css = style("monitor")
    rules = traitlets.List().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    timeline = traitlets.Dict().tag(sync=True)
    traces = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        monitor: Monitor,
        rule: str | None = None,
        tell: Callable[[dict[str, str]], None] | None = None,
    ) -> None:
        if rule:
            monitor.alerts.get(rule)
        super().__init__()
        self.monitor = monitor
        self._tell, self._kept_at, self._kept = tell, 0.0, ""
        self._rule, self._said, self._heard = rule or "", "", ""
        self._lock, self._closed, self._wake = (
            threading.RLock(),
            threading.Event(),
            threading.Event(),
        )
        self._seen_until, self._busy = 0.0, False
        self._thread: threading.Thread | None = None
        self.on_msg(self._received)
        self._show(monitor.alerts.board())

    def bundle(self) -> dict[str, str]:
        """The rules as text, table and picture."""
        board = self.monitor.alerts.board()
        return bundle_of(self.monitor, board, self._chosen(board))

    def close(self) -> None:
        """Take the panel away."""
        if hasattr(self, "_closed"):
            self._closed.set()
            self._wake.set()
        super().close()

    def _received(self, _: Any, content: Any, __: Any) -> None:
        """What was pressed or chosen; whatever happens is answered, since the browser waits for it."""
        content = content if isinstance(content, dict) else {}
        action, name = str(content.get("action")), str(content.get("rule"))
        if action == "seen":
            self._seen(on=content.get("on") is True)
            return
        with self._lock:
            self._heard, self._said = str(content.get("ask")), FAILED
            try:
                self._said = self._act(action, name)
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
            threading.Thread(target=self._look, name="llmops-panel-look", daemon=True).start()
        return ""

    def _look(self) -> None:
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
                if self._thread is None and not self._closed.is_set():
                    self._thread = threading.Thread(
                        target=self._follow, name="llmops-panel-monitor", daemon=True
                    )
                    self._thread.start()
        self._wake.set()

    def _follow(self) -> None:
        pause = LOOK_S
        while not self._closed.is_set():
            self._wake.wait(pause)
            self._wake.clear()
            began = time.monotonic()
            with self._lock:
                if self._closed.is_set() or began >= self._seen_until or not self._refresh():
                    self._thread = None
                    return
            pause = max(LOOK_S, SHARE * (time.monotonic() - began))

    def _refresh(self) -> bool:
        """Show the rules as they are now; whether that was possible."""
        with self._lock:
            try:
                self._show(self.monitor.alerts.board())
            except (
                LLMOpsError,
                sqlite3.Error,
            ) as e:  # the workspace was closed, or its disk is full
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
        now, kept = time.monotonic(), board.title()
        if self._tell is not None and (kept != self._kept or now - self._kept_at >= KEEP_S):
            self._kept_at, self._kept = now, kept
            self._tell(bundle_of(self.monitor, board, rule))

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """With what a notebook shows where there is no widget: the state at the time of showing."""
        made = super()._repr_mimebundle_(**options)
        if made is None:
            return None
        data, metadata = made if isinstance(made, tuple) else (made, {})
        if self._tell is None:
            return {**data, **self.bundle()}, metadata
        text = "(panel of rules)"
        return {**data, "text/plain": text, "text/html": f"<p>{text}</p>"}, metadata
