"""Record what an engine answered and replay it, for tests of notebooks, demos and bug reports.

A cassette is a JSON text file that reads well in review. A recording is found by what decides an answer:
the model's digest, the rendered messages, sampling, schema and adapters. The same request made several
times is replayed in the order of recording, the last one again and again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Engine, Event, Finished, Request, Token
from llmops_jupyter.errors import ReplayError
from llmops_jupyter.records import Message, Timing, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 1


def _prompt(prompt: Sequence[Message] | str) -> Any:
    return prompt if isinstance(prompt, str) else [m.as_dict() for m in prompt]


def describe(request: Request) -> dict[str, Any]:
    """What decides the answer to a request, as JSON values."""
    found: dict[str, Any] = {
        "messages": [m.as_dict() for m in request.messages],
        "sampling": {**asdict(request.sampling), "stop": list(request.sampling.stop)},
    }
    if request.text is not None:
        found["text"] = request.text
    if request.prefill:
        found["prefill"] = request.prefill
    if request.schema is not None:
        found["schema"] = dict(request.schema)
    if request.adapters:
        found["adapters"] = [list(a) for a in request.adapters]
    return found


class Cassette:
    """Recordings in a file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.models: dict[str, dict[str, Any]] = {}
        self.calls: list[dict[str, Any]] = []
        self._played: dict[str, int] = {}

    @classmethod
    def load(cls, path: str | Path) -> Cassette:
        """Read a cassette.

        Raises:
            ReplayError: there is none, or it is damaged.
        """
        cassette = cls(path)
        try:
            value = json.loads(cassette.path.read_text(encoding="utf-8"))
            if value["format"] != FORMAT:
                raise ReplayError(
                    f"The cassette {str(path)!r} has format {value['format']}; this release reads "
                    f"{FORMAT}. Record it again with %trace record."
                )
            cassette.models, cassette.calls = value["models"], value["calls"]
            for call in cassette.calls:
                call["key"] = _key(call["kind"], call["model"], call["request"])
        except FileNotFoundError as e:
            raise ReplayError(
                f"There is no cassette {str(path)!r}. Record one with %trace record {path}."
            ) from e
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise ReplayError(
                f"The cassette {str(path)!r} cannot be read ({type(e).__name__}: {e}). "
                f"Record it again with %trace record {path}."
            ) from e
        return cassette

    def add(self, kind: str, model: str, request: Mapping[str, Any], response: Any) -> None:
        """Keep one call and write the file, whole or not at all."""
        self.calls.append({"kind": kind, "model": model, "request": request, "response": response})
        self.save()

    def save(self) -> None:
        value = {
            "format": FORMAT,
            "models": self.models,
            "calls": [{k: v for k, v in c.items() if k != "key"} for c in self.calls],
        }
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
            part.replace(self.path)
        except OSError as e:
            raise ReplayError(
                f"The cassette {str(self.path)!r} cannot be written: {e.strerror}. Name another file."
            ) from e
        finally:
            part.unlink(missing_ok=True)

    def peek(self, kind: str, model: str, request: Mapping[str, Any]) -> Any:
        """The recording that `take` would give next, or None."""
        key = _key(kind, model, request)
        found = [c for c in self.calls if c["key"] == key]
        return found[min(self._played.get(key, 0), len(found) - 1)]["response"] if found else None

    def take(self, kind: str, model: str, request: Mapping[str, Any]) -> Any:
        """The next recording of a request.

        Raises:
            ReplayError: there is none; the message says what differs from the nearest one.
        """
        response = self.peek(kind, model, request)
        if response is None:
            raise ReplayError(self._miss(kind, model, request))
        key = _key(kind, model, request)
        self._played[key] = self._played.get(key, 0) + 1
        return response

    def _miss(self, kind: str, model: str, request: Mapping[str, Any]) -> str:
        again = "Record again with %trace record, or run live with %trace replay off."
        same = [c for c in self.calls if c["kind"] == kind]
        if not same:
            return f"The cassette {self.path.name!r} has no recording of {kind!r}. {again}"
        scored = [(_differences(model, request, c), c) for c in same]
        nearest = min(scored, key=lambda pair: len(pair[0]))[0]
        return (
            f"The cassette {self.path.name!r} has no such call: {'; '.join(nearest[:3])}. {again}"
        )


