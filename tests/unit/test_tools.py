"""Python functions as tools: what a model is told of them, arguments, results."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import typing
import uuid

import jsonschema
import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmops_jupyter as lo
from llmops_jupyter.errors import OptionError
from llmops_jupyter.prompts.signature import schema_of, value_of
from llmops_jupyter.prompts.tools import (
    MOST_ROWS,
    MOST_TEXT,
    ArgumentError,
    arguments_of,
    as_tool,
    as_tools,
    result_text,
)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Odd(enum.Enum):
    A = (1, 2)
    B = (3, 4)


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


@dataclasses.dataclass
class Tree:
    name: str
    parent: Tree | None = None


class Movie(typing.TypedDict):
    title: str
    year: typing.NotRequired[int] if hasattr(typing, "NotRequired") else int


class Order(pydantic.BaseModel):
    number: int
    lines: list[Line]


class Line(pydantic.BaseModel):
    book: str


Order.model_rebuild()

# Each hint with a strategy for the JSON values that it admits.
INTEGERS = st.integers(-(10**9), 10**9)
HINTS = [
    (int, INTEGERS),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (str, st.text()),
    (bool, st.booleans()),
    (typing.Literal["a", 1], st.sampled_from(["a", 1])),
    (Colour, st.sampled_from(["red", "blue"])),
    (Odd, st.sampled_from(["A", "B"])),
    (list[int], st.lists(INTEGERS)),
    (set[str], st.lists(st.text(), unique=True)),
    (tuple[int, str], st.tuples(INTEGERS, st.text()).map(list)),
    (tuple[int, ...], st.lists(INTEGERS)),
    (dict[str, int], st.dictionaries(st.text(), INTEGERS)),
    (int | None, st.none() | INTEGERS),
    (datetime.date | None, st.none() | st.dates().map(str)),
    (datetime.date, st.dates().map(str)),
    (uuid.UUID, st.uuids().map(str)),
    (Point, st.fixed_dictionaries({"x": INTEGERS}, optional={"y": st.floats(-9, 9)})),
    (list[Point], st.lists(st.fixed_dictionaries({"x": INTEGERS}))),
    (Movie, st.fixed_dictionaries({"title": st.text(), "year": INTEGERS})),
    (Order, st.builds(lambda n: {"number": n, "lines": [{"book": "b"}]}, INTEGERS)),
    (typing.Annotated[int, "how many"], INTEGERS),
    (typing.Any, st.none() | st.booleans() | INTEGERS | st.text()),
    (list, st.lists(INTEGERS)),
    (dict, st.dictionaries(st.text(), INTEGERS)),
]


def as_json(value):
    """What a value of Python is in JSON, written apart from the code under test."""
    if isinstance(value, enum.Enum):
        return value.name if isinstance(value, Odd) else value.value
    if isinstance(value, datetime.date | uuid.UUID):
        return str(value)
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump()
    if dataclasses.is_dataclass(value):
        return {k: as_json(v) for k, v in vars(value).items()}
    if isinstance(value, list | tuple):
        return [as_json(v) for v in value]
    return value


@pytest.mark.parametrize(("hint", "values"), HINTS, ids=[str(h) for h, _ in HINTS])
def test_a_value_that_the_schema_admits_becomes_what_the_hint_asks_for(hint, values):
    schema = schema_of(hint)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)

    @settings(max_examples=25, deadline=None)
    @given(values)
    def check(value):
        assert validator.is_valid(value)
        made = value_of(hint, value)
        if isinstance(made, set):
            assert made == set(value)
        elif isinstance(made, Point):
            assert as_json(made) == {"y": 0.0, **value}
        elif hint != list[Point]:
            assert as_json(made) == value
        else:
            assert [p.x for p in made] == [v["x"] for v in value]

    check()


def find_order(number: int, fields: list[str] | None = None, *, strict: bool = False) -> dict:
    """Look an order up.

    Only orders of this year are found.

    Args:
        number (int): the order's number,
            as on the bill.
        fields: what to give back: all if left out.

    Returns:
        the order.
    """
    return {"number": number, "fields": fields, "strict": strict}


def test_signature_and_docstring_become_what_the_model_is_told():
    found = as_tool(find_order)
    assert found.name == "find_order"
    assert found.tool.description == "Look an order up.\n\nOnly orders of this year are found."
    schema = found.tool.parameters
    assert schema["required"] == ["number"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["number"]["description"] == "the order's number, as on the bill."
    assert schema["properties"]["fields"]["description"] == "what to give back: all if left out."
    assert schema["properties"]["strict"] == {"type": "boolean", "default": False}


def test_the_mark_leaves_a_function_a_function():
    @lo.tool
    def double(n: int) -> int:
        """Double."""
        return 2 * n

    @lo.tool(side_effects=True, name="post", description="Post it.")
    def send(text: str) -> None: ...

    assert double(4) == 8
    assert not as_tool(double).side_effects
    marked = as_tool(send)
    assert (marked.name, marked.tool.description, marked.side_effects) == ("post", "Post it.", True)


def test_methods_and_partials_are_tools_too():
    class Shop:
        def price(self, book: str) -> float:
            """The price."""
            return 2.5

    assert as_tool(Shop().price).tool.parameters["required"] == ["book"]
    fixed = functools.partial(find_order, 7)
    assert as_tool(fixed).name == "find_order"
    assert "number" not in as_tool(fixed).tool.parameters["properties"]


def no_hint(x): ...
def star(*words: str): ...
def double_star(**words: str): ...
def circle(tree: Tree): ...
def bytes_in(raw: bytes): ...
def keys(table: dict[int, str]): ...
def generator(n: int):
    yield n


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (no_hint, "no type hint"),
        (star, "parameters with names"),
        (double_star, "parameters with names"),
        (circle, "Tree contains itself"),
        (bytes_in, "bytes has no JSON form"),
        (keys, "are not str"),
        (generator, "generator"),
        (lambda x: x, "cannot be called '<lambda>'"),
        (int, "is a function"),
        (3, "is a function"),
        ("find_order", "is a function"),
    ],
)
def test_what_cannot_be_told_to_a_model_is_refused(function, said):
    with pytest.raises(OptionError, match=said):
        as_tool(function)


def test_a_forward_reference_to_nothing_is_refused_at_the_mark():
    def broken(x: Nowhere): ...  # noqa: F821

    with pytest.raises(OptionError, match="Nowhere"):
        lo.tool(broken)


def test_lists_of_tools_are_checked():
    with pytest.raises(OptionError, match="Two tools have the name 'find_order'"):
        as_tools([find_order, find_order])
    with pytest.raises(OptionError, match="empty"):
        as_tools([])
    assert [t.name for t in as_tools(find_order)] == ["find_order"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "'number' is a required property"),
        ({"number": "7"}, "at \\$.number"),
        ({"number": 7, "other": 1}, "'other' was unexpected"),
        ({"number": 7, "fields": [1]}, "at \\$.fields"),
    ],
)
def test_wrong_arguments_are_told_with_their_place(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        arguments_of(as_tool(find_order), arguments)


def test_a_date_that_there_is_not_is_a_wrong_argument():
    def on(day: datetime.date) -> str:
        """."""
        return str(day)

    with pytest.raises(ArgumentError, match="not valid"):
        arguments_of(as_tool(on), {"day": "2024-02-31"})
    assert arguments_of(as_tool(on), {"day": "2024-02-29"}) == {"day": datetime.date(2024, 2, 29)}


def test_whole_numbers_written_as_floats_arrive_as_whole_numbers():
    made = arguments_of(as_tool(find_order), {"number": 7.0})
    assert made["number"] == 7
    assert isinstance(made["number"], int)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (None, "null"),
        ({"a": (1, 2.5), "b": float("nan")}, '{"a": [1, 2.5], "b": null}'),
        (datetime.date(2024, 1, 2), '"2024-01-02"'),
        (Colour.RED, '"red"'),
        (Point(1), '{"x": 1, "y": 0.0}'),
        (np.float32(0.5), "0.5"),
        (np.arange(3), "[0, 1, 2]"),
        (pd.DataFrame({"a": [1, 2], "d": pd.to_datetime(["2024-01-02"] * 2)}).head(1), None),
        (pd.Series({"a": 1, "b": 2}), '{"a": 1, "b": 2}'),
        (Line(book="é"), '{"book": "é"}'),
        ({1}, "[1]"),
    ],
)
def test_results_are_told_as_json(value, text):
    expected = '[{"a": 1, "d": "2024-01-02T00:00:00"}]' if text is None else text
    assert result_text(value) == expected


def test_long_results_are_cut_with_a_note():
    text = result_text("x" * 20_000)
    assert len(text) < MOST_TEXT + 100
    assert text.endswith("(cut: the result has 20,000 characters)")
    table = result_text(pd.DataFrame({"a": range(1000)}))
    assert f"the first {MOST_ROWS} of 1,000 rows" in table
