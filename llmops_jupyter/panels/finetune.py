"""The widget that shows a fine-tuning run while it goes on, and stops it or goes on with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.finetune.runs import RUNNING, Run
from llmops_jupyter.panels.assets import script, style
from llmops_jupyter.panels.base import LookingPanel, text_of
from llmops_jupyter.panels.runs import bundle_of, curve_of, state_of

if TYPE_CHECKING:
    from llmops_jupyter.finetune.stage import Finetune

LOOK_S = 1.0
# What a saved notebook keeps is made anew this often.
KEEP_S = 10.0
FAILED = "That failed. %finetune status shows the run."


class FinetunePanel(LookingPanel):
    """Shows one run at a time, which can be another one; it is looked at about once a second while it goes on.

    Args:
        stage: the fine-tuning of a workspace.
        run: shown first, by its id or its adapter's name; the newest if not given.
        tell: told what a saved notebook keeps, as a MIME bundle.

    Raises:
        UnknownNameError: there is no such run.
    """

    _esm = script("finetune")
    _css = style("finetune")
    runs = traitlets.List().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    curve = traitlets.Dict().tag(sync=True)
    what = "fine-tuning panel"

    def __init__(
        self,
        stage: Finetune,
        run: str | None = None,
        tell: Callable[[dict[str, str]], None] | None = None,
    ) -> None:
        found = stage.get(run)
        super().__init__(tell)
        self.stage, self._run = stage, found
        self._list()
        self._show(found)
        self._follow_run()

    def bundle(self) -> dict[str, str]:
        """The run as text, picture and table."""
        return bundle_of(self._run)

    def _take(self, action: str, content: Mapping[str, Any]) -> None:
        with self._lock:
            self._heard, self._said = text_of(content.get("ask")), FAILED
            try:
                self._act(action, text_of(content.get("run")))
                self._said = ""
            except LLMOpsError as e:
                self._said = str(e)
            finally:
                self._look()
        self._follow_run()

    def _act(self, action: str, wanted: str) -> None:
        if action == "stop":
            self.stage.stop(wanted)
        elif action == "resume":
            self.stage.resume(wanted)
        elif action == "choose":
            self._run = self.stage.get(wanted)
        self._list()

    def _list(self) -> None:
        self.runs = [
            {"id": run.id, "name": run.name, "status": run.status} for run in self.stage.list()
        ]

    def _follow_run(self) -> None:
        """Have a thread look for as long as the run goes on."""
        with self._lock:
            if self._run.status == RUNNING:
                self._follow(self._run.id)

    def _every_s(self) -> float:
        return LOOK_S

    def _look(self) -> bool:
        before = self._run.status
        try:
            run = self.stage.get(self._run.id)
            self._show(run)
            if run.status != before:
                self._list()
        except (LLMOpsError, sqlite3.Error) as e:  # the workspace was closed, or its disk is full
            self.shown = {**self.shown, "said": str(e), "heard": self._heard}
            return False
        return run.status == RUNNING

    def _show(self, run: Run) -> None:
        self._run = run
        with self.hold_sync():
            self.curve = curve_of(run)
            self.shown = {**state_of(run), "said": self._said, "heard": self._heard}
        self._keep((run.id, run.status), KEEP_S, self.bundle)
