"""What people made in a workspace, as a folder of text that can be reviewed, kept in git, and read into another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmops_jupyter.errors import OptionError, UnknownNameError

if TYPE_CHECKING:
    from llmops_jupyter.workspace import Workspace

PROMPTS, DATA, SUITES, POLICIES = "prompts", "data", "suites", "policies"


def write(workspace: Workspace, folder: str | Path) -> list[Path]:
    """Write prompts, aliases, data sets, suites and guard policies; the files.

    Raises:
        OptionError: the folder cannot be written.
    """
    from llmops_jupyter.data import export_dataset

    target = Path(folder).expanduser()
    try:
        (target / PROMPTS).mkdir(parents=True, exist_ok=True)
        written = workspace.prompts.export(target / PROMPTS)
        (target / DATA).mkdir(exist_ok=True)
        for latest in workspace.data.list():
            for dataset in workspace.data.history(latest.name):
                written += export_dataset(dataset, target / DATA)
        written += workspace.evaluation.export_suites(target / SUITES)
        written += workspace.guard.export(target / POLICIES)
    except OSError as e:
        raise OptionError(
            f"{str(target)!r} cannot be written: {e.strerror or e}. Name another folder."
        ) from e
    return written


def read(workspace: Workspace, folder: str | Path) -> dict[str, int]:
    """Read what `write` wrote, and merge it by content; how many were new, by kind.

    Everything is read and checked first; a fault in one file leaves nothing of any of them.

    Raises:
        UnknownNameError: there is no such folder.
        LLMOpsError: a file cannot be read.
    """
    from llmops_jupyter.data import read_exported
    from llmops_jupyter.evaluation.suites import read_folder
    from llmops_jupyter.guard.kept import read_folder as read_policies
    from llmops_jupyter.prompts import read_exported as read_prompts

    source = Path(folder).expanduser()
    if not source.is_dir():
        raise UnknownNameError(f"There is no folder {str(source)!r}. Name an exported one.")
    datasets = [read_exported(path) for path in sorted((source / DATA).glob("*.json"))]
    prompts = read_prompts(source / PROMPTS)
    suites = read_folder(source / SUITES)
    policies = read_policies(source / POLICIES)
    # Data sets go first: examples of prompts refer to them, by content.
    new_data = sum(dataset.add_to(workspace.data) for dataset in datasets)
    new_prompts = workspace.prompts.import_(prompts)
    new_suites = workspace.evaluation.import_suites(suites)
    return {
        PROMPTS: len(new_prompts),
        DATA: new_data,
        SUITES: new_suites,
        POLICIES: workspace.guard.import_(policies),
    }
