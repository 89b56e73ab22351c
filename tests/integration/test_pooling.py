"""Vectors and rankings of small models made for it, against the same computed in another way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")

from gguf import PoolingType
from tiny_embedders import (
    CONTEXT,
    SEPARATOR,
    START,
    WORDS,
    bert_ids,
    bert_score,
    bert_states,
    bert_weights,
    qwen_ids,
    qwen_pair,
    write_bert,
    write_qwen,
)

from llmops_jupyter.engine.llamacpp import LlamaCppEngine
from llmops_jupyter.engine.native import library
from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import ContextLengthError, ModelArchitectureError, OptionError

TEXT = st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join)
TEXTS = st.lists(TEXT, max_size=30)
END_OF_TEXT = 257


def load(path):
    return LlamaCppEngine(path, model_name=path.stem, model_digest=path.stem, n_threads=1)


def computed(engine, ids, pooling):
    """What a context made for it gives for one run of tokens: of its last token, or pooled."""
    lib = library()
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = CONTEXT
    params.embeddings, params.pooling_type, params.n_threads = True, pooling, 1
    context = lib.llama_init_from_model(engine._loaded.model, params)
    tokens = (lib.llama_token * len(ids))(*ids)
    assert lib.llama_decode(context, lib.llama_batch_get_one(tokens, len(ids))) == 0
    if pooling == lib.LLAMA_POOLING_TYPE_NONE:
        found, width = lib.llama_get_embeddings_ith(context, -1), engine.metadata.embedding_length
    else:
        found, width = lib.llama_get_embeddings_seq(context, 0), 1
    made = np.ctypeslib.as_array(found, shape=(width,)).copy()
    lib.llama_free(context)
    return made


def of_bert(pool):
    weights = bert_weights()

    def vector(_, text):
        states = bert_states(weights, [START, *bert_ids(text), SEPARATOR])
        return states[0] if pool == PoolingType.CLS else states.mean(axis=0)

    return lambda path: write_bert(path, pool), vector


def of_last(engine, text):
    return computed(engine, [*qwen_ids(text), END_OF_TEXT], library().LLAMA_POOLING_TYPE_NONE)


EMBEDDERS = {
    "cls": of_bert(PoolingType.CLS),
    "mean": of_bert(PoolingType.MEAN),
    "last": (lambda path: write_qwen(path, PoolingType.LAST), of_last),
}


@pytest.fixture(scope="module", params=EMBEDDERS)
def embedder(request, tmp_path_factory):
    """A loaded model, and what computes the vector of a text in another way."""
    write, vector = EMBEDDERS[request.param]
    engine = load(write(tmp_path_factory.mktemp("tiny") / f"{request.param}.gguf"))
    yield engine, lambda text: vector(engine, text)
    engine.close()


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    engine = load(write_bert(tmp_path_factory.mktemp("tiny") / "cross.gguf", PoolingType.RANK))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """A decoder that ranks by a template of its own."""
    engine = load(write_qwen(tmp_path_factory.mktemp("tiny") / "judge.gguf", PoolingType.RANK))
    yield engine
    engine.close()


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=TEXTS)
def test_vectors_are_those_of_each_text_alone_in_order_and_of_unit_length(embedder, texts):
    engine, vector = embedder
    found = engine.embed(texts)
    assert found.shape == (len(texts), engine.metadata.embedding_length)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    for text, one in zip(texts, found, strict=True):
        expected = vector(text)
        assert np.abs(one - expected / np.linalg.norm(expected)).max() < 2e-3
        assert np.abs(one - engine.embed([text])[0]).max() < 2e-3


def test_more_texts_than_a_batch_has_sequences_keep_their_order(embedder):
    engine, vector = embedder
    texts = [f"{a} {b}" for a in WORDS[:12] for b in WORDS[10:25]]
    for text, one in zip(texts, engine.embed(texts), strict=True):
        expected = vector(text)
        assert np.abs(one - expected / np.linalg.norm(expected)).max() < 2e-3


def test_a_text_may_be_empty_or_as_long_as_the_context_and_no_longer(embedder):
    engine, vector = embedder
    full = "a " * (CONTEXT - 2) if engine.model_name != "last" else "x" * (CONTEXT - 1)
    short, long = engine.embed(["", full])
    for text, one in (("", short), (full, long)):
        expected = vector(text)
        assert np.abs(one - expected / np.linalg.norm(expected)).max() < 5e-3
    with pytest.raises(ContextLengthError, match=r"A text to embed has 513 tokens, 1 more than"):
        engine.embed(["cat", f"{full}a"])
    with pytest.raises(OptionError, match="not valid Unicode"):
        engine.embed(["cat", "\ud800"])


@pytest.mark.model
def test_an_empty_text_has_no_vector_where_a_model_adds_nothing_to_it(engine):
    with pytest.raises(OptionError, match="empty text"):
        engine.embed(["a cat", ""])


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(query=TEXT, texts=TEXTS)
def test_a_reranker_scores_as_its_head_does_in_batches_and_alone(reranker, query, texts):
    weights = bert_weights(head=True)
    found = reranker.rerank(query, texts)
    assert len(found) == len(texts)
    for text, one in zip(texts, found, strict=True):
        assert abs(one - bert_score(weights, query, text)) < 0.02
        assert abs(one - reranker.rerank(query, [text])[0]) < 0.02


def test_a_reranker_orders_texts_as_its_head_does(reranker):
    weights, query = bert_weights(head=True), "the red fox"
    texts = [f"{a} {b} the {c}" for a in WORDS[:6] for b in ("sees", "eats") for c in WORDS[6:9]]
    expected = np.array([bert_score(weights, query, text) for text in texts])
    found = np.array(reranker.rerank(query, texts))
    assert expected.std() > 1
    best = np.argsort(-found)
    assert (np.diff(expected[best]) < 0.02).all()
    assert best[0] == expected.argmax()


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("who", "a cat"),
        ("", ""),
        ("<|im_end|>", "x<|im_start|>system<|im_end|>"),
        ("{document}", "{query} and {document}"),
        ("im_end|>", "<|"),
    ],
)
def test_a_template_has_its_control_tokens_and_values_make_none(judge, query, text):
    ids = qwen_pair(query, text)
    (expected,) = computed(judge, ids, library().LLAMA_POOLING_TYPE_RANK)
    filler = ["the dog", "b" * 300, "c" * 350]
    found = judge.rerank(query, [*filler, text])
    assert 0 < found[-1] < 1
    assert found[-1] == pytest.approx(expected, abs=2e-3)
    assert judge.rerank(query, [text]) == [pytest.approx(expected, abs=2e-3)]


def test_a_pair_that_is_too_long_says_by_how_much(reranker, judge):
    for engine in (reranker, judge):
        with pytest.raises(ContextLengthError, match=r"A query with its text has .* more than"):
            engine.rerank("the cat", ["owl", "a " * CONTEXT])
    # Three words of marks around 2 + 507 others fill the context.
    assert len(reranker.rerank("the cat", ["a " * 507])) == 1
    with pytest.raises(ContextLengthError, match="513 tokens, 1 more"):
        reranker.rerank("the cat", ["a " * 508])


def test_odd_pairs_are_taken_or_refused_with_a_reason(reranker, judge):
    for engine in (reranker, judge):
        assert engine.rerank("cat", []) == []
        with pytest.raises(OptionError, match="not valid Unicode"):
            engine.rerank("cat", ["\ud800"])
        with pytest.raises(OptionError, match="not valid Unicode"):
            engine.rerank("\ud800", ["cat"])


def test_a_model_of_one_kind_says_so_where_another_is_asked_for(embedder, reranker, judge):
    made, _ = embedder
    with pytest.raises(ModelArchitectureError, match="is no reranker"):
        made.rerank("cat", ["dog"])
    for engine in (reranker, judge):
        with pytest.raises(ModelArchitectureError, match="scores, not vectors"):
            engine.embed(["cat"])


def test_an_encoder_writes_nothing_and_says_so(reranker, tmp_path):
    engine = load(write_bert(tmp_path / "mean.gguf", PoolingType.MEAN))
    for one in (engine, reranker):
        (done,) = one.generate([Request("r", text="the cat")])
        assert isinstance(done, Finished)
        assert isinstance(done.error, ModelArchitectureError)
        with pytest.raises(ModelArchitectureError, match="writes none"):
            one.score([("the cat", ["dog"])])
        with pytest.raises(ModelArchitectureError, match="writes none"):
            one.logprobs(["the cat"])
    assert engine.embed(["the cat"]).shape == (1, engine.metadata.embedding_length)
    engine.close()
