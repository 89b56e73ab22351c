"""Prompts with tools, on an engine that follows a script."""

from __future__ import annotations

import asyncio
import builtins
import json
import signal
import threading
import time

import pytest
from engine_fakes import Script, plug, script

import llmops_jupyter as lo
from llmops_jupyter.errors import OptionError, ReplayError
from llmops_jupyter.records import Message, ToolCall, Usage


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def weather(city: str) -> dict:
    """The weather."""
    if city == "Atlantis":
        raise LookupError("no such city")
    return {"city": city, "degrees": 21}


SENT = []


@lo.tool(side_effects=True)
def send(to: str) -> str:
    """Send a message."""
    SENT.append(to)
    return "sent"


@pytest.fixture(autouse=True)
def nothing_sent():
    SENT.clear()


def run(ws, engine, tools=(add, weather, send), **options):
    plug(ws, engine)
    return ws.prompts.run(ws.prompts.scratch("Do it."), tools=list(tools), **options)


def results(done):
    return [call["result"] for call in done.tool_calls]


def test_calls_are_made_in_their_order_and_their_results_go_back(ws):
    engine = script(
        ("I look.", [("weather", {"city": "Rome"}), ("add", {"a": 1, "b": 2})]),
        ("", [("add", {"a": 3, "b": 4})]),
        "Done.",
    )
    done = run(ws, engine)
    assert (done.text, done.finish_reason) == ("Done.", "stop")
    assert results(done) == ['{"city": "Rome", "degrees": 21}', "3", "7"]
    assert [c["step"] for c in done.tool_calls] == [1, 1, 2]
    assert [m.role for m in done.messages] == [
        "assistant",
        "tool",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]
    assert done.messages[1] == Message("tool", results(done)[0], tool_call_id="call0")
    assert engine.requests[2].messages[1:] == done.messages[:-1]
    assert done.usage == Usage(9, 12)
    assert [t.name for t in engine.requests[0].tools] == ["add", "weather", "send"]


def test_each_step_and_each_call_is_a_child_span(ws):
    @lo.trace
    def inner() -> int:
        return 1

    def outer() -> int:
        """."""
        return inner()

    done = run(ws, script(("", [("outer", {})]), "Done."), [outer])
    trace = ws.traces.get(done.trace_id)
    root, *children = trace.spans
    assert [s.op for s in children] == ["chat", "execute_tool", "function", "chat"]
    step, call, function, _ = children
    assert {step.parent_id, call.parent_id} == {root.span_id}
    assert function.parent_id == call.span_id
    assert call.name == "execute_tool outer"
    assert call.attributes["gen_ai.tool.name"] == "outer"
    assert call.attributes["gen_ai.tool.call.id"] == "call0"
    assert call.attributes["gen_ai.tool.call.arguments"] == {}
    assert call.attributes["gen_ai.tool.call.result"] == "1"
    assert step.attributes["gen_ai.tool.definitions"][0]["function"]["name"] == "outer"
    assert step.output[0].tool_calls == (ToolCall("call0", "outer", {}),)
    assert "outer()" in str(trace)
    assert ws.traces.search("outer")


def test_faults_are_told_to_the_model_and_kept(ws):
    engine = script(
        ("", [("weather", {"city": "Atlantis"}), ("wether", {}), ("add", {"a": "x", "b": 1})]),
        "Sorry.",
    )
    done = run(ws, engine)
    raised, unknown, invalid = results(done)
    assert raised == "Error: LookupError: no such city"
    assert "There is no function 'wether'. There are: add, weather, send." in unknown
    assert "at $.a" in invalid
    assert all(call["error"] for call in done.tool_calls)
    spans = [s for s in ws.traces.get(done.trace_id).spans if s.op == "execute_tool"]
    assert [s.status for s in spans] == ["error"] * 3
    assert spans[0].error_type == "LookupError"
    assert ws.traces.get(done.trace_id).status == "ok"


def test_the_number_of_steps_is_bounded_and_the_conversation_whole(ws):
    numbers = iter(range(100))
    engine = Script(lambda _: ("", [("add", {"a": next(numbers), "b": 1})]))
    done = run(ws, engine, max_steps=3)
    assert len(engine.requests) == 3
    assert done.finish_reason == "tool_calls"
    assert "Stopped after 3 steps" in done.notes[0]
    assert results(done)[:2] == ["1", "2"]
    assert "limit of steps" in results(done)[2]
    assert done.messages[-1].role == "tool"


