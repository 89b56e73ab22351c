"""What comes out of a model under a policy: texts, reasoning, structured answers, and what is shown while it runs."""

from __future__ import annotations

import json

import pytest
from engine_fakes import FakeEngine, plug, script
from guard_fakes import ATTACK, KEY
from guard_shop import POLICY, PROMPT, ask, decisions, lookup, shop_engine, spans

from llmops_jupyter.engine.protocol import Token
from llmops_jupyter.errors import GuardError
from llmops_jupyter.prompts.screening import HELD_BACK


@pytest.fixture
def engine(ws, fitted):
    return shop_engine(ws)


def test_a_changed_answer_is_kept_everywhere_but_in_the_span_of_the_model(ws, engine):
    engine.answer = lambda text: f"the key is {KEY}"
    done = ask(ws, "hi", session="s")
    assert done.text == "the key is [SECRET]"
    trace = ws.traces.last()
    assert trace.text == "the key is [SECRET]"
    chat = next(s for s in trace.spans if s.op == "chat")
    assert chat.output[0].content == f"the key is {KEY}"
    (turn,) = ws.prompts.sessions.turns("s")
    assert turn.messages[-1].content == "the key is [SECRET]"
    assert KEY not in str(done.verdicts)


def test_a_denied_answer_is_the_message_of_the_policy(ws, engine):
    engine.answer = lambda text: "a Forbidden thing"
    done = ask(ws, "hi", session="s", logprobs=1)
    assert (done.text, done.finish_reason, done.logprobs) == ("No.", "content_filter", ())
    (turn,) = ws.prompts.sessions.turns("s")
    assert turn.messages[-1].content == "No."


def test_a_denied_input_leaves_nothing_in_the_session(ws, engine):
    ask(ws, ATTACK, session="s")
    assert ws.prompts.sessions.turns("s") == []
    ask(ws, f"my {KEY}", session="s")
    (turn,) = ws.prompts.sessions.turns("s")
    assert turn.messages[0].content == "my [SECRET]"


def test_reasoning_is_checked_as_well(ws, fitted):
    ws.guard.add("shop", POLICY)
    plug(ws, FakeEngine(lambda text: "fine", thought=f"the key {KEY}"))
    done = ask(ws, "hi")
    assert (done.text, done.reasoning) == ("fine", "the key [SECRET]")
    plug(ws, FakeEngine(lambda text: "fine", thought="forbidden"))
    done = ask(ws, "hi")
    assert (done.text, done.reasoning) == ("No.", "")


def test_a_changed_structured_answer_is_parsed_again(ws, engine):
    schema = {"type": "object", "properties": {"k": {"type": "string", "maxLength": 10}}}
    content = ws.prompts.scratch(PROMPT, schema=schema)
    engine.answer = lambda text: json.dumps({"k": "fine"})
    assert ws.prompts.run(content, {"q": "x"}, guard="shop").parsed == {"k": "fine"}
    loose = ws.prompts.scratch(PROMPT, schema={"type": "object"})
    engine.answer = lambda text: json.dumps({"k": KEY})
    assert ws.prompts.run(loose, {"q": "x"}, guard="shop").parsed == {"k": "[SECRET]"}
    engine.answer = lambda text: json.dumps({"k": "forbidden"})
    assert ws.prompts.run(loose, {"q": "x"}, guard="shop").parsed is None


def test_an_answer_that_may_change_comes_in_one_piece_and_others_stream(ws, engine):
    engine.answer = lambda text: f"the key is {KEY}"
    with ws.prompts.stream(ws.prompts.scratch(PROMPT), {"q": "hi"}, guard="shop") as run:
        pieces = []
        for piece in run:
            pieces.append(piece)
            assert KEY not in f"{piece}{run.completion.text}"
    assert pieces == ["the key is [SECRET]"]
    assert "guard shop@1: shown once it was checked" in run.completion.notes
    ws.guard.add("soft", "output:\n  - check: secrets\n    action: warn\n")
    with ws.prompts.stream(ws.prompts.scratch(PROMPT), {"q": "hi"}, guard="soft") as run:
        assert list(run) == [f"the key is {KEY}"]
    assert run.completion.notes == ()
    assert decisions(run.completion.verdicts) == [("secrets", "output", "warn", "noted")]


class Breaking(FakeEngine):
    """Breaks off within its answer."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def generate(self, requests):
        for request in requests:
            yield Token(request.id, f"the key is {KEY}")
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GuardError("x")])
def test_an_answer_that_was_broken_off_is_not_shown_unchecked(ws, fitted, error):
    ws.guard.add("shop", POLICY)
    plug(ws, Breaking(error))
    run = ws.prompts.stream(ws.prompts.scratch(PROMPT), {"q": "hi"}, guard="shop")
    with pytest.raises(type(error)), run:
        list(run)
    assert run.completion.text == ""
    assert HELD_BACK in run.completion.notes
    assert KEY not in ws.traces.last().text
    free = ws.prompts.stream(ws.prompts.scratch(PROMPT), {"q": "hi"})
    with pytest.raises(type(error)), free:
        list(free)
    assert free.completion.text == f"the key is {KEY}"


def test_a_stream_that_is_left_before_its_end_is_checked_so_far(ws, engine):
    engine.answer = lambda text: f"the key is {KEY} and more"
    ws.guard.add(
        "soft",
        "output:\n  - check: secrets\n    action: warn\n  - check: length\n    min_words: 90\n    action: warn\n",
    )
    with ws.prompts.stream(ws.prompts.scratch(PROMPT), {"q": "hi"}, guard="soft") as run:
        for _ in run:
            if KEY in run.completion.text:
                break
    assert decisions(run.completion.verdicts) == [("secrets", "output", "warn", "noted")]
    assert ws.traces.last().root.attributes["llmops.guard.decision"] == "warn"
    assert len(spans(ws)) == 1
    with ws.prompts.stream(ws.prompts.scratch(PROMPT), {"q": "hi"}, guard="soft") as run:
        pass
    assert run.completion.verdicts == ()


def test_what_a_model_says_between_calls_is_not_shown_while_it_runs(ws, fitted):
    ws.guard.add("shop", POLICY)
    plug(ws, script((f"I use {KEY}", [("lookup", {"name": "ada"})]), "so"))
    content = ws.prompts.scratch(PROMPT)
    with ws.prompts.stream(content, {"q": "x"}, guard="shop", tools=[lookup]) as run:
        for _ in run:
            assert "I use" not in f"{run.completion.text}{run.completion.messages}".replace(
                "I use [SECRET]", ""
            )
    with ws.prompts.stream(content, {"q": "x"}, guard="shop", tools=[lookup]) as run:
        next(iter(run))
    assert "I use" not in f"{run.completion.text}{run.completion.messages}{ws.traces.last().text}"


def test_what_a_model_says_between_calls_is_checked(ws, fitted):
    ws.guard.add("shop", POLICY)
    plug(ws, script((f"I use {KEY}", [("lookup", {"name": "ada"})]), f"so {KEY}"))
    with ws.prompts.stream(
        ws.prompts.scratch(PROMPT), {"q": "x"}, guard="shop", tools=[lookup], session="s"
    ) as run:
        shown = "".join(run)
    ws.prompts.remember(run)
    assert f"I use {KEY}" not in shown
    done = run.completion
    assert done.messages[0].content == "I use [SECRET]"
    assert done.messages[-1].content == done.text == "so [SECRET]"
    plug(ws, script(("forbidden", [("lookup", {"name": "ada"})]), "fine"))
    done = ask(ws, "x", tools=[lookup])
    assert done.text == "No."
    assert [m.content for m in done.messages] == ["No."]
