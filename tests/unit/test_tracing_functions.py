"""Every kind of function can be traced, and its caller notices nothing of it."""

from __future__ import annotations

import asyncio
import functools

import pytest

import llmops_jupyter as lo


def test_functions_of_every_kind_are_traced(ws):
    @lo.trace
    def plain(x):
        return {"double": x * 2}

    @lo.trace(name="coroutine")
    async def coroutine(x):
        return x

    @lo.trace
    def generator(n):
        for i in range(n):
            with lo.span("inside"):
                yield i

    @lo.trace
    async def async_generator(n):
        for i in range(n):
            yield i

    async def drain():
        return [i async for i in async_generator(2)]

    assert plain(2) == {"double": 4}
    assert asyncio.run(coroutine(3)) == 3
    assert list(generator(3)) == [0, 1, 2]
    assert asyncio.run(drain()) == [0, 1]
    found = [ws.traces.get(s.trace_id) for s in ws.traces.newest(10)]
    outputs = [t.root.attributes["output.value"] for t in found]
    assert outputs == [[0, 1], [0, 1, 2], 3, {"double": 4}]
    assert [s.name for s in found[1].spans] == [generator.__qualname__, *["inside"] * 3]
    assert found[3].root.attributes["input.value"] == {"x": 2}


def test_an_error_passes_through_and_is_kept(ws):
    @lo.trace
    def broken():
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        broken()
    root = ws.traces.last().root
    assert (root.status, root.error_type, root.error_message) == ("error", "ValueError", "no luck")


def test_every_kind_of_callable_is_traced(ws):
    class Doubler:
        def __call__(self, x):
            return 2 * x

    class Later:
        async def __call__(self, x):
            return x

    class Owner:
        @lo.trace
        @staticmethod
        def fixed(x):
            return x

        @lo.trace
        @classmethod
        def of_class(cls, x):
            return cls, x

    assert lo.trace(functools.partial(pow, 2))(3) == 8
    assert lo.trace(Doubler())(3) == 6
    assert lo.trace(len)([1, 2]) == 2
    assert asyncio.run(lo.trace(Later())(5)) == 5
    assert Owner.fixed(1) == 1
    assert Owner.of_class(2) == (Owner, 2)
    names = [t.name for t in ws.traces.newest()]
    assert names[-3:] == ["len", Doubler.__qualname__, "pow"]
    assert len(names) == 6


def test_a_generator_gets_what_its_caller_sends_and_throws(ws):
    def conversation():
        heard = []
        try:
            while True:
                try:
                    heard.append((yield len(heard)))
                except KeyError as e:
                    heard.append(e)
                if len(heard) == 3:
                    return heard
        finally:
            heard.append("closed")

    def talk(made):
        found = [next(made), made.send("a"), made.throw(KeyError("k"))]
        with pytest.raises(StopIteration) as stop:
            made.send("b")
        return found, [str(x) for x in stop.value.value]

    assert talk(lo.trace(conversation)()) == talk(conversation())
    made = lo.trace(conversation)()
    next(made)
    made.close()
    assert [t.status for t in ws.traces.newest()] == ["ok", "ok"]


async def test_an_async_generator_gets_what_its_caller_sends_and_throws(ws):
    closed = []

    async def conversation():
        heard = []
        try:
            while True:
                try:
                    heard.append((yield list(heard)))
                except KeyError as e:  # noqa: PERF203
                    heard.append(str(e))
        finally:
            closed.append(len(heard))

    async def talk(made):
        found = [await made.asend(None), await made.asend("a"), await made.athrow(KeyError("k"))]
        await made.aclose()
        with pytest.raises(StopAsyncIteration):
            await made.asend("late")
        return found

    assert await talk(lo.trace(conversation)()) == await talk(conversation())
    made = lo.trace(conversation)()
    await made.asend(None)
    with pytest.raises(ValueError, match="own"):
        await made.athrow(ValueError("own"))
    assert closed == [2, 2, 0]
    assert [t.status for t in ws.traces.newest()] == ["error", "ok"]
