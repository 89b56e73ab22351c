"""Rows of spans as records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from llmops_jupyter.records import Message, Resources, Usage
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import names, process, values
from llmops_jupyter.tracing.messages import load_messages
from llmops_jupyter.tracing.records import SpanRecord, TraceSummary, iso, prompt_reference

# What a summary is made of, of root spans `s`.
SUMMARY = (
    "SELECT s.id, s.trace_id, s.name, s.start_ns, s.end_ns, s.status, s.process_id, s.prompt_name, "
    "s.prompt_version, s.model, s.input_tokens, s.output_tokens, s.partial, s.notebook, s.session, "
    "s.output_message, s.attributes, "
    "(SELECT m.parts FROM messages m WHERE m.hash = s.output_message) AS parts FROM spans s "
)


def dead_owners(store: Store, rows: Iterable[sqlite3.Row]) -> set[str]:
    """The processes of open spans that have ended."""
    owners = {r["process_id"] for r in rows if r["status"] == "open"}
    marks = ",".join("?" * len(owners))
    found = store.rows(f"SELECT * FROM processes WHERE id IN ({marks})", tuple(owners))
    return {r["id"] for r in found if process.is_dead(r)}


def status_of(row: sqlite3.Row, dead: set[str]) -> str:
    """The status of a span; one left open by a process among the `dead` is interrupted."""
    return "interrupted" if row["process_id"] in dead and row["status"] == "open" else row["status"]


def summary_of(row: sqlite3.Row, dead: set[str]) -> TraceSummary:
    """A line of a list, of a row with the columns of `SUMMARY`."""
    preview = row["partial"] or ""
    if row["parts"]:
        preview = "".join(p.get("content", "") for p in json.loads(row["parts"]))
    elif not preview:
        preview = str(values.read(row["attributes"]).get(names.OUTPUT_VALUE, ""))
    prompt = prompt_reference(row["prompt_name"], row["prompt_version"])
    end = row["end_ns"]
    return TraceSummary(
        trace_id=row["trace_id"],
        name=row["name"],
        started_at=iso(row["start_ns"]),
        duration_s=None if end is None else (end - row["start_ns"]) / 1e9,
        status=status_of(row, dead),
        prompt=prompt,
        model=row["model"] or "",
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        preview=preview[:200],
        notebook=row["notebook"] or "",
        session=row["session"] or "",
    )


def span_of(conn: sqlite3.Connection, row: sqlite3.Row, dead: set[str]) -> SpanRecord:
    """A span with its messages, of a whole row."""
    same = (
        *("trace_id", "span_id", "parent_id", "name", "op", "kind", "start_ns", "end_ns"),
        *("first_token_ns", "error_type", "error_message", "provider", "model", "model_digest"),
        *("prompt_name", "prompt_version", "session", "seed", "cost", "notebook", "cell_id"),
        *("execution_count", "kernel_id", "schema_url"),
    )
    output = load_messages(conn, row["output_message"], row["input_message"])
    if not output and row["partial"]:
        output = (Message("assistant", row["partial"]),)
    usage = None
    if row["input_tokens"] is not None:
        usage = Usage(row["input_tokens"], row["output_tokens"] or 0, row["cached_tokens"] or 0)
    taken = None
    if any(row[name] is not None for name in ("busy_s", "cpu_s", "energy_j")):
        taken = Resources(
            *(row["busy_s"], row["cpu_s"], row["peak_bytes"], row["energy_j"]),
            shared=bool(row["shared"]),
            energy_source=row["energy_source"] or "measured",
        )
    return SpanRecord(
        **{name: row[name] for name in same},
        status=status_of(row, dead),
        usage=usage,
        input=load_messages(conn, row["input_message"]),
        output=output,
        attributes=values.read(row["attributes"]),
        resources=taken,
    )
