"""Metrics: what scores an answer, by code, by a judge, or by a function of the user's."""

from llmops_jupyter.evaluation.metrics.metric import Case, Metric, Scored

__all__ = ["Case", "Metric", "Scored"]
