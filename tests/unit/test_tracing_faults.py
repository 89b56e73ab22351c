"""Tracing never changes the traced work, and what went wrong once does not stay broken."""

from __future__ import annotations

import asyncio
import functools
import json
import sqlite3
import subprocess
import sys
import threading

import pytest
from pydantic import BaseModel

import llmops_jupyter as lo
from llmops_jupyter.errors import OptionError, PrivacyError, StoreFullError
from llmops_jupyter.records import Message
from llmops_jupyter.store import open_store
from llmops_jupyter.tracing import Tracer, Traces
from llmops_jupyter.tracing.spans import TraceNotSavedWarning
from llmops_jupyter.tracing.values import MAX_VALUE


def fill(store):
    """Let the file grow no further, as on a full disk."""
    with store.lock:
        store.writer().execute("PRAGMA max_page_count=1")


def free(store):
    with store.lock:
        store.writer().execute("PRAGMA max_page_count=1000000000")


BIG = "x" * 100_000


def test_a_full_disk_at_the_first_span_breaks_nothing_for_later(ws):
    fill(ws.store)
    with (
        pytest.raises(StoreFullError),
        ws.tracer.span("first", messages=(Message("user", BIG),)),
    ):
        pass
    free(ws.store)
    with lo.span("second"):
        pass
    assert [t.name for t in ws.traces.newest()] == ["second"]
    assert ws.check() == []


def test_a_span_in_a_write_that_is_rolled_back_breaks_nothing_for_later(ws):
    with pytest.raises(ValueError, match="stop"), ws.store.write():
        with lo.span("gone") as span:
            span.output("vanished")
        raise ValueError("stop")
    with lo.span("kept") as span:
        span.output("stays")
    assert [t.name for t in ws.traces.newest()] == ["kept"]
    assert [t.name for t in ws.traces.search("stays")] == ["kept"]
    assert ws.traces.search("vanished") == []


def test_an_answer_goes_on_when_the_disk_is_full_and_its_end_is_saved_later(ws):
    def answer(span):
        fill(ws.store)
        for end in "!", "?":
            span._partial_at = 0
            span.partial(BIG + end)
        span.output(BIG)
        span.finish()

    with ws.tracer.span("chat", op="chat") as span:
        with pytest.warns(TraceNotSavedWarning, match="full") as seen:
            answer(span)
        assert len(seen) == 1
    assert ws.traces.last().status == "open"
    free(ws.store)
    with lo.span("later"):
        pass
    assert [(t.name, t.status) for t in ws.traces.newest()] == [("later", "ok"), ("chat", "ok")]
    assert ws.traces.get(span.trace_id).text == BIG


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


def test_every_kind_of_callable_is_traced(ws):
    class Doubler:
        def __call__(self, x):
            return 2 * x

    class Later:
        async def __call__(self, x):
            return x

    class Owner:
        @lo.trace
        @staticmethod
        def fixed(x):
            return x

        @lo.trace
        @classmethod
        def of_class(cls, x):
            return cls, x

    assert lo.trace(functools.partial(pow, 2))(3) == 8
    assert lo.trace(Doubler())(3) == 6
    assert lo.trace(len)([1, 2]) == 2
    assert asyncio.run(lo.trace(Later())(5)) == 5
    assert Owner.fixed(1) == 1
    assert Owner.of_class(2) == (Owner, 2)
    names = [t.name for t in ws.traces.newest()]
    assert names[-3:] == ["len", Doubler.__qualname__, "pow"]
    assert len(names) == 6


def test_a_generator_gets_what_its_caller_sends_and_throws(ws):
    def conversation():
        heard = []
        try:
            while True:
                try:
                    heard.append((yield len(heard)))
                except KeyError as e:
                    heard.append(e)
                if len(heard) == 3:
                    return heard
        finally:
            heard.append("closed")

    def talk(made):
        found = [next(made), made.send("a"), made.throw(KeyError("k"))]
        with pytest.raises(StopIteration) as stop:
            made.send("b")
        return found, [str(x) for x in stop.value.value]

    assert talk(lo.trace(conversation)()) == talk(conversation())
    made = lo.trace(conversation)()
    next(made)
    made.close()
    assert [t.status for t in ws.traces.newest()] == ["ok", "ok"]


async def test_an_async_generator_gets_what_its_caller_sends_and_throws(ws):
    closed = []

    async def conversation():
        heard = []
        try:
            while True:
                try:
                    heard.append((yield list(heard)))
                except KeyError as e:  # noqa: PERF203
                    heard.append(str(e))
        finally:
            closed.append(len(heard))

    async def talk(made):
        found = [await made.asend(None), await made.asend("a"), await made.athrow(KeyError("k"))]
        await made.aclose()
        with pytest.raises(StopAsyncIteration):
            await made.asend("late")
        return found

    assert await talk(lo.trace(conversation)()) == await talk(conversation())
    made = lo.trace(conversation)()
    await made.asend(None)
    with pytest.raises(ValueError, match="own"):
        await made.athrow(ValueError("own"))
    assert closed == [2, 2, 0]
    assert [t.status for t in ws.traces.newest()] == ["error", "ok"]


