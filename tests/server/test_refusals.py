"""Who may not ask, and what may not be asked."""

from __future__ import annotations

import inspect

import pytest
from servers import TOKEN

from llmops_jupyter.server import routes

PLACES = ["x", "abc", "reply", "production"]
VERBS = ("get", "post", "put", "delete", "patch")


def paths() -> list[tuple[str, str]]:
    """Each route with each verb that it has."""
    found = []
    for path, handler in (*routes.ROUTES, ("whatever/else", routes.Nothing)):
        filled = path
        for place in PLACES:
            filled = filled.replace("{}", place, 1)
        found += [(verb, filled) for verb in VERBS if verb in vars(handler)]
    return found


@pytest.mark.parametrize(("verb", "path"), paths())
def test_nobody_without_a_token_is_answered(server, verb, path):
    got = server.bare.request(verb, path, json=None if verb == "get" else {})
    assert got.status_code == 403
    assert set(got.json()) == {"error"}
    assert got.json()["error"]["kind"] == "HTTPError"


@pytest.mark.parametrize(("verb", "path"), paths())
def test_a_wrong_token_is_none(server, verb, path):
    headers = {"Authorization": "token another"}
    body = None if verb == "get" else {}
    assert server.bare.request(verb, path, json=body, headers=headers).status_code == 403


def test_every_verb_asks_who_it_is_and_whether_they_may():
    for _, handler in (*routes.ROUTES, ("", routes.Nothing)):
        for verb in VERBS:
            method = vars(handler).get(verb)
            if method is not None:
                assert hasattr(method, "__wrapped__"), (handler, verb)
                inner = inspect.unwrap(method)
                assert inner is not method.__wrapped__, (
                    f"{handler.__name__}.{verb} is not @authorized"
                )


def test_what_changes_something_needs_the_xsrf_token(server):
    """With a cookie, as a browser has it; a token in the header needs none, since no other page can send it."""
    path = f"workspaces/{server.id_of()}/prompts/reply/aliases/production"
    body = {"version": 1, "expected": 2}
    with type(server.bare)(base_url=server.address) as browser:
        # A page that logs in gets both cookies.
        root = server.address.removesuffix("llmops/v1/")
        browser.get(f"{root}login")
        browser.get(f"{root}api/status", params={"token": TOKEN})
        assert browser.get(f"workspaces/{server.id_of()}/prompts/reply").status_code == 200
        refused = browser.put(path, json=body)
        assert refused.status_code == 403
        assert "_xsrf" in refused.json()["error"]["message"]
        headers = {"X-XSRFToken": "2|00000000|00000000000000000000000000000000|1"}
        assert browser.put(path, json=body, headers=headers).status_code == 403
        right = {"X-XSRFToken": browser.cookies["_xsrf"]}
        conflict = browser.put(path, json={**body, "expected": 1}, headers=right)
        assert conflict.status_code == 409


