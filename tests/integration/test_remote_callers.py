"""An endpoint's engine among its callers: how many at once, closed, forked, pickled, and its key, which shows up nowhere."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import traceback

import pytest
from remote_calls import KEY, ask, only, run
from remote_fakes import Server

from llmops_jupyter.engine.protocol import Finished, Token
from llmops_jupyter.errors import EngineError

pytestmark = pytest.mark.usefixtures("impatient")


def test_closing_the_iterator_tells_the_server_to_stop(opened):
    async def answer(asked, out):
        await out.head()
        while True:
            await out.say("more ")
            await asyncio.sleep(0.01)

    with Server(answer) as server:
        events = opened(server).generate([ask()])
        assert isinstance(next(events), Token)
        events.close()
        assert server.seen.gone.wait(10)


def test_never_more_requests_run_than_allowed_and_all_end_in_their_own_order(opened):
    taken = []

    async def answer(asked, out):
        await out.head()
        name = asked.body["messages"][0]["content"]
        for i in range(3):
            await out.say(f"{name}.{i} ")
            await asyncio.sleep(0.002)
        await out.end()

    def requests():
        for i in range(20):
            taken.append(i)
            yield ask(f"r{i}", str(i))

    with Server(answer) as server:
        engine = opened(server, concurrency=3)
        events = engine.generate(requests())
        first = next(events)
        assert len(taken) <= 3
        got = [first, *events]
        assert 1 < server.seen.most <= 3
    ends = {e.request_id: e for e in got if isinstance(e, Finished)}
    assert len(ends) == 20
    for name, end in ends.items():
        mine = [e for e in got if e.request_id == name]
        assert mine[-1] is end
        assert "".join(e.text for e in mine[:-1]) == end.text
        assert end.text == "".join(f"r{name}.{i} " for i in range(3))


def test_two_callers_share_the_bound(opened):
    async def answer(asked, out):
        await asyncio.sleep(0.01)
        await out.tell("ok")

    with Server(answer) as server:
        engine = opened(server, concurrency=2)
        threads = [
            threading.Thread(target=run, args=(engine, *[ask(number=str(i)) for i in range(6)]))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(server.seen.calls) == 18
        assert server.seen.most <= 2


def test_one_failed_request_leaves_the_others_alone(opened):
    async def answer(asked, out):
        if asked.body["messages"][0]["content"] == "bad":
            await out.reply({"error": {"message": "no"}}, 400)
        else:
            await out.tell("ok")

    with Server(answer) as server:
        events = run(opened(server), ask("a", "1"), ask("bad", "2"), ask("c", "3"))
    ends = {e.request_id: e.finish_reason for e in events if isinstance(e, Finished)}
    assert ends == {"1": "stop", "2": "error", "3": "stop"}


def test_the_key_is_sent_and_shows_up_nowhere(opened, monkeypatch):
    async def answer(asked, out):
        await out.reply({"error": {"message": f"Wrong key {KEY} given"}}, 401)

    with Server(answer) as server:
        engine = opened(server, key_env="REMOTE_TEST_KEY")
        end = only(engine)
        assert server.seen.calls[0].headers["authorization"] == f"Bearer {KEY}"
        shown = [str(end), repr(end), repr(engine), str(engine.status()), repr(engine.endpoint)]
        shown += ["".join(traceback.format_exception(end.error)), str(pickle.dumps(engine))]
        shown += [str(pickle.dumps(end.error)), str(engine.endpoint.as_dict())]
        with pytest.raises(EngineError) as caught:
            engine.embed(["text"])
        shown.append("".join(traceback.format_exception(caught.value)))
        walked = caught.value
        while walked is not None:
            shown.append(repr(vars(walked)) + str(walked))
            walked = walked.__cause__ or walked.__context__
    assert not [text for text in shown if KEY in text]
    monkeypatch.delenv("REMOTE_TEST_KEY")
    assert "REMOTE_TEST_KEY" in str(only(engine).error)


def test_a_key_that_no_header_can_hold_is_not_shown(opened, monkeypatch):
    monkeypatch.setenv("REMOTE_TEST_KEY", "line one\nline two")

    async def answer(asked, out):
        await out.tell("never")

    with Server(answer) as server:
        end = only(opened(server, key_env="REMOTE_TEST_KEY"))
    assert "line two" not in str(end.error)
    assert "REMOTE_TEST_KEY" in str(end.error)


def test_a_closed_engine_says_so_and_ends_what_runs(opened):
    async def answer(asked, out):
        await out.head()
        await out.say("begun")
        await asyncio.sleep(30)

    with Server(answer) as server:
        engine = opened(server)
        events = engine.generate([ask()])
        assert next(events).text == "begun"
        engine.close()
        end = next(events)
        assert (end.text, end.finish_reason) == ("begun", "error")
        with pytest.raises(EngineError, match="closed"):
            engine.embed(["x"])
        assert not engine.alive


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_it_says_what_to_do(opened):
    async def answer(asked, out):
        await out.tell("ok")

    with Server(answer) as server:
        engine = opened(server)
        only(engine)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                engine.embed(["x"])
            except EngineError as e:
                os.write(writing, str(e).encode())
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        said = os.read(reading, 1000)
        os.close(reading)
    assert b"after a fork" in said


def test_an_engine_that_went_through_pickle_answers(opened):
    async def answer(asked, out):
        await out.tell("ok")

    with Server(answer) as server:
        copy = pickle.loads(pickle.dumps(opened(server, tries=3)))
        try:
            assert only(copy).text == "ok"
        finally:
            copy.close()
