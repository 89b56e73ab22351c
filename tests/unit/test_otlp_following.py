"""Sending in the background: what comes goes, one sender an endpoint, and the end of a process sends the rest."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from otlp_fakes import until, work

import llmops_jupyter as lo
from llmops_jupyter.errors import SendError, UnknownNameError
from llmops_jupyter.tracing.otlp import following

pytestmark = pytest.mark.usefixtures("soon")


def test_a_follower_sends_what_comes_and_what_is_left_when_it_ends(ws, collector, monkeypatch):
    monkeypatch.setattr(following, "POLL_S", 0.02)
    server = collector()
    first = work(ws, "a")
    assert ws.traces.follow(server.url).holder == "here"
    until(lambda: server.ids == first)
    work(ws, "b")
    until(lambda: server.names == ["a", "b"])
    with pytest.raises(SendError, match="this process"):
        ws.traces.send(server.url)
    work(ws, "c")
    assert ws.traces.stop_following() == [f"{server.url}/v1/traces"]
    assert server.names == ["a", "b", "c"]
    assert ws.traces.endpoints()[0].holder == ""
    with pytest.raises(UnknownNameError, match="Nothing is sent"):
        ws.traces.stop_following(server.url)


def test_a_follower_lives_through_faults_and_says_them(ws, collector, monkeypatch):
    server = collector(401)
    work(ws, "a")
    monkeypatch.setattr(following, "POLL_S", 0.02)
    ws.traces.follow(server.url)
    until(lambda: "wants a key" in ws.traces.endpoints()[0].error)
    server.answers = [200]
    until(lambda: not ws.traces.endpoints()[0].error)
    assert server.names == ["a"]


def test_closing_a_workspace_does_not_wait_for_an_endpoint_that_is_away(own_home):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with lo.open() as ws:
        work(ws, "a")
        ws.traces.follow(url)
        until(lambda: ws.traces.endpoints()[0].error)
    with lo.open() as ws:
        status = ws.traces.endpoints()[0]
        assert (status.waiting, status.holder) == (1, "")


def test_the_end_of_a_process_sends_what_is_left(own_home, collector):
    server = collector()
    code = (
        "import llmops_jupyter as lo\n"
        "ws = lo.open()\n"
        f"ws.traces.follow({server.url!r})\n"
        "for i in range(50):\n"
        "    with lo.span(f'n{i}'): pass\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert sorted(server.names) == sorted(f"n{i}" for i in range(50))


def test_another_process_that_died_leaves_the_endpoint_free(own_home, collector):
    server = collector(503)
    code = (
        "import os, signal, time, llmops_jupyter as lo\n"
        "ws = lo.open()\n"
        "with lo.span('a'): pass\n"
        f"ws.traces.follow({server.url!r})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    server.answers = [200]
    with lo.open() as ws:
        assert ws.traces.send(server.url).spans == 1


def test_a_process_that_lives_keeps_the_endpoint_for_itself(ws, collector):
    server = collector()
    work(ws, "a")
    with lo.open(ws.path) as other:
        other.traces.follow(server.url)
        with pytest.raises(SendError, match="one at a time"):
            ws.traces.follow(server.url)
        other.traces.stop_following()
    assert ws.traces.follow(server.url).holder == "here"


def test_a_store_in_memory_sends_too(collector, monkeypatch):
    monkeypatch.setattr(following, "POLL_S", 0.02)
    server = collector()
    with lo.open(":memory:") as ws:
        work(ws, "a")
        ws.traces.follow(server.url)
        until(lambda: server.names)
        assert server.names == ["a"]
