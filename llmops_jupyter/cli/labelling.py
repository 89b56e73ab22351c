"""`llmops evaluate label`: one answer after the other, a key and Enter for each."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import Result
from llmops_jupyter.commands.labelling import queue_of, summary
from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.evaluation.metrics.arguments import as_text

if TYPE_CHECKING:
    from llmops_jupyter.cli.program import Terminal
    from llmops_jupyter.evaluation.labels import Queue, Shown


def run_label(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    """Ask until everything is labelled, the input ends or 'q' comes; each label is kept at once."""
    queue = queue_of(terminal.workspace, values)
    keys = queue.keys()
    said = ", ".join(
        f"{'/'.join(k for k in keys if keys[k] == name)} {name}" for name in queue.labels
    )
    while (shown := queue.current) is not None:
        _print(shown, queue)
        typed = _ask(f"{said}, s skip, u undo, q quit; a note may follow: ")
        if typed == "q" and "q" not in queue.labels:
            break
        try:
            _decide(queue, keys, typed)
        except LLMOpsError as e:
            print(_plain(str(e)), file=sys.stderr)
    facts = {"labelled": queue.done, "total": queue.total, "name": queue.name, "by": queue.by}
    return Result(facts, (summary(queue),))


def _decide(queue: Queue, keys: Mapping[str, str], typed: str) -> None:
    """Do what was typed: a command, a key or a label, after which a note may stand."""
    if typed in queue.labels:
        queue.label(typed)
    elif typed == "s":
        queue.skip()
    elif typed == "u":
        queue.undo()
    else:
        first, _, note = typed.partition(" ")
        queue.label(keys.get(first.lower(), first), note.strip())


def _print(shown: Shown, queue: Queue) -> None:
    titles = ("left", "right") if queue.is_pairwise else ("answer",)
    lines = [f"\n{queue.done} of {queue.total} labelled"]
    if shown.input:
        lines.append(f"asked: {_plain(shown.input)}")
    if shown.context:
        lines.append(f"context: {_plain(shown.context)}")
    lines += [f"{t}: {_plain(text)}" for t, text in zip(titles, shown.outputs, strict=True)]
    if shown.expected is not None:
        lines.append(f"expected: {_plain(as_text(shown.expected))}")
    print("\n".join(lines), file=sys.stderr)


def _plain(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(c if c == "\n" or c.isprintable() else "\ufffd" for c in text)


def _ask(question: str) -> str:
    """The line that was typed; 'q' at the end of the input."""
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    return line.strip() if line else "q"
