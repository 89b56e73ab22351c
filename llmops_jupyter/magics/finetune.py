"""`%finetune run` and `resume` with the curve in the cell while it grows, and `%finetune panel`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import finetune as commands
from llmops_jupyter.errors import OptionError
from llmops_jupyter.magics.display import is_terminal, show_result
from llmops_jupyter.magics.panels import panel_class, show_panel

if TYPE_CHECKING:
    from llmops_jupyter.commands import Result
    from llmops_jupyter.finetune.runs import Run
    from llmops_jupyter.magics.session import Session

DRAW_EVERY_S = 1.0


class LiveCurve:
    """The picture of a run, drawn again about once a second."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._drawn_at = 0.0
        self._drawn: tuple[int, int] = (0, 0)

    def show(self, run: Run) -> None:
        from IPython.display import display

        picture, now = run.chart(), time.monotonic()
        state = (run.step, len(run.evals))
        over = run.status != "running"
        if picture is None or state == self._drawn:
            return
        if now - self._drawn_at < DRAW_EVERY_S and not over and run.step < run.steps:
            return
        self._drawn_at, self._drawn = now, state
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)


def run_(session: Session, values: Mapping[str, Any]) -> None:
    _live(session, values, commands.run_)


def resume_(session: Session, values: Mapping[str, Any]) -> None:
    _live(session, values, commands.resume_)


def panel_(session: Session, values: Mapping[str, Any]) -> None:
    run = session.workspace.finetune.get(values["run"])
    if is_terminal(session.shell):
        raise OptionError(
            f"Panels are for notebooks. In a terminal, follow the run with: %finetune status {run.name}"
        )
    made = panel_class("finetune", "FinetunePanel", "fine-tuning panel")
    show_panel(lambda tell: made(session.workspace.finetune, run.id, tell))


def _live(session: Session, values: Mapping[str, Any], command: Callable[..., Result]) -> None:
    shown = None if is_terminal(session.shell) else LiveCurve().show
    try:
        result = command(session, values, shown)
    finally:
        session.end_progress()
    session.assign(values.get("out"), result.value)
    show_result(session.shell, result)
