"""`llmops gate`: a suite in CI, on an exported folder, with or without a model."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import Result
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.cli.program import Terminal

HELP = "run a suite and decide its gates; ends with 0 passed, 1 error, 2 failed, 3 undecided"


def add_commands(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add `llmops gate`."""
    parser = groups.add_parser("gate", parents=[common], allow_abbrev=False, help=HELP)
    parser.description = HELP
    parser.add_argument("suite", help="YAML file, or the name of a kept suite")
    parser.add_argument(
        "--from",
        dest="folder",
        metavar="FOLDER",
        help="exported folder to run on, in a store of its own; left out: the one that the suite lies in",
    )
    parser.add_argument(
        "--model-path", metavar="FILE", help="model file to run, as --model names it"
    )
    parser.add_argument("--model-name", metavar="NAME", help="name of the model file in the suite")
    parser.add_argument("--replay", metavar="FILE", help="cassette that answers instead of a model")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit's XML")
    parser.add_argument("--markdown", metavar="FILE", help="append a summary in Markdown")
    parser.add_argument(
        "--allow-undecided", action="store_true", help="end with 0 where no gate failed"
    )
    parser.set_defaults(_call=run_gate)


def run_gate(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    """Run the suite in the user's store, or on an exported folder in one of its own."""
    from llmops_jupyter.commands.gating import gate_

    folder = _folder(values)
    if folder is None:
        _prepare(terminal.workspace, values)
        return gate_(terminal, values)
    with _imported(terminal, folder, values) as there:
        return gate_(there, values)


def _folder(values: Mapping[str, Any]) -> Path | None:
    """The exported folder: the one that is named, else the one that the suite's file lies in."""
    if values["folder"]:
        folder = Path(values["folder"]).expanduser()
        if not folder.is_dir():
            raise OptionError(
                f"There is no folder {str(folder)!r}. Name one that llmops export wrote."
            )
        return folder
    path = Path(values["suite"]).expanduser()
    if values.get("store") or not path.is_file():
        return None
    for parent in path.resolve().parents[:2]:
        beside = path.resolve().parent.name == "suites" and parent != path.resolve().parent
        parts = [(parent / name).is_dir() for name in ("prompts", "data")]
        if all(parts) or (beside and any(parts)):
            return parent
    return None


@contextmanager
def _imported(terminal: Terminal, folder: Path, values: Mapping[str, Any]) -> Iterator[Terminal]:
    """A terminal whose store has what the folder has, and the models of the user's store."""
    from llmops_jupyter.cli.program import Terminal as Other

    with tempfile.TemporaryDirectory(prefix="llmops-gate-") as place:
        there = Other(str(Path(place) / "llmops.db"), terminal.variables, quiet=terminal.quiet)
        try:
            there.workspace.import_(folder)
            if not (values["replay"] or values["model_path"]):
                _share_models(terminal, there)
            _prepare(there.workspace, values)
            yield there
        finally:
            there.close()


def _share_models(terminal: Terminal, there: Terminal) -> None:
    """Have the user's models in the other store: by name, with their aliases and the default one."""
    mine, theirs = terminal.workspace.models, there.workspace.models
    for model in [*mine.list(), *mine.adapters()]:
        if model.endpoint is not None:
            theirs.add_endpoint(model.name, model.endpoint)
        elif model.path.exists():
            theirs.add(str(model.path), name=model.name)
        else:
            continue
        for alias in model.aliases:
            theirs.alias(model.name, alias)
    default = mine.default()
    if default is not None and default.name in {model.name for model in theirs.list()}:
        theirs.use(default.name)


def _prepare(workspace: Any, values: Mapping[str, Any]) -> None:
    if values["replay"]:
        workspace.engine.replay(values["replay"])
    if values["model_path"]:
        workspace.models.add(values["model_path"], name=values["model_name"])
