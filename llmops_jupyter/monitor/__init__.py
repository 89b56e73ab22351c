"""Watching what runs: baselines, drift, cost, alerts, attacks."""

from llmops_jupyter.monitor.stage import Monitor

__all__ = ["Monitor"]
