"""What a panel changes: scores, data sets, aliases; and what it may not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import schemas


@pytest.fixture
def prompt(own):
    """A prompt with three versions, the first of which is in production."""
    for word in ("one", "two", "three"):
        own.ws.prompts.save("reply", f"user: {word}")
    own.ws.prompts.alias("reply@1", "production")
    return own


def test_a_score_is_kept_and_takes_the_place_of_the_one_before(own):
    with own.ws.tracer.span("work") as span:
        span.output("done")
    path = f"traces/{span.trace_id}/scores"
    first = own.server.send("POST", path, {"name": "thumb", "value": "up"})
    schemas.check("Score", first.json())
    body = {"name": "thumb", "value": "down", "explanation": "too <b>short</b>"}
    again = own.server.send("POST", path, body)
    assert (again.json()["label"], again.json()["value"]) == ("down", 0.0)
    (kept,) = own.ws.traces.scores(span.trace_id)
    assert (kept.label, kept.explanation, kept.source) == ("down", "too <b>short</b>", "human")
    assert own.server.send("POST", path, {"name": "good", "value": True}).json()["value"] == 1.0
    assert own.server.send("POST", path, {"name": "share", "value": 0.5}).json()["value"] == 0.5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "", "value": 1}, "from 1 to 100 characters"),
        ({"name": "a=b", "value": 1}, "without '='"),
        ({"name": "x" * 101, "value": 1}, "from 1 to 100 characters"),
        ({"name": "good"}, "value is missing"),
        ({"name": "good", "value": None}, "not null"),
        ({"name": "good", "value": []}, "not a list"),
        ({"name": "good", "value": "nan"}, "finite"),
        ({"name": "good", "value": "1e999"}, "finite"),
        ({"name": "good", "value": 1, "sorce": "judge"}, "'sorce' is not known"),
        ({"name": 3, "value": 1}, "name is a text, not a number"),
        ({"name": "a\x00b", "value": 1}, "control character"),
        ([], "The body is a JSON object"),
    ],
)
def test_a_score_that_cannot_be_kept_is_refused_with_a_sentence(own, body, words):
    with own.ws.tracer.span("work") as span:
        pass
    got = own.server.send("POST", f"traces/{span.trace_id}/scores", body)
    assert got.status_code == 400
    assert words in got.json()["error"]["message"]
    assert own.ws.traces.scores(span.trace_id) == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(own, body):
    got = own.server.client.post(f"workspaces/{own.server.id_of()}/traces/ab/scores", content=body)
    assert (got.status_code, got.json()["error"]["kind"]) == (400, "OptionError")


def test_a_body_that_is_too_long_is_refused(own):
    body = {"traces": ["a" * 64] * 20_000}
    got = own.server.send("POST", "datasets/hard/traces", body)
    assert (got.status_code, got.json()["error"]["kind"]) == (413, "BodyTooLargeError")


def test_traces_become_rows_of_a_data_set_once(own):
    ids = []
    for number in range(3):
        with own.ws.tracer.span("work") as span:
            span.output(f"answer {number}")
        ids.append(span.trace_id)
    first = own.server.send("POST", "datasets/hard-cases/traces", {"traces": ids[:2]}).json()
    assert first == {"name": "hard-cases", "version": 1, "rows": 2, "added": 2}
    second = own.server.send("POST", "datasets/hard-cases/traces", {"traces": ids[1:]}).json()
    assert second == {"name": "hard-cases", "version": 2, "rows": 3, "added": 1}
    rows = list(own.ws.data.get("hard-cases").rows())
    assert [row["output"] for row in rows] == ["answer 0", "answer 1", "answer 2"]
    again = own.server.send("POST", "datasets/hard-cases/traces", {"traces": ids}).json()
    assert (again["version"], again["added"]) == (2, 0)


def test_a_trace_that_is_not_there_adds_nothing(own):
    with own.ws.tracer.span("work") as span:
        pass
    body = {"traces": [span.trace_id, "f" * 32]}
    got = own.server.send("POST", "datasets/hard/traces", body)
    assert (got.status_code, got.json()["error"]["kind"]) == (404, "UnknownNameError")
    assert own.ws.data.list() == []
    bad = own.server.send("POST", "datasets/Not a name/traces", {"traces": [span.trace_id]})
    assert bad.status_code == 400


def test_an_alias_moves_and_rolls_back(prompt):
    path = "prompts/reply/aliases/production"
    moved = prompt.server.send("PUT", path, {"version": 3, "expected": 1, "note": "better"})
    schemas.check("Prompt", moved.json())
    assert moved.json()["aliases"] == {"production": 3}
    assert moved.json()["log"][0]["note"] == "better"
    back = prompt.server.send("POST", f"{path}/rollback", {"expected": 3}).json()
    assert back["aliases"] == {"production": 1}
    new = prompt.server.send(
        "PUT", "prompts/reply/aliases/staging", {"version": 2, "expected": None}
    )
    assert new.json()["aliases"] == {"production": 1, "staging": 2}


@pytest.mark.parametrize(
    ("method", "path", "body", "where"),
    [
        ("PUT", "production", {"version": 3, "expected": 2}, "at version 1 now"),
        ("PUT", "production", {"version": 3, "expected": None}, "at version 1 now"),
        ("PUT", "staging", {"version": 3, "expected": 1}, "nowhere now"),
        ("POST", "production/rollback", {"expected": 3}, "at version 1 now"),
    ],
)
def test_an_alias_that_somebody_moved_meanwhile_stays_where_it_is(
    prompt, method, path, body, where
):
    got = prompt.server.send(method, f"prompts/reply/aliases/{path}", body)
    assert (got.status_code, got.json()["error"]["kind"]) == (409, "ConflictError")
    assert where in got.json()["error"]["message"]
    assert [v.aliases for v in prompt.ws.prompts.history("reply")] == [(), (), ("production",)]
    assert len(prompt.ws.prompts.alias_log("reply")) == 1


def test_of_two_who_move_an_alias_at_once_one_succeeds(prompt):
    address = f"{prompt.server.address}workspaces/{prompt.server.id_of()}"
    headers = dict(prompt.server.client.headers)

    def move(version: int) -> int:
        body = {"version": version, "expected": 1}
        path = f"{address}/prompts/reply/aliases/production"
        return httpx.put(path, json=body, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(move, (2, 3))) == [200, 409]
    assert len(prompt.ws.prompts.alias_log("reply")) == 2


def test_what_has_pointed_nowhere_before_cannot_be_rolled_back(prompt):
    path = "prompts/reply/aliases/production/rollback"
    got = prompt.server.send("POST", path, {"expected": 1})
    assert (got.status_code, got.json()["error"]["kind"]) == (409, "PromptError")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("prompts/reply/aliases/latest", {"version": 1, "expected": None}, 400),
        ("prompts/reply/aliases/3", {"version": 1, "expected": None}, 400),
        ("prompts/reply/aliases/A%20B", {"version": 1, "expected": None}, 400),
        ("prompts/reply/aliases/staging", {"version": 9, "expected": None}, 404),
        ("prompts/reply/aliases/staging", {"version": "1; DROP", "expected": None}, 400),
        ("prompts/reply/aliases/staging", {"version": 1.5, "expected": None}, 400),
        ("prompts/reply/aliases/staging", {"version": 10**30, "expected": None}, 400),
        ("prompts/reply/aliases/staging", {"version": 1}, 400),
        ("prompts/other/aliases/staging", {"version": 1, "expected": None}, 404),
        ("prompts/reply@1/aliases/staging", {"version": 1, "expected": None}, 400),
    ],
)
def test_an_alias_is_not_moved_by_what_cannot_be_meant(prompt, path, body, status):
    assert prompt.server.send("PUT", path, body).status_code == status
    assert len(prompt.ws.prompts.alias_log("reply")) == 1


def test_a_store_that_somebody_keeps_locked_is_busy(prompt, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.server.handles.WAIT_S", 0.3)
    with prompt.ws.store.write():
        body = {"version": 2, "expected": 1}
        got = prompt.server.send("PUT", "prompts/reply/aliases/production", body)
    assert (got.status_code, got.json()["error"]["kind"]) == (503, "StoreBusyError")
    assert got.headers["retry-after"] == "1"
