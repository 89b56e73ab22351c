"""`%%rag ask`, `%rag ask`, and `%rag panel` with what a saved notebook keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.rag import asking
from llmops_jupyter.errors import MissingDependencyError, OptionError
from llmops_jupyter.magics.display import is_terminal, show
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
    try:
        from llmops_jupyter.panels.search import SearchPanel
    except ImportError as e:
        raise MissingDependencyError(
            f"The search panel needs {e.name or 'anywidget'}, which is not installed. Run: pip install anywidget "
            "ipywidgets"
        ) from e
    from IPython.display import display

    kept: list[Any] = []

    def tell(bundle: Mapping[str, str]) -> None:
        if kept:
            kept[0].update(dict(bundle), raw=True)

    panel = SearchPanel(index, " ".join(values["query"]), tell)
    show(panel)
    kept.append(display(panel.bundle(), raw=True, display_id=True))
