"""Showing answers while they are written, and tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.commands import Result, Rows

if TYPE_CHECKING:
    from llmops_jupyter.records import Completion

UPDATE_EVERY_S = 0.07


def is_terminal(shell: Any) -> bool:
    """Whether outputs cannot be updated, as in IPython's terminal."""
    return getattr(shell, "kernel", None) is None


class Live:
    """One output that is shown once and then updated, about 14 times a second at most.

    Without `stream` it is shown when it is complete. A terminal gets the text as it comes.
    """

    def __init__(self, shell: Any, *, stream: bool) -> None:
        self.shell = shell
        self.stream = stream
        self.terminal = is_terminal(shell)
        self._handle: Any = None
        self._shown_at = 0.0
        self._cost = 0.0
        self._written = False

    def piece(self, text: str, done: Completion) -> None:
        """A piece has come; `done` is what there is so far."""
        if not self.stream:
            return
        if self.terminal:
            sys.stdout.write(render.visible(text))
            sys.stdout.flush()
            self._written = True
            return
        now = time.perf_counter()
        # A long answer costs more to send each time; showing it takes at most a tenth of the time.
        if now - self._shown_at < max(UPDATE_EVERY_S, 10 * self._cost):
            return
        self._show(*render.completion_bundle(done))
        self._shown_at = time.perf_counter()
        self._cost = self._shown_at - now

    def finish(self, done: Completion) -> None:
        """The final state."""
        if self.terminal and self._written:
            after = "\n".join(render.after_stream(done))
            lines = "".join(f"[{line}]\n" for line in (render.quiet_line(done), *done.notes))
            sys.stdout.write(render.visible(f"\n{after}\n{lines}"))
            return
        self._show(*render.completion_bundle(done))

    def _show(self, data: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        if self.terminal:
            sys.stdout.write(f"{data['text/plain']}\n")
            return
        from IPython.display import display

        if self._handle is None:
            self._handle = display(
                dict(data), metadata=dict(metadata), raw=True, display_id=self.stream
            )
            self._handle = self._handle or True
        else:
            self._handle.update(dict(data), metadata=dict(metadata), raw=True)


class Status:
    """One line that is updated in place while long work goes on; taken away or replaced at its end."""

    def __init__(self, shell: Any) -> None:
        self.terminal = is_terminal(shell)
        self._handle: Any = None
        self._shown_at = 0.0
        self.text = ""

    def show(self, text: str, *, force: bool = False) -> None:
        self.text = text = render.visible(text)
        now = time.perf_counter()
        if not force and now - self._shown_at < 2 * UPDATE_EVERY_S:
            return
        self._shown_at = now
        if self.terminal:
            sys.stderr.write(f"\r{text}\x1b[K")
            return
        from IPython.display import display

        data = {"text/plain": text}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def finish(self) -> None:
        """Show the last text for good, if any was shown."""
        if self.terminal:
            sys.stderr.write(f"\r{self.text}\x1b[K\n" if self.text else "")
        elif self._handle is not None:
            self.show(self.text, force=True)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """A table as HTML and plain text."""
    show(render.bundle(render.text_table(rows, columns), render.table_html(rows, columns)))


def show(value: Any, metadata: Mapping[str, Any] | None = None) -> None:
    """A MIME bundle, or any object."""
    from IPython.display import display

    if isinstance(value, dict):
        display(value, metadata=dict(metadata or {}), raw=True)
    else:
        display(value)


def say(text: str) -> None:
    """One quiet line."""
    show({"text/plain": render.visible(text)})


def show_result(shell: Any, result: Result) -> None:
    """The views of a command, one after the other."""
    for view in result.views:
        if isinstance(view, str):
            say(view)
        elif isinstance(view, Rows):
            show_rows(view.rows, view.columns)
        elif is_terminal(shell) and hasattr(view, "ansi"):
            sys.stdout.write(f"{view.ansi()}\n")
        else:
            show(view)


def display_once(shell: Any, was_shown: Callable[[Any], bool]) -> None:
    """Have results of magics shown by the magic alone, not again by the cell that it ends.

    A line magic returns what it has shown, so that ``x = %prompt run …`` gets it. `was_shown` tells
    whether it was this object, in this cell; anything else is displayed as ever.
    """
    from llmops_jupyter.records import Completion, Table

    def display_elsewhere(value: Any) -> None:
        if not was_shown(value):
            raise NotImplementedError  # IPython then asks the object itself

    for kind in (Completion, Table):
        shell.display_formatter.ipython_display_formatter.for_type(kind, display_elsewhere)


def display_always(shell: Any) -> None:
    """Undo `display_once`."""
    from llmops_jupyter.records import Completion, Table

    for kind in (Completion, Table):
        shell.display_formatter.ipython_display_formatter.pop(kind, None)
