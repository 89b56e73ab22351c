"""What is counted over all traces is right after every kind of change, and walks over each trace once."""

from __future__ import annotations

import pytest

from llmops_jupyter.server.roots import ANEW_S, Roots
from llmops_jupyter.store import open_store
from llmops_jupyter.tracing import Provenance


@pytest.fixture
def followed(ws):
    """Counts of a reader beside the workspace, whose clock stands still."""
    store = open_store(ws.path, read_only=True)
    clock = [0.0]
    roots = Roots(store, lambda: clock[0])
    roots.clock = clock
    yield roots
    store.close()


def add(ws, prompt=None, cell="c1", notebook="/n.ipynb"):
    ws.tracer.provenance = lambda: Provenance(notebook, cell, 1, "k")
    columns = {} if prompt is None else {"prompt_name": prompt[0], "prompt_version": prompt[1]}
    with ws.tracer.span("work", **columns) as span, ws.tracer.span("step", **columns):
        pass
    return span


def test_traces_are_counted_and_steps_are_not(ws, followed):
    assert (followed.total(), followed.versions()) == (0, {})
    add(ws, ("a", 1))
    add(ws, ("a", 2))
    add(ws)
    assert followed.total() == 3
    add(ws, ("a", 2))
    assert followed.total() == 4
    assert followed.versions() == {("a", 1): 1, ("a", 2): 2}


def test_a_cell_has_what_it_ran_last(ws, followed):
    add(ws, ("a", 1))
    add(ws, ("b", 7), cell="c2")
    add(ws, ("a", 9), notebook="/other.ipynb")
    last = add(ws, ("a", 3))
    found = followed.cells(frozenset(["/n.ipynb", "n.ipynb"]))
    assert list(found) == ["c2", "c1"]
    assert (found["c1"].version, found["c1"].trace_id) == (3, last.trace_id)


def test_a_new_trace_is_all_that_is_walked_over(ws, followed, monkeypatch):
    for _ in range(5):
        add(ws, ("a", 1))
    followed.total()
    walked = []
    rows = followed._store.rows

    def counted(sql, parameters=()):
        found = rows(sql, parameters)
        walked.extend(found if sql.startswith("SELECT notebook") else ())
        return found

    monkeypatch.setattr(followed._store, "rows", counted)
    followed.total()
    assert walked == []
    add(ws, ("a", 1))
    assert followed.total() == 6
    assert len(walked) == 1


def test_deleted_traces_are_counted_no_more(ws, followed):
    for _ in range(4):
        add(ws, ("a", 1))
    assert followed.total() == 4
    ws.traces.prune(older_than="0s")
    assert (
        followed.total(),
        followed.versions(),
        dict(followed.cells(frozenset(["/n.ipynb"]))),
    ) == (
        0,
        {},
        {},
    )
    add(ws, ("b", 1))
    assert followed.versions() == {("b", 1): 1}


def test_deleted_traces_behind_one_that_is_open_are_counted_no_more(ws, followed):
    ws.tracer.span("open", prompt_name="a", prompt_version=1).begin()
    for _ in range(3):
        add(ws, ("a", 1))
    last = ws.tracer.span("open too", prompt_name="a", prompt_version=1).begin()
    assert followed.total() == 5
    ws.traces.prune(older_than="0s")
    assert followed.total() == 2
    # Even where the file could not be packed, the count is right again after a while.
    with ws.store.write() as conn:
        conn.execute("DELETE FROM spans WHERE trace_id != ?", (last.trace_id,))
        conn.execute("UPDATE spans SET id = 1")
    followed.clock[0] += ANEW_S + 1
    assert followed.total() == 1


def test_ids_that_are_given_again_are_of_other_traces(ws, followed):
    add(ws, ("a", 1))
    assert followed.versions() == {("a", 1): 1}
    with ws.store.write() as conn:
        conn.execute("DELETE FROM spans")
    add(ws, ("b", 2))
    assert followed.versions() == {("b", 2): 1}


def test_a_trace_whose_parent_came_with_an_import_is_a_step_from_then_on(ws, followed):
    add(ws, ("a", 1))
    found = add(ws, ("a", 1))
    assert followed.total() == 2
    with ws.store.write() as conn:
        conn.execute(
            "UPDATE spans SET parent_id = 'above' WHERE trace_id = ? AND parent_id IS NULL",
            (found.trace_id,),
        )
        conn.execute("INSERT INTO span_imports(first, last, at_ns) VALUES (1, 1, 1)")
    assert (followed.total(), followed.versions()) == (1, {("a", 1): 1})
