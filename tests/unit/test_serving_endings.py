"""Answers that do not come to their end: clients that leave or do not read, engines that break off, a server that ends."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from types import SimpleNamespace

import httpx
import openai
import pytest
from serving_fakes import Mute, Writer, deployment, served, wait_until

from llmops_jupyter.deploy.serving.admission import Gate
from llmops_jupyter.deploy.serving.answering import Answering
from llmops_jupyter.deploy.serving.limits import Limits
from llmops_jupyter.errors import EngineError, StoreFullError

ASKED = {"model": "support", "messages": [{"role": "user", "content": "day"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    with deployment(tmp_path_factory.mktemp("served") / "home") as found:
        yield found


def answers(service):
    return httpx.post(f"{service.url}{CHAT}", json=ASKED).status_code == 200


def chat(**more):
    return {**ASKED, **more}


def lines(service):
    return [json.loads(line) for line in service.log.getvalue().splitlines()]


def test_a_client_that_leaves_ends_its_answer_at_the_engine(ws):
    writer = Writer(lambda text: "word " * 2_000, wait=0.005)
    with served(ws, writer) as service:
        with httpx.stream("POST", f"{service.url}{CHAT}", json=chat(stream=True)) as answer:
            next(answer.iter_lines())
        assert wait_until(lambda: writer.closed == 1)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{service.url}{CHAT}", json=ASKED, timeout=0.3)
        assert wait_until(lambda: writer.closed == 2)
        assert wait_until(lambda: service.gate.running == 0)
        assert service.fleet.any().requests == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_the_model_reads_ends_the_reading(ws, stream):
    mute = Mute()
    with served(ws, mute) as service:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{service.url}{CHAT}", json=chat(stream=stream), timeout=0.3)
        assert wait_until(lambda: mute.given_up == 1)
        assert wait_until(lambda: service.gate.running == 0)
        assert wait_until(lambda: lines(service))
    assert ws.traces.last().root.status == "interrupted"
    assert lines(service)[0]["status"] == 499


def test_the_log_says_that_the_client_of_a_stream_has_left(ws):
    writer = Writer(lambda text: "word " * 2_000, wait=0.005)
    with served(ws, writer) as service:
        with httpx.stream("POST", f"{service.url}{CHAT}", json=chat(stream=True)) as answer:
            next(answer.iter_lines())
        assert wait_until(lambda: lines(service))
    assert lines(service)[0]["error"] == "client_left"


@pytest.mark.parametrize(("abandoned", "told"), [(True, []), (False, [b"told"])])
def test_an_end_that_nobody_waits_for_is_no_fault(abandoned, told):
    """A cancelled task may go on for a moment, and reads that the run that was ended has no answer."""

    class Made:
        async def _told(self, running, first):
            raise ConnectionError("nobody waits")
            yield b""

        def _broken(self, error):
            return b"told"

    async def parts():
        running = SimpleNamespace(abandoned=abandoned)
        return [part async for part in Answering._events(Made(), running, None)]

    assert asyncio.run(parts()) == told


def test_a_slow_client_holds_up_nobody(ws):
    writer = Writer(lambda text: "word " * 4_000)
    with served(ws, writer, limits=Limits(running=1, notice_s=0, send_s=0.5)) as service:
        body = json.dumps(chat(stream=True))
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            raw.connect(("127.0.0.1", service.port))
            raw.sendall((head + body).encode())
            assert wait_until(lambda: writer.requests)
            assert answers(service)
        assert wait_until(lambda: service.gate.running == 0)


def test_an_engine_that_breaks_off_is_named_and_the_next_request_answered(ws):
    writer = Writer(lambda text: "one two three four", wait=0.1)
    with served(ws, writer) as service:
        with openai.OpenAI(base_url=f"{service.url}/v1", api_key="x", max_retries=0) as client:
            stream = client.chat.completions.create(**chat(stream=True))
            with pytest.raises(openai.APIError, match="EngineError"):
                for chunk in stream:
                    if chunk.choices[0].delta.content:
                        writer.fault = EngineError("the worker process has ended (/secret/path)")
            answer = httpx.post(f"{service.url}{CHAT}", json=ASKED)
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "engine_error"
            assert "secret" not in answer.text
        writer.fault = None
        assert answers(service)


def test_a_fault_of_the_server_in_a_stream_is_told_in_it(ws, monkeypatch):
    from llmops_jupyter.deploy.serving.answers import Form

    def broken(self, *_):
        raise RuntimeError("secret")

    monkeypatch.setattr(Form, "ending", broken)
    with served(ws) as service:
        answer = httpx.post(f"{service.url}{CHAT}", json=chat(stream=True))
        last = answer.text.strip().splitlines()[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "internal_error"
    assert "secret" not in answer.text


class Filling(Writer):
    """The disk fills up while it writes its second answer."""

    def _one(self, request):
        for told, event in enumerate(super()._one(request), 1):
            yield event
            if len(self.requests) == 2 and told == 2:
                raise StoreFullError("The disk is full. Make room.")


@pytest.mark.filterwarnings("ignore::llmops_jupyter.tracing.spans.TraceNotSavedWarning")
def test_what_was_told_of_an_answer_is_not_told_again_without_a_trace(ws):
    with served(ws, Filling(), limits=Limits(running=1, notice_s=0)) as service:
        answer = httpx.post(f"{service.url}{CHAT}", json=chat(stream=True, n=2))
        said = [json.loads(s[6:]) for s in answer.text.split("\n\n") if s.startswith("data: {")]
    second = [
        c["choices"][0]["delta"].get("content") or ""
        for c in said
        if c.get("choices") and c["choices"][0]["index"] == 1
    ]
    assert "".join(second) == "echo good"
    assert said[-1]["error"]["code"] == "store_error"


def test_running_requests_are_answered_while_the_server_ends(ws):
    writer = Writer(lambda text: "a b c d e f g h", wait=0.1)
    with (
        served(ws, writer) as service,
        httpx.stream("POST", f"{service.url}{CHAT}", json=chat(stream=True), timeout=30) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        service.server.drain()
        assert wait_until(lambda: _refused(service))
        said = list(lines)
    assert [line for line in said if line][-1] == "data: [DONE]"


def _refused(service):
    try:
        httpx.get(f"{service.url}/health", timeout=1)
    except httpx.HTTPError:
        return True
    return False


def test_what_still_runs_at_the_end_of_the_drain_ends_in_a_named_error(ws):
    writer = Writer(lambda text: "word " * 5_000, wait=0.01)
    limits = Limits(notice_s=0, drain_s=1, running=2)
    with served(ws, writer, limits=limits) as service:
        found = []

        def whole():
            found.append(httpx.post(f"{service.url}{CHAT}", json=ASKED, timeout=30))

        with openai.OpenAI(base_url=f"{service.url}/v1", api_key="x", max_retries=0) as client:
            stream = client.chat.completions.create(**chat(stream=True))
            next(iter(stream))
            # One of them is answered, the other waits for a place.
            threads = [threading.Thread(target=whole) for _ in range(2)]
            for thread in threads:
                thread.start()
            assert wait_until(lambda: service.gate.waiting == 1)
            service.server.drain()
            with pytest.raises(openai.APIError) as caught:
                for _ in stream:
                    pass
            for thread in threads:
                thread.join()
        assert caught.value.code == "server_ending"
        assert [one.status_code for one in found] == [503, 503]
        assert {one.json()["error"]["code"] for one in found} == {"server_ending"}
        assert wait_until(lambda: writer.closed == 2)


def test_a_client_that_leaves_gives_its_place_back_also_in_the_moment_in_which_it_got_it():
    async def left():
        gate = Gate(Limits(running=1))
        await gate.enter(1)
        waiting = asyncio.ensure_future(gate.enter(1))
        await asyncio.sleep(0)
        gate.leave(1)  # the one that waits has the place now
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return gate.running

    assert asyncio.run(left()) == 0


def test_a_request_for_many_places_is_not_overtaken_by_those_for_few():
    async def order():
        gate, came = Gate(Limits(running=2)), []

        async def enters(places):
            await gate.enter(places)
            came.append(places)

        await gate.enter(1)
        waiting = [asyncio.ensure_future(enters(places)) for places in (2, 1)]
        await asyncio.sleep(0.01)
        assert came == []
        gate.leave(1)
        await asyncio.sleep(0.01)
        first = list(came)
        gate.leave(2)
        await asyncio.gather(*waiting)
        return first, came

    assert asyncio.run(order()) == ([2], [2, 1])


def test_an_embedding_for_which_nobody_waits_gives_its_place_back_when_it_is_done(tmp_path):
    from deploy_fakes import add_index, plugged, project

    begun, over = threading.Event(), threading.Event()
    with project(tmp_path / "home") as ws:
        add_index(ws, tmp_path / "home")
        ws.prompts.save("support", "{{ context }} {{ q }}")
        ws.deploy.promote(ws.deploy.build("support", model="tiny", rag="manual").ref)

        def opens(bundle):
            workspace = bundle.workspace()
            plugged(workspace)
            embedder = workspace.engine.engine("words")
            real = embedder.embed

            def slowly(texts):
                begun.set()
                assert over.wait(30)
                return real(texts)

            embedder.embed = slowly
            return workspace

        with served(ws, opens=opens) as service:
            body = {"model": "support", "input": "one battery"}
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{service.url}/v1/embeddings", json=body, timeout=0.3)
            assert begun.is_set()
            assert wait_until(lambda: lines(service))
            assert lines(service)[0]["status"] == 499
            assert service.gate.running == 1
            over.set()
            assert wait_until(lambda: service.gate.running == 0)
            assert httpx.post(f"{service.url}/v1/embeddings", json=body).status_code == 200
