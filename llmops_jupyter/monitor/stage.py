"""What a workspace watches."""

from __future__ import annotations

from llmops_jupyter.monitor.alerting import Alerting
from llmops_jupyter.monitor.drift import Drift
from llmops_jupyter.monitor.probing import Probing
from llmops_jupyter.monitor.spending import Spending


class Monitor(Drift, Spending, Alerting, Probing):
    """Baselines, drift, cost, alerts and attacks of one workspace."""
