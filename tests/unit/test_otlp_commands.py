"""%trace send and import, and the same in a terminal: options, progress, status, exit codes."""

from __future__ import annotations

import json
import socket
import threading
from types import SimpleNamespace

import pytest
from otlp_fakes import partly, work
from shells import Notebook

from llmops_jupyter.cli.program import run as llmops
from llmops_jupyter.commands import exchanging
from llmops_jupyter.errors import OptionError, SendError
from llmops_jupyter.magics.completion import candidates
from llmops_jupyter.tracing.otlp import sending


@pytest.fixture
def notebook(ws):
    made = Notebook(ws)
    yield made
    made.close()


def nobody():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_once_sends_what_waits_and_says_so(notebook, ws, collector, capsys):
    server = collector()
    work(ws, "a", "b")
    notebook.run(
        f"%trace send {server.url} --once --service shop --deployment test --openinference"
    )
    said = capsys.readouterr().out
    assert f"2 spans sent to {server.url}/v1/traces" in said
    assert server.names == ["a", "b"]
    kept = ws.traces.endpoints()[0].endpoint
    assert (kept.service, kept.deployment, kept.openinference, kept.content) == (
        "shop",
        "test",
        True,
        True,
    )
    notebook.run(f"%trace send {server.url} --once --content no --redact pii")
    kept = ws.traces.endpoints()[0].endpoint
    assert (kept.service, kept.content, kept.redact) == ("shop", False, "pii")
    notebook.run(f"%trace send {server.url} --once --redact none --content yes")
    assert ws.traces.endpoints()[0].endpoint.redact == ""


def test_headers_are_named_by_variables(notebook, ws, collector, monkeypatch):
    server = collector()
    work(ws, "a")
    monkeypatch.setenv("PHOENIX_KEY", "t0psecret")
    notebook.run(f'%trace send {server.url} --once --header "Authorization=Bearer PHOENIX_KEY"')
    assert server.headers[0]["Authorization"] == "Bearer t0psecret"
    with pytest.raises(OptionError, match="NAME=VARIABLE"):
        notebook.run(f"%trace send {server.url} --once --header Authorization")
    with pytest.raises(OptionError, match="by the environment variable"):
        notebook.run(f"%trace send {server.url} --once --header Authorization=sk-123")


def test_in_the_background_it_is_seen_and_ended(notebook, ws, collector, capsys):
    server = collector()
    work(ws, "a")
    notebook.run(f"%trace send {server.url} --background")
    assert "go in the background" in capsys.readouterr().out
    notebook.run("%trace send --status")
    assert "here" in capsys.readouterr().out
    notebook.run("%trace send --stop")
    assert "has ended" in capsys.readouterr().out
    assert server.names == ["a"]
    notebook.run("%trace send --stop")
    assert "nothing was being sent" in capsys.readouterr().out


def test_without_once_it_goes_on_until_it_is_interrupted(notebook, ws, collector, monkeypatch):
    server = collector()
    work(ws, "a")
    looks = []

    def sleep(_):
        looks.append(len(server.names))
        if server.names:
            raise KeyboardInterrupt

    monkeypatch.setattr(exchanging, "POLL_S", 0.01)
    monkeypatch.setattr(
        exchanging.time, "sleep", lambda s: (threading.Event().wait(0.02), sleep(s))
    )
    with pytest.raises(KeyboardInterrupt):
        notebook.run(f"%trace send {server.url}")
    assert server.names == ["a"]
    assert ws.traces.endpoints()[0].holder == ""


