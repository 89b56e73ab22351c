"""`%rag panel`: the search panel, and under it what a saved notebook keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import MissingDependencyError, OptionError
from llmops_jupyter.magics.display import is_terminal, show

if TYPE_CHECKING:
    from llmops_jupyter.magics.session import Session


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
