"""Record what an engine answered and replay it, for tests of notebooks, demos and bug reports.

A recording is found by what decides an answer: the model's digest, the rendered messages, sampling,
schema and adapters. The file is a `Cassette`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine import standin
from llmops_jupyter.engine.cassette import Cassette
from llmops_jupyter.engine.protocol import Engine, Event, Finished, Prompt, Request, Token
from llmops_jupyter.records import Resources, Sampling, Timing, TokenLogprob, ToolCall, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Settings that cassettes have named from the beginning; later ones are named where they are used.
ALWAYS = ("temperature", "max_tokens", "seed", "top_k", "top_p", "min_p", "repeat_penalty", "stop")

Adapters = Sequence[tuple[str, float]]


def _prompt(prompt: Prompt) -> Any:
    return prompt if isinstance(prompt, str) else [m.as_dict() for m in prompt]


def _sampling(sampling: Sampling) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(Sampling):
        value = getattr(sampling, field.name)
        if field.name in ALWAYS or value != field.default:
            found[field.name] = [*value] if isinstance(value, tuple) else value
    if sampling.logit_bias:
        found["logit_bias"] = [[token, bias] for token, bias in sampling.logit_bias]
    return found


def _adapters(adapters: Adapters) -> dict[str, Any]:
    # By content, so that a recording replays where the files lie elsewhere.
    return {"adapters": [[_digest(path), scale] for path, scale in adapters]} if adapters else {}


def _digest(path: str) -> str:
    file = Path(path)
    if not file.is_file():
        return file.name
    stat = file.stat()
    return _digest_of(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest_of(path: str, size: int, mtime_ns: int) -> str:
    del mtime_ns  # of the key only: another size or time is another content
    stood_for = standin.digest_of(Path(path), size)
    if stood_for:
        return stood_for
    found = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def describe(request: Request) -> dict[str, Any]:
    """What decides the answer to a request, as JSON values."""
    found: dict[str, Any] = {
        "messages": [m.as_dict() for m in request.messages],
        "sampling": _sampling(request.sampling),
    }
    if request.text is not None:
        found["text"] = request.text
    if request.prefill:
        found["prefill"] = request.prefill
    if request.schema is not None:
        found["schema"] = dict(request.schema)
    if request.grammar is not None:
        found["grammar"] = request.grammar
    if request.tools:
        found["tools"] = [tool.as_dict() for tool in request.tools]
        if request.tool_choice != "auto":
            found["tool_choice"] = request.tool_choice
    return {**found, **_adapters(request.adapters)}


class RecordingEngine:
    """Passes everything through to an engine and records it."""

    def __init__(self, inner: Engine, cassette: Cassette) -> None:
        self.inner = inner
        self.cassette = cassette
        self.provider = inner.provider
        self.model_name = inner.model_name
        self.model_digest = inner.model_digest
        self.context_length = inner.context_length
        self.streams = inner.streams
        cassette.models[inner.model_name] = {
            "digest": inner.model_digest,
            "provider": inner.provider,
            "context_length": inner.context_length,
        }

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        asked: dict[str, Request] = {}

        def noted() -> Iterator[Request]:
            for request in requests:
                asked[request.id] = request
                yield request

        events = iter(self.inner.generate(noted()))
        try:
            for event in events:
                if isinstance(event, Finished) and event.error is None:
                    request = asked.pop(event.request_id)
                    self._add("generate", describe(request), _response(event, request))
                yield event
        finally:
            close = getattr(events, "close", None)
            if callable(close):
                close()

    def score(
        self, items: Sequence[tuple[Prompt, Sequence[str]]], adapters: Adapters = ()
    ) -> list[list[float]]:
        found = self.inner.score(items, adapters)
        for item, scores in zip(items, found, strict=True):
            self._add("score", _score_request(*item, adapters), scores)
        return found

    def logprobs(self, texts: Sequence[str], adapters: Adapters = ()) -> list[NDArray[np.float32]]:
        found = self.inner.logprobs(texts, adapters)
        for text, values in zip(texts, found, strict=True):
            self._add("logprobs", {"text": text, **_adapters(adapters)}, _rounded(values))
        return found

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = self.inner.embed(texts)
        self._add("embed", {"texts": list(texts)}, [_packed(row) for row in found])
        return found

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        found = self.inner.rerank(query, texts)
        self._add("rerank", {"query": query, "texts": list(texts)}, found)
        return found

    def count_tokens(self, prompt: Prompt) -> int:
        found = self.inner.count_tokens(prompt)
        self._add("count_tokens", {"prompt": _prompt(prompt)}, found)
        return found

    def status(self) -> Mapping[str, Any]:
        return {**self.inner.status(), "recording": str(self.cassette.path)}

    def close(self) -> None:
        self.inner.close()

    def _add(self, kind: str, request: Mapping[str, Any], response: Any) -> None:
        self.cassette.add(kind, self.model_digest, request, response)


def _score_request(prompt: Prompt, labels: Sequence[str], adapters: Adapters) -> dict[str, Any]:
    return {"prompt": _prompt(prompt), "labels": list(labels), **_adapters(adapters)}


def _packed(row: NDArray[np.float32]) -> str:
    """A vector in one line: nobody reads its numbers, and a page of them hides what changed."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def _unpacked(found: str | Sequence[float]) -> NDArray[np.float32]:
    import numpy as np

    if isinstance(found, str):
        return np.frombuffer(base64.b64decode(found), dtype="<f4").astype(np.float32)
    return np.asarray(found, dtype=np.float32)


def _rounded(values: Iterable[Any]) -> list[float]:
    return [round(float(x), 7) for x in values]