def test_a_model_that_goes_round_in_circles_is_told_and_stopped(ws):
    engine = Script(lambda _: ("", [("add", {"a": 1, "b": 1})]))
    done = run(ws, engine)
    assert results(done)[:2] == ["2", "2"]
    assert "the same call was made before" in results(done)[2]
    assert len(engine.requests) == 3
    assert "the same call of add" in done.notes[0]


def test_choices_hold_for_the_first_steps(ws):
    engine = script(("", [("add", {"a": 1, "b": 1})]), ("", [("weather", {"city": "R"})]), "Done.")
    run(ws, engine, tool_choice=["add", "required"])
    assert [r.tool_choice for r in engine.requests] == ["add", "required", "auto"]
    engine = script(("", [("add", {"a": 1, "b": 1})]), "Done.", "")
    run(ws, engine, tool_choice="add,none")
    assert [r.tool_choice for r in engine.requests] == ["add", "none"]


def test_a_coroutine_function_is_run_even_inside_a_loop(ws):
    async def later(n: int) -> int:
        """."""
        await asyncio.sleep(0)
        return n + 1

    async def inside():
        return run(ws, script(("", [("later", {"n": 1})]), "Done."), [later])

    assert results(asyncio.run(inside())) == ["2"]


# Functions with side effects.


def asks(ws, **options):
    return run(ws, script(("", [("send", {"to": "Ann"})]), "Done."), **options)


@pytest.mark.parametrize(
    ("options", "sent", "said"),
    [
        ({}, False, "nobody can be asked here"),
        ({"approve": "never"}, False, "are not allowed"),
        ({"approve": "always"}, True, ""),
        ({"allow": lambda call: call.arguments["to"] == "Ann"}, True, ""),
        ({"allow": lambda call: False, "approve": "always"}, False, "it was not allowed"),
    ],
)
def test_a_function_with_side_effects_needs_permission(ws, options, sent, said):
    done = asks(ws, **options)
    assert (["Ann"] if sent else []) == SENT
    (call,) = done.tool_calls
    assert call["error"] is not sent
    assert said in call["result"]
    span = ws.traces.get(done.trace_id).spans[2]
    assert ("llmops.tool.denied" in span.attributes) is not sent


@pytest.mark.parametrize(
    ("answer", "sent"), [("y", True), ("Yes ", True), ("", False), ("n", False)]
)
def test_who_can_be_asked_is_asked(ws, monkeypatch, answer, sent):
    questions = []

    def answering(question):
        questions.append(question)
        return answer

    monkeypatch.setattr(builtins, "input", answering)  # as a kernel does
    done = asks(ws)
    assert questions == ['The model wants to call send(to="Ann"). Allow it? [y/N] ']
    assert bool(SENT) is sent
    assert ("the user said no" in done.tool_calls[0]["result"]) is not sent


@pytest.mark.parametrize("fault", [NotImplementedError, EOFError, RuntimeError, OSError])
def test_a_kernel_without_a_front_end_denies(ws, monkeypatch, fault):
    def refusing(question):
        raise fault

    monkeypatch.setattr(builtins, "input", refusing)
    assert "nobody can be asked" in asks(ws).tool_calls[0]["result"]


# Time and interrupts.


def slow(seconds: float) -> str:
    """Wait."""
    time.sleep(seconds)
    return "late"


async def slow_too(seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(seconds)
    return "late"


@pytest.mark.parametrize("function", [slow, slow_too])
def test_a_function_that_takes_too_long_is_broken_off(ws, function):
    engine = script(("", [(function.__name__, {"seconds": 60})]), "Done.")
    done = run(ws, engine, [function], timeout=0.3)
    assert done.finish_reason == "deadline"
    assert "time for the whole run was up" in results(done)[0]
    assert "Stopped after 0.3 s (timeout), in step 1." in done.notes
    assert len(engine.requests) == 1


def test_the_model_gets_what_is_left_of_the_time(ws):
    engine = script(("", [("add", {"a": 1, "b": 1})]), "Done.")
    run(ws, engine, timeout=60)
    first, second = (r.deadline_s for r in engine.requests)
    assert 0 < second < first <= 60


@pytest.mark.parametrize("function", [slow, slow_too])
def test_an_interrupt_ends_a_function_and_all_is_kept(ws, function):
    name = function.__name__
    engine = script(
        ("Now.", [("add", {"a": 1, "b": 1}), (name, {"seconds": 60}), (name, {"seconds": 1})])
    )
    plug(ws, engine)
    stream = ws.prompts.stream(ws.prompts.scratch("Do it."), tools=[add, function])
    main = threading.main_thread().ident
    timer = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt), stream as running:
        for _ in running:
            pass
    timer.join()
    done = stream.completion
    assert done.finish_reason == "interrupted"
    assert done.text == "Now."
    assert results(done) == ["2", *["Error: the run was interrupted."] * 2]
    assert len(done.messages) == 4
    trace = ws.traces.get(done.trace_id)
    assert trace.status == "interrupted"
    assert [s.status for s in trace.spans if s.op == "execute_tool"] == ["ok", "interrupted"]


