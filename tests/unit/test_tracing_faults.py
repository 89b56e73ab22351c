"""Tracing never changes the traced work, and what went wrong once does not stay broken."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading

import pytest

import llmops_jupyter as lo
from llmops_jupyter.errors import OptionError, PrivacyError, StoreFullError
from llmops_jupyter.records import Message
from llmops_jupyter.store import open_store
from llmops_jupyter.tracing import Tracer, Traces
from llmops_jupyter.tracing.spans import TraceNotSavedWarning


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


def test_an_answer_of_a_step_that_is_rolled_back_is_kept_by_its_workflow(ws):
    question = (Message("user", "Why?"),)
    with ws.tracer.span("workflow", op="invoke_workflow", messages=question) as root:
        with pytest.raises(ValueError, match="stop"), ws.store.write():
            with ws.tracer.span("chat", op="chat", messages=question) as step:
                step.output("Because.")
            raise ValueError("stop")
        root.output("Because.")
    found = ws.traces.get(root.trace_id)
    assert (len(found.spans), found.text) == (1, "Because.")


def test_a_question_that_did_not_fit_on_the_disk_is_saved_later_with_its_answer(ws):
    question = (Message("user", "Why?"),)
    span = ws.tracer.span("chat", op="chat").begin()
    span.input(question)
    span.output(BIG)
    fill(ws.store)
    with pytest.warns(TraceNotSavedWarning, match="full"):
        span.finish()
    free(ws.store)
    with lo.span("later"):
        pass
    root = ws.traces.get(span.trace_id).root
    assert (root.input, root.output) == (question, (Message("assistant", BIG),))


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
