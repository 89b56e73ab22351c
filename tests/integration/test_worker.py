"""A model in a process of its own: what it answers, and how it starts."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from processes import wait_until
from worker_calls import ask, ends, spec

from llmops_jupyter.engine.protocol import Engine, Finished, Request, Token
from llmops_jupyter.engine.replay import Cassette, RecordingEngine, ReplayEngine
from llmops_jupyter.engine.worker import sharing
from llmops_jupyter.engine.worker.process import StartError, start
from llmops_jupyter.engine.worker.sharing import open_engine
from llmops_jupyter.errors import (
    ContextLengthError,
    EngineError,
    ModelError,
    ModelMemoryError,
    OptionError,
)
from llmops_jupyter.records import Message, Sampling


@pytest.fixture(params=["private", "shared"])
def engine(request, runtime):
    opened = open_engine(spec(), mode=request.param, idle_s=0.1)
    assert opened.notes == ()
    yield opened.engine
    opened.engine.close()


@pytest.fixture
def private(runtime):
    opened = open_engine(spec(), mode="private")
    yield opened.engine
    opened.engine.close()


def test_it_is_an_engine_that_answers(engine):
    assert isinstance(engine, Engine)
    assert (engine.provider, engine.model_name, engine.context_length) == ("fake", "fake", 512)
    events = ask(engine, "words 3 0")
    assert [e.text for e in events if isinstance(e, Token)] == ["0 ", "1 ", "2 "]
    done = events[-1]
    assert (done.text, done.finish_reason, done.seed) == ("0 1 2 ", "stop", 7)
    assert done.logprobs[0].logprob == -float("inf")


def test_requests_arrive_as_they_were_made(engine):
    sampling = Sampling(0.25, 9, 5, stop=("x",), logit_bias=((3, -float("inf")), (" no", 2.0)))
    request = Request(
        "r",
        messages=(Message("user", "tell {{ all }}\x00 ½ 🙂"),),
        sampling=sampling,
        schema={"type": "object"},
        adapters=((str(Path("a.gguf").resolve()), 0.5),),
    )
    done = list(engine.generate([request]))[-1]
    want = ("tell {{ all }}\x00 ½ 🙂", sampling, {"type": "object"}, request.adapters)
    assert done.text == repr(want)


def test_the_other_calls_answer_too(engine):
    items = [("a prompt", ["x", "xyz"]), ((Message("user", "b"),), ["four"])]
    assert engine.score(items) == [[-1.0, -3.0], [-4.0]]
    assert engine.score([]) == []
    assert [v.tolist() for v in engine.logprobs(["abc", "a"])] == [[-0.25, -0.25], []]
    vectors = engine.embed(["a", "bb"] * 300)
    assert vectors.shape == (600, 2)
    assert vectors.dtype == np.float32
    assert vectors[1].tolist() == [0.0, 1.0]
    assert engine.embed([]).shape == (0, 2)
    assert engine.rerank("q", ["a q", "b"]) == [1.0, 0.0]
    assert engine.count_tokens("four") == 4
    assert engine.count_tokens([Message("user", "x")]) == 1


def test_errors_come_back_as_the_kind_that_they_were(engine):
    found = ends(ask(engine, "raise ContextLengthError", "raise ZeroDivisionError", "\ud800", "hi"))
    assert type(found["0"].error) is ContextLengthError
    assert type(found["1"].error) is EngineError
    assert type(found["2"].error) is OptionError
    assert found["3"].error is None
    with pytest.raises(OptionError, match="not valid Unicode at character 1"):
        engine.count_tokens("x\udfff")
    with pytest.raises(EngineError, match="ZeroDivisionError: a bug"):
        engine.count_tokens("bug")
    assert engine.count_tokens("goes on") == 7


def test_a_request_that_cannot_be_sent_fails_alone(engine):
    requests = [Request("bad", text="hi", schema={"a": object()}), Request("good", text="hi")]
    found = ends(engine.generate(requests))
    assert isinstance(found["bad"].error, OptionError)
    assert found["good"].error is None
    wrong = Request("odd", text="hi", sampling=Sampling(temperature="hot"))
    assert isinstance(ends(engine.generate([wrong]))["odd"].error, OptionError)


def test_many_requests_are_taken_as_there_is_room(engine):
    taken = []

    def requests():
        for number in range(50):
            taken.append(number)
            yield Request("same id", text="words 2 0")

    stream = engine.generate(requests())
    next(stream)
    assert len(taken) < 20
    assert sum(isinstance(e, Finished) for e in stream) == 50


def test_another_thread_ends_an_answer_while_the_model_still_reads(engine):
    stream, events = engine.generate([Request("r", text="mute")]), []
    thread = threading.Thread(target=lambda: events.extend(stream))
    thread.start()
    try:
        assert wait_until(lambda: engine.status()["active"] == 1)
    finally:
        stream.cancel()
    thread.join(20)
    assert not thread.is_alive()
    assert events == []
    assert wait_until(lambda: engine.status()["active"] == 0)
    assert ask(engine, "words 1 0")[-1].finish_reason == "stop"


def test_an_answer_that_was_given_up_before_it_began_is_not_begun(engine):
    stream = engine.generate([Request("r", text="mute")])
    stream.cancel()
    assert list(stream) == []
    assert wait_until(lambda: engine.status()["active"] == 0)


def test_threads_share_the_batches(engine):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(engine, "met 2")[-1].text))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.endswith("met") for a in answers] == [True, True]


def test_closing_the_stream_cancels(engine):
    stream = engine.generate([Request("r", text="words 10000 0.01")])
    next(stream)
    assert engine.status()["active"] == 1
    stream.close()
    assert wait_until(lambda: engine.status()["active"] == 0)
    assert engine.status()["cancelled"] == 1


def test_a_stream_that_says_nothing_is_cancelled_too(engine):
    stream = engine.generate([Request("r", text="silent")])
    next(stream)
    stream.close()
    assert wait_until(lambda: engine.status()["active"] == 0)


def test_recording_goes_through_a_worker(private, tmp_path):
    cassette = Cassette(tmp_path / "c.json")
    recorder = RecordingEngine(private, cassette)
    text = ends(ask(recorder, "words 2 0"))["0"].text
    assert recorder.count_tokens("four") == 4
    played = ReplayEngine(Cassette.load(cassette.path), "fake", "digest")
    assert ends(ask(played, "words 2 0"))["0"].text == text


def test_the_status_says_who_uses_the_worker_and_what_it_takes(runtime, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "work/nb.ipynb")
    engine = open_engine(spec(rows=3), mode="private").engine
    status = engine.status()
    assert status["pid"] != os.getpid()
    assert (status["worker"], status["state"], status["rows"]) == ("private", "ready", 3)
    assert [(u["pid"], u["name"]) for u in status["users"]] == [(os.getpid(), "work/nb.ipynb")]
    assert status["memory"] > 10**6
    assert status["tokens_per_s"] == 12.5
    engine.close()
    assert engine.status()["worker"] == "gone"


@pytest.mark.parametrize("mode", ["private", "shared"])
def test_an_error_of_the_load_reaches_the_client(runtime, mode):
    with pytest.raises(ModelMemoryError, match="Use another"):
        open_engine(spec("fail ModelMemoryError"), mode=mode)
    with pytest.raises(ModelError):
        open_engine(spec("fail ModelError"), mode=mode)
    with pytest.raises(EngineError, match=r"SIGABRT|status"):
        open_engine(spec("abort"), mode=mode)
    with pytest.raises(EngineError, match=r"SIGABRT|status"):
        open_engine(spec("abort early"), mode=mode)


def test_a_connection_that_was_handed_over_is_not_closed_twice(runtime, monkeypatch):
    """Its number may mean another file by then: whoever has the connection closes it, once."""
    given = []

    def gone(conn, *_, **__):
        given.append(conn)
        raise EngineError("it is gone")

    monkeypatch.setattr(sharing, "WorkerEngine", gone)
    with pytest.raises(EngineError, match="it is gone"):
        open_engine(spec(), mode="private")
    assert not given[0].closed
    given[0].close()


def test_the_worker_does_not_import_from_the_notebooks_folder(runtime, tmp_path, monkeypatch):
    for name in ("json", "queue", "multiprocessing", "llmops_jupyter"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user')")
    monkeypatch.chdir(tmp_path)
    opened = open_engine(spec(), mode="private")
    assert opened.notes == ()
    opened.engine.close()


def test_a_worker_that_cannot_start_leaves_the_model_in_this_process(runtime, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(runtime / "no-python"))
    for mode in ("shared", "private"):
        opened = open_engine(spec(), mode=mode)
        assert "runs in this process because" in opened.notes[-1]
        assert opened.engine.status()["active"] == 0
    assert list(runtime.glob("*.key")) == []


def test_a_worker_that_cannot_serve_ends_without_a_crash_while_it_reads_the_model(runtime):
    shared = {"folder": str(runtime / "missing"), "name": "w", "authkey": "00", "idle_s": 1.0}
    config = {"spec": spec("crash-at-end").value(), "key": "k", "shared": shared}
    with (
        tempfile.TemporaryFile("a+b") as log,
        pytest.raises(StartError, match="its address cannot be bound"),
    ):
        start(config, log)
