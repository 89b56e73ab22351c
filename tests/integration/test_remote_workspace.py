"""Endpoints through the workspace: registered, asked, resumed; the key stays where it is."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from remote_fakes import Server

from llmops_jupyter.cli import main
from llmops_jupyter.errors import LLMOpsError, ModelError, OptionError
from llmops_jupyter.models.endpoint import Endpoint

KEY = "sk-a-very-secret-key-1234567890"


async def echo(asked, out):
    said = asked.body["messages"][-1]["content"]
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    await out.tell("you said ", said, usage=usage)


def add(ws, server, name="far", **options):
    return ws.models.add_endpoint(name, Endpoint(server.url, "m", **options))


def test_a_prompt_runs_on_an_endpoint_as_on_a_file(ws):
    with Server(echo) as server:
        add(ws, server)
        made = ws.prompts.run(ws.prompts.scratch("Hello {{ name }}"), {"name": "Ann"}, model="far")
        assert made.text == "you said Hello Ann"
        trace = ws.traces.get(made.trace_id)
    (span,) = [s for s in trace.spans if s.op == "chat"]
    assert (span.provider, span.model, span.usage.input_tokens) == ("vllm", "far", 1000)


def test_the_users_prices_make_a_cost_that_is_traced_and_added_up(ws, tmp_path, monkeypatch):
    prices = tmp_path / "prices.json"
    models = {"m": {"input": 2.0, "output": 10.0}}
    prices.write_text(
        json.dumps({"date": "2030-01-01", "hosts": {"127.0.0.1": {"models": models}}})
    )
    monkeypatch.setenv("LLMOPS_PRICES", str(prices))
    with Server(echo) as server:
        add(ws, server)
        table = ws.prompts.map(ws.prompts.scratch("{{ q }}"), [{"q": 1}, {"q": 2}], model="far")
        assert [c.cost for c in table] == [pytest.approx(0.003)] * 2
        trace = ws.traces.get(table[0].trace_id)
    assert pytest.approx(0.003) in [s.cost for s in trace.spans]


def test_a_map_that_was_interrupted_asks_only_for_the_rows_that_are_left(ws):
    rows = [{"q": n} for n in range(12)]
    content = ws.prompts.scratch("row {{ q }}")

    def stop(progress):
        if progress.done == 5:
            raise KeyboardInterrupt

    with Server(echo) as server:
        add(ws, server, concurrency=1)
        with pytest.raises(KeyboardInterrupt):
            ws.prompts.map(content, rows, model="far", progress=stop)
        before = len(server.seen.calls)
        table = ws.prompts.map(content, rows, model="far")
        again = [call.body["messages"][-1]["content"] for call in server.seen.calls[before:]]
    assert [c.text for c in table] == [f"you said row {n}" for n in range(12)]
    assert "row 0" not in again
    assert len(again) <= 7


def test_a_row_that_fails_for_good_is_marked_and_asked_again_the_next_time(ws):
    broken = threading.Event()
    broken.set()

    async def answer(asked, out):
        if asked.body["messages"][-1]["content"] == "row 2" and broken.is_set():
            await out.reply({"error": {"message": "this row is not for me"}}, 400)
        else:
            await echo(asked, out)

    rows = [{"q": n} for n in range(4)]
    content = ws.prompts.scratch("row {{ q }}")
    with Server(answer) as server:
        add(ws, server)
        first = ws.prompts.map(content, rows, model="far")
        assert [c.finish_reason for c in first] == ["stop", "stop", "error", "stop"]
        broken.clear()
        second = ws.prompts.map(content, rows, model="far")
    assert second[2].text == "you said row 2"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_an_interrupt_is_served_while_the_server_is_silent(ws):
    async def answer(asked, out):
        await out.head()
        await out.say("one")
        await asyncio.sleep(60)

    with Server(answer) as server:
        add(ws, server)
        me = threading.main_thread().ident
        threading.Timer(1.0, signal.pthread_kill, [me, signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            ws.prompts.run(ws.prompts.scratch("x"), model="far")
        assert server.seen.gone.wait(10)
    trace = ws.traces.last()
    (call,) = [s for s in trace.spans if s.op == "chat"]
    assert (call.status, call.output[0].content) == ("interrupted", "one")


@pytest.mark.parametrize("status", [200, 401, 500])
def test_the_key_is_nowhere_but_in_the_header(ws, monkeypatch, status, tmp_path, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("FAR_KEY", KEY)

    async def answer(asked, out):
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        if status == 200:
            await echo(asked, out)
        else:
            # Some servers repeat what they were sent.
            await out.reply({"error": {"message": f"no good: {KEY}"}}, status)

    with Server(answer) as server:
        model = add(ws, server, key_env="FAR_KEY")
        engine = ws.engine.engine("far")
        engine._calls._tries = 1
        error = ""
        try:
            ws.prompts.run(ws.prompts.scratch("x"), model="far")
        except LLMOpsError as e:
            error = str(e)
        assert bool(error) == (status != 200)
        shown = repr((model, engine, engine.status(), error)) + caplog.text
    assert KEY not in shown
    kept = [path for path in Path(ws.path).parent.rglob("*") if path.is_file()]
    assert Path(ws.path) in kept
    found = [path for path in kept if KEY.encode() in path.read_bytes()]
    assert found == []
    # What the store holds may be split over pages of the file.
    assert KEY not in "\n".join(sqlite3.connect(ws.path).iterdump())


def test_a_key_that_is_not_set_says_which_variable(ws, monkeypatch):
    monkeypatch.delenv("FAR_KEY", raising=False)
    with Server(echo) as server:
        add(ws, server, key_env="FAR_KEY")
        with pytest.raises(LLMOpsError, match="FAR_KEY"):
            ws.prompts.run(ws.prompts.scratch("x"), model="far")
        assert server.seen.calls == []


def test_what_only_a_file_has_is_refused_of_an_endpoint(ws):
    with Server(echo) as server:
        add(ws, server)
        for call in (ws.models.verify, ws.engine.quantize):
            with pytest.raises((ModelError, OptionError), match="endpoint"):
                call("far") if call == ws.models.verify else call("far", "Q8_0")


def test_the_command_line_adds_and_lists_endpoints(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with Server(echo) as server:
        line = ["models", "add", "far", server.url, "--model", "m", "--concurrency", "3"]
        assert main(line) == 0
        assert main(["models", "list"]) == 0
        assert server.url in capsys.readouterr().out
        assert main(["models", "add", "far2", server.url]) != 0
        assert "--model ID" in capsys.readouterr().err
