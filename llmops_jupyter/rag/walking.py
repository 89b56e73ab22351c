"""Which files a path, a folder or a pattern means."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_jupyter.errors import DataError, UnknownNameError
from llmops_jupyter.rag.reading import SUFFIXES

# Folders that hold no documents of the user's.
LEFT_OUT = frozenset(
    {
        ".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints",
        ".llmops", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".cache", "site-packages",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A file with the name under which it is kept; see `source_of`."""

    path: Path
    source: str


def source_of(path: Path, base: Path) -> str:
    """The name of a file: its path below the project's folder, elsewhere its whole path."""
    whole = path.resolve()
    try:
        return whole.relative_to(base).as_posix()
    except ValueError:
        return whole.as_posix()


def find(given: str | os.PathLike[str], patterns: Sequence[str] = (), *, base: Path) -> list[Found]:
    """The files that are meant, in order.

    Of a folder all files of known kinds below it, or those that match one of the patterns (``*.md``,
    ``docs/**/*.py``); hidden ones and folders of tools are left out, links to folders are not followed.

    Raises:
        UnknownNameError: there is no such file or folder.
        DataError: nothing in it is read.
    """
    path = Path(given).expanduser()
    text = os.fspath(given)
    if any(mark in text for mark in "*?[") and not path.exists():
        fixed = Path(*path.parts[: _fixed(path)])
        return find(fixed, (path.relative_to(fixed).as_posix(),), base=base)
    if path.is_file():
        return [Found(path, source_of(path, base))]
    if not path.is_dir():
        raise UnknownNameError(f"There is no file or folder {text!r}. Check the path.")
    found = [Found(p, source_of(p, base)) for p in _walk(path, patterns)]
    if not found:
        kinds = ", ".join(patterns) if patterns else ", ".join(SUFFIXES)
        raise DataError(f"In {text!r} is no file of {kinds}. Name another folder or pattern.")
    return found


def _fixed(path: Path) -> int:
    """How many parts of a pattern's path come before the first mark."""
    for number, part in enumerate(path.parts):
        if any(mark in part for mark in "*?["):
            return number
    return len(path.parts)


def _walk(folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(d for d in folders if d not in LEFT_OUT and not d.startswith("."))
        for name in sorted(files):
            path = Path(place) / name
            if name.startswith(".") or not path.is_file():
                continue
            if patterns:
                relative = path.relative_to(folder)
                if any(_matches(relative, pattern) for pattern in patterns):
                    yield path
            elif path.suffix.lower() in SUFFIXES:
                yield path


def _matches(path: Path, pattern: str) -> bool:
    """Whether a relative path matches a pattern; ``**`` stands for any folders, also none."""
    plain = pattern.replace("\\", "/").removeprefix("./")
    if "/" not in plain:
        return fnmatch.fnmatch(path.name, plain)
    return _match_parts(path.parts, tuple(plain.split("/")))


def _match_parts(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_match_parts(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return (
        bool(parts)
        and fnmatch.fnmatch(parts[0], pattern[0])
        and _match_parts(parts[1:], pattern[1:])
    )
