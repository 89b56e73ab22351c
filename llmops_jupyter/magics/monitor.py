"""`%monitor panel`: the widget of rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.magics.display import is_terminal
from llmops_jupyter.magics.panels import panel_class, show_panel

if TYPE_CHECKING:
    from llmops_jupyter.magics.session import Session


def panel_(session: Session, values: Mapping[str, Any]) -> None:
    monitor = session.workspace.monitor
    if values["rule"]:
        monitor.alerts.get(values["rule"])
    if is_terminal(session.shell):
        raise OptionError("Panels are for notebooks. In a terminal, see: %monitor status")
    made = panel_class("monitor", "MonitorPanel", "panel of rules")
    show_panel(lambda tell: made(monitor, values["rule"], tell))
