"""How a step is written."""

from __future__ import annotations

import sqlite3


def run(conn: sqlite3.Connection, *statements: str) -> None:
    """Execute statements in their order."""
    for statement in statements:
        conn.execute(statement)
