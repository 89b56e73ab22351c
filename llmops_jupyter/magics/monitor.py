"""`%monitor panel`: the widget of rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import MissingDependencyError, OptionError
from llmops_jupyter.magics.display import is_terminal, show

if TYPE_CHECKING:
    from llmops_jupyter.magics.session import Session


def panel_(session: Session, values: Mapping[str, Any]) -> None:
    monitor = session.workspace.monitor
    if values["rule"]:
        monitor.alerts.get(values["rule"])
    if is_terminal(session.shell):
        raise OptionError("Panels are for notebooks. In a terminal, see: %monitor status")
    try:
        from llmops_jupyter.panels.monitor import MonitorPanel
    except ImportError as e:
        raise MissingDependencyError(
            f"The panel of rules needs {e.name or 'anywidget'}, which is not installed. Run: pip install anywidget "
            "ipywidgets"
        ) from e
    from IPython.display import display

    kept: list[Any] = []

    def tell(bundle: Mapping[str, str]) -> None:
        if kept:
            kept[0].update(dict(bundle), raw=True)

    panel = MonitorPanel(monitor, values["rule"], tell)
    show(panel)
    kept.append(display(panel.bundle(), raw=True, display_id=True))
