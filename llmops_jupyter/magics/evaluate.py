"""`%evaluate label`: the widget in a notebook, questions in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.labelling import queue_of, summary
from llmops_jupyter.magics.display import Status, is_terminal, say, show

if TYPE_CHECKING:
    from llmops_jupyter.magics.session import Session


def label_(session: Session, values: Mapping[str, Any]) -> None:
    queue = queue_of(session.workspace, values)
    session.assign(values.get("out"), queue)
    if is_terminal(session.shell):
        say(summary(queue))
        return
    from llmops_jupyter.panels.labelling import Labelling, progress

    line = Status(session.shell)
    show(Labelling(queue, tell=lambda text: line.show(text, force=True)))
    line.show(progress(queue), force=True)