def test_a_function_runs_untraced_where_nothing_can_be_written(ws):
    calls = []

    @lo.trace
    def work(x):
        calls.append(x)
        return x

    fill(ws.store)
    with pytest.warns(TraceNotSavedWarning, match="full"):
        assert work(BIG) == BIG
    free(ws.store)
    ws.redact(lambda text: 1 / 0)
    with pytest.warns(TraceNotSavedWarning, match="redaction"):
        assert work("secret") == "secret"
    assert calls == [BIG, "secret"]


def test_a_redaction_that_fails_keeps_the_text_out_and_the_work_going(ws):
    def only_short(text):
        if "secret" in text:
            raise RuntimeError("cannot")
        return text

    ws.redact(only_short)
    span = ws.tracer.span("chat").begin()
    span.set("k", "my secret")
    span.output("my secret")
    with pytest.warns(TraceNotSavedWarning, match="redaction"):
        span.finish()
    root = ws.traces.last().root
    assert (root.status, root.output, root.attributes) == ("ok", (), {})
    with pytest.raises(PrivacyError), ws.tracer.span("s", messages=(Message("user", "secret"),)):
        pass


def test_an_error_without_text_passes_through(ws):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("mute")

    with pytest.raises(Mute), lo.span("s"):
        raise Mute
    assert ws.traces.last().root.error_type == "Mute"


def test_pruning_by_size_counts_only_what_traces_take(ws):
    ws.data.add("big", [{"text": f"{i} " * 1500} for i in range(1000)])
    for i in range(50):
        with lo.span(f"s{i}") as span:
            span.output(f"answer {i}")
    assert (
        ws.store.path.stat().st_size + ws.store.path.with_name("llmops.db-wal").stat().st_size > 3e6
    )
    assert ws.traces.prune(max_bytes=3_000_000) == 0
    with lo.open(ws.path, keep_bytes=3_000_000) as again:
        assert len(again.traces.newest()) == 50
    half = ws.traces.prune(max_bytes=12_000, dry_run=True)
    assert 0 < half < 50
    assert 0 < ws.traces.prune(max_bytes=12_000) < 50
    assert ws.traces.newest(1)[0].name == "s49"
    assert ws.traces.prune(max_bytes=0) > 0
    assert ws.traces.newest() == []
    with pytest.raises(OptionError, match="at least 0"):
        ws.traces.prune(max_bytes=-1)
    with pytest.raises(OptionError, match="keep_bytes"):
        lo.open(ws.path, keep_bytes=-1)


def test_a_trace_with_many_matching_spans_hides_no_older_one(ws):
    for name in ("old", "new"):
        with lo.span(name):
            for _ in range(200 if name == "new" else 1):
                with ws.tracer.span("chat", op="chat") as span:
                    span.output("needle")
    for order in ("newest", "relevance"):
        assert {t.name for t in ws.traces.search("needle", order=order)} == {"old", "new"}
    assert [t.name for t in ws.traces.search("needle", limit=1)] == ["new"]
    assert len(ws.traces.search("needle", limit=-1)) == 2


def test_a_store_for_reading_only_finds_what_is_not_indexed_yet(tmp_path):
    path = tmp_path / "a.db"
    with open_store(path) as store:
        tracer = Tracer(store)
        for n in range(70):
            with tracer.span("chat", op="chat", session=f"s{n}") as span:
                span.output(f"Café number{n}")
        assert store.rows("SELECT count(*) FROM unindexed")[0][0] > 0
        assert store.rows("SELECT count(*) FROM unindexed")[0][0] < 70
    with open_store(path, read_only=True) as store:
        traces = Traces(store, Tracer(store))
        assert [t.session for t in traces.search("cafe", limit=3)] == ["s69", "s68", "s67"]
        assert len(traces.search("cafe", limit=-1)) == 70
        assert len(traces.search("cafe", limit=-1, order="relevance")) == 70
        assert [t.session for t in traces.search('"cafe number69"', session="s69")] == ["s69"]
        assert traces.search("nothing") == []


def test_status_filters_agree_with_what_is_shown(tmp_path):
    path = tmp_path / "a.db"
    with open_store(path) as store:
        code = (
            "import os, sys\nfrom llmops_jupyter.store import open_store\n"
            "from llmops_jupyter.tracing import Tracer\n"
            "Tracer(open_store(sys.argv[1])).span('dead').__enter__()\n"
            "os._exit(0)\n"
        )
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        traces = Traces(store, Tracer(store))
        with traces.tracer.span("alive"):
            found = {
                status: [t.name for t in traces.newest(status=status)]
                for status in ("open", "interrupted", "ok")
            }
            assert found == {"open": ["alive"], "interrupted": ["dead"], "ok": []}
            assert {t.status for t in traces.newest(status="interrupted")} == {"interrupted"}


def test_many_threads_trace_while_the_lock_is_held_elsewhere(ws):
    other = sqlite3.connect(ws.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, lambda: other.execute("COMMIT")).start()

    def work(n):
        with lo.span(f"t{n}"):
            pass

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ws.traces.newest()) == 4
    other.close()
