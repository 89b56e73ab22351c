"""The `llmops` command."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    from llmops_jupyter.cli.program import run

    return run(arguments)
