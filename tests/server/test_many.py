"""A hundred thousand traces: what is asked stays bounded, whatever the clock says."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

import llmops_jupyter as lo
from benchmarks.filled import NOTEBOOKS, fill
from llmops_jupyter.server.handles import Handle
from llmops_jupyter.server.sections import cells, monitor, prompts, status, traces
from llmops_jupyter.server.workers import Workers
from llmops_jupyter.store import open_store

N = 100_000


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A store with 100,000 traces of two spans each, written straight into the tables."""
    folder = tmp_path_factory.mktemp("many")
    with lo.open(folder) as ws:
        ws.prompts.save("reply", "user: x")
        fill(ws, N)
        path = ws.path
    store = open_store(path, read_only=True)
    workspace = lo.Workspace(store, ws.settings)
    yield SimpleNamespace(path=path, handle=Handle(workspace, Workers(), ()), store=store)
    workspace.close()


class Steps:
    """Counts what SQLite does for a block, in thousands of instructions of its virtual machine."""

    def __init__(self, store) -> None:
        self.conn, self.count = store.read(), 0

    def __enter__(self) -> Steps:
        self.conn.set_progress_handler(self._tick, 1000)
        return self

    def __exit__(self, *_: object) -> None:
        self.conn.set_progress_handler(None, 0)

    def _tick(self) -> int:
        self.count += 1
        return 0


NOTHING = dict.fromkeys(("q", "prompt", "model", "status", "notebook", "session", "since", "until"))


def page(many, cursor=None, limit=100, **filters):
    asked = {**NOTHING, "score": None, **filters}
    return traces.page(many.handle, cursor=cursor, limit=limit, **asked)


@pytest.mark.parametrize(
    "filters",
    [{}, {"q": "common"}, {"prompt": "reply"}, {"status": "error"}, {"session": "s77"}],
)
def test_the_first_page_costs_what_it_shows(many, filters):
    with Steps(many.store) as steps:
        found = page(many, limit=20 if "session" in filters else 100, **filters)
    assert len(found["items"]) == (20 if "session" in filters else 100)
    assert steps.count < 700, steps.count


def test_the_last_page_costs_what_the_first_does(many):
    with Steps(many.store) as first:
        page(many)
    with Steps(many.store) as last:
        found = page(many, cursor="tc9")
    assert found["items"][-1]["trace_id"] == f"{0:032x}"
    assert found["next"] is None
    assert last.count <= first.count + 5


def test_a_rare_word_is_found_page_by_page_without_a_repetition(many):
    seen, cursor = [], None
    while True:
        found = page(many, cursor, limit=3, q="rareword")
        seen += [int(trace["trace_id"], 16) for trace in found["items"]]
        cursor = found["next"]
        if cursor is None:
            break
    assert seen == sorted((i for i in range(N) if i % 9973 == 0), reverse=True)


def test_scrolling_through_everything_shows_each_trace_once(many):
    seen, cursor = [], None
    for _ in range(N // 500 + 1):
        found = page(many, cursor, limit=500)
        seen += [int(trace["trace_id"], 16) for trace in found["items"]]
        cursor = found["next"]
        if cursor is None:
            break
    assert seen == list(range(N - 1, -1, -1))


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (
            "SELECT s.id FROM spans s WHERE s.parent_id IS NULL AND s.id < ? ORDER BY s.id DESC LIMIT 9",
            "PRIMARY KEY",
        ),
        ("SELECT id FROM spans WHERE trace_id = ? AND id >= 5", "INDEX spans_by_trace"),
    ],
)
def test_what_is_asked_often_goes_through_an_index(many, sql, index):
    plan = " ".join(row[3] for row in many.store.rows(f"EXPLAIN QUERY PLAN {sql}", (5,)))
    assert index in plan
    assert "TEMP B-TREE" not in plan


def test_facets_look_at_the_newest_only_and_count_all_once(many):
    assert traces.facets(many.handle)["total"] == N
    with Steps(many.store) as steps:
        again = many.handle.roots.total()
    assert again == N
    assert steps.count == 0


def test_the_strings_cost_next_to_nothing(many):
    many.handle.versions.now()
    with Steps(many.store) as steps:
        many.handle.versions.now()
    assert steps.count == 0


def test_the_status_looks_at_the_newest_spans(many):
    with Steps(many.store) as steps:
        found = status.status(many.handle)
    assert found["last"]["model"] == "m"
    assert steps.count < 60


def test_cells_are_walked_through_once(many, tmp_path):
    found = cells.cells(many.handle, tmp_path, notebook="nb-3.ipynb")
    assert found["items"] == []  # of another folder
    with Steps(many.store) as steps:
        cells.cells(many.handle, tmp_path, notebook="nb-3.ipynb")
    assert steps.count < 5
    assert len(cells.cells(many.handle, NOTEBOOKS, notebook="nb-3.ipynb")["items"]) == 2


def test_prompts_are_counted_once(many):
    with Steps(many.store) as steps:
        (found,) = prompts.listed(many.handle)["items"]
    assert found["traces"] == N // 2
    assert steps.count < 2_000


def test_a_week_of_traffic_is_walked_through_once_and_in_buckets(many):
    found = monitor.monitor(many.handle, since="7d")
    assert 30 < len(found["timeline"]) <= 121
    assert sum(bucket["calls"] for bucket in found["timeline"]) == N
    assert found["timeline"][5]["latency_p95_s"] == pytest.approx(0.1)
    with Steps(many.store) as steps:
        again = monitor.monitor(many.handle, since="7d")
    assert again["timeline"] == found["timeline"]
    assert steps.count < 50


def test_an_hour_reads_only_the_end(many):
    with Steps(many.store) as steps:
        found = monitor.monitor(many.handle, since="1h")
    assert (
        0 < sum(bucket["calls"] for bucket in found["timeline"]) < 700
    )  # fewer as the tests take time
    assert steps.count < 6_000


@pytest.mark.skipif("LLMOPS_MEASURE" not in os.environ, reason="only measured on request")
def test_measured_times(many, capsys):
    handle = many.handle
    asked = {
        "first page": lambda: page(many),
        "search": lambda: page(many, q="common"),
        "facets": lambda: traces.facets(handle),
        "versions": handle.versions.now,
        "status": lambda: status.status(handle),
        "prompts": lambda: prompts.listed(handle),
        "notebook filter without a hit": lambda: page(many, notebook="nothing"),
    }
    with capsys.disabled():
        for name, work in asked.items():
            began = time.perf_counter()
            for _ in range(5):
                work()
            print(f"\n{name}: {200 * (time.perf_counter() - began):.2f} ms", end="")
