"""`@lo.guard` on functions of every kind."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from guard_decorated import same, with_policies
from guard_fakes import ATTACK, KEY

import llmops_jupyter as lo
from llmops_jupyter.errors import GuardError, OptionError, UnknownNameError
from llmops_jupyter.guard.decorate import NotGuardedWarning


@pytest.fixture
def shop(ws, fitted):
    return with_policies(ws)


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
