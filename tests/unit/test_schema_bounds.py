"""Schemas that a grammar could be made of only by a million rules are refused before llama.cpp sees them."""

from __future__ import annotations

import copy

import pytest

from llmops_jupyter.engine.schemabounds import DEEPEST, MOST_TIMES, check_bounds
from llmops_jupyter.errors import SchemaError


def nested(levels):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"type": "string", "maxLength": 1_000_000}, "maxLength"),
        ({"type": "array", "items": {"type": "string"}, "minItems": MOST_TIMES + 1}, "minItems"),
        ({"type": "string", "maxLength": float("inf")}, "maxLength"),
        ({"type": "string", "pattern": "^(a{100}){100}$"}, "repetitions"),
        ({"type": "string", "pattern": "a" * 600}, "characters"),
        (nested(DEEPEST + 1), "levels"),
        ({"enum": [str(i) for i in range(30_000)]}, "parts"),
        (
            {"anyOf": [{"type": "string", "maxLength": MOST_TIMES} for _ in range(5)]},
            "repeats more than",
        ),
    ],
)
def test_a_schema_that_is_too_large_is_refused_and_says_in_what(schema, what):
    with pytest.raises(SchemaError, match=what):
        check_bounds(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "maxLength": MOST_TIMES},
        {"type": "string", "pattern": "^[A-Z]{2,40}$"},
        {"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(500)}},
        {"type": "string", "maxLength": None},
    ],
)
def test_what_people_write_is_let_be(schema):
    before = copy.deepcopy(schema)
    check_bounds(schema)
    assert schema == before
