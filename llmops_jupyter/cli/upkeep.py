"""`llmops export`, `import` and `backup`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import Result

if TYPE_CHECKING:
    from llmops_jupyter.cli.program import Terminal


def add_commands(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the three commands."""
    entries = (
        (
            "export",
            "folder",
            "write prompts, aliases, data sets and suites as reviewable text",
            run_export,
        ),
        ("import", "folder", "read what export wrote; merges by content", run_import),
        ("backup", "target", "copy the store while it is in use", run_backup),
    )
    for name, argument, text, function in entries:
        parser = groups.add_parser(name, parents=[common], allow_abbrev=False, help=text)
        parser.add_argument(argument)
        parser.set_defaults(_call=function)


def run_export(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    written = terminal.workspace.export(values["folder"])
    text = f"{len(written)} files written to {values['folder']}"
    return Result({"files": [str(p) for p in written]}, (text,))


def run_import(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    new = terminal.workspace.import_(values["folder"])
    text = (
        f"{new['prompts']} prompt versions, {new['data']} data set versions and {new['suites']} suites were "
        "new"
    )
    return Result(new, (text,))


def run_backup(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    path = terminal.workspace.backup(values["target"])
    return Result({"path": str(path)}, (f"backup written to {path}",))
