"""`@lo.guard` on functions of every kind."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydantic
import pytest
from engine_fakes import plug
from guard_fakes import ATTACK, fitted  # noqa: F401 - a fixture

import llmops_jupyter as lo
from llmops_jupyter.errors import GuardError, OptionError, UnknownNameError
from llmops_jupyter.guard.decorate import NotGuardedWarning
from llmops_jupyter.guard.functions import identity_of

KEY = "AKIAABCDEFGHIJKLMNOP"
POLICY = """
message: "No."
input:
  - check: injection
    action: deny
  - check: secrets
    action: modify
output:
  - check: secrets
    action: modify
  - check: words
    banned: [forbidden]
    action: deny
"""


@pytest.fixture
def shop(ws, fitted):  # noqa: F811
    ws.guard.add("shop", POLICY)
    ws.guard.add("soft", POLICY.replace("modify", "warn").replace("deny", "warn"))
    return ws


def test_texts_are_checked_on_the_way_in_and_out(shop):
    got = []

    @lo.guard("shop")
    def answer(question, n=1, *, style="plain"):
        """Answers."""
        got.append((question, n, style))
        return f"{question} {KEY}"

    assert answer(f"a {KEY}", 2, style=f"b {KEY}") == "a [SECRET] [SECRET]"
    assert got == [("a [SECRET]", 2, "b [SECRET]")]
    assert (answer.__name__, answer.__doc__) == ("answer", "Answers.")
    assert [s.op for s in shop.traces.newest(1)[:0]] == []
    assert {s.name for s in shop.traces.newest(10)} == {"guard input shop@1", "guard output shop@1"}


def test_what_is_denied_raises_with_the_reason_and_the_function_does_not_run(shop):
    ran = []

    @lo.guard("shop")
    def answer(question):
        ran.append(question)
        return "a forbidden thing"

    with pytest.raises(
        GuardError, match=r"shop@1 denied the input of .*answer: injection, it gives orders"
    ) as e:
        answer(ATTACK)
    assert ran == []
    assert e.value.verdicts[-1].action == "blocked"
    with pytest.raises(GuardError, match="denied the output"):
        answer("hi")
    assert ran == ["hi"]


def test_a_message_can_stand_in_the_place_of_an_error(shop):
    @lo.guard("shop", on_deny="message")
    def answer(question):
        return question

    assert answer(ATTACK) == "No."
    assert answer("forbidden") == "No."
    assert answer("fine") == "fine"
    with pytest.raises(OptionError, match="'raise' or 'message'"):
        lo.guard("shop", on_deny="explode")


def test_coroutines_are_awaited(shop):
    @lo.guard("shop")
    async def answer(question):
        await asyncio.sleep(0)
        return f"{question} {KEY}"

    assert inspect.iscoroutinefunction(answer)
    assert asyncio.run(answer("a")) == "a [SECRET]"
    with pytest.raises(GuardError):
        asyncio.run(answer(ATTACK))


def test_a_generator_is_checked_whole_before_anything_of_it_is_shown(shop):
    closed = []

    @lo.guard("shop")
    def pieces(question):
        try:
            yield "the key "
            yield KEY[:8]
            yield KEY[8:]
            yield 3
        finally:
            closed.append(question)

    assert inspect.isgeneratorfunction(pieces)
    assert list(pieces("a")) == ["the key [SECRET]", 3]
    assert closed == ["a"]

    @lo.guard("shop", on_deny="message")
    def worse(question):
        yield "forb"
        yield "idden"

    assert list(worse("a")) == ["No."]
    assert list(worse(ATTACK)) == ["No."]

    @lo.guard("shop")
    def clean():
        yield "one "
        yield "two"

    assert list(clean()) == ["one ", "two"]


def test_a_generator_under_a_policy_that_only_warns_streams_and_is_sent_to(shop):
    @lo.guard("soft")
    def talk(first):
        said = yield first
        yield f"got {said}"
        return "end"

    run = talk("hi")
    assert next(run) == "hi"
    assert run.send("you") == "got you"
    with pytest.raises(StopIteration) as e:
        next(run)
    assert e.value.value == "end"
    run = talk("hi")
    next(run)
    run.close()


def test_async_generators_are_checked_too(shop):
    @lo.guard("shop")
    async def pieces(question):
        yield "the key "
        yield KEY

    @lo.guard("soft")
    async def free(question):
        yield "the key "
        yield KEY

    async def whole(run):
        return [item async for item in run]

    assert inspect.isasyncgenfunction(pieces)
    assert asyncio.run(whole(pieces("a"))) == ["the key [SECRET]"]
    assert asyncio.run(whole(free("a"))) == ["the key ", KEY]
    with pytest.raises(GuardError):
        asyncio.run(whole(pieces(ATTACK)))


def test_methods_and_objects_that_are_called_can_be_guarded(shop):
    class Bot:
        @lo.guard("shop")
        def answer(self, question):
            return f"{question}!"

        @staticmethod
        @lo.guard("shop")
        def plain(question):
            return question

        def __call__(self, question):
            return question

    assert Bot().answer(f"{KEY}") == "[SECRET]!"
    assert Bot.plain(KEY) == "[SECRET]"
    assert lo.guard("shop")(Bot())(KEY) == "[SECRET]"


def test_errors_of_the_function_are_its_own(shop):
    @lo.guard("shop")
    def broken(question):
        raise LookupError(question)

    with pytest.raises(LookupError, match=r"\[SECRET\]"):
        broken(KEY)

    @lo.guard("nosuch")
    def lost(question):
        return question

    with pytest.raises(UnknownNameError):
        lost("x")


def test_a_traced_function_below_a_guard_has_what_it_got_in_its_trace(shop):
    @lo.guard("shop")
    @lo.trace
    def answer(question):
        return question

    answer(KEY)
    span = next(
        s
        for t in shop.traces.newest(5)
        for s in shop.traces.get(t.trace_id).spans
        if s.op == "function"
    )
    assert span.attributes["input.value"] == {"question": "[SECRET]"}


def test_the_room_and_the_decorator_share_a_name():
    room = importlib.import_module("llmops_jupyter.guard")
    assert lo.guard is room
    assert callable(lo.guard)
    assert room.Guard is not None
    code = (
        "import llmops_jupyter as lo, sys\n"
        "assert 'llmops_jupyter.guard' not in sys.modules\n"
        "@lo.guard('basic')\n"
        "def f(x): return x\n"
        "import llmops_jupyter.guard\n"
        "import llmops_jupyter.guard.check as c\n"
        "from llmops_jupyter import guard\n"
        "assert callable(guard) and c.About\n"
        "heavy = {'sklearn', 'scipy', 'torch', 'pandas', 'matplotlib', 'numpy', 'statsmodels', 'yaml', 'jsonschema'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Texts within other values


def same(value):
    return value


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


class Said:
    def __init__(self, text):
        self.text = text


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


def test_what_a_function_returns_for_later_is_checked_when_it_comes(shop):
    @lo.guard("shop")
    def generator(question):
        return iter(["the key ", KEY[:8], KEY[8:]])

    assert "".join(generator("a")) == "the key [SECRET]"

    @lo.guard("shop")
    def coroutine(question):
        async def later():
            return f"a {KEY}"

        return later()

    assert asyncio.run(coroutine("x")) == "a [SECRET]"

    @lo.guard("shop", on_deny="message")
    def worse(question):
        async def later():
            return ["forbidden"]

        return later()

    async def awaited():
        return await worse("x")

    assert asyncio.run(awaited()) == "No."

    @lo.guard("shop")
    def async_generator(question):
        async def later():
            yield "the key "
            yield KEY

        return later()

    async def whole():
        return [piece async for piece in async_generator("x")]

    assert asyncio.run(whole()) == ["the key [SECRET]"]
    with Path(__file__).open() as file, pytest.warns(NotGuardedWarning, match="TextIOWrapper"):
        assert lo.guard("shop")(same)(file) is file


def test_chunks_are_checked_as_the_texts_that_they_make_up(shop):
    def chunk(text):
        return {"id": "c-1", "choices": [{"delta": {"content": text}}]}

    @lo.guard("shop")
    def stream():
        for piece in ("the key ", KEY[:8], KEY[8:], *" and some more words"):
            yield chunk(piece)

    pieces = list(stream())
    said = "".join(p["choices"][0]["delta"]["content"] for p in pieces)
    assert said == "the key [SECRET] and some more words"
    assert {p["id"] for p in pieces} == {"c-1"}

    @lo.guard("shop")
    def denied():
        yield from (chunk("forb"), chunk("idden"))

    with pytest.raises(GuardError):
        list(denied())


def test_a_generator_keeps_what_it_returns_though_it_is_held_back(shop):
    @lo.guard("shop")
    def talk():
        yield "one"
        return f"end {KEY}"

    run = talk()
    assert next(run) == "one"
    with pytest.raises(StopIteration) as e:
        next(run)
    assert e.value.value == "end [SECRET]"


def test_a_stream_that_is_left_before_its_end_is_checked_so_far(shop):
    @lo.guard("soft")
    def talk():
        yield f"the key {KEY}"
        yield "never"

    run = talk()
    next(run)
    run.close()
    (trace,) = [t for t in shop.traces.newest(5) if t.name == "guard output soft@1"]
    root = shop.traces.get(trace.trace_id).root
    assert root.attributes["llmops.guard.decision"] == "warn"


def test_what_is_no_function_cannot_be_guarded(shop):
    with pytest.raises(OptionError, match="Bot is a class"):

        @lo.guard("shop")
        class Bot:
            pass

    with pytest.raises(OptionError, match="not around int"):
        lo.guard("shop")(3)
    with pytest.raises(OptionError, match="takes the name of a policy, not function"):

        @lo.guard
        def answer():
            pass


def test_a_check_that_fails_on_a_guarded_call_warns(shop):
    shop.guard.register("odd", lambda text: None)
    shop.guard.add("odd", "input:\n  - check: odd\n    action: deny\n")
    guarded = lo.guard("odd")(same)
    with pytest.warns(NotGuardedWarning, match="it returned NoneType") as told:
        assert guarded("a") == guarded("a") == "a"
    assert len(told) == 1
    shop.guard.add("odd", "input:\n  - check: odd\n    action: deny\n    on_error: deny\n")
    with pytest.raises(GuardError, match="it returned NoneType"):
        guarded("a")


# Functions as checks


@pytest.mark.parametrize(
    ("said", "decision", "score"),
    [
        (np.bool_(True), "deny", None),
        (np.bool_(False), "allow", None),
        (np.float32(0.75), "deny", 0.75),
        (np.array(0.25), "allow", 0.25),
        (Fraction(3, 4), "deny", 0.75),
        (1, "deny", 1.0),
    ],
)
def test_a_check_may_say_a_number_of_any_kind(ws, said, decision, score):
    ws.guard.register("mine", lambda text: said)
    ws.guard.add("own", "input:\n  - check: mine\n    action: deny\n")
    (verdict,) = ws.guard.check("a", "own").verdicts
    assert (verdict.decision, verdict.score) == (decision, score)


@pytest.mark.parametrize(("on_error", "allowed"), [("warn", True), ("deny", False)])
def test_a_check_that_says_anything_else_has_failed(ws, on_error, allowed):
    async def later(text):
        return True

    ws.guard.add("words", "input:\n  - check: words\n    banned: [x]\n")
    for said, kind in (
        (None, "NoneType"),
        ("no", "str"),
        (np.zeros(2), "numpy.ndarray"),
        (3j, "complex"),
    ):
        ws.guard.register("mine", lambda text, said=said: said)
        ws.guard.add("own", f"on_error: {on_error}\ninput:\n  - check: mine\n    action: deny\n")
        report = ws.guard.check("a", "own")
        assert report.allowed is allowed
        assert report.verdicts[0].decision == on_error
        assert f"it returned {kind};" in report.verdicts[0].reason
    ws.guard.register("mine", lambda text: later(text + ""))
    assert ws.guard.check("a", "own").allowed is allowed


def test_a_check_answers_at_once(ws):
    async def later(text):
        return True

    def pieces(text):
        yield True

    class Later:
        async def find(self, text, about):
            return None

    class Made:
        def __init__(self, text):
            pass

    for check, why in (
        (later, "a coroutine function"),
        (pieces, "a generator"),
        (Later(), "a coroutine function"),
        (3, "not int"),
        (Made, "not the class Made"),
    ):
        with pytest.raises(OptionError, match=why):
            ws.guard.register("mine", check)


BANNED = {"a"}


def test_functions_that_do_the_same_have_one_identity():
    limit = 3

    def one(text):
        return len(re.findall(r"\w", text)) > limit or text in BANNED

    def make(limit):
        def one(text):
            return len(re.findall(r"\w", text)) > limit or text in BANNED

        return one

    first = identity_of(make(3))
    assert identity_of(make(3)) == first
    assert identity_of(make(4)) != first
    assert identity_of(one).startswith("only ") is False
    BANNED.add("b")
    try:
        assert identity_of(make(3)) != first
    finally:
        BANNED.discard("b")
    assert identity_of(lambda t: same(t) > 1) == identity_of(lambda t: same(t) > 1)
    odd = object()
    assert identity_of(lambda text: odd) != identity_of(lambda text: odd)
    assert identity_of(Said("x")) != identity_of(Said("x"))


def test_answers_made_under_another_check_of_a_name_are_not_taken_again(ws):
    engine = plug(ws)
    ws.prompts.save("p", "user: {{ q }}")
    rows = [{"q": "hi", "expected": "echo hi"}]
    ws.guard.register("mine", lambda text: text == "hi")
    ws.guard.add("own", "input:\n  - check: mine\n    action: deny\n")
    ws.evaluation.run("p:guard=own", rows, "exact")
    assert len(engine.requests) == 0
    ws.guard.register("mine", lambda text: text == "ho")
    ws.evaluation.run("p:guard=own", rows, "exact")
    assert len(engine.requests) == 1
    ws.guard.register("mine", lambda text: text == "ho")
    ws.evaluation.run("p:guard=own", rows, "exact")
    assert len(engine.requests) == 1


def test_the_weights_of_fitted_checks_belong_to_what_decides(ws, monkeypatch):
    from llmops_jupyter.guard import classifier

    ws.guard.add("fit", "input: [injection]\n")
    key = ws.guard.pipeline("fit").key
    assert ws.guard.pipeline("fit").key == key
    monkeypatch.setattr(classifier, "digest_of", lambda name: f"other {name}")
    assert ws.guard.pipeline("fit").key != key
