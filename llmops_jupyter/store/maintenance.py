"""Backup and integrity check of the store."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from llmops_jupyter.errors import OptionError, StoreError
from llmops_jupyter.store.connection import Store
from llmops_jupyter.store.faults import explain
from llmops_jupyter.store.location import make_private


def backup(store: Store, target: str | Path) -> Path:
    """Write a compact, consistent copy of the store while it is in use; returns its path.

    Raises:
        OptionError: the target is there already.
        StoreError: the copy could not be written; a partial one is removed.
    """
    path = Path(target).expanduser().resolve()
    if path.is_dir():
        stamp = store.now()[:19].replace(":", "").replace("-", "")
        path = path / f"llmops-{stamp}.db"
    if path.exists():
        raise OptionError(f"{str(path)!r} is there already. Name a file that does not exist yet.")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_private(part)
        _copy_into(store, part)
        part.replace(path)
    except sqlite3.Error as e:
        raise explain(e, path) from e
    except OSError as e:
        raise StoreError(f"The backup {str(path)!r} could not be written: {e.strerror}.") from e
    finally:
        if part.is_file():
            part.unlink()
    return path


def _copy_into(store: Store, target: Path) -> None:
    # The store's readers refuse everything that writes, a copy included, so this has its own.
    if store.path is None:
        store.writer().execute("VACUUM INTO ?", (str(target),))
        return
    with closing(
        sqlite3.connect(f"{store.path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    ) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


def check(store: Store) -> list[str]:
    """What is wrong with the file, one line each; empty when nothing is (reads the whole file)."""
    try:
        found = [str(r[0]) for r in store.read().execute("PRAGMA integrity_check").fetchall()]
        faults = [line for line in found if line != "ok"]
        for row in store.read().execute("PRAGMA foreign_key_check").fetchall():
            faults.append(f"table {row[0]} row {row[1]} points at a missing row of {row[2]}")
    except sqlite3.DatabaseError as e:
        return [str(explain(e, store.path))]
    return faults
