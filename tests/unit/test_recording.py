"""Recordings: when a cassette is written, and who shares it."""

from __future__ import annotations

import json

import pytest
from engine_fakes import FakeEngine

import llmops_jupyter as lo
from llmops_jupyter.cli.program import run
from llmops_jupyter.engine.cassette import Cassette, begin_recording, beside, end_recording
from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.engine.replay import RecordingEngine, describe
from llmops_jupyter.errors import ReplayError
from llmops_jupyter.records import Message


def ask(cassette, text):
    request = Request("1", messages=(Message("user", text),))
    list(RecordingEngine(FakeEngine(), cassette).generate([request]))


def recorded(path):
    return [c["response"]["text"] for c in json.loads(path.read_text("utf-8"))["calls"]]


def test_a_cassette_stays_until_something_is_recorded(ws, tmp_path):
    path = tmp_path / "c.json"
    path.write_text("what was there")
    ws.engine.record(path)
    assert path.read_text() == "what was there"
    ask(ws.engine._cassette, "a")
    assert recorded(path) == ["echo a"]


def test_a_recording_begins_anew_when_the_one_before_has_ended(ws, tmp_path):
    path = tmp_path / "c.json"
    for text in ("a", "b"):
        ws.engine.record(path)
        ask(ws.engine._cassette, text)
        ws.engine.live()
    assert recorded(path) == ["echo b"]


def test_commands_without_a_model_leave_the_cassette_alone(tmp_path, monkeypatch, capsys):
    path = tmp_path / "c.json"
    path.write_text("what was there")
    monkeypatch.setenv("LLMOPS_RECORD", str(path))
    assert run(["prompts", "list"]) == 0
    assert path.read_text() == "what was there"
    assert "llmops prompts" not in capsys.readouterr().err


def test_workspaces_of_one_process_share_a_cassette(tmp_path, monkeypatch):
    path = tmp_path / "c.json"
    monkeypatch.setenv("LLMOPS_RECORD", str(path))
    with lo.open(tmp_path / "a.db") as first, lo.open(tmp_path / "b.db") as second:
        ask(first.engine._cassette, "a")
        ask(second.engine._cassette, "b")
    with lo.open(tmp_path / "a.db") as third:
        ask(third.engine._cassette, "c")
    assert recorded(path) == ["echo a", "echo b", "echo c"]


def test_two_that_record_into_one_file_share_it_until_both_have_ended(tmp_path):
    class Owner:
        pass

    one, two = Owner(), Owner()
    first = begin_recording(tmp_path / "c.json", one)
    assert begin_recording(tmp_path / "c.json", two) is first
    end_recording(one)
    assert begin_recording(tmp_path / "c.json", one) is first
    end_recording(one)
    end_recording(two)
    assert begin_recording(tmp_path / "c.json", one) is not first


def test_a_place_that_cannot_be_written_is_refused_at_once(ws, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "c.json"):
        with pytest.raises(ReplayError, match="cannot be written"):
            ws.engine.record(path)


def test_an_adapter_is_recorded_by_its_content_not_its_place(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.gguf").write_bytes(b"weights")
    one, two = (
        describe(Request("1", adapters=((str(tmp_path / f / f"{f}.gguf"), 0.5),))) for f in "ab"
    )
    assert one == two
    assert str(tmp_path) not in json.dumps(one)


def test_a_cassette_is_read_back(tmp_path):
    ask(begin_recording(tmp_path / "c.json", FakeEngine()), "a")
    assert len(Cassette.load(tmp_path / "c.json").calls) == 1


def answers(workspace, count):
    request = Request("1", messages=(Message("user", "a"),))
    events = [e for _ in range(count) for e in workspace.engine.engine("fake").generate([request])]
    return [e.text for e in events if isinstance(e, Finished)]


def test_what_a_process_recorded_as_one_it_plays_as_one(tmp_path, monkeypatch):
    path = tmp_path / "c.json"
    told = iter(["first", "second", "third"])
    engine = FakeEngine(answer=lambda _: next(told))
    cassette = begin_recording(path, engine)
    request = Request("1", messages=(Message("user", "a"),))
    for _ in range(3):
        list(RecordingEngine(engine, cassette).generate([request]))
    monkeypatch.setenv("LLMOPS_REPLAY", str(path))
    with lo.open(tmp_path / "a.db") as first, lo.open(tmp_path / "b.db") as second:
        assert answers(first, 1) + answers(second, 1) == ["first", "second"]
    with lo.open(tmp_path / "a.db") as third:
        assert answers(third, 2) == ["third", "third"]
        third.engine.replay(path)
        assert answers(third, 1) == ["first"]
    path.write_text(path.read_text("utf-8").replace('"first"', '"another"'), "utf-8")
    with lo.open(tmp_path / "a.db") as fourth:
        assert answers(fourth, 1) == ["another"]


def test_a_process_that_is_started_has_a_cassette_of_its_own_beside(tmp_path):
    environ = {"LLMOPS_REPLAY": str(tmp_path / "08_deploy.cassette.json"), "OTHER": "1"}
    assert beside("support", environ) == {
        "LLMOPS_REPLAY": str(tmp_path / "08_deploy.cassette.support.json")
    }
    assert beside("support", {"LLMOPS_RECORD": "tour.json"}) == {
        "LLMOPS_RECORD": "tour.support.json"
    }
    assert beside("support", {"LLMOPS_RECORD": ""}) == {}
