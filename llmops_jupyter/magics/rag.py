"""`%%rag ask`, `%rag ask`, and `%rag panel` with what a saved notebook keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.rag import asking
from llmops_jupyter.errors import OptionError
from llmops_jupyter.magics.display import is_terminal
from llmops_jupyter.magics.panels import panel_class, show_panel
from llmops_jupyter.magics.prompt import show_run

if TYPE_CHECKING:
    from llmops_jupyter.magics.session import Session
    from llmops_jupyter.records import Completion


def run_cell(session: Session, values: Mapping[str, Any], cell: str) -> None:
    """Ask what the cell says."""
    if values["ask"] != "ask":
        raise OptionError(
            f"%%rag has no cell form {values['ask']!r}. Write %%rag ask INDEX and the question below it."
        )
    _ask(session, values, cell)


def ask_(session: Session, values: Mapping[str, Any]) -> Completion:
    """Ask what the line says."""
    done = _ask(session, values, " ".join(values["question"]))
    session.shown = (done, session.provenance().execution_count)
    return done


def _ask(session: Session, values: Mapping[str, Any], question: str) -> Completion:
    run = session.workspace.rag.stream(values["index"], question, **asking(values))
    return show_run(session, run, values)


def panel_(session: Session, values: Mapping[str, Any]) -> None:
    index = session.workspace.rag.index(values["index"])
    if is_terminal(session.shell):
        raise OptionError(
            f"Panels are for notebooks. In a terminal, search with: %rag search {index.name} QUERY"
        )
    made = panel_class("search", "SearchPanel", "search panel")
    show_panel(lambda tell: made(index, " ".join(values["query"]), tell))
