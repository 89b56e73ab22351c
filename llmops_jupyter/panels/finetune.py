"""The widget that shows a fine-tuning run while it goes on, and stops it or goes on with it."""

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
from llmops_jupyter.finetune.runs import RUNNING, Run
from llmops_jupyter.panels.runs import bundle_of, curve_of, state_of
from llmops_jupyter.panels.styles import style

if TYPE_CHECKING:
    from llmops_jupyter.finetune.stage import Finetune

HERE = Path(__file__).parent
LOOK_S = 1.0
# Looking takes at most a tenth of the time, and what a saved notebook keeps is made anew this often.
SHARE, KEEP_S = 10, 10.0
FAILED = "That failed. %finetune status shows the run."


class FinetunePanel(anywidget.AnyWidget):
    """Shows one run at a time, which can be another one; it is looked at about once a second while it goes on.

    A thread looks, so that the kernel stays free. It ends when the run is over, when the panel is closed, and with
    the kernel.

    Args:
        stage: the fine-tuning of a workspace.
        run: shown first, by its id or its adapter's name; the newest if not given.
        tell: told what a saved notebook keeps, as a MIME bundle.

    Raises:
        UnknownNameError: there is no such run.
    """

    _esm = HERE / "finetune.js"
    _css = style("finetune")
    runs = traitlets.List().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    curve = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        stage: Finetune,
        run: str | None = None,
        tell: Callable[[dict[str, str]], None] | None = None,
    ) -> None:
        found = stage.get(run)
        super().__init__()
        self.stage = stage
        self._tell, self._kept_at, self._kept = tell, 0.0, ("", "")
        self._run, self._said, self._heard = found, "", ""
        self._lock, self._closed = threading.RLock(), threading.Event()
        self._thread: threading.Thread | None = None
        self.on_msg(self._received)
        self._list()
        self._show(found)
        self._follow()

    def bundle(self) -> dict[str, str]:
        """The run as text, picture and table."""
        return bundle_of(self._run)

    def close(self) -> None:
        """Take the panel away; the run goes on."""
        if hasattr(self, "_closed"):
            self._closed.set()
        super().close()

    def _received(self, _: Any, content: Any, __: Any) -> None:
        """What was pressed or chosen; whatever happens is answered, since the browser waits for it."""
        content = content if isinstance(content, dict) else {}
        action, wanted = str(content.get("action")), str(content.get("run"))
        with self._lock:
            self._heard, self._said = str(content.get("ask")), FAILED
            try:
                self._act(action, wanted)
                self._said = ""
            except LLMOpsError as e:
                self._said = str(e)
            finally:
                self._look()
        self._follow()

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

    def _follow(self) -> None:
        """Have a thread look for as long as the run goes on."""
        with self._lock:
            if self._thread is not None or self._run.status != RUNNING or self._closed.is_set():
                return
            self._thread = threading.Thread(
                target=self._watch, name=f"llmops-panel-{self._run.id}", daemon=True
            )
            self._thread.start()

    def _watch(self) -> None:
        pause = LOOK_S
        while not self._closed.wait(pause):
            began = time.monotonic()
            with self._lock:
                if self._closed.is_set() or not self._look():
                    self._thread = None
                    return
            pause = max(LOOK_S, SHARE * (time.monotonic() - began))

    def _look(self) -> bool:
        """Show the run as it is now; whether it goes on."""
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
        now = time.monotonic()
        kept = (run.id, run.status)
        if self._tell is not None and (kept != self._kept or now - self._kept_at >= KEEP_S):
            self._kept_at, self._kept = now, kept
            self._tell(self.bundle())

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """With what a notebook shows where there is no widget: the state at the time of showing."""
        made = super()._repr_mimebundle_(**options)
        if made is None:
            return None
        data, metadata = made if isinstance(made, tuple) else (made, {})
        if self._tell is None:
            return {**data, **self.bundle()}, metadata
        text = "(fine-tuning panel)"
        return {**data, "text/plain": text, "text/html": f"<p>{text}</p>"}, metadata