# Versions, sessions, recordings, maps.


def test_a_changed_tool_is_a_new_version(ws):
    def other(a: int, b: int, c: int) -> int:
        """Add three numbers."""
        return a + b + c

    first = ws.prompts.save("sum", "Do it.", tools=[add])
    assert ws.prompts.save("sum", "Do it.", tools=add).version == first.version
    second = ws.prompts.save("sum", "Do it.", tools=[other])
    assert second.version == 2
    assert '"name": "add"' in first.content.readable()
    plug(ws, script(("", [("add", {"a": 1, "b": 2})]), "Done."))
    assert results(ws.prompts.run("sum@1", tools=add)) == ["3"]
    with pytest.raises(OptionError, match="other signatures"):
        ws.prompts.run("sum@2", tools=add)
    with pytest.raises(OptionError, match=r"tools=\[add\]"):
        ws.prompts.run("sum@1")
    plain = ws.prompts.save("plain", "Do it.")
    with pytest.raises(OptionError, match="Save a version"):
        ws.prompts.run(plain, tools=add)


def test_a_session_goes_on_after_calls(ws):
    engine = script(("", [("add", {"a": 1, "b": 2})]), "It is 3.", "As I said.")
    run(ws, engine, session="s")
    done = run(ws, engine, session="s")
    assert done.text == "As I said."
    roles = [m.role for m in engine.requests[-1].messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    assert engine.requests[-1].messages[1].tool_calls[0].name == "add"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": True}, "max_steps"),
        ({"tool_choice": "ad"}, "Did you mean 'add'"),
        ({"approve": "maybe"}, "approve"),
        ({"allow": 3}, "allow"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "x"}, "timeout"),
    ],
)
def test_wrong_settings_are_said_before_the_model_is_asked(ws, options, said):
    engine = script("")
    with pytest.raises(OptionError, match=said):
        run(ws, engine, **options)
    assert not engine.requests


def test_settings_of_tools_without_tools_are_refused(ws):
    plug(ws)
    with pytest.raises(OptionError, match="max_steps is for prompts with tools"):
        ws.prompts.run(ws.prompts.scratch("Hello."), max_steps=2)


def test_tools_and_a_chain_of_thought_do_not_go_together(ws):
    plug(ws)
    with pytest.raises(OptionError, match="chain of thought"):
        ws.prompts.run(ws.prompts.scratch("Hello.", cot=True), tools=add)


def test_a_recording_is_replayed_without_calling_anything(ws, tmp_path):
    from llmops_jupyter.engine.cassette import Cassette
    from llmops_jupyter.engine.replay import RecordingEngine, ReplayEngine

    count = []

    def roll() -> int:
        """Roll a die."""
        count.append(1)
        return len(count)

    engine = script(("", [("roll", {})]), ("", [("roll", {})]), "Done.")
    cassette = Cassette(tmp_path / "c.json")
    choice = ["roll", "auto"]
    live = run(ws, RecordingEngine(engine, cassette), [roll], tool_choice=choice)
    ws.traces.prune(older_than="0s")
    replay = ReplayEngine(Cassette.load(cassette.path), "fake", "f" * 64)
    again = run(ws, replay, [roll], tool_choice=choice)
    assert len(count) == 2
    assert again.tool_calls == live.tool_calls
    assert results(again) == ["1", "2"]
    assert again.trace_id == live.trace_id

    def roll(sides: int = 6) -> int:
        """Roll a die."""
        return 1

    with pytest.raises(ReplayError, match="tools"):
        run(ws, ReplayEngine(Cassette.load(cassette.path), "fake", "f" * 64), [roll])


