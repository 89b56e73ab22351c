"""What `%evaluate label` and `llmops evaluate label` share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.evaluate import run_number
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.labels import Queue
    from llmops_jupyter.workspace import Workspace


def queue_of(workspace: Workspace, values: Mapping[str, Any]) -> Queue:
    """The queue that a command line describes."""
    runs = [run_number(text) for text in values["runs"]]
    if len(runs) > 2:
        raise OptionError("Label the answers of one run, or pairs of answers of two.")
    default = "preference" if len(runs) == 2 else "correct"
    return workspace.evaluation.label(
        runs,
        name=values["name"] or default,
        by=values["by"],
        labels=values["labels"],
        order=values["order"] or "random",
        seed=values["seed"] or 0,
        limit=values["limit"],
        overlap=values["overlap"],
    )


def summary(queue: Queue) -> str:
    """How far a queue is, and how one goes on."""
    return (
        f"{queue.done} of {queue.total} answers labelled as {queue.name!r} by {queue.by}; labels: "
        f"{', '.join(queue.labels)}"
    )
