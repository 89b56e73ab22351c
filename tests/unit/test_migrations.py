"""A file of an older release keeps all that was in it, and goes on."""

from __future__ import annotations

from llmops_jupyter.data import Datasets
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


def size_of(store):
    return store.row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")[0]


def test_long_messages_fill_the_pages_of_the_file(tmp_path):
    with open_store(tmp_path / "a.db") as store:
        before, tracer = size_of(store), Tracer(store)
        for number in range(300):
            with tracer.span("chat", op="chat") as span:
                span.output(f"{number} " + "word " * 240)
        written = store.row("SELECT sum(length(parts)) FROM messages")[0]
        assert size_of(store) - before < 2 * written


def test_data_sets_of_an_older_release_keep_their_rows_and_share_them(tmp_path, monkeypatch):
    path = tmp_path / "old.db"
    rows = [{"id": i, "text": f"{i} {LONG}"} for i in range(20)]
    with monkeypatch.context() as older:
        older.setattr("llmops_jupyter.store.migrations.MIGRATIONS", MIGRATIONS[:13])
        with open_store(path) as store:
            before = Datasets(store).add("long", rows)
    with open_store(path) as store:
        datasets = Datasets(store)
        assert list(datasets.get("long").rows()) == rows
        grown = datasets.add("long", [*rows, {"id": 20, "text": "new"}])
        assert (before.version, grown.version) == (1, 2)
        assert store.row("SELECT count(*) FROM dataset_rows")[0] == 21
        assert list(datasets.get("long@1").rows()) == rows
        assert store.rows("PRAGMA integrity_check")[0][0] == "ok"
        assert store.rows("PRAGMA foreign_key_check") == []


def test_long_rows_fill_the_pages_of_the_file(tmp_path):
    with open_store(tmp_path / "a.db") as store:
        before = size_of(store)
        Datasets(store).add("long", [{"text": f"{i} " + "word " * 240} for i in range(300)])
        written = store.row("SELECT sum(length(row)) FROM dataset_rows")[0]
        assert size_of(store) - before < 2 * written
