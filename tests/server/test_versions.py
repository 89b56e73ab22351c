"""Whether something may have changed: true for every kind of change, and nearly free where nothing has."""

from __future__ import annotations

import re
import time

import pytest

import llmops_jupyter as lo
from llmops_jupyter.monitor.alerts.rules import read_rules
from llmops_jupyter.server.versions import SUMS_S, TABLES, TOPICS, Versions
from llmops_jupyter.store import open_store


class Watched:
    """A workspace, and the strings of a reader beside it, whose clock stands still until it is told to go."""

    def __init__(self, ws) -> None:
        self.ws, self.now, self.workers = ws, 1000.0, ()
        self.store = open_store(ws.path, read_only=True)
        self.versions = Versions(self.store, lambda: self.workers, lambda: self.now)
        self.before = self.versions.now()
        self.now += SUMS_S

    def changed(self) -> set[str]:
        """The sections whose strings are others than the last time."""
        now = self.versions.now()
        found = {topic for topic in TOPICS if now[topic] != self.before[topic]}
        self.before = now
        return found


@pytest.fixture
def watched(ws):
    ws.prompts.save("reply", "user: x")
    ws.prompts.save("reply", "user: y")
    found = Watched(ws)
    yield found
    found.store.close()


def test_nothing_changes_where_nothing_has(watched):
    assert watched.changed() == set()
    assert watched.changed() == set()


def test_looking_at_what_has_not_changed_reads_no_table(watched):
    read = []
    watched.versions.now()
    watched.store.rows = lambda sql, *_: read.append(sql) or []
    watched.versions.now()
    assert read == []


