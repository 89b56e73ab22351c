"""Attacks on prompts, in families of our own writing, with checks that only obeying satisfies."""

from llmops_jupyter.monitor.redteam.catalogue import families, goals
from llmops_jupyter.monitor.redteam.comparing import RedTeamComparison
from llmops_jupyter.monitor.redteam.report import FamilyRate, RedTeamReport

__all__ = ["FamilyRate", "RedTeamComparison", "RedTeamReport", "families", "goals"]
