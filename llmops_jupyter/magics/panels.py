"""Showing a panel, and beside it what a saved notebook keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from llmops_jupyter.errors import MissingDependencyError
from llmops_jupyter.magics.display import show

Tell = Callable[[Mapping[str, str]], None]


def panel_class(module: str, name: str, what: str) -> Any:
    """The class of a panel.

    Raises:
        MissingDependencyError: what widgets need is not installed.
    """
    try:
        return getattr(import_module(f"llmops_jupyter.panels.{module}"), name)
    except ImportError as e:
        raise MissingDependencyError(
            f"The {what} needs {e.name or 'anywidget'}, which is not installed. Run: pip install anywidget "
            "ipywidgets"
        ) from e


def show_panel(make: Callable[[Tell], Any]) -> None:
    """Show the panel that is made, and below it what it tells that a saved notebook keeps."""
    from IPython.display import display

    kept: list[Any] = []

    def tell(bundle: Mapping[str, str]) -> None:
        if kept:
            kept[0].update(dict(bundle), raw=True)

    panel = make(tell)
    show(panel)
    kept.append(display(panel.bundle(), raw=True, display_id=True))
