"""`llmops bench serve`: what `llmops deploy bench` does, under the name by which it is looked for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import Result
from llmops_jupyter.commands.parsing import add_arguments
from llmops_jupyter.commands.table.sizing import BENCH

if TYPE_CHECKING:
    from llmops_jupyter.cli.program import Terminal


def add_commands(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add `llmops bench`."""
    entry = groups.add_parser("bench", help="measure a server under load", allow_abbrev=False)
    commands = entry.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parser = commands.add_parser("serve", help=BENCH.summary, parents=[common], allow_abbrev=False)
    add_arguments(parser, BENCH)
    parser.set_defaults(_call=run_bench)


def run_bench(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    """Measure; as the magic does."""
    from llmops_jupyter.commands.sizing import bench_

    return bench_(terminal, values)
