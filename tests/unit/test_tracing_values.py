"""Any value can be traced, and what is kept of it can be read."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

import llmops_jupyter as lo
from llmops_jupyter.tracing.values import MAX_VALUE


def test_large_attributes_stay_a_readable_mapping(ws, tmp_path):
    @lo.trace
    def echo(text):
        return text

    assert echo("a" * 300_000) == "a" * 300_000
    many = {f"v{i}": f"{i} " * 3300 for i in range(40)}
    with ws.tracer.span("prompt", attributes={"llmops.prompt.variables": many}):
        pass
    wide = {f"k{i}": [[j] * 20 for j in range(50)] for i in range(5000)}
    with ws.tracer.span("wide", attributes={"wide": wide}):
        pass
    stored = ws.store.rows("SELECT attributes FROM spans")
    assert all(len(row[0]) <= MAX_VALUE for row in stored)
    assert all(isinstance(json.loads(row[0]), dict) for row in stored)
    rows = {r["trace_id"]: r for r in ws.traces.rows()}
    assert any(set(r["variables"]) == set(many) for r in rows.values())
    assert ws.traces.export(tmp_path / "t.jsonl") == 3
    root = ws.traces.get(ws.traces.newest()[2].trace_id).root
    assert root.attributes["input.value"]["text"].endswith("… (cut, 300000 characters)")
    assert len(ws.traces.search("aaa*")) == 1
    ws.store.writer().execute("INSERT INTO spans_text(spans_text) VALUES ('integrity-check')")
    ws.traces.prune(older_than="0s")
    assert ws.traces.search("aaa*") == []


@pytest.mark.parametrize("old", ['"a cut text…"', '{"x": NaN}', '{"x": 1', "[1, 2]"])
def test_attributes_of_older_releases_are_readable(ws, tmp_path, old):
    with lo.span("old"):
        pass
    with ws.store.write() as conn:
        conn.execute("UPDATE spans SET attributes = ?", (old,))
    assert ws.traces.newest()[0].name == "old"
    assert next(iter(ws.traces.rows()))["variables"] == {}
    ws.traces.export(tmp_path / "t.jsonl")

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    json.loads((tmp_path / "t.jsonl").read_text(), parse_constant=refuse)
    assert ws.traces.prune(older_than="0s") == 1


class Awkward:
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Model(BaseModel):
    x: int = 1


def looped():
    items = [1]
    items.append(items)
    return items


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("redact", ["", "pii"])
@pytest.mark.parametrize(
    "value",
    [
        *(Model, Model(), looped(), deep(), Awkward(), {Awkward(): 1}, {(1, 2): 3}, {1: 2, "1": 3}),
        *(float("nan"), float("inf"), 10**5000, "\ud800", b"\xff", object, [Awkward()], range(3)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_any_value_passes_through_a_traced_function(ws, tmp_path, value, redact):
    ws.redact(redact)

    @lo.trace
    def same(x, *rest, **more):
        with lo.span("inside") as span:
            span.set("k", x)
            span.event("seen", what=x)
        return x

    assert same(value, value, more=value) is value
    assert ws.traces.last().status == "ok"
    assert ws.traces.export(tmp_path / "t.jsonl") == 1
    assert "NaN" not in (tmp_path / "t.jsonl").read_text().replace('"NaN"', "")


def test_names_that_utf8_cannot_hold_are_kept_escaped(ws):
    with ws.tracer.span("odd \ud800", session="s\udfff"):
        pass
    assert [(t.name, t.session) for t in ws.traces.newest()] == [("odd \\ud800", "s\\udfff")]
    with lo.span("columns") as span:
        span.set("gen_ai.conversation.id", {"a": 1})
        span.set("gen_ai.request.seed", 10**30)
    assert ws.traces.last().root.session == "{'a': 1}"


def test_keys_with_the_same_text_are_both_kept(ws):
    with lo.span("keys") as span:
        span.set("k", {1: "a", "1": "b"})
    assert ws.traces.last().root.attributes["k"] == {"1": "a", "1 2": "b"}
