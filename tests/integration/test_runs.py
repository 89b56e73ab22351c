"""Prompts on the bundled model: runs, chain of thought, schemas, sessions, maps, replay."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

import llmops_jupyter as lo
from llmops_jupyter.errors import ContextLengthError, ReplayError, SchemaError

pytestmark = pytest.mark.model
ASK = "system: Answer in one short sentence.\nuser: What is the capital of {{ country }}?"


@pytest.fixture
def live(ws, model_path):
    ws.configure(temperature=0.0, max_tokens=24)
    return ws


def test_a_run_has_its_version_its_trace_and_its_defaults(live):
    live.prompts.save("capital", ASK)
    done = live.prompts.run("capital", {"country": "France", "unused": object()})
    assert "Paris" in str(done)
    assert (done.prompt_version, done.model) == ("capital@1", "smollm2")
    trace = live.traces.get(done.trace_id)
    assert trace.root.attributes["llmops.prompt.variables"] == {"country": "France"}
    assert trace.spans[1].attributes["gen_ai.request.temperature"] == 0.0
    assert trace.spans[1].usage == done.usage
    assert live.prompts.get("capital").defaults["max_tokens"] == 24
    assert [t.trace_id for t in live.traces.newest(prompt="capital@1")] == [done.trace_id]


def test_reasoning_and_answer_are_kept_apart(live):
    thought = live.prompts.scratch("What is 2 + 3?", cot=True)
    done = live.prompts.run(thought, max_tokens=60)
    assert done.reasoning
    assert done.text
    assert "Answer:" not in done.text
    assert len(live.traces.get(done.trace_id).spans) == 3


def test_a_schema_gives_an_object(live):
    pydantic = pytest.importorskip("pydantic", reason="needs pydantic")

    class City(pydantic.BaseModel):
        city: str

    content = live.prompts.scratch(ASK, schema=City)
    done = live.prompts.run(content, {"country": "France"}, schema=City, max_tokens=40)
    assert done.parsed == City(city=done.parsed.city)
    with pytest.raises(SchemaError, match="max-tokens"):
        live.prompts.run(content, {"country": "France"}, max_tokens=2)
    assert live.traces.last().status == "error"
    reasoned = live.prompts.scratch(ASK, schema=City, cot=True)
    done = live.prompts.run(reasoned, {"country": "France"}, max_tokens=200)
    assert set(done.parsed) == {"city"}
    assert done.reasoning


def test_a_session_sends_earlier_turns_along_and_cuts_them_with_a_note(live):
    first = live.prompts.scratch("My name is Ada. Say hello.")
    live.prompts.run(first, session="chat")
    second = live.prompts.scratch("{{ x }} What is my name?")
    done = live.prompts.run(second, {"x": ""}, session="chat")
    sent = live.traces.get(done.trace_id).root.input
    assert [m.role for m in sent] == ["user", "assistant", "user"]
    live.configure(context_length=160)
    done = live.prompts.run(second, {"x": "word " * 90}, session="chat")
    assert "did not fit" in done.notes[0]
    assert len(live.prompts.sessions.turns("chat")) == 3


def test_a_map_reports_rows_that_fail_and_goes_on(live):
    content = live.prompts.scratch("{{ q }}")
    rows = [{"id": "ok", "q": "Say hi."}, {"id": "long", "q": "word " * 9000}]
    table = live.prompts.map(content, rows, max_tokens=3)
    assert len(table) == 2
    assert table.failures[0].row_id == "long"
    assert "tokens" in table.failures[0].error
    frame = table.to_pandas()
    assert frame.completion[0] == str(table[0])
    assert table[1].finish_reason == "error"


def test_an_interrupted_map_goes_on_where_it_stopped(live):
    content = live.prompts.scratch("Say {{ n }}")
    rows = [{"n": i} for i in range(5)]

    def stop(progress):
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        live.prompts.map(content, rows, progress=stop, max_tokens=2)
    seen = []
    table = live.prompts.map(content, rows, progress=seen.append, max_tokens=2)
    assert len(table) == 5
    assert seen[-1].resumed == 3
    assert len({c.trace_id for c in table}) == 5
    fresh = live.prompts.map(content, rows, max_tokens=2)
    assert not {c.trace_id for c in fresh} & {c.trace_id for c in table}


def test_a_killed_map_goes_on_in_the_next_process(live):
    code = (
        "import llmops_jupyter as lo\nws = lo.open(temperature=0.0)\n"
        "c = ws.prompts.scratch('Say {{ n }}')\n"
        "ws.prompts.map(c, [{'n': i} for i in range(400)], max_tokens=2,"
        " progress=lambda p: print(p.done, flush=True))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    while int(child.stdout.readline()) < 5:
        time.sleep(0)
    child.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    child.communicate()
    content = live.prompts.scratch("Say {{ n }}")
    first = []

    def look(progress):
        first.append(progress)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        live.prompts.map(content, [{"n": i} for i in range(400)], progress=look, max_tokens=2)
    assert first[0].resumed >= 5


def test_a_prompt_too_long_leaves_an_error_trace(live):
    with pytest.raises(ContextLengthError, match="more than the context"):
        live.prompts.run(live.prompts.scratch("{{ x }}"), {"x": "word " * 9000})
    assert live.traces.last().root.error_type == "ContextLengthError"


def test_a_recording_replays_with_its_ids_and_without_the_model(live, tmp_path, monkeypatch):
    cassette = tmp_path / "c.json"
    live.prompts.save("capital", ASK)
    live.engine.record(cassette)
    first = live.prompts.run("capital", {"country": "France"})
    vectors = live.engine.engine().embed(["hello"])
    scores = live.engine.engine().score([("The sky is", [" blue", " green"])])
    live.engine.live()
    with lo.open(tmp_path / "elsewhere.db", temperature=0.0, max_tokens=24) as other:
        monkeypatch.setattr(other.models, "resolve", _no_model)
        other.engine.replay(cassette)
        other.prompts.save("capital", ASK)
        again = other.prompts.run("capital", {"country": "France"})
        assert (again.text, again.trace_id, again.timing) == (
            first.text,
            first.trace_id,
            first.timing,
        )
        assert other.traces.get(first.trace_id).text == first.text
        assert other.prompts.run("capital", {"country": "France"}).trace_id == first.trace_id
        assert abs(other.engine.engine().embed(["hello"]) - vectors).max() < 1e-6
        assert other.engine.engine().score([("The sky is", [" blue", " green"])]) == scores
        with pytest.raises(ReplayError, match=r"France.*Spain|Spain.*France"):
            other.prompts.run("capital", {"country": "Spain"})
        with pytest.raises(ReplayError, match=r"temperature is 0\.5 instead of 0\.0"):
            other.prompts.run("capital", {"country": "France"}, temperature=0.5)


def _no_model(ref=None):
    from llmops_jupyter.errors import UnknownNameError

    raise UnknownNameError("no model here")


def test_a_cassette_that_is_missing_or_broken_says_so(ws, tmp_path):
    with pytest.raises(ReplayError, match="%trace record"):
        ws.engine.replay(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ReplayError, match="cannot be read"):
        ws.engine.replay(tmp_path / "bad.json")


def test_the_command_line_answers_and_lists(live):
    def llmops(*words):
        return subprocess.run(
            [sys.executable, "-m", "llmops_jupyter.cli", *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    done = llmops("demo", "What is the capital of France?")
    assert "Paris" in done.stdout
    assert "demo@1" in done.stdout
    assert llmops("doctor").returncode == 0
    assert "smollm2" in llmops("models", "list").stdout
    assert '"prompt": "demo@1"' in llmops("traces", "list", "--json").stdout
    wrong = llmops("prompts", "show", "dmo")
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    assert "Did you mean 'demo'" in wrong.stderr
