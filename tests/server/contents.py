"""A store with something in every section, made by the stages themselves, without a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.models.gguf import GGUFMetadata
from llmops_jupyter.records import Usage
from llmops_jupyter.tracing import Provenance
from llmops_jupyter.workspace import Workspace

NOTEBOOK = "notes/first.ipynb"


def fill(ws: Workspace, root: Path) -> dict[str, Any]:
    """Fill a workspace; returns names and ids to ask for."""
    made = {"traces": traces(ws, root)}
    prompts(ws)
    ws.traces.score(made["traces"][0], "thumb", "down", explanation="too short")
    ws.traces.score(made["traces"][1], "helpful", 0.5)
    ws.collect("hard-cases", made["traces"][:1])
    made["runs"] = evaluations(ws)
    models(ws)
    documents(ws, root)
    monitored(ws)
    return made


def traces(ws: Workspace, root: Path) -> list[str]:
    """Three traces of a prompt, one of which failed, and one of a function with a step of a model in it."""
    found = []
    ws.tracer.provenance = lambda: Provenance(str(root / NOTEBOOK), "cell-1", 3, "kernel")
    for number in range(3):
        span = ws.tracer.span(
            "reply",
            op="invoke_workflow",
            prompt_name="reply",
            prompt_version=1 + number % 2,
            model="tiny",
            session="talk",
        )
        try:
            with span:
                with ws.tracer.span("chat tiny", op="chat", model="tiny") as call:
                    call.input([])
                    call.output(f"Answer number {number} about bookshops \U0001f4da")
                    call.usage(Usage(10 + number, 5))
                    call.first_token(0.1)
                    call.timed(0.5)
                span.output(f"Answer number {number} about bookshops \U0001f4da")
                if number == 2:
                    raise ValueError("the shop is closed")
        except ValueError:
            pass
        found.append(span.trace_id)
    with ws.tracer.span("lookup", attributes={"deep": {"a": [1, None]}}) as s:
        s.output("nothing")
    return [*found, s.trace_id]


def prompts(ws: Workspace) -> None:
    text = "system: You are kind.\nuser: {{ question }}\n"
    ws.prompts.save("reply", text, note="first")
    ws.prompts.save("reply", text.replace("kind", "kind and short"), schema={"type": "object"})
    ws.prompts.save(
        "reply", text.replace("kind", "very kind"), examples=[{"question": "a", "output": "b"}]
    )
    ws.prompts.alias("reply@1", "production", "it begins")
    ws.prompts.alias("reply@2", "production")
    ws.prompts.alias("reply@3", "staging")
    ws.prompts.split("reply", {1: 90, 2: 10}, alias="production")
    ws.prompts.keep_defaults(ws.prompts.get("reply@2"), {"model": "tiny", "temperature": 0.5})
    ws.prompts.save("other", "user: Say {{ x }}")


def evaluations(ws: Workspace) -> list[int]:
    rows = [
        {
            "id": f"r{i}",
            "question": f"What is {i}?",
            "expected": str(i),
            "old": str(i if i % 2 else -1),
            "new": str(i if i % 3 else -1),
            "kind": "odd" if i % 2 else "even",
        }
        for i in range(40)
    ]
    ws.data.add("sums", rows)
    one = ws.evaluation.run("column=old", "sums", ["exact", "words"])
    two = ws.evaluation.run("column=new", "sums", ["exact", "words"])
    return [one.id, two.id]


def models(ws: Workspace) -> None:
    ws.models.add_endpoint("far", Endpoint(url="http://localhost:9", model="far-model"))
    metadata = GGUFMetadata(
        "llama", name="Tiny", quantization="Q4_0", layers=2, heads=4, kv_heads=(2, 2)
    )
    metadata = replace(
        metadata, key_length=16, value_length=16, tensor_bytes=1000, context_length=2048
    )
    adapter = replace(metadata, kind="adapter", base_sha256="a" * 64)
    for name, digest, about, parent in (
        ("tiny", "a" * 64, metadata, ""),
        ("tiny-q8_0", "b" * 64, metadata, "a" * 64),
        ("polite", "c" * 64, adapter, "a" * 64),
        ("stray", "d" * 64, replace(adapter, base_sha256="e" * 64), "e" * 64),
    ):
        values = {"path": f"/nowhere/{name}.gguf", "size": 1000, "mtime_ns": 1, "source": "test"}
        ws.models._write(
            name, digest, {**values, "metadata": json.dumps(about.as_dict()), "parent": parent}
        )
    ws.models.alias("polite", "production")
    with ws.store.write() as conn:
        one = {"kind": "Q4_0", "size": 1000, "tokens_per_s": 90.0, "perplexity": 20.0}
        other = {**one, "kind": "Q8_0", "ratio": [1.01, 1.0, 1.02], "tokens": 900, "chosen": True}
        kept = [{**one, "ratio": None, "tokens": 0, "chosen": False}, other]
        conn.execute(
            "INSERT INTO settings(key, value) VALUES (?, ?)",
            (f"tuning:{'a' * 64}", json.dumps({"candidates": kept})),
        )


def documents(ws: Workspace, root: Path) -> None:
    folder = root / "handbook"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "returns.md").write_text(
        "# Returns \U0001f4da\n\nBooks \U0001f4da can be returned within thirty days.\n", "utf-8"
    )
    (folder / "orders.md").write_text("# Orders\n\nOrders are sent on the same day.\n", "utf-8")
    ws.rag.add("handbook", str(folder), embedder="none")


def monitored(ws: Workspace) -> None:
    ws.monitor.alerts.add(name="errors", metric="error_rate", alert=0.1, window="24h", at_least=1)
    ws.monitor.alerts.add(name="slow", metric="p95_latency_s", warn=60, alert=90, window="24h")
    ws.monitor.alerts.look()
    ws.monitor.alerts.silence("slow", "2h")
    ws.monitor.budget("daily", calls=100, dollars=1, per="day")
    rows = [{"input": f"question {i}", "length": i % 7} for i in range(40)]
    ws.monitor.baseline("normal", rows, embedder="none")
    ws.monitor.check("normal", [{**r, "length": 50} for r in rows], calibrated=False)
