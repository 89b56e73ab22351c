"""Brings a store's file up to the schema of this release, step by step, or refuses it.

The number of steps that a file has seen is its `user_version`.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from llmops_jupyter.errors import StoreError, StoreVersionError
from llmops_jupyter.store.faults import explain
from llmops_jupyter.store.location import make_private
from llmops_jupyter.store.schema import MIGRATIONS

if TYPE_CHECKING:
    from llmops_jupyter.store.connection import Store

APPLICATION_ID = 0x4C4C4D4F


def version_of(store: Store, conn: sqlite3.Connection) -> int:
    """How many steps the file has seen; refuses files of newer releases and of other programs.

    SQLite itself tells a file that is no database: were it opened to look at its first bytes, closing it would drop
    the locks that this process holds on the same store through other connections.
    """
    # One statement sees one moment: another process may be making the tables.
    version, owner, tables = store.patiently(
        lambda: conn.execute(
            "SELECT (SELECT user_version FROM pragma_user_version), "
            "(SELECT application_id FROM pragma_application_id), count(*) FROM sqlite_master"
        ).fetchone()
    )
    if tables and owner != APPLICATION_ID:
        raise StoreError(
            f"{str(store.path)!r} is a SQLite file of another program and was left alone. "
            "Open another path."
        )
    if version > len(MIGRATIONS):
        raise StoreVersionError(
            f"The store {str(store.path)!r} was made by a newer release (schema {version}, this one "
            f"knows {len(MIGRATIONS)}) and was left alone. Run: pip install -U llmops-jupyter"
        )
    return int(version)


def check_readable(store: Store) -> None:
    """Check that a store opened for reading has the schema that this release reads."""
    version = version_of(store, store.read())
    if version < len(MIGRATIONS):
        raise StoreVersionError(
            f"The store {str(store.path)!r} has the older schema {version}. Open it once for writing "
            "to have it upgraded; a backup is left beside it."
        )


def upgrade(store: Store) -> None:
    """Apply the steps that are missing, in one transaction, after a backup if there is content."""
    with store.lock:
        conn = store.writer()
        version = version_of(store, conn)
        if version == len(MIGRATIONS):
            return
        if version and store.path is not None:
            _backup_beside(store, conn, version)
    with store.write() as conn:
        version = version_of(store, conn)
        for migration in MIGRATIONS[version:]:
            migration(conn)
        conn.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
        conn.execute(f"PRAGMA application_id={APPLICATION_ID}")


def _backup_beside(store: Store, conn: sqlite3.Connection, version: int) -> None:
    path = store.path
    if path is None:
        return
    stamp = store.now()[:19].replace(":", "").replace("-", "")
    target = path.with_name(f"{path.name}.schema-{version}.{stamp}.bak")
    if target.exists():
        return
    make_private(target)
    try:
        conn.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as e:
        target.unlink(missing_ok=True)
        raise explain(e, path) from e
