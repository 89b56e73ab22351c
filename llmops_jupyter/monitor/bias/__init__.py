"""Whether answers differ where only a person does: the same text with other names, pronouns, genders, ages."""

from llmops_jupyter.monitor.bias.probing import Plan, probe
from llmops_jupyter.monitor.bias.report import BiasReport, Difference

__all__ = ["BiasReport", "Difference", "Plan", "probe"]
