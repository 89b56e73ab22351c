"""Calls of models as the store keeps them, many at once."""

from __future__ import annotations

import time

COLUMNS = (
    *("trace_id", "span_id", "parent_id", "name", "op", "kind", "start_ns", "end_ns", "status"),
    *("provider", "model", "prompt_name", "prompt_version", "session", "notebook"),
    *("input_tokens", "output_tokens", "cached_tokens", "cost", "busy_s", "cpu_s", "peak_bytes"),
    *("energy_j", "shared", "energy_source", "process_id", "attributes", "schema_url"),
)


def add_calls(ws, calls, *, every_s=10.0, now_ns=None):
    """Keep calls as traces of one step, oldest first; each is a mapping of `COLUMNS`, with `seconds`."""
    calls = list(calls)
    end = time.time_ns() if now_ns is None else now_ns
    rows = []
    with ws.store.write() as conn:
        process = ws.tracer.register_process(conn)
        before = conn.execute("SELECT count(*) FROM spans").fetchone()[0]
        for number, call in enumerate(calls):
            start = end - int((len(calls) - number) * every_s * 1e9)
            made = {
                "trace_id": f"{before + number:032x}",
                "span_id": f"{before + number:016x}",
                "name": "chat",
                "op": "chat",
                "kind": "INTERNAL",
                "start_ns": start,
                "end_ns": start + int(call.get("seconds", 1.0) * 1e9),
                "status": "ok",
                "provider": "llama.cpp",
                "model": "smollm2",
                "process_id": process,
                "attributes": "{}",
                "schema_url": "",
                **{k: v for k, v in call.items() if k != "seconds"},
            }
            rows.append(tuple(made.get(column) for column in COLUMNS))
        marks = ",".join("?" * len(COLUMNS))
        conn.executemany(f"INSERT INTO spans({','.join(COLUMNS)}) VALUES ({marks})", rows)
    return [row[0] for row in rows]
