"""Opening a bundle: its manifest, and every file against its checksum."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from llmops_jupyter.deploy import manifest
from llmops_jupyter.deploy.bundle import Bundle
from llmops_jupyter.deploy.folders import Tell, hashed, silent
from llmops_jupyter.deploy.manifest import File, Manifest
from llmops_jupyter.errors import DeployError

SHOWN = 5
AGAIN = "Build the bundle again, or copy it again from where it is whole."


def open_bundle(
    folder: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    check: bool = True,
    progress: Tell | None = None,
) -> Bundle:
    """Open a bundle; it needs no store.

    Args:
        folder: of the bundle.
        model: file or folder of the model's weights, where the bundle names them and does not carry them.
        check: read every file and compare it with its checksum; without, only which files there are and how large.
        progress: told how far it is.

    Raises:
        DeployError: it is no bundle, or a file was altered, is missing or does not belong to it: all of them are named.
    """
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise DeployError(
            f"There is no bundle {str(place)!r}. Name its folder; %deploy list shows those that are registered."
        )
    place = place.absolute()
    read = manifest.read(place)
    check_files(place, read, progress or silent, deep=check)
    return Bundle(place, read, None if model is None else Path(model).expanduser().absolute())


def check_files(folder: Path, read: Manifest, tell: Tell = silent, *, deep: bool = True) -> None:
    """Compare the files of a bundle with what its manifest says of them.

    Raises:
        DeployError: with the names of those that were altered, are missing, or do not belong to it.
    """
    wanted = read.every_file()
    there = dict(_files(folder))
    links = sorted(name for name, is_file in there.items() if not is_file)
    if links:
        raise DeployError(
            f"The bundle {str(folder)!r} holds {_listed(links)}, which is no plain file: links are not followed. {AGAIN}"
        )
    missing = sorted(set(wanted) - set(there))
    extra = sorted(set(there) - set(wanted) - {manifest.FILE})
    altered = sorted(
        name
        for name, file in wanted.items()
        if name in there and not _is_as_told(folder / name, file, tell, deep=deep)
    )
    said = [
        f"{_listed(names)} {what}"
        for names, what in (
            (altered, "altered"),
            (missing, "missing"),
            (extra, "not of the bundle"),
        )
        if names
    ]
    if said:
        raise DeployError(f"The bundle {str(folder)!r} is not whole: {'; '.join(said)}. {AGAIN}")


def _is_as_told(path: Path, file: File, tell: Tell, *, deep: bool) -> bool:
    try:
        if path.stat().st_size != file.size:
            return False
    except OSError:
        return False
    return not deep or hashed(path, tell).sha256 == file.sha256


def _files(folder: Path) -> Iterator[tuple[str, bool]]:
    """Every file below a folder by its path there, and whether it is a plain one; links are never followed."""
    waiting = [folder]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError as e:
            raise DeployError(
                f"The bundle {str(folder)!r} cannot be read: {e.strerror or e}. Make its folders readable."
            ) from e
        for entry in entries:
            name = Path(entry.path).relative_to(folder).as_posix()
            if entry.is_symlink():
                yield name, False
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                yield name, entry.is_file(follow_symlinks=False)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
