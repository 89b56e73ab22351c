"""Texts within the arguments and results of a guarded function, whatever they lie in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pydantic
import pytest
from guard_decorated import Said, same, with_policies
from guard_fakes import ATTACK, KEY

import llmops_jupyter as lo
from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard.decorate import NotGuardedWarning


@pytest.fixture
def shop(ws, fitted):
    return with_policies(ws)


@pytest.fixture
def guarded(shop):
    return lo.guard("shop")(same)


class Pair(NamedTuple):
    one: int
    two: str


@dataclass(frozen=True)
class Note:
    about: str
    stars: int = 3


class Reply(pydantic.BaseModel):
    choices: list[dict]
    id: str = "x"


SHAPES = {
    "list": lambda t: ["a", [t]],
    "mapping": lambda t: {"m": {"n": t}},
    "tuple": lambda t: (1, t),
    "named tuple": lambda t: Pair(1, t),
    "set": lambda t: {t},
    "messages": lambda t: [{"role": "system", "content": "x"}, {"role": "user", "content": t}],
    "parts of a message": lambda t: [{"role": "user", "content": [{"type": "text", "text": t}]}],
    "message": lambda t: lo.Message("user", t),
    "completion": lambda t: lo.Completion(t, logprobs=(1,)),
    "record": Note,
    "object with a text": Said,
    "pydantic object": lambda t: Reply(choices=[{"message": {"content": t}}]),
}


each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def shown(value):
    return repr(getattr(value, "__dict__", value))


@each_shape
def test_texts_are_found_within_arguments(shop, shape):
    ran = []
    guarded = lo.guard("shop")(ran.append)
    for call in (guarded, lambda v: lo.guard("shop")(lambda *, x: ran.append(x))(x=v)):
        ran.clear()
        with pytest.raises(GuardError, match="denied the input"):
            call(shape(ATTACK))
        assert ran == []
        before = shape(f"my {KEY}")
        call(before)
        assert KEY not in shown(ran[0])
        assert "my [SECRET]" in shown(ran[0])
        assert type(ran[0]) is type(before)
        assert KEY in shown(before)


@each_shape
def test_texts_are_found_within_results(shop, shape):
    @lo.guard("shop")
    def give(text):
        return shape(text.replace("-", ""))

    hidden = "-".join(KEY)
    assert KEY not in shown(give(f"my {hidden}"))
    assert "my [SECRET]" in shown(give(f"my {hidden}"))
    with pytest.raises(GuardError, match="denied the output"):
        give("for-bidden")
    assert lo.guard("shop", on_deny="message")(give.__wrapped__)("for-bidden") == "No."


def test_a_changed_completion_tells_nothing_token_by_token(guarded):
    done = guarded(lo.Completion(KEY, reasoning=KEY, logprobs=(1,), model=KEY))
    assert (done.text, done.reasoning, done.logprobs, done.model) == (
        "[SECRET]",
        "[SECRET]",
        (),
        KEY,
    )


def test_values_without_a_change_are_the_same_objects(guarded):
    loop = ["a"]
    loop.append(loop)
    for value in (None, 3, True, 2.5, ["a", {"b": ("c",)}], Note("a"), Said("a"), "", [], loop):
        assert guarded(value) is value


def test_what_cannot_be_looked_into_is_told_once(shop):
    @lo.guard("shop")
    def read(data):
        return data

    with pytest.warns(NotGuardedWarning) as told:
        [read(value) for value in (b"x", object())]
    assert [str(w.message).split(" was ")[0] for w in told] == [
        "Nothing of the input of test_what_cannot_be_looked_into_is_told_once.<locals>.read",
        "Nothing of the output of test_what_cannot_be_looked_into_is_told_once.<locals>.read",
    ]

    class Bot:
        @lo.guard("shop")
        def answer(self, n=1):
            return "fine"

    assert Bot().answer() == "fine"


def test_an_object_that_cannot_be_changed_is_refused(shop):
    class Fixed:
        @property
        def text(self):
            return KEY

    with pytest.raises(GuardError, match="a Fixed, which cannot be changed"):
        lo.guard("shop")(same)(Fixed())