def _response(event: Finished, request: Request) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if event.logprobs:
        more["logprobs"] = [asdict(t) for t in event.logprobs]
    if event.tool_calls:
        more["tool_calls"] = [call.as_dict() for call in event.tool_calls]
    if event.cost is not None:
        more["cost"] = event.cost
    if event.notes:
        more["notes"] = list(event.notes)
    if event.resources is not None:
        more["resources"] = asdict(event.resources)
    usage = asdict(event.usage)
    if not event.usage.reasoning_tokens:
        del usage["reasoning_tokens"]
    return {
        "text": event.text,
        "reasoning": event.reasoning,
        "finish_reason": event.finish_reason,
        "usage": usage,
        "timing": asdict(event.timing),
        "seed": event.seed,
        "trace_id": request.trace_id,
        **more,
    }


class ReplayEngine:
    """Answers from a cassette; needs no model."""

    streams = False

    def __init__(self, cassette: Cassette, model_name: str, model_digest: str) -> None:
        known = cassette.models.get(model_name, {})
        self.cassette = cassette
        self.model_name = model_name
        self.model_digest = model_digest
        self.provider = str(known.get("provider", "replay"))
        self.context_length = int(known.get("context_length", 4096))

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        for request in requests:
            found = self.cassette.take("generate", self.model_digest, describe(request))
            if found["reasoning"]:
                yield Token(request.id, found["reasoning"], reasoning=True)
            if found["text"]:
                yield Token(request.id, found["text"])
            yield Finished(
                request.id,
                found["text"],
                found["finish_reason"],
                Usage(**found["usage"]),
                Timing(**found["timing"]),
                found["seed"],
                reasoning=found["reasoning"],
                logprobs=tuple(
                    TokenLogprob(t["token"], t["logprob"], tuple((w, p) for w, p in t["top"]))
                    for t in found.get("logprobs", ())
                ),
                tool_calls=tuple(ToolCall(**call) for call in found.get("tool_calls", ())),
                cost=found.get("cost"),
                notes=tuple(found.get("notes", ())),
                # Cassettes of older releases have none.
                resources=Resources(**found["resources"]) if found.get("resources") else None,
            )

    def recorded_trace_id(self, request: Request) -> str | None:
        """The trace that the request belonged to when it was recorded."""
        found = self.cassette.peek("generate", self.model_digest, describe(request))
        return str(found["trace_id"]) or None if found else None

    def score(
        self, items: Sequence[tuple[Prompt, Sequence[str]]], adapters: Adapters = ()
    ) -> list[list[float]]:
        take, digest = self.cassette.take, self.model_digest
        found = [take("score", digest, _score_request(*item, adapters)) for item in items]
        return [[float(x) for x in scores] for scores in found]

    def logprobs(self, texts: Sequence[str], adapters: Adapters = ()) -> list[NDArray[np.float32]]:
        import numpy as np

        asked = [{"text": text, **_adapters(adapters)} for text in texts]
        found = [self.cassette.take("logprobs", self.model_digest, a) for a in asked]
        return [np.asarray(values, dtype=np.float32) for values in found]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        found = self.cassette.take("embed", self.model_digest, {"texts": list(texts)})
        return np.stack([_unpacked(row) for row in found])

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        asked = {"query": query, "texts": list(texts)}
        return [float(x) for x in self.cassette.take("rerank", self.model_digest, asked)]

    def count_tokens(self, prompt: Prompt) -> int:
        asked = {"prompt": _prompt(prompt)}
        return int(self.cassette.take("count_tokens", self.model_digest, asked))

    def status(self) -> Mapping[str, Any]:
        return {"model": self.model_name, "replaying": str(self.cassette.path)}

    def close(self) -> None:
        """Nothing is held."""


def record_tool(engine: Engine, call: ToolCall, outcome: Mapping[str, Any]) -> None:
    """Record what came of the call of a tool, if the engine records."""
    if isinstance(engine, RecordingEngine):
        engine.cassette.add("tool", engine.model_digest, _tool_call(call), dict(outcome))


def recorded_tool(engine: Engine, call: ToolCall) -> dict[str, Any] | None:
    """What came of the call of a tool when it was recorded; None if the engine does not replay.

    Raises:
        ReplayError: the call was not recorded.
    """
    if not isinstance(engine, ReplayEngine):
        return None
    return dict(engine.cassette.take("tool", engine.model_digest, _tool_call(call)))


def _tool_call(call: ToolCall) -> dict[str, Any]:
    # Ids are the server's, and may be others each time.
    return {"name": call.name, "arguments": dict(call.arguments)}


def recorded_trace_id(engine: Engine, request: Request) -> str | None:
    """The recorded trace id of a request if the engine replays, else None."""
    return engine.recorded_trace_id(request) if isinstance(engine, ReplayEngine) else None


def note_trace(engine: Engine, request: Request, trace_id: str) -> None:
    """Record the trace of a request to which passages are yet to be added, if the engine records."""
    if isinstance(engine, RecordingEngine):
        engine.cassette.add("begin", engine.model_digest, describe(request), trace_id)


def noted_trace(engine: Engine, request: Request) -> str | None:
    """The trace that `note_trace` recorded, if the engine replays and there is one."""
    if not isinstance(engine, ReplayEngine):
        return None
    asked = describe(request)
    if engine.cassette.peek("begin", engine.model_digest, asked) is None:
        return None
    return str(engine.cassette.take("begin", engine.model_digest, asked)) or None


def live_engine(engine: Engine) -> Engine | None:
    """The engine that runs a model, without its recording; None if the answers are replayed."""
    if isinstance(engine, ReplayEngine):
        return None
    return engine.inner if isinstance(engine, RecordingEngine) else engine
