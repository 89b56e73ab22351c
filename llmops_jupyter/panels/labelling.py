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
    from llmops_jupyter.evaluation.labels import Queue

HERE = Path(__file__).parent
# Longest text that is sent to the browser.
MOST = 20_000


class Labelling(anywidget.AnyWidget):
    """Shows the tasks of a queue one after the other."""

    _esm = HERE / "labelling.js"
    _css = HERE / "labelling.css"
    task = traitlets.Dict().tag(sync=True)
    labels = traitlets.List().tag(sync=True)

    def __init__(self, queue: Queue) -> None:
        super().__init__(labels=list(queue.labels))
        self.queue = queue
        self._undo = 0
        self.on_msg(self._received)
        self._show()

    def _received(self, _: Any, content: Any, __: Any) -> None:
        """What the person decided; a decision about a task that is no longer shown is not taken."""
        current = self.queue.current
        number = 0 if current is None else current.number
        action = content.get("action")
        said = ""
        try:
            if action == "undo":
                self.queue.undo()
                self._undo -= 1
            elif content.get("number") != number or current is None:
                said = "That was about another answer: nothing was kept. Please decide again."
            elif action == "label":
                self.queue.label(str(content.get("label")), note=str(content.get("note") or ""))
                self._undo += 1
            elif action == "skip":
                self.queue.skip()
                self._undo += 1
        except LLMOpsError as e:
            said = str(e)
        self._show(said)

    def _show(self, said: str = "") -> None:
        shown = self.queue.current
        facts = {"done": self.queue.done, "total": self.queue.total, "undo": self._undo > 0}
        if shown is None:
            self.task = {**facts, "number": 0, "over": True, "said": said}
            return
        self.task = {
            **facts,
            "number": shown.number,
            "over": False,
            "input": _cut(shown.input),
            "outputs": [_cut(text) for text in shown.outputs],
            "expected": "" if shown.expected is None else _cut(as_text(shown.expected)),
            "given": shown.given,
            "said": said,
        }

    def _repr_mimebundle_(self, **options: Any) -> Any:
        made = super()._repr_mimebundle_(**options)
        if made is None:
            return None
        data, metadata = made if isinstance(made, tuple) else (made, {})
        text = (
            f"{self.queue.done} of {self.queue.total} answers labelled as {self.queue.name!r} by "
            f"{self.queue.by}. Run the cell again to go on."
        )
        static = {"text/plain": text, "text/html": f"<p>{html.escape(text)}</p>"}
        return {**data, **static}, metadata


def _cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}… ({len(text):,} characters)"
