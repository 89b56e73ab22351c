"""Which notebook is meant: its whole path, or the end of it, such as its file name."""

from __future__ import annotations

from typing import Any

# A notebook's path may come from Windows.
SEPARATORS = ("/", "\\")


def is_notebook(path: str | None, name: str) -> bool:
    """Whether a notebook is the one that a name means: its path, or what its path ends in after a separator."""
    if not path or not name:
        return False
    return path == name or any(path.endswith(f"{one}{name}") for one in SEPARATORS)


def condition(column: str, name: str) -> tuple[str, list[Any]]:
    """The same as a condition of SQL on a column, with its parameters."""
    ends = [f"{one}{name}" for one in SEPARATORS]
    return f"({column} = ? OR substr({column}, ?) IN (?, ?))", [name, -len(name) - 1, *ends]
