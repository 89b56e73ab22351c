"""Embeddings, ranks, scores of labels and counts of tokens that an endpoint gives."""

from __future__ import annotations

import pytest
from remote_fakes import Server

from llmops_jupyter.errors import EngineError
from llmops_jupyter.records import Message

pytestmark = pytest.mark.usefixtures("impatient")


def test_embeddings_are_of_unit_length_in_the_order_of_the_texts(opened):
    async def answer(asked, out):
        texts = asked.body["input"]
        data = [{"index": i, "embedding": [3.0, 4.0, len(t)]} for i, t in enumerate(texts)]
        await out.reply({"data": data[::-1]})

    with Server(answer) as server:
        engine = opened(server)
        found = engine.embed(["x" * i for i in range(150)])
        assert [len(c.body["input"]) for c in server.seen.calls] != [150]
        assert engine.embed([]).shape == (0, 0)
    assert found.shape == (150, 3)
    assert (abs((found**2).sum(axis=1) - 1) < 1e-5).all()
    assert (found[1:, 2] > found[:-1, 2]).all()


def test_embeddings_that_are_none_are_told(opened):
    async def answer(asked, out):
        await out.reply({"data": []})

    with Server(answer) as server, pytest.raises(EngineError, match="embedding model"):
        opened(server).embed(["x"])


def test_ranks_come_in_the_order_of_the_texts_from_either_path(opened):
    async def answer(asked, out):
        if asked.path == "/v1/rerank":
            await out.reply({"error": "not here"}, 404)
        else:
            found = [{"index": 1, "relevance_score": 2.0}, {"index": 0, "relevance_score": -1.0}]
            await out.reply({"results": found})

    with Server(answer) as server:
        assert opened(server).rerank("q", ["a", "b"]) == [-1.0, 2.0]
        assert [c.path for c in server.seen.calls] == ["/v1/rerank", "/rerank"]


def scored(*top):
    entries = [{"token": token, "logprob": logprob} for token, logprob in top]
    content = [{**entries[0], "top_logprobs": entries}]
    return {"choices": [{"message": {"content": ""}, "logprobs": {"content": content}}]}


def test_labels_are_scored_by_the_likeliest_first_tokens(opened):
    async def answer(asked, out):
        assert (asked.body["max_tokens"], asked.body["top_logprobs"]) == (1, 20)
        await out.reply(scored(("pos", -0.2), (" neg", -2.0), ("other", -5.0)))

    with Server(answer) as server:
        engine = opened(server)
        item = ([Message("user", "Good?")], ["positive", "negative", "mixed"])
        assert engine.score([item, item]) == [[-0.2, -2.0, -5.0]] * 2
        assert any("upper bound" in note for note in engine.status()["notes"])


def test_labels_with_one_beginning_are_told_apart_after_it(opened):
    async def answer(asked, out):
        assert asked.body["messages"][-1] == {"role": "assistant", "content": "very"}
        assert asked.body["continue_final_message"] is True
        await out.reply(scored((" good", -0.2), (" bad", -2.0)))

    with Server(answer) as server:
        item = ([Message("user", "How?")], ["very good", "very bad"])
        assert opened(server).score([item]) == [[-0.2, -2.0]]


def test_scoring_without_logprobs_says_why_it_cannot_be_done(opened):
    async def answer(asked, out):
        await out.reply({"choices": [{"message": {"content": "A"}}]})

    with Server(answer) as server, pytest.raises(EngineError, match="log-probabilities"):
        opened(server).score([([Message("user", "x")], ["A", "B"])])


def test_tokens_are_counted_by_the_server_or_estimated_and_said_to_be(opened):
    async def answer(asked, out):
        assert asked.path == "/tokenize"
        await out.reply({"count": 7})

    with Server(answer) as server:
        engine = opened(server)
        assert engine.count_tokens([Message("user", "x")]) == 7
        assert not any("estimates" in note for note in engine.status().get("notes", ()))
        other = opened(server, flavour="openai")
        assert other.count_tokens("eight characters"[:8]) == 2
        assert any("estimates" in note for note in other.status()["notes"])
