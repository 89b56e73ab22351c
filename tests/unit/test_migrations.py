"""A file of an older release keeps all that was in it, and goes on."""

from __future__ import annotations

from llmops_jupyter.records import Message
from llmops_jupyter.store import open_store
from llmops_jupyter.store.migrations import MIGRATIONS
from llmops_jupyter.tracing import Tracer, Traces

CONVERSATION = (Message("system", "Be brief."), Message("user", "Why?"))
LONG = "because " * 400


def converse(store):
    tracer = Tracer(store)
    with tracer.span("chat", op="chat", messages=CONVERSATION) as span:
        span.output(LONG)
    return span.trace_id


def test_messages_that_lay_by_their_hash_are_found_and_kept_once(tmp_path, monkeypatch):
    path = tmp_path / "old.db"
    with monkeypatch.context() as older:
        older.setattr("llmops_jupyter.store.migrations.MIGRATIONS", MIGRATIONS[:12])
        with open_store(path) as store:
            before = converse(store)
    with open_store(path) as store:
        traces = Traces(store, Tracer(store))
        after = converse(store)
        for trace_id in before, after:
            root = traces.get(trace_id).root
            assert root.input == CONVERSATION
            assert root.output == (Message("assistant", LONG),)
        assert len(traces.search("because")) == 2
        assert store.rows("SELECT count(*) FROM messages")[0][0] == 3
        assert store.rows("PRAGMA integrity_check")[0][0] == "ok"
        assert [s.preview for s in traces.newest()] == [LONG[:200]] * 2


def test_long_messages_fill_the_pages_of_the_file(tmp_path):
    with open_store(tmp_path / "a.db") as store:

        def size():
            return store.row(
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            )[0]

        before, tracer = size(), Tracer(store)
        for number in range(300):
            with tracer.span("chat", op="chat") as span:
                span.output(f"{number} " + "word " * 240)
        written = store.row("SELECT sum(length(parts)) FROM messages")[0]
        assert size() - before < 2 * written
