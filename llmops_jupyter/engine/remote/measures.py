"""Calls that write nothing: scores of labels, log-probabilities of texts, embeddings, ranks."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Prompt
from llmops_jupyter.engine.remote import scoring
from llmops_jupyter.engine.remote.body import message_value
from llmops_jupyter.engine.remote.calls import Calls
from llmops_jupyter.engine.remote.faults import Fault
from llmops_jupyter.engine.remote.pieces import logprobs_of
from llmops_jupyter.errors import EngineError, NoProbabilitiesError
from llmops_jupyter.records import TokenLogprob

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Texts of one call of /embeddings.
PART = 64
NO_PATH = (404, 405, 501)
Item = tuple[Prompt, Sequence[str]]


async def score(calls: Calls, items: Sequence[Item]) -> list[scoring.Scores]:
    """See `scoring`; one call for each item."""
    for _, labels in items:
        scoring.check(labels)
    return await calls.each([functools.partial(_score, calls, *item) for item in items])


async def _score(calls: Calls, prompt: Prompt, labels: Sequence[str]) -> scoring.Scores:
    dialect = await calls.dialect()
    while True:
        beginning = scoring.shared_beginning(labels)
        body: dict[str, Any] = {"model": calls.endpoint.model, "temperature": 0.0}
        if isinstance(prompt, str):
            path = "/completions"
            body.update(prompt=_before(prompt, beginning), max_tokens=1, logprobs=dialect.logprobs)
        else:
            path = "/chat/completions"
            messages = [message_value(message) for message in prompt]
            if beginning and dialect.continues:
                messages.append({"role": "assistant", "content": beginning.rstrip()})
                if dialect.continues == "vllm":
                    body.update(continue_final_message=True, add_generation_prompt=False)
            else:
                beginning = ""
            body.update(messages=messages, logprobs=True, top_logprobs=dialect.logprobs)
            body[dialect.limit] = 1
        body = {name: value for name, value in body.items() if name not in dialect.dropped}
        try:
            answer = await calls.ask(f"{calls.endpoint.url}{path}", body)
        except Fault as e:
            if dialect.learn(e, body):
                continue
            if e.status in (400, 422, 501) and "logprob" in f"{e.param} {e.said}".lower():
                raise NoProbabilitiesError(str(e.error)) from None
            raise
        top = scoring.first_token(_logprobs(answer))
        return scoring.score([label.strip()[len(beginning) :] for label in labels], top)


def _before(prompt: str, beginning: str) -> str:
    if not beginning:
        return prompt
    between = "" if not prompt or prompt[-1].isspace() else " "
    return f"{prompt}{between}{beginning.rstrip()}"


def _logprobs(answer: Any) -> list[TokenLogprob]:
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return logprobs_of(choice.get("logprobs")) if isinstance(choice, Mapping) else []


async def logprobs(calls: Calls, texts: Sequence[str]) -> list[NDArray[np.float32]]:
    """The log-probabilities of the tokens of texts, where the server echoes a prompt with them."""
    if not (await calls.facts()).flavour.echoes:
        raise EngineError(
            "llama_cpp.server tells the log-probabilities of a given text one token off, so they mean "
            "nothing. Use vLLM or a model on this machine."
        )
    return await calls.each([functools.partial(_passage, calls, text) for text in texts])


async def _passage(calls: Calls, text: str) -> NDArray[np.float32]:
    import numpy as np

    body = {
        "model": calls.endpoint.model,
        "prompt": text,
        # One token is written, as to some servers none means any number.
        "max_tokens": 1,
        "temperature": 0.0,
        "echo": True,
        "logprobs": 1,
    }
    advice = "Use vLLM or a model on this machine."
    try:
        answer = await calls.ask(f"{calls.endpoint.url}/completions", body)
    except Fault as e:
        if e.status in (400, 422, *NO_PATH):
            raise EngineError(
                f"This endpoint does not tell how likely a given text is ({e.error}) {advice}"
            ) from None
        raise
    given = (answer.get("choices") or [{}])[0] if isinstance(answer, Mapping) else {}
    found = given.get("logprobs") or {}
    values, offsets = found.get("token_logprobs"), found.get("text_offset")
    echoed = str(given.get("text", "")).startswith(text)
    if not echoed or not isinstance(values, list) or not isinstance(offsets, list):
        raise EngineError(f"This endpoint does not tell how likely a given text is. {advice}")
    start = offsets[0] if offsets else 0
    inside = [v for v, o in zip(values, offsets, strict=False) if o - start < len(text)]
    # The first token follows nothing; servers give none for it, or what means nothing.
    return np.asarray([v for v in inside[1:] if v is not None], dtype=np.float32)


async def embed(calls: Calls, texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of unit length."""
    import numpy as np

    parts = [texts[i : i + PART] for i in range(0, len(texts), PART)]
    found = await calls.each([functools.partial(_vectors, calls, part) for part in parts])
    if not found:
        return np.empty((0, 0), dtype=np.float32)
    if len({part.shape[1] for part in found}) > 1:
        raise EngineError(f"{calls.endpoint.url} sent embeddings of several widths. Run it again.")
    return np.concatenate(found)


async def _vectors(calls: Calls, texts: Sequence[str]) -> NDArray[np.float32]:
    import numpy as np

    body = {"model": calls.endpoint.model, "input": list(texts)}
    answer = await calls.ask(f"{calls.endpoint.url}/embeddings", body)
    try:
        entries = sorted(answer["data"], key=lambda entry: entry.get("index", 0))
        made = np.asarray([entry["embedding"] for entry in entries], dtype=np.float32)
    except (KeyError, TypeError, ValueError, AttributeError):
        made = np.empty(0, dtype=np.float32)
    if made.ndim != 2 or len(made) != len(texts) or not np.isfinite(made).all():
        raise EngineError(
            f"{calls.endpoint.url} did not send one embedding of numbers for each text. Check that "
            f"{calls.endpoint.model!r} is an embedding model (llama-server: --embeddings with pooling)."
        )
    lengths = np.linalg.norm(made, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (made / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit


async def rerank(calls: Calls, query: str, texts: Sequence[str]) -> list[float]:
    """How well texts answer a query."""
    if not texts:
        return []
    body = {
        "model": calls.endpoint.model,
        "query": query,
        "documents": list(texts),
        "top_n": len(texts),
    }
    try:
        answer = await calls.ask(f"{calls.endpoint.url}/rerank", body)
    except Fault as e:
        if e.status not in NO_PATH or calls.endpoint.root == calls.endpoint.url:
            raise
        answer = await calls.ask(f"{calls.endpoint.root}/rerank", body)
    results: Any = answer.get("results") if isinstance(answer, Mapping) else answer
    try:
        found = {int(r["index"]): float(r.get("relevance_score", r.get("score"))) for r in results}
        scores = [found[i] for i in range(len(texts))]
    except (KeyError, TypeError, ValueError, AttributeError):
        scores = []
    if not scores or not all(math.isfinite(s) for s in scores):
        raise EngineError(
            f"{calls.endpoint.url} did not send a score for each text. Check that "
            f"{calls.endpoint.model!r} is a reranker."
        )
    return scores