def _key(kind: str, model: str, request: Mapping[str, Any]) -> str:
    text = json.dumps([kind, model, request], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _differences(model: str, request: Mapping[str, Any], call: Mapping[str, Any]) -> list[str]:
    """Each difference as a phrase, the recorded value first."""
    found = []
    if call["model"] != model:
        found.append(f"the model is {model[:12]} instead of {call['model'][:12]}")
    before, now = _flat(call["request"]), _flat(request)
    for path in sorted(set(before) | set(now)):
        a, b = before.get(path), now.get(path)
        if a != b:
            found.append(f"{path} is {_short(b)} instead of {_short(a)}")
    return found


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        items = [(f"{path}.{k}" if path else str(k), v) for k, v in value.items()]
    elif isinstance(value, list):
        items = [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    else:
        return {path: value}
    return {k: v for name, inner in items for k, v in _flat(inner, name).items()} or {path: value}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}…{text[-16:]}"


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

    def score(self, prompt: Sequence[Message] | str, labels: Sequence[str]) -> list[float]:
        found = self.inner.score(prompt, labels)
        self._add("score", {"prompt": _prompt(prompt), "labels": list(labels)}, found)
        return found

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = self.inner.embed(texts)
        vectors = [[round(float(x), 7) for x in row] for row in found]
        self._add("embed", {"texts": list(texts)}, vectors)
        return found

    def count_tokens(self, prompt: Sequence[Message] | str) -> int:
        found = self.inner.count_tokens(prompt)
        self._add("count_tokens", {"prompt": _prompt(prompt)}, found)
        return found

    def status(self) -> Mapping[str, Any]:
        return {**self.inner.status(), "recording": str(self.cassette.path)}

    def close(self) -> None:
        self.inner.close()

    def _add(self, kind: str, request: Mapping[str, Any], response: Any) -> None:
        self.cassette.add(kind, self.model_digest, request, response)


def _response(event: Finished, request: Request) -> dict[str, Any]:
    return {
        "text": event.text,
        "reasoning": event.reasoning,
        "finish_reason": event.finish_reason,
        "usage": asdict(event.usage),
        "timing": asdict(event.timing),
        "seed": event.seed,
        "trace_id": request.trace_id,
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
            )

    def recorded_trace_id(self, request: Request) -> str | None:
        """The trace that the request belonged to when it was recorded."""
        found = self.cassette.peek("generate", self.model_digest, describe(request))
        return str(found["trace_id"]) or None if found else None

    def score(self, prompt: Sequence[Message] | str, labels: Sequence[str]) -> list[float]:
        asked = {"prompt": _prompt(prompt), "labels": list(labels)}
        return [float(x) for x in self.cassette.take("score", self.model_digest, asked)]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        found = self.cassette.take("embed", self.model_digest, {"texts": list(texts)})
        return np.asarray(found, dtype=np.float32)

    def count_tokens(self, prompt: Sequence[Message] | str) -> int:
        asked = {"prompt": _prompt(prompt)}
        return int(self.cassette.take("count_tokens", self.model_digest, asked))

    def status(self) -> Mapping[str, Any]:
        return {"model": self.model_name, "replaying": str(self.cassette.path)}

    def close(self) -> None:
        """Nothing is held."""


def recorded_trace_id(engine: Engine, request: Request) -> str | None:
    """The recorded trace id of a request if the engine replays, else None."""
    return engine.recorded_trace_id(request) if isinstance(engine, ReplayEngine) else None
