"""Running prompts on an engine that answers at once: options, and what is kept of an answer."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from engine_fakes import plug

from llmops_jupyter.errors import OptionError


@pytest.fixture
def engine(ws):
    return plug(ws)


def test_traces_from_before_the_rule_become_data_without_personal_data(ws, engine):
    done = ws.prompts.run(ws.prompts.scratch("{{ q }}"), {"q": "ada@example.com"})
    ws.configure(redact="pii")
    made = next(ws.data_from_traces("d").rows())
    assert made["input"] == "[EMAIL]"
    assert made["q"] == "[EMAIL]"
    assert made["trace_id"] == done.trace_id


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seed": "abc"}, "seed is a whole number, not 'abc'"),
        ({"max_tokens": 1.5}, "max_tokens is a whole number"),
        ({"seed": 1.5}, "seed is a whole number"),
        ({"top_k": 2.5}, "top_k is a whole number"),
        ({"top_k": True}, "top_k is a whole number"),
        ({"temperature": "hot"}, "temperature is a number"),
        ({"temperature": float("nan")}, "temperature must be at most 100"),
        ({"stop": 3}, "stop is a text"),
        ({"logprobs": 1000}, "logprobs must be at most 100"),
        ({"logit_bias": {"a": "b"}}, "is a number"),
        ({"logit_bias": 3}, "for example"),
        ({"session": "My Chat"}, "'my-chat'"),
        ({"session": 4}, "session is the name"),
        ({"model": 4}, "model is the name"),
        ({"adapters": 4}, "adapters is a list"),
        ({"adapters": "style:much"}, "NAME:SCALE"),
    ],
)
def test_options_of_another_type_or_range_are_refused_before_anything(ws, engine, options, says):
    with pytest.raises(OptionError, match=says):
        ws.prompts.run(ws.prompts.scratch("hi"), **options)
    assert engine.requests == []
    assert ws.traces.newest() == []


def test_numpy_numbers_are_numbers(ws, engine):
    ws.prompts.save("p", "hi")
    ws.prompts.run(
        "p",
        max_tokens=np.int64(4),
        temperature=np.float32(0.5),
        seed=np.uint32(7),
        top_k=np.int8(3),
    )
    sampling = engine.requests[0].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.seed) == (4, 0.5, 7)
    assert {type(v) for v in (sampling.max_tokens, sampling.seed, sampling.top_k)} == {int}
    assert ws.prompts.get("p").defaults["max_tokens"] == 4


def test_new_settings_reach_the_engine_the_trace_and_the_next_run(ws, engine):
    ws.prompts.save("p", "hi")
    options = {
        "frequency_penalty": 0.5,
        "presence_penalty": 0.25,
        "logit_bias": {" blue": -1, 5: 2.0},
        "logprobs": 1,
        "exact": True,
    }
    done = ws.prompts.run("p", **options)
    request = engine.requests[0]
    assert request.exact
    assert request.sampling.logit_bias == ((" blue", -1.0), (5, 2.0))
    attributes = ws.traces.get(done.trace_id).spans[1].attributes
    assert attributes["gen_ai.request.frequency_penalty"] == 0.5
    assert attributes["llmops.request.exact"] is True
    assert done.logprobs[0].top[1] == ("other", -2.0)
    ws.prompts.run("p")
    assert engine.requests[1].sampling == request.sampling
    assert engine.requests[1].exact
    assert len(ws.prompts.history("p")) == 1


def test_the_setting_exact_holds_where_a_call_says_nothing(ws, engine):
    ws.configure(exact=True)
    ws.prompts.run(ws.prompts.scratch("hi"))
    ws.prompts.run(ws.prompts.scratch("hi"), exact=False)
    assert [r.exact for r in engine.requests] == [True, False]


def test_a_completion_is_copied_and_compared(ws, engine):
    done = ws.prompts.run(ws.prompts.scratch("hi"), logprobs=1)
    assert pickle.loads(pickle.dumps(done)) == done


def test_a_conversation_is_kept_and_sent_along_without_personal_data(ws, engine):
    ws.configure(redact="pii")
    content = ws.prompts.scratch("{{ q }}")
    for q in ("I am ada@example.com", "who am I?"):
        ws.prompts.run(content, {"q": q}, session="chat")
    assert "ada@example.com" not in "\n".join(ws.store.read().iterdump())
    assert [m.content for m in engine.requests[1].messages] == [
        "I am [EMAIL]",
        "echo I am [EMAIL]",
        "who am I?",
    ]


def test_an_answer_that_the_engine_breaks_off_is_an_error_and_not_an_answer(ws, engine):
    from llmops_jupyter.engine.protocol import Finished, Token
    from llmops_jupyter.errors import EngineError
    from llmops_jupyter.records import Timing, Usage

    def broken_off(requests):
        for request in requests:
            yield Token(request.id, "half an")
            yield Finished(request.id, "half an", "interrupted", Usage(2, 2), Timing(), 1)

    engine.generate = broken_off
    with pytest.raises(EngineError, match="closed while it answered"):
        ws.prompts.run(ws.prompts.scratch("hello"))
    assert ws.traces.last().status == "error"
    assert "half an" in ws.traces.last().text
