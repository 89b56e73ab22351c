"""The folder of an export: where it may be made, and a list of its files by which a later export knows it.

Only what an earlier export wrote is ever replaced; a folder with files of somebody else is not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from llmops_jupyter.errors import OptionError
from llmops_jupyter.finetune.whole import check_free

MANIFEST = ".llmops-export.json"


def target_of(folder: str | os.PathLike[str]) -> Path:
    """The folder that a name stands for, as an absolute path; ``~`` is the home folder.

    Raises:
        OptionError: it is no name of a folder to be made.
    """
    given = os.fspath(folder)
    try:
        if "\0" in given:
            raise ValueError("it holds a null character")
        path = Path(folder).expanduser().absolute()
        path = path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name
        here = Path.cwd().resolve()
    except (RuntimeError, ValueError, OSError) as e:
        raise OptionError(
            f"{given!r} is no folder that can be made ({e}). Name another one."
        ) from e
    if path == here or path in here.parents:
        raise OptionError(
            f"{given!r} is the folder that this runs in, or above it. Name one to be made, such as 'out/mine'."
        )
    return path


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse to replace what no export wrote.

    Raises:
        OptionError: the folder is there and may not be replaced, or holds files of somebody else.
    """
    check_free(target, overwrite=overwrite)
    if not target.is_dir() or not any(target.iterdir()):
        return
    known = _listed(target / MANIFEST)
    if known is None:
        raise OptionError(
            f"{str(target)!r} holds no earlier export, so it is not replaced. Name another folder."
        )
    found = {p.relative_to(target).as_posix() for p in target.rglob("*") if not p.is_dir()}
    if others := sorted(found - known - {MANIFEST}):
        raise OptionError(
            f"{str(target)!r} holds {others[0]!r}, which no export wrote, so it is not replaced. Move that "
            "away, or name another folder."
        )


def write(folder: Path, to: str, files: Iterable[str]) -> None:
    """Keep which files an export wrote."""
    values = {"to": to, "files": sorted(files)}
    (folder / MANIFEST).write_text(json.dumps(values, indent=1) + "\n", "utf-8")


def _listed(path: Path) -> set[str] | None:
    try:
        return {str(name) for name in json.loads(path.read_text("utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
