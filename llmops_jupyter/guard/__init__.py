"""Safety policies around what goes into a model, what it is given to read, and what it answers.

A check says what it finds; a policy says what is done about it; verdicts keep the two apart.
"""

from llmops_jupyter.guard.check import About, Check, Finding
from llmops_jupyter.guard.kept import PolicyVersion
from llmops_jupyter.guard.policy import Policy
from llmops_jupyter.guard.report import Report
from llmops_jupyter.guard.stage import Guard

__all__ = ["About", "Check", "Finding", "Guard", "Policy", "PolicyVersion", "Report"]
