"""Many requests at once on the bundled model: sharing, order, independence, odd requests."""

from __future__ import annotations

import json
import math
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_jupyter.engine.llamacpp import LlamaCppEngine
from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.errors import LLMOpsError, ModelArchitectureError, OptionError
from llmops_jupyter.records import Message, Sampling

pytestmark = pytest.mark.model
SYSTEM = Message("system", "You answer questions about animals in one short sentence. " * 8)
ANIMALS = ["cats", "dogs", "owls", "bees", "cows", "crabs", "foxes", "geese", "goats", "hares"]


def request_of(place, text, *, system=SYSTEM, **fields):
    sampling = fields.pop("sampling", Sampling(temperature=0, max_tokens=12))
    messages = (system, Message("user", text)) if system else (Message("user", text),)
    return Request(str(place), messages=messages, sampling=sampling, **fields)


def ends_of(engine, requests):
    return {e.request_id: e for e in engine.generate(requests) if isinstance(e, Finished)}


def test_a_batch_reads_what_its_prompts_share_once(engine):
    requests = [request_of(i, f"Where do {a} live?") for i, a in enumerate(ANIMALS)]
    ends = ends_of(engine, requests)
    assert len(ends) == len(requests)
    read = sum(e.usage.input_tokens - e.usage.cached_tokens for e in ends.values())
    longest = max(e.usage.input_tokens for e in ends.values())
    assert read < longest + len(requests) * 30
    assert all(e.finish_reason in ("stop", "length") and e.text for e in ends.values())


def test_two_prompts_in_turn_find_their_beginnings_again(engine):
    other = Message("system", "You are a pirate and speak like one. " * 8)
    ask = [("one", SYSTEM, "What is a cat?"), ("two", other, "What is a ship?")]
    for name, system, text in ask:
        ends_of(engine, [request_of(name, text, system=system)])
    for name, system, text in ask:
        done = ends_of(engine, [request_of(name, f"{text} Say more.", system=system)])[name]
        assert done.usage.cached_tokens > 60


def test_an_interactive_prompt_that_arrives_during_a_batch_goes_first(engine):
    order = []

    def batch():
        long = Sampling(temperature=0, max_tokens=60, logit_bias=(("<|im_end|>", -math.inf),))
        requests = [
            request_of(a, f"Tell me about {a}.", sampling=long, interactive=False) for a in ANIMALS
        ]
        for event in engine.generate(requests):
            started.set()
            if isinstance(event, Finished):
                order.append(event.request_id)

    started = threading.Event()
    thread = threading.Thread(target=batch)
    thread.start()
    assert started.wait(60)
    done = ends_of(engine, [request_of("now", "What is a hen?", system=None)])["now"]
    order.append("now")
    thread.join(120)
    assert done.text
    assert order.index("now") < len(ANIMALS)
    assert len(order) == len(ANIMALS) + 1


def test_requests_are_taken_from_the_source_only_as_there_is_room(engine):
    taken = []

    def source():
        for i in range(200):
            taken.append(i)
            yield request_of(i, f"Say {i}.", system=None, sampling=Sampling(max_tokens=2))

    stream = engine.generate(source())
    next(stream)
    assert len(taken) <= 2 * engine.size.rows
    stream.close()


def test_each_row_of_a_batch_has_its_own_seed_stop_and_schema(engine):
    schema = {
        "type": "object",
        "properties": {"animal": {"type": "string", "maxLength": 8}},
        "required": ["animal"],
    }
    warm = Sampling(temperature=1.0, max_tokens=40, seed=3)
    requests = [
        request_of("json", "Name an animal as JSON.", schema=schema, sampling=warm),
        request_of("stop", "Count: one two three four", sampling=Sampling(0, 30, stop=(" ",))),
        request_of("length", "Tell me a story.", sampling=Sampling(0, 3)),
        request_of("grammar", "Yes or no?", grammar='root ::= "yes" | "no"', sampling=warm),
        request_of("both", "?", grammar="root ::= [a]", schema=schema),
        request_of("bad", "?", grammar="root ::= ((("),
    ]
    ends = ends_of(engine, requests)
    assert isinstance(json.loads(ends["json"].text)["animal"], str)
    assert " " not in ends["stop"].text
    assert ends["length"].finish_reason == "length"
    assert ends["grammar"].text in ("yes", "no")
    assert isinstance(ends["both"].error, OptionError)
    assert isinstance(ends["bad"].error, LLMOpsError)


def test_log_probabilities_come_with_the_tokens(engine):
    sampling = Sampling(temperature=0, max_tokens=5, logprobs=3)
    question = request_of("r", "What is the capital of France?", system=None, sampling=sampling)
    done = ends_of(engine, [question])["r"]
    assert "".join(t.token for t in done.logprobs) == done.text
    for token in done.logprobs:
        assert token.logprob <= 0
        assert len(token.top) == 3
        assert token.top[0][1] == pytest.approx(token.logprob, abs=1e-6)
        assert sum(math.exp(p) for _, p in token.top) <= 1.0001


