"""SQLite's errors, said so that a user knows what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from llmops_jupyter.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds the lock, so that trying again helps."""
    text = str(error)
    return "locked" in text or "busy" in text


def explain(error: sqlite3.Error, path: Path | None) -> StoreError:
    """The store's error for one of SQLite's."""
    text = str(error).lower()
    name = "The store in memory" if path is None else f"The store {str(path)!r}"
    if "not a database" in text or "malformed" in text or "corrupt" in text:
        return StoreCorruptError(
            f"{name} is damaged ({error}). It was left as it is: move it aside and put back a backup "
            "(llmops backup makes them; an upgrade leaves one beside the file)."
        )
    if "readonly" in text or "read-only" in text or "unable to open" in text:
        return StoreReadOnlyError(
            f"{name} cannot be written ({error}). Make the file and its folder writable, or set "
            "LLMOPS_HOME to a folder that you can write."
        )
    if "full" in text:
        return StoreFullError(
            f"The disk that holds {name[0].lower() + name[1:]} is full. Everything saved before is "
            "kept; free some space and run the cell again."
        )
    if is_busy(error):
        return StoreBusyError(
            f"{name} has been locked by another program for a long time. Close the program that is "
            "writing to it, then run the cell again."
        )
    return StoreError(
        f"{name} cannot be used: {error}. Run `llmops doctor` to have the file checked."
    )
