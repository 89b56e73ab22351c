"""The widget in which a person labels answers, with keys; the queue behind it keeps each label at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.evaluation.metrics.arguments import as_text
from llmops_jupyter.panels.assets import script, style
from llmops_jupyter.panels.base import Panel, number_of, text_of
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.render.lengths import beginning

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.labels import Queue

# Longest text that is sent to the browser.
MOST = 20_000


class Labelling(Panel):
    """Shows the tasks of a queue one after the other.

    The browser sends what the person decided and waits; the kernel keeps it and answers with the next task.
    Each answer has another `turn`, so that the browser knows that it was heard even if nothing else changed.

    Args:
        queue: what is to be labelled.
        tell: told how far it is after each decision, for a line that a saved notebook keeps.
    """

    _esm = script("labelling")
    _css = style("labelling")
    task = traitlets.Dict().tag(sync=True)
    labels = traitlets.List().tag(sync=True)
    what = "labelling widget"

    def __init__(self, queue: Queue, tell: Callable[[str], None] | None = None) -> None:
        keys = queue.keys()
        super().__init__(
            tell,
            labels=[
                {"name": name, "keys": [key for key, label in keys.items() if label == name]}
                for name in queue.labels
            ],
        )
        self.queue = queue
        self._turn = 0
        self._show()

    def bundle(self) -> dict[str, str]:
        """How far it is."""
        text = progress(self.queue)
        return bundle(text, f"<p>{escaped(text)}</p>")

    def _take(self, action: str, content: Mapping[str, Any]) -> None:
        """What the person decided; a decision about a task that is no longer shown is not taken."""
        said = "That failed, and nothing was kept."
        try:
            said = self._decide(action, content)
        except LLMOpsError as e:
            said = str(e)
        finally:
            self._show(said)  # whatever happened: the browser waits for it
        if self._tell is not None:
            self._tell(progress(self.queue))

    def _decide(self, action: str, content: Mapping[str, Any]) -> str:
        shown = self.queue.current
        number = 0 if shown is None else shown.number
        if number_of(content.get("number"), -1) != number:
            return "That was about another answer: nothing was kept. Please decide again."
        if action == "undo":
            self.queue.undo()
        elif action == "label":
            self.queue.label(text_of(content.get("label")), note=text_of(content.get("note")))
        elif action == "skip":
            self.queue.skip()
        elif action == "back":
            self.queue.go(self.queue.total if shown is None else max(1, number - 1))
        elif action == "on" and shown is not None:
            self.queue.go(min(self.queue.total, number + 1))
        return ""

    def _show(self, said: str = "") -> None:
        self._turn += 1
        shown = self.queue.current
        facts = {
            "turn": self._turn,
            "done": self.queue.done,
            "total": self.queue.total,
            "undo": self.queue.can_undo,
            "said": said,
        }
        if shown is None:
            self.task = {**facts, "number": 0, "over": True}
            return
        self.task = {
            **facts,
            "number": shown.number,
            "over": False,
            "input": beginning(shown.input, MOST, count=True),
            "outputs": [beginning(text, MOST, count=True) for text in shown.outputs],
            "expected": ""
            if shown.expected is None
            else beginning(as_text(shown.expected), MOST, count=True),
            "context": beginning(shown.context, MOST, count=True),
            "given": shown.given,
            "note": shown.note,
        }


def progress(queue: Queue) -> str:
    """How far a queue is, and how one goes on."""
    said = f"{queue.done} of {queue.total} answers labelled as {queue.name!r} by {queue.by}."
    return said if queue.remaining == 0 else f"{said} Run the cell again to go on."