def test_a_bias_forbids_and_a_penalty_discourages(engine):
    def text(**more):
        sampling = Sampling(temperature=0, max_tokens=30, **more)
        brief = Message("system", "Answer in one short sentence.")
        question = request_of(
            "r", "What is the capital of France?", system=brief, sampling=sampling
        )
        return ends_of(engine, [question])["r"].text

    assert "Paris" in text()
    assert "Paris" not in text(logit_bias=((" Paris", -math.inf),))
    loop = Sampling(temperature=0, max_tokens=60, frequency_penalty=50.0)
    done = ends_of(engine, [request_of("r", "Repeat: ha ha ha ha", sampling=loop)])["r"]
    words = done.text.split()
    assert len(set(words)) >= 0.9 * len(words)
    outside = Sampling(logit_bias=((10**6, 1.0),))
    assert isinstance(
        ends_of(engine, [request_of("r", "x", sampling=outside)])["r"].error, OptionError
    )


def test_a_sampler_draws_the_same_from_the_same_logits_whatever_else_is_drawn(engine):
    from llmops_jupyter.engine.sampler import Sampler

    vocabulary = engine.tokenizer.vocabulary
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((12, vocabulary.size)) * 3).astype(np.float32)
    kinds = [
        Request("a", sampling=Sampling(temperature=0.9)),
        Request("b", sampling=Sampling(temperature=1.2, top_k=0, repeat_penalty=1.3)),
        Request("c", sampling=Sampling(temperature=0.7), grammar="root ::= [a-z ]+"),
    ]
    expected = []
    for i, kind in enumerate(kinds):
        sampler = Sampler(vocabulary, kind, seed=i, prompt=[5, 6])
        expected.append([sampler.draw(row.copy()) for row in logits])
        sampler.free()
    together = [Sampler(vocabulary, kind, seed=i, prompt=[5, 6]) for i, kind in enumerate(kinds)]
    drawn = [[s.draw(row.copy()) for s in together] for row in logits]
    for sampler in together:
        sampler.free()
    assert [list(column) for column in zip(*drawn, strict=True)] == expected


def test_texts_have_log_probabilities_for_all_their_tokens(model_path):
    """Also one that is longer than a batch, and one that is longer than the context."""
    texts = ["The cat sat on the mat and slept.", "Mat the slept cat on and the sat."]
    texts += ["word " * 240, "one two three " * 150]
    engine = LlamaCppEngine(
        model_path, model_name="smollm2", model_digest="bundled", n_ctx=256, n_threads=1, n_batch=64
    )
    try:
        found = engine.logprobs(texts)
        assert found[0].mean() > found[1].mean()
        assert [len(f) for f in found] == [len(engine.tokens(t)) - 1 for t in texts]
        assert len(found[2]) < engine.context_length < len(found[3])
        with pytest.raises(OptionError):
            engine.logprobs(["x"])
    finally:
        engine.close()


def test_only_a_reranker_ranks(engine):
    with pytest.raises(ModelArchitectureError, match="reranker"):
        engine.rerank("a question", ["a text"])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    texts=st.lists(st.text(max_size=60), min_size=1, max_size=6),
    temperature=st.floats(0, 5),
    tokens=st.integers(1, 6),
    top_k=st.integers(0, 10**6),
    top_p=st.floats(0, 1),
    min_p=st.floats(0, 1),
    penalty=st.floats(0.1, 5),
    window=st.integers(0, 10**6),
    stop=st.lists(st.text(min_size=1, max_size=4), max_size=3),
    logprobs=st.sampled_from([None, 0, 5]),
    deadline=st.sampled_from([None, 0.0, 0.05]),
    raw=st.booleans(),
    exact=st.booleans(),
)
def test_no_request_brings_the_engine_down(
    engine, texts, temperature, tokens, top_k, top_p, min_p, penalty, window, stop, logprobs,
    deadline, raw, exact,
):  # fmt: skip
    sampling = Sampling(
        temperature, tokens, None, top_k, top_p, min_p, penalty, tuple(stop),
        penalty_window=window, logprobs=logprobs,
    )  # fmt: skip
    requests = [
        Request(
            str(i),
            messages=() if raw else (Message("user", text),),
            text=text if raw else None,
            sampling=sampling,
            deadline_s=deadline,
            exact=exact,
        )
        for i, text in enumerate(texts)
    ]
    events = list(engine.generate(requests))
    ends = {e.request_id: e for e in events if isinstance(e, Finished)}
    assert set(ends) == {r.id for r in requests}
    for end in ends.values():
        said = "".join(
            e.text for e in events if isinstance(e, Token) and e.request_id == end.request_id
        )
        assert said == end.text
        assert end.error is None or isinstance(end.error, LLMOpsError)
        assert end.usage.output_tokens <= tokens


def test_a_stream_that_is_let_go_or_cancelled_frees_its_rows(engine):
    long = Sampling(temperature=0, max_tokens=1500, logit_bias=(("<|im_end|>", -math.inf),))
    stream = engine.generate([request_of("r", "Tell me a story.", sampling=long)])
    next(stream)
    del stream
    other = engine.generate([request_of("s", "Tell me a story.", sampling=long)])
    next(other)
    other.cancel()
    ends = [e for e in other if isinstance(e, Finished)]
    assert [e.finish_reason for e in ends] == ["interrupted"]
    assert ends_of(engine, [request_of("t", "Hello")])["t"].error is None
    assert engine.status()["rows"].startswith("0 of")
