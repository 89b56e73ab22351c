"""What a real server answers to each route, over a store with something in every section."""

from __future__ import annotations

import pytest
import schemas

GET = [
    ("status", {}),
    ("versions", {}),
    ("traces", {}),
    ("traces", {"q": "bookshops", "limit": 2}),
    ("facets", {}),
    ("datasets", {}),
    ("prompts", {}),
    ("prompts/{prompt}", {}),
    ("prompts/{prompt}/diff", {"a": 1, "b": 3}),
    ("evaluations", {}),
    ("models", {}),
    ("trainings", {}),
    ("indexes", {}),
    ("indexes/{index}/search", {"q": "Return books"}),
    ("monitor", {}),
    ("monitor", {"since": "24h"}),
    ("cells", {"notebook": "notes/first.ipynb"}),
]


@pytest.mark.parametrize(("path", "query"), GET)
def test_every_answer_is_as_its_schema_says(server, path, query):
    asked = path.format(prompt="reply", index="handbook")
    got = server.get(asked, **query)
    assert got.status_code == 200, got.text
    assert got.headers["content-type"].startswith("application/json")
    schemas.check(schemas.answer_of(f"/workspaces/{{workspace}}/{path}"), got.json())


@pytest.mark.parametrize(("path", "query"), GET)
def test_what_is_still_the_same_is_answered_without_a_body(server, path, query):
    asked = f"workspaces/{server.id_of()}/{path.format(prompt='reply', index='handbook')}"
    first = server.client.get(asked, params=query)
    again = server.client.get(asked, params=query, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_list_of_workspaces_tells_no_more_than_it_has_to(server, shop):
    got = server.client.get("workspaces").json()
    schemas.check("WorkspaceList", got)
    (one,) = got["items"]
    assert (one["name"], one["path"]) == ("shop", "shop/.llmops/llmops.db")
    assert str(shop.root) not in str(got)


def test_traces_come_newest_first_and_page_by_page(server, shop):
    seen, cursor = [], None
    for _ in range(4):
        page = server.get("traces", limit=1, **({"cursor": cursor} if cursor else {})).json()
        seen += [trace["trace_id"] for trace in page["items"]]
        cursor = page["next"]
    assert seen == shop.traces[::-1]
    assert cursor is None


def test_a_search_comes_page_by_page_with_each_trace_once(server, shop):
    seen, cursor = [], None
    while True:
        query = {"q": "number book*", "limit": 1, **({"cursor": cursor} if cursor else {})}
        page = server.get("traces", **query).json()
        seen += [trace["trace_id"] for trace in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == shop.traces[2::-1]


@pytest.mark.parametrize(
    ("filters", "places"),
    [
        ({"prompt": "reply"}, [2, 1, 0]),
        ({"prompt": "reply@2"}, [1]),
        ({"status": "error"}, [2]),
        ({"session": "talk", "status": "ok"}, [1, 0]),
        ({"notebook": "FIRST"}, [3, 2, 1, 0]),
        ({"notebook": "second"}, []),
        ({"score": "thumb=down"}, [0]),
        ({"score": "helpful"}, [1]),
        ({"model": "tiny", "since": "1h"}, [2, 1, 0]),
        ({"until": "1h"}, []),
        ({"q": "bookshops", "status": "ok"}, [1, 0]),
    ],
)
def test_traces_are_filtered(server, shop, filters, places):
    found = [trace["trace_id"] for trace in server.get("traces", **filters).json()["items"]]
    assert found == [shop.traces[i] for i in places]


def test_a_trace_is_whole_and_found_by_the_beginning_of_its_id(server, shop):
    got = server.get(f"traces/{shop.traces[3]}")
    schemas.check("Trace", got.json())
    assert got.json()["spans"][0]["attributes"] == {"deep": {"a": [1, None]}}
    whole = server.get(f"traces/{shop.traces[0][:12]}").json()
    schemas.check("Trace", whole)
    assert [span["op"] for span in whole["spans"]] == ["invoke_workflow", "chat"]
    assert whole["spans"][0]["output"][0]["content"].endswith("\U0001f4da")
    assert whole["scores"][0]["label"] == "down"


def test_facets_count_the_newest_traces(server):
    got = server.get("facets").json()
    assert got["total"] == 4
    assert got["prompts"] == [{"value": "reply", "count": 3}]
    assert {f["value"] for f in got["scores"]} == {"thumb", "thumb=down", "helpful"}
    assert got["notebooks"][0]["count"] == 4


def test_a_prompt_has_its_cell_its_aliases_and_their_log(server):
    got = server.get("prompts/reply").json()
    assert [v["version"] for v in got["versions"]] == [3, 2, 1]
    assert got["versions"][2]["cell"].startswith("%%prompt reply\nsystem: You are kind.")
    assert got["versions"][1]["settings"] == {"model": "tiny", "temperature": 0.5}
    assert [v["traces"] for v in got["versions"]] == [0, 1, 2]
    assert got["aliases"] == {"production": 2, "staging": 3}
    assert got["back"] == {"production": 1}
    moves = [(c["alias"], c["previous"], c["version"]) for c in got["log"]]
    assert moves == [("staging", None, 3), ("production", 1, 2), ("production", None, 1)]
    assert got["split"]["arms"] == {"1": 0.9, "2": 0.1}
    listed = {p["name"]: p for p in server.get("prompts").json()["items"]}
    assert (listed["reply"]["traces"], listed["other"]["traces"]) == (3, 0)
    assert listed["reply"]["split"].startswith("reply@production: version 1 90%")


def test_a_difference_names_its_parts_and_numbers_its_lines(server):
    got = server.get("prompts/reply/diff", a=1, b=2).json()
    assert [part["title"] for part in got["parts"]] == ["template", "schema"]
    assert got["parts"][0]["lines"] == [
        {"kind": "removed", "text": "system: You are kind.", "a": 1, "b": None},
        {"kind": "added", "text": "system: You are kind and short.", "a": None, "b": 1},
        {"kind": "same", "text": "user: {{ question }}", "a": 2, "b": 2},
    ]
    assert server.get("prompts/reply/diff", a=1, b=1).json()["parts"] == []


def test_runs_have_intervals_and_a_comparison_counts_as_no_look(server, shop):
    runs = {run["id"]: run for run in server.get("evaluations").json()["items"]}
    one = runs[str(shop.runs[0])]["metrics"]["exact"]
    assert (one["value"], one["n"]) == (0.5, 40)
    assert one["low"] < 0.5 < one["high"]
    assert one["drawn"] == "rate"
    assert runs[str(shop.runs[0])]["metrics"]["words"]["drawn"] == "mean"
    query = {"a": shop.runs[0], "b": shop.runs[1], "metric": "exact", "slices": "kind"}
    looks = []
    for _ in range(2):
        got = server.get("comparison", **query)
        schemas.check("Comparison", got.json())
        looks.append(got.json()["look"])
    assert looks == [1, 1]
    assert got.json()["drawn"] == "rate"
    assert {s["name"] for s in got.json()["slices"]} == {"odd", "even"}
    assert "counts one" in " ".join(got.json()["notes"])
    assert {"kind", "question"} <= set(got.json()["columns"])
    changed = got.json()["changed"]
    assert got.json()["n_changed"] == len(changed)
    assert {row["better"] for row in changed} == {"a", "b"}
    for row in changed:
        assert (row["b_score"] > row["a_score"]) is (row["better"] == "b")


def test_models_have_their_adapters_and_what_tuning_measured(server):
    got = {m["name"]: m for m in server.get("models").json()["items"]}
    tiny = got["tiny"]
    assert [a["name"] for a in tiny["adapters"]] == ["polite"]
    assert tiny["adapters"][0]["aliases"] == ["production"]
    assert [t["copy"] for t in tiny["tuned"]] == ["Q4_0", "Q8_0"]
    assert tiny["tuned"][1]["perplexity"]["low"] < 20 < tiny["tuned"][1]["perplexity"]["high"]
    assert tiny["missing"]
    assert tiny["memory"] > 1000
    assert (got["far"]["kind"], got["far"]["size"], got["far"]["missing"]) == (
        "endpoint",
        None,
        False,
    )
    assert got["stray@1"]["kind"] == "adapter"


def test_an_index_is_searched_by_words_with_places_as_javascript_counts_them(server):
    (index,) = server.get("indexes").json()["items"]
    assert (index["documents"], index["health"][0]["state"]) == (2, "ok")
    got = server.get("indexes/handbook/search", q="returning a book").json()
    (hit,) = got["hits"]
    assert got["legs"] == ["words"]
    units = hit["text"].encode("utf-16-le")
    marked = [units[2 * a : 2 * b].decode("utf-16-le").lower() for a, b in hit["marked"]]
    assert set(marked) <= {"returns", "books", "returned"}
    assert len(marked) >= 2


def test_what_is_watched_is_told_with_its_state(server):
    got = server.get("monitor", since="24h").json()
    rules = {rule["name"]: rule for rule in got["rules"]}
    assert rules["errors"]["state"] == "alert"
    assert rules["errors"]["threshold"] == 0.1
    assert rules["slow"]["silenced_until"] is not None
    assert [event["to"] for event in got["events"]] == ["alert"]
    assert sum(bucket["calls"] for bucket in got["timeline"]) == 3
    assert got["costs"][0]["calls"] == 3
    assert {b["unit"] for b in got["budgets"]} == {"calls", "dollars"}
    assert got["drift"][0]["baseline"] == "normal@1"
    status = server.get("status").json()
    assert status["alerts"] == {"warning": 0, "alert": 1}
    assert status["last"]["tokens_per_s"] == pytest.approx(10)


def test_cells_have_the_newest_version_that_each_has_run(server, shop):
    got = server.get("cells", notebook="notes/first.ipynb").json()["items"]
    newest = {"prompt": "reply", "version": 1, "latest": 3, "trace_id": shop.traces[2]}
    assert got == [{"cell_id": "cell-1", **newest}]
    assert server.get("cells", notebook="notes/other.ipynb").json()["items"] == []


def test_the_document_is_served(server):
    got = server.client.get("openapi.yaml")
    assert got.headers["content-type"] == "application/yaml"
    assert got.text.startswith("#")
    assert "openapi: 3.1.0" in got.text