def test_rows_of_a_map_have_their_own_loops_and_ask_nobody(ws, monkeypatch):
    monkeypatch.setattr(builtins, "input", lambda _: pytest.fail("a map asks nobody"))

    def say(messages):
        number = int(messages[0].content.split()[-1])
        answers = sum(m.role == "assistant" for m in messages)
        if answers < number:
            return "", [("add", {"a": answers, "b": number}), ("send", {"to": "Ann"})]
        return f"{number} done"

    plug(ws, Script(say))
    prompt = ws.prompts.scratch("Number {{ n }}")
    table = ws.prompts.map(prompt, [{"n": n} for n in (0, 2, 1)], tools=[add, send])
    assert [c.text for c in table] == ["0 done", "2 done", "1 done"]
    assert [len(c.tool_calls) for c in table] == [0, 4, 2]
    assert all(
        "nobody" in c["result"] for done in table for c in done.tool_calls if c["name"] == "send"
    )
    assert not SENT
    spans = ws.traces.get(table[1].trace_id).spans
    assert [s.op for s in spans[1:]] == ["chat", *["execute_tool", "execute_tool", "chat"] * 2]
    approved = ws.prompts.map(prompt, [{"n": 1}], tools=[add, send], approve="always")
    assert [c["error"] for c in approved[0].tool_calls] == [False, False]
    assert SENT == ["Ann"]


def test_a_map_that_is_interrupted_in_a_function_closes_its_traces_and_goes_on(ws):
    broken = [True]

    def once(n: int) -> int:
        """."""
        if n == 1 and broken:
            broken.clear()
            raise KeyboardInterrupt
        return n

    def say(messages):
        if messages[-1].role == "tool":
            return f"got {messages[-1].content}"
        return "", [("once", {"n": int(messages[0].content)})]

    engine = plug(ws, Script(say))
    prompt, rows = ws.prompts.scratch("{{ n }}"), [{"n": n} for n in range(3)]
    with pytest.raises(KeyboardInterrupt):
        ws.prompts.map(prompt, rows, tools=once)
    assert not ws.traces.newest(10, status="open")
    engine.requests.clear()
    table = ws.prompts.map(prompt, rows, tools=once)
    assert [c.text for c in table] == ["got 0", "got 1", "got 2"]


def test_what_is_shown_has_the_calls_below_their_steps(ws):
    done = run(ws, script(("", [("add", {"a": 1, "b": 2}), ("nope", {})]), "It is **3**."))
    data, _ = done._repr_mimebundle_()
    text = data["text/plain"]
    assert text.startswith("step 1\n├─ add(a=1, b=2) → 3  [")
    assert "└─ nope() ✗ Error: There is no function" in text
    assert "It is **3**." in text
    assert "add(a=1, b=2) → 3" in data["text/markdown"]


def test_a_call_is_shown_while_it_runs(ws):
    shown = []

    def look() -> int:
        """."""
        shown.append(running.completion._repr_mimebundle_()[0]["text/plain"])
        return 1

    plug(ws, script(("", [("add", {"a": 1, "b": 2}), ("look", {})]), "Done."))
    with ws.prompts.stream(ws.prompts.scratch("Do it."), tools=[add, look]) as running:
        for _ in running:
            pass
    assert "└─ look() …" in shown[0]
    assert "├─ add(a=1, b=2) → 3" in shown[0]
    assert "└─ look() → 1" in running.completion._repr_mimebundle_()[0]["text/plain"]


def test_pieces_tell_calls_where_a_terminal_shows_them(ws):
    plug(ws, script(("I add.", [("add", {"a": 1, "b": 2})]), "3."))
    with ws.prompts.stream(ws.prompts.scratch("Do it."), tools=add) as running:
        text = "".join(running)
    assert text.startswith("I add.\nadd(a=1, b=2) → 3  [")
    assert text.endswith("s]\n3.")


def test_results_and_arguments_are_redacted_in_traces(ws):
    ws.redact("email")

    def mail(to: str) -> str:
        """."""
        return f"to {to}"

    done = run(ws, script(("", [("mail", {"to": "ann@example.org"})]), "Done."), [mail])
    assert "ann@example.org" in done.tool_calls[0]["result"]
    kept = json.dumps([s.attributes for s in ws.traces.get(done.trace_id).spans], default=str)
    assert "ann@example.org" not in kept


def test_an_answer_after_calls_satisfies_the_schema(ws):
    schema = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}
    plug(ws, script(("", [("add", {"a": 1, "b": 2})]), '{"sum": 3}'))
    done = ws.prompts.run(ws.prompts.scratch("Do it.", schema=schema), tools=add)
    assert done.parsed == {"sum": 3}
