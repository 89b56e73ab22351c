"""A store of many traces, written straight into the tables: in seconds, where the tracer would take minutes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from llmops_jupyter.tracing.process import this_process

NOTEBOOKS = Path("/srv/notebooks")


def fill(ws: Any, count: int) -> None:
    """Write that many traces of the last six days, of two spans each."""
    with ws.store.write() as conn:
        _write(ws, conn, count)


def _write(ws: Any, conn: Any, count: int) -> None:
    process = ws.tracer.register_process(conn) or this_process().id
    now = time.time_ns()
    step = 10**9 * 60 * 60 * 24 * 6 // count  # the last six days
    roots, calls, texts = [], [], []
    for i in range(count):
        start = now - (count - i) * step
        trace = f"{i:032x}"
        same = (start, start + 10**8, "error" if i % 50 == 0 else "ok", process)
        prompt = "reply" if i % 2 else f"rare-{i % 1000}" if i % 997 == 0 else "other"
        ids = (trace, f"{i:016x}")
        place = (str(NOTEBOOKS / f"nb-{i % 20}.ipynb"), f"cell-{i % 40}", f"s{i % 5000}")
        last = ("m", None, None, 10, 5)
        root = (*ids, None, "run", "invoke_workflow", *same, prompt, i % 9 + 1)
        roots.append((2 * i + 1, *root, *place, *last))
        call = (trace, f"a{i:015x}", f"{i:016x}", "chat", "chat", *same, None, None)
        calls.append((2 * i + 2, *call, None, None, None, *last))
        texts.append(
            (2 * i + 2, "the question", f"common answer {'rareword' if i % 9973 == 0 else ''}")
        )
    columns = (
        "id, trace_id, span_id, parent_id, name, op, start_ns, end_ns, status, process_id, prompt_name, "
        "prompt_version, notebook, cell_id, session, model, input_message, output_message, input_tokens, "
        "output_tokens"
    )
    marks = ",".join("?" * 20)
    attributes = json.dumps({"llmops.filler": "x" * 300})
    sql = (
        f"INSERT INTO spans({columns}, kind, attributes, schema_url) VALUES ({marks}, 'INTERNAL', "
        f"'{attributes}', '')"
    )
    conn.executemany(sql, roots)
    conn.executemany(sql, calls)
    conn.executemany("INSERT INTO spans_text(rowid, input, output) VALUES (?, ?, ?)", texts)
