"""What the magics and the command line both do: one option table, one function for each command."""

from llmops_jupyter.commands.view import Advice, Context, Result, Rows

__all__ = ["Advice", "Context", "Result", "Rows"]
