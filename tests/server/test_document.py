"""The document of the routes, the client in TypeScript and the routes themselves are of one mind."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import jsonschema
import pytest
import schemas

from llmops_jupyter.server import arguments, routes
from llmops_jupyter.server.arguments import read_body, read_query
from llmops_jupyter.server.handler import encoded

FOLDER = Path(__file__).parents[2] / "labextension" / "src" / "api"
API = "\n".join(file.read_text("utf-8") for file in sorted(FOLDER.glob("*.ts")))
# Interfaces whose schemas are called otherwise, and those that are no answer.
NAMED = {"TraceFilters": None, "Page": None}
# Answers that the client writes out in place.
INLINE = {"Dataset", "Collected"}


def interfaces() -> dict[str, set[str]]:
    """The interfaces of the client with the names of their members; an index signature is none."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", API, flags=re.DOTALL)
    found = {}
    pattern = r"export interface I(\w+)(?:<T>)?(?: extends I(\w+))? \{\n(.*?)\n\}"
    for name, base, body in re.findall(pattern, text, re.DOTALL):
        flat, depth = "", 0
        for sign in body:
            depth -= sign == "}"
            flat += sign if depth == 0 or sign in "{}" else ""
            depth += sign == "{"
        members = set(re.findall(r"(?:^|;|\n)\s*(\w+)\??:", flat))
        found[name] = members | found.get(base, set())
    return found


def test_the_client_is_read():
    found = interfaces()
    assert len(found) > 35
    assert found["Estimate"] == {"value", "low", "high", "n"}
    assert found["Monitor"] >= {"rules", "bucket_s", "budgets"}


@pytest.mark.parametrize("name", sorted(set(interfaces()) - set(NAMED)))
def test_an_interface_of_the_client_has_the_members_of_its_schema(name):
    assert name in schemas.SCHEMAS, f"I{name} has no schema"
    assert interfaces()[name] == set(schemas.SCHEMAS[name]["properties"])


def test_every_schema_that_is_answered_is_an_interface_or_a_page():
    answered = {
        schemas.answer_of(path, method)
        for path, verbs in schemas.DOCUMENT["paths"].items()
        for method in verbs
        if method != "parameters" and path != "/openapi.yaml"
    }
    known = set(interfaces()) | INLINE | {"Versions"}
    for name in answered - known:
        properties = set(schemas.SCHEMAS[name]["properties"])
        assert properties in ({"items"}, {"items", "next"}), name


def test_topics_and_filters_are_the_same_for_both():
    text = API
    topics = re.search(r"export type Topic =(.*?);", text, re.DOTALL)[1]
    assert set(re.findall(r"'(\w+)'", topics)) == set(schemas.SCHEMAS["Versions"]["properties"])
    assert interfaces()["TraceFilters"] == set(routes.FILTERS)


def test_every_route_is_described_with_its_verbs_and_no_other():
    made = {}
    for path, handler in routes.ROUTES:
        made[re.sub(r"\{\}", "{}", path)] = {
            verb for verb in ("get", "post", "put", "delete", "patch") if verb in vars(handler)
        }
    told = {
        re.sub(r"\{\w+\}", "{}", path.lstrip("/")): set(verbs) - {"parameters"}
        for path, verbs in schemas.DOCUMENT["paths"].items()
    }
    assert made == told


def test_every_address_that_the_client_asks_for_is_described():
    text = API
    asked = set()
    for found in re.findall(r"this\.(?:get|send|ask)\(\s*(?:'[A-Z]+',\s*)?[`']([^`']+)[`']", text):
        asked.add(re.sub(r"\$\{encodeURIComponent\(\w+\)\}", "{}", found))
    told = {
        re.sub(r"\{\w+\}", "{}", path).removeprefix("/workspaces/{}/")
        for path in schemas.DOCUMENT["paths"]
    }
    assert asked
    assert asked <= told


def test_the_schemas_are_schemas():
    for name, schema in schemas.SCHEMAS.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["type"] in ("object", "string"), name


def test_every_error_that_is_told_has_a_description():
    told = {
        status
        for verbs in schemas.DOCUMENT["paths"].values()
        for method, about in verbs.items()
        if method != "parameters"
        for status in about["responses"]
    }
    assert {"400", "403", "404", "409", "413", "500", "503", "507"} <= told


def test_numbers_that_are_none_are_null_and_halves_of_characters_question_marks():
    value = {"a": math.nan, "b": [math.inf, 1.5, {"c": -math.inf}], "d": "x\ud800y", "e": "é"}
    assert json.loads(encoded(value)) == {
        "a": None,
        "b": [None, 1.5, {"c": None}],
        "d": "x?y",
        "e": "é",
    }


def test_what_may_be_left_out_has_its_default():
    fields = {"a": arguments.Text(default="x"), "n": arguments.Whole(1, 5, default=2)}
    assert read_query({}, fields) == {"a": "x", "n": 2}
    assert read_query({"n": ["3"], "token": ["secret"]}, fields) == {"a": "x", "n": 3}
    assert read_body(b'{"n": 5}', fields) == {"a": "x", "n": 5}


def test_true_is_no_number_and_a_half_no_whole_one():
    for body in (b'{"n": true}', b'{"n": 1.0}', b'{"n": null}', b'{"n": "x"}'):
        with pytest.raises(arguments.OptionError, match="whole number"):
            read_body(body, {"n": arguments.Whole()})
    assert read_body(b'{"n": null}', {"n": arguments.Whole(or_none=True)}) == {"n": None}
