"""Queries to sqlite-vec through apsw, since Python's own sqlite3 may load no extensions; this program runs
in its environment.

`python -m benchmarks.sqlitevec ROWS QUERIES K` prints the seconds of each query as JSON.
"""

from __future__ import annotations

import json
import sys
import time

import apsw
import numpy as np
import sqlite_vec


def main() -> None:
    rows, queries, k = np.load(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3])
    connection = apsw.Connection(":memory:")
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute(f"CREATE VIRTUAL TABLE rows USING vec0(vector float[{rows.shape[1]}])")
    with connection:
        connection.executemany(
            "INSERT INTO rows(rowid, vector) VALUES (?, ?)",
            ((number, row.tobytes()) for number, row in enumerate(rows)),
        )
    seconds = []
    for query in queries:
        began = time.perf_counter()
        connection.execute(
            "SELECT rowid, distance FROM rows WHERE vector MATCH ? AND k = ? ORDER BY distance",
            (query.tobytes(), k),
        ).fetchall()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
