"""The widget in which a person labels answers, with keys; the queue behind it keeps each label at once."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.evaluation.metrics.arguments import as_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmops_jupyter.evaluation.labels import Queue

HERE = Path(__file__).parent
# Longest text that is sent to the browser.
MOST = 20_000


class Labelling(anywidget.AnyWidget):
    """Shows the tasks of a queue one after the other.

    The browser sends what the person decided and waits; the kernel keeps it and answers with the next task.
    Each answer has another `turn`, so that the browser knows that it was heard even if nothing else changed.

    Args:
        queue: what is to be labelled.
        tell: told how far it is after each decision, for a line that a saved notebook keeps.
    """

    _esm = HERE / "labelling.js"
    _css = HERE / "labelling.css"
    task = traitlets.Dict().tag(sync=True)
    labels = traitlets.List().tag(sync=True)

    def __init__(self, queue: Queue, tell: Callable[[str], None] | None = None) -> None:
        keys = queue.keys()
        super().__init__(
            labels=[
                {"name": name, "keys": [key for key, label in keys.items() if label == name]}
                for name in queue.labels
            ]
        )
        self.queue = queue
        self._tell = tell
        self._turn = 0
        self.on_msg(self._received)
        self._show()

    def _received(self, _: Any, content: Any, __: Any) -> None:
        """What the person decided; a decision about a task that is no longer shown is not taken."""
        said = "That failed, and nothing was kept."
        try:
            said = self._decide(content)
        except LLMOpsError as e:
            said = str(e)
        finally:
            self._show(said)  # whatever happened: the browser waits for it
        if self._tell is not None:
            self._tell(progress(self.queue))

    def _decide(self, content: Any) -> str:
        shown, action = self.queue.current, content.get("action")
        number = 0 if shown is None else shown.number
        if content.get("number") != number:
            return "That was about another answer: nothing was kept. Please decide again."
        if action == "undo":
            self.queue.undo()
        elif action == "label":
            self.queue.label(str(content.get("label")), note=str(content.get("note") or ""))
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
            "input": _cut(shown.input),
            "outputs": [_cut(text) for text in shown.outputs],
            "expected": "" if shown.expected is None else _cut(as_text(shown.expected)),
            "context": _cut(shown.context),
            "given": shown.given,
            "note": shown.note,
        }

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """With what a notebook shows where there is no widget: the state at the time of showing."""
        made = super()._repr_mimebundle_(**options)
        if made is None:
            return None
        data, metadata = made if isinstance(made, tuple) else (made, {})
        text = progress(self.queue) if self._tell is None else "(labelling widget)"
        return {**data, "text/plain": text, "text/html": f"<p>{html.escape(text)}</p>"}, metadata


def progress(queue: Queue) -> str:
    """How far a queue is, and how one goes on."""
    said = f"{queue.done} of {queue.total} answers labelled as {queue.name!r} by {queue.by}."
    return said if queue.remaining == 0 else f"{said} Run the cell again to go on."


def _cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}… ({len(text):,} characters)"