def test_what_was_refused_is_shown_with_the_reason_and_offered_again(
    notebook, ws, collector, capsys
):
    server = collector(lambda names: (400, {}, b"too odd") if "bad" in names else 200)
    work(ws, "a", "bad", "b")
    notebook.run(f"%trace send {server.url} --once")
    assert "1 were refused" in capsys.readouterr().out
    notebook.run("%trace send --status")
    said = capsys.readouterr().out
    assert "too odd" in said
    server.answers = [200]
    notebook.run(f"%trace send {server.url} --once --again")
    assert server.names == ["a", "b", "bad"]
    notebook.run(f"%trace send {server.url} --forget")
    notebook.run("%trace send --status")
    assert "never sent anywhere" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("http://h --once --background", "do not go together"),
        ("http://h --status --since 7d", "goes with sending"),
        ("--forget", "Name the endpoint"),
        ("--once", "Name the endpoint"),
        ("http://h --once --since yesterday", "is no time"),
        ("h:4318 --once", "is an address such as"),
        ("http://h --once --content maybe", "content"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_written(
    notebook, ws, line, why, monkeypatch
):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    with pytest.raises(OptionError, match=why):
        notebook.run(f"%trace send {line}")
    assert ws.traces.endpoints() == []


def test_a_terminal_ends_with_a_code_for_cron(ws, collector, capsys, monkeypatch):
    monkeypatch.setattr(sending, "FIRST_WAIT_S", 0.001)
    server, store = collector(), ["--store", str(ws.path)]
    work(ws, "a")
    assert llmops(["traces", "send", server.url, "--once", *store]) == 0
    assert llmops(["traces", "send", server.url, "--once", "--json", *store]) == 0
    made = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert (made["spans"], made["waiting"]) == (0, False)
    server.answers = [lambda names: 400 if "bad" in names else 200]
    work(ws, "bad", "b")
    assert llmops(["traces", "send", server.url, "--once", *store]) == 2
    work(ws, "c")
    monkeypatch.setattr(sending.Sender, "_waited", lambda *_: False)
    assert llmops(["traces", "send", nobody(), "--once", *store]) == 3
    server.answers = [401]
    assert llmops(["traces", "send", server.url, "--once", *store]) == 1
    assert "SendError" in capsys.readouterr().err
    server.answers = [(200, {}, partly(1, "too old"))]
    assert llmops(["traces", "send", server.url, "--once", *store]) == 2
    assert llmops(["traces", "send", "--status", *store]) == 0
    assert "it answered 400" in capsys.readouterr().out
    assert llmops(["traces", "send", server.url, "--background", *store]) == 1
    assert "no option '--background'" in capsys.readouterr().err


def test_import_says_what_came_and_what_could_not_be_read(notebook, ws, tmp_path, capsys):
    with ws.tracer.span("a"):
        pass
    path, more = tmp_path / "t.jsonl", tmp_path / "more.jsonl"
    ws.traces.export(path)
    ws.traces.prune(older_than="0s")
    more.write_text("rubbish\n" * 12)
    notebook.run(f"%trace import {path} {more} -o made")
    said = capsys.readouterr().out
    assert "1 spans of 1 traces imported" in said
    assert "more.jsonl, line 1: it is no JSON" in said
    assert "and 2 more" in said
    assert notebook.names["made"].skipped == 12
    assert llmops(["traces", "import", str(path), "--store", str(ws.path)]) == 0
    assert "1 were there already" in capsys.readouterr().out
    assert llmops(["traces", "import", str(more), "--strict", "--store", str(ws.path)]) == 1
    notebook.run("%trace list --source imported")
    assert "a" in capsys.readouterr().out


def test_an_endpoint_completes(notebook, ws, collector):
    server = collector()
    work(ws, "a")
    ws.traces.send(server.url)
    session = SimpleNamespace(workspace=ws, shell=notebook.shell)
    assert candidates(session, "%trace send ") == [f"{server.url}/v1/traces"]
    assert "--once" in candidates(session, "%trace send --")


def test_a_sender_elsewhere_is_named(ws, collector):
    server = collector()
    work(ws, "a")
    ws.traces.follow(server.url)
    with pytest.raises(SendError, match="is being sent to by this process"):
        ws.traces.send(server.url)
