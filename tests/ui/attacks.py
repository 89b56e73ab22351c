"""A store of which every text that somebody or some model wrote is an attack."""

from __future__ import annotations

import json

from contents import fill
from hostile_values import KEPT

# Columns that hold what people and models write. Ids, times, hashes and states are the store's own.
WRITTEN = {
    "spans": ("name", "model", "prompt_name", "session", "error_type"),
    "scores": ("name", "label", "explanation", "identifier"),
    "prompt_versions": ("note",),
    "alias_log": ("note",),
    "aliases": ("alias",),
    "models": ("name", "source", "path"),
    "datasets": ("note", "source"),
    "evaluation_runs": ("label", "data_name"),
    "evaluation_items": ("input", "error"),
    "rag_indexes": ("name", "embedder"),
    "rag_documents": ("source", "error"),
    "rag_chunks": ("text", "heading", "locator"),
    "alert_looks": ("note",),
    "alert_changes": ("reason",),
    "alert_marks": ("why", "who"),
    "budgets": ("name",),
    "monitor_baselines": ("note", "source"),
    "finetune_runs": ("message", "model", "data"),
}
# Rules are named in several tables, which have to agree.
RULES = (
    ("alert_rules", "name"),
    *((table, "rule") for table in ("alert_looks", "alert_changes", "alert_standings")),
    ("alert_marks", "rule"),
)
SPAN = {
    "gen_ai.retrieval.query.text": KEPT,
    "gen_ai.data_source.id": KEPT,
    "gen_ai.retrieval.documents": [
        {"id": KEPT, "source": KEPT, "locator": KEPT, "content": KEPT, "score": 0.5}
    ],
    "llmops.rag.passages": [{"id": KEPT, "number": 1}],
    "llmops.rag.claims": [
        {
            "text": KEPT,
            "verdict": KEPT,
            "why": KEPT,
            "citations": [{"number": 1, "quote": KEPT, "source": KEPT, "locator": KEPT}],
        }
    ],
    "llmops.guard.verdicts": [
        {
            "check": KEPT,
            "place": KEPT,
            "decision": "block",
            "action": KEPT,
            "reason": KEPT,
            "score": 0.9,
            "evidence": KEPT,
            "policy": KEPT,
        }
    ],
    "gen_ai.tool.name": KEPT,
    "gen_ai.tool.call.arguments": {KEPT: KEPT},
    "gen_ai.tool.call.result": KEPT,
    "error.message": KEPT,
    KEPT: [KEPT, {KEPT: KEPT}],
}


def fill_with_attacks(ws, root, begun_run):
    """A store as the stages make it, with something in every section; then its texts are replaced."""
    made = fill(ws, root)
    _, _, events = begun_run(ws, "20260101-000000-aaaa", "tickets", [(KEPT, KEPT)])
    events.add({"kind": "sample", "when": "after", "number": 0, "text": KEPT})
    events.add({"kind": "end", "ended": "failed", "step": 0, "message": KEPT})
    with ws.store.write() as conn:
        conn.execute("PRAGMA ignore_check_constraints = 1")
        guards = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%RAISE%'"
        guards = conn.execute(guards).fetchall()  # such as that the alias log is append-only
        for name, _ in guards:
            conn.execute(f"DROP TRIGGER {name}")
        for table, columns in WRITTEN.items():
            for column in columns:
                conn.execute(
                    f"UPDATE {table} SET {column} = ? || hex(randomblob(4)) WHERE {column} IS NOT NULL",
                    (KEPT,),
                )
        for table, column in RULES:
            conn.execute(f"UPDATE {table} SET {column} = {column} || ?", (KEPT,))
        conn.execute("UPDATE spans SET attributes = ?", (json.dumps(SPAN),))
        conn.execute("UPDATE spans SET notebook = notebook || ?, cell_id = ?", (KEPT, KEPT))
        message = [
            {"type": "text", "content": KEPT},
            {"type": "reasoning", "content": KEPT},
            {"type": "tool_call", "id": KEPT, "name": KEPT, "arguments": {KEPT: KEPT}},
            {"type": KEPT, KEPT: KEPT},
        ]
        conn.execute("UPDATE messages SET parts = ?", (json.dumps(message),))
        conn.execute(
            "UPDATE prompt_versions SET content = json_set(content, '$.template', ? || hex(randomblob(4)))",
            (f"{{% raw %}}{KEPT}{{% endraw %}}",),
        )
        for key, row in conn.execute("SELECT hash, row FROM dataset_rows").fetchall():
            changed = {KEPT: KEPT, **dict.fromkeys(json.loads(row), KEPT)}
            conn.execute(
                "UPDATE dataset_rows SET row = ? WHERE hash = ?", (json.dumps(changed), key)
            )
        conn.execute(
            "UPDATE evaluation_outputs SET completion = json_set(completion, '$.text', ?)", (KEPT,)
        )
        conn.execute(
            "UPDATE models SET metadata = json_set(metadata, '$.name', ?, '$.architecture', ?)",
            (KEPT, KEPT),
        )
        for _, sql in guards:
            conn.execute(sql)
    return made


def attacking_output():
    """What `%trace show` gives, but from a file that somebody sent: nothing of ours has looked at it."""
    span = {
        "span_id": "a",
        "parent_id": None,
        "name": KEPT,
        "op": KEPT,
        "status": KEPT,
        "started_at": KEPT,
        "duration_s": 1.0,
        "model": KEPT,
        "prompt": KEPT,
        "input_tokens": 1,
        "output_tokens": 1,
        "cost": None,
        "error": KEPT,
        "input": [{"role": KEPT, "parts": [{"type": "text", "content": KEPT}]}],
        "output": [{"role": "assistant", "parts": [{"type": KEPT, "content": KEPT}]}],
        "attributes": {**SPAN, KEPT: KEPT},
        "events": [{"name": KEPT, KEPT: KEPT}],
        "resources": {KEPT: {"value": 1, "unit": KEPT, "source": KEPT}},
    }
    score = {
        "name": KEPT,
        "value": 1,
        "label": KEPT,
        "explanation": KEPT,
        "source": KEPT,
    }
    return {
        "trace_id": KEPT,
        "status": KEPT,
        "started_at": "2026-01-01T00:00:00Z",
        "notebook": KEPT,
        "cell_id": KEPT,
        "session": KEPT,
        "spans": [span],
        "scores": [score],
    }
