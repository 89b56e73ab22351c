"""What a workspace watches."""

from __future__ import annotations

from llmops_jupyter.monitor.alerts.stage import Alerting
from llmops_jupyter.monitor.cost.stage import Spending
from llmops_jupyter.monitor.drift.stage import Drift
from llmops_jupyter.monitor.probing import Probing


class Monitor(Drift, Spending, Alerting, Probing):
    """Baselines, drift, cost, alerts and attacks of one workspace."""