def test_a_trace_that_begins_goes_on_and_ends_is_each_time_another(watched, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.tracing.spans.PARTIAL_EVERY_S", 0.0)
    span = watched.ws.tracer.span("work").begin()
    assert "traces" in watched.changed()
    span.partial("half an")
    assert "traces" in watched.changed()
    span.finish()
    assert "traces" in watched.changed()
    watched.ws.traces.score(span.trace_id, "good", 1)
    assert {"traces", "evaluations"} <= watched.changed()
    watched.ws.traces.score(span.trace_id, "good", 0)
    assert {"traces", "evaluations"} <= watched.changed()


def test_an_old_trace_that_ends_after_a_thousand_others_is_seen(watched):
    span = watched.ws.tracer.span("slow").begin()
    with watched.ws.store.write():
        for _ in range(1000):
            watched.ws.tracer.span("quick").begin().finish()
    watched.changed()
    span.finish()
    assert "traces" in watched.changed()


def test_sums_over_traces_are_told_of_a_little_later(watched):
    with watched.ws.tracer.span("work"):
        pass
    watched.changed()
    watched.now += 0.5
    with watched.ws.tracer.span("work"):
        pass
    assert watched.changed() == {"traces"}
    watched.now += SUMS_S
    assert watched.changed() == {"prompts", "indexes", "monitor"}


MODEL = {"path": "/m", "size": 1, "mtime_ns": 1, "source": "", "metadata": "{}"}


def set_default(ws) -> None:
    with ws.store.write() as conn:
        conn.execute("INSERT INTO settings(key, value) VALUES ('default_model', '\"m\"')")


@pytest.mark.parametrize(
    ("change", "topic"),
    [
        (lambda ws: ws.prompts.save("reply", "user: z"), "prompts"),
        (lambda ws: ws.prompts.alias("reply@1", "production"), "prompts"),
        (lambda ws: ws.prompts.keep_defaults(ws.prompts.get("reply"), {"seed": 1}), "prompts"),
        (lambda ws: ws.evaluation.run("column=a", [{"a": "1"}], ["words"]), "evaluations"),
        (lambda ws: ws.models._write("m", "a" * 64, MODEL), "models"),
        (set_default, "models"),
        (lambda ws: ws.rag.add("docs", [{"text": "hello there"}], embedder="none"), "indexes"),
        (lambda ws: ws.monitor.alerts.add(metric="error_rate", alert=0.1), "monitor"),
        (lambda ws: ws.monitor.budget("b", calls=1), "monitor"),
    ],
)
def test_each_section_is_told_of_at_once(watched, change, topic):
    watched.now -= SUMS_S / 2  # sums are not due, so it is the change itself that is seen
    watched.changed()
    change(watched.ws)
    assert topic in watched.changed()
    assert watched.changed() == set()


def test_changes_of_rows_that_are_there_are_seen(watched):
    ws = watched.ws
    ws.prompts.alias("reply@1", "production")
    ws.prompts.split("reply", {1: 1, 2: 1}, alias="production")
    run = ws.evaluation.run("column=a", [{"a": "1"}, {"a": "2"}], ["words"])
    ws.monitor.alerts.add(name="errors", metric="error_rate", alert=0.5, at_least=1)
    ws.monitor.budget("b", calls=1)
    watched.changed()
    watched.now -= SUMS_S / 2
    for change, topic in (
        (lambda: ws.prompts.alias("reply@2", "production"), "prompts"),
        (lambda: ws.prompts.unalias("reply@production"), "prompts"),
        (lambda: ws.evaluation.score(run, ["exact=1"]), "evaluations"),
        (lambda: ws.monitor.alerts.silence("errors"), "monitor"),
        (ws.monitor.alerts.look, "monitor"),
        (lambda: ws.monitor.end_budget("b"), "monitor"),
        (lambda: ws.monitor.alerts.remove("errors"), "monitor"),
    ):
        change()
        assert topic in watched.changed(), topic
    assert read_rules({"metric": "error_rate", "alert": 0.1})


def test_a_training_that_goes_on_in_its_own_log_is_seen(watched, begun_run):
    run, _, events = begun_run(watched.ws, "20260101-000000-abcd", "tickets")
    assert "models" in watched.changed()
    step = {"kind": "step", "step": 1, "loss": 2.0, "smoothed": 2.0, "steps": 9}
    events.add({**step, "seconds": 1.0, "tokens": 5})
    assert watched.changed() == {"models"}
    # A reader has it, though nobody has brought it into the store.
    with lo.open(watched.ws.path, read_only=True) as reader:
        seen = reader.finetune.get(run)
        assert (seen.step, seen.losses) == (1, ((1, 2.0, 2.0),))
        events.add({"kind": "end", "ended": "finished"})
        assert reader.finetune.get(run).status == "finished"
        assert reader.finetune.list()[0].status == "finished"
    assert watched.ws.store.row("SELECT status FROM finetune_runs")[0] == "running"


def test_workers_that_come_and_go_are_seen(watched):
    watched.workers = (("one", 1),)
    assert watched.changed() == {"models"}


def test_a_table_that_is_too_long_counts_as_changed_with_each_commit(watched, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.server.versions.MOST_ROWS", 1)
    watched.now -= SUMS_S / 2
    with watched.ws.tracer.span("work"):
        pass
    watched.changed()
    with watched.ws.tracer.span("work"):
        pass
    assert "prompts" in watched.changed()


def test_strings_of_another_opening_are_never_taken_for_these(watched):
    other = Versions(watched.store, tuple)
    assert not set(other.now().values()) & set(watched.before.values())


def test_every_table_that_is_compared_is_there(ws):
    there = {row[0] for row in ws.store.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    queries = [sql for some in TABLES.values() for sql in some]
    assert {re.search(r"FROM (\w+)", sql)[1] for sql in queries} <= there
    read = [ws.store.rows(f"EXPLAIN {sql}") for sql in queries]  # with all its columns
    assert all(read)


def test_a_new_trace_is_told_of_over_the_server_at_once(own):
    path = f"workspaces/{own.server.id_of()}/versions"
    first = own.server.client.get(path)
    with own.ws.tracer.span("work"):
        pass
    began = time.monotonic()
    got = own.server.client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert got.status_code == 200
    assert got.json()["traces"] != first.json()["traces"]
    assert time.monotonic() - began < 5
    assert own.server.get("traces").json()["items"][0]["name"] == "work"