def test_another_origin_is_turned_away(server):
    path = f"workspaces/{server.id_of()}/prompts/reply/aliases/production"
    with type(server.bare)(base_url=server.address) as browser:
        root = server.address.removesuffix("llmops/v1/")
        browser.get(f"{root}api/status", params={"token": TOKEN})
        headers = {"Origin": "https://evil.example", "Host": "127.0.0.1"}
        got = browser.put(path, json={"version": 1, "expected": 2}, headers=headers)
        assert got.status_code in (403, 404)
        assert server.get("prompts/reply").json()["aliases"]["production"] == 2


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        ("traces", {"limit": 0}, "between 1 and 500"),
        ("traces", {"limit": 501}, "between 1 and 500"),
        ("traces", {"limit": "ten"}, "whole number"),
        ("traces", {"limit": "9" * 400}, "whole number"),
        ("traces", {"statuz": "ok"}, "Did you mean 'status'?"),
        ("traces", {"status": "fine"}, "one of open, ok, error, interrupted"),
        ("traces", {"since": "yesterday"}, "is no time"),
        ("traces", {"since": "9" * 30 + "w"}, "is no time"),
        ("traces", {"until": "\u00b2d"}, "is no time"),
        ("traces", {"cursor": "s1"}, "no place in this list"),
        ("traces", {"cursor": "tzz"}, "no place in this list"),
        ("traces", {"cursor": "tffffffffffffffff"}, "no place in this list"),
        ("traces", {"q": "x" * 501}, "characters"),
        ("traces", {"q": "a\x00b"}, "control character"),
        ("traces", {"q": "!!!"}, "no word to search for"),
        ("traces", {"prompt": ["a", "b"]}, "given 2 times"),
        ("prompts/reply/diff", {"a": 1}, "b is missing"),
        ("prompts/reply/diff", {"a": -1, "b": 1}, "between"),
        ("prompts/REPLY", {}, "small letters"),
        ("comparison", {"a": "1", "b": "two", "metric": "exact"}, "number of a run"),
        (
            "comparison",
            {"a": "1", "b": "2", "metric": "exact", "slices": "nope"},
            "which no row has",
        ),
        ("evaluations", {"cursor": "-1"}, "number of a run"),
        ("indexes/handbook/search", {}, "q is missing"),
        ("indexes/handbook/search", {"q": "books", "k": 101}, "between 1 and 100"),
        ("monitor", {"since": "1900-01-01"}, "last ten years"),
        ("monitor", {"since": "0001-01-01"}, "time"),
        ("versions", {"now": "1"}, "It takes nothing"),
        ("cells", {"notebook": "../../etc/passwd"}, "without '..'"),
        ("cells", {"notebook": "/etc/passwd"}, "relative"),
        ("cells", {"notebook": "C:\\Windows"}, "relative"),
        ("cells", {"notebook": "a/..\\../b"}, "without '..'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(server, path, query, words):
    got = server.get(path, **query)
    assert got.status_code == 400, got.text
    assert words in got.json()["error"]["message"]
    assert got.json()["error"]["kind"].endswith("Error")


@pytest.mark.parametrize(
    "path",
    [
        "traces/zzzz",
        "traces/" + "f" * 32,
        "traces/" + "f" * 3000,
        "traces/..%2F..%2Fetc%2Fpasswd",
        "prompts/nothing",
        "prompts/reply/diff?a=1&b=99",
        "comparison?a=1&b=999999999999999&metric=exact",
        "comparison?a=1&b=2&metric=nothing",
        "trainings/nothing",
        "indexes/nothing/search?q=books",
        "nothing",
        "traces/abc/def",
    ],
)
def test_what_is_not_there_is_said_not_to_be(server, path):
    got = server.client.get(f"workspaces/{server.id_of()}/{path}")
    assert got.status_code == 404, got.text
    assert got.json()["error"]["kind"] == "UnknownNameError"


@pytest.mark.parametrize(
    "workspace",
    ["0" * 16, "..", "..%2F..", "%2Fetc%2Fpasswd", "shop", "a" * 5000, "%00", "%C3%28", "*"],
)
def test_a_workspace_is_known_by_its_id_alone(server, workspace):
    got = server.client.get(f"workspaces/{workspace}/traces")
    assert got.status_code in (400, 404)
    assert got.headers["content-type"].startswith("application/json")


def test_a_verb_that_a_route_has_not_is_refused_in_json(server):
    got = server.client.delete(f"workspaces/{server.id_of()}/traces")
    assert (got.status_code, got.json()["error"]["kind"]) == (405, "HTTPError")


def test_the_time_that_a_client_adds_to_addresses_is_passed_over(server):
    address = f"workspaces/{server.id_of()}/versions?1764412345678"
    assert server.client.get(address).status_code == 200


def test_the_answers_are_for_nobody_else_and_no_page(server):
    got = server.client.get("workspaces")
    assert got.headers["cache-control"] == "private, no-cache"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in got.headers["content-security-policy"]
    assert not got.headers.get("access-control-allow-origin")


def test_asking_does_not_count_as_activity(server):
    before = server.app.web_app.last_activity()
    server.get("traces")
    assert server.app.web_app.last_activity() == before
