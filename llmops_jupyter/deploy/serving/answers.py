"""Answers in the forms of OpenAI's interface."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.records import TokenLogprob, ToolCall, Usage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llmops_jupyter.deploy.serving.running import End, Piece

REASONS = {"stop", "length", "tool_calls", "content_filter"}


@dataclass(frozen=True)
class Form:
    """What all parts of one answer say.

    Args:
        id: of the answer.
        created: seconds since 1970.
        model: as it was asked for.
        release: that answers.
        chat: whether it is a conversation.
    """

    id: str
    created: int
    model: str
    release: str
    chat: bool

    def whole(self, ends: Sequence[End], usage: Usage, more: Mapping[str, Any]) -> dict[str, Any]:
        """The answer in one piece."""
        return {
            **self._head("chat.completion" if self.chat else "text_completion"),
            "choices": [self._choice(end) for end in sorted(ends, key=lambda e: e.index)],
            "usage": usage_of(usage),
            "llmops": dict(more),
        }

    def opening(self, index: int) -> dict[str, Any]:
        """The first piece of a stream."""
        return self._chunk([_delta(index, {"role": "assistant", "content": ""})])

    def piece(self, piece: Piece) -> dict[str, Any]:
        """A piece of a stream."""
        if not self.chat:
            return self._chunk([_text(piece.index, piece.text)])
        name = "reasoning_content" if piece.reasoning else "content"
        return self._chunk([_delta(piece.index, {name: piece.text})])

    def calls(self, end: End) -> dict[str, Any]:
        """The piece with the calls of tools."""
        called = [{"index": i, **call_of(call)} for i, call in enumerate(end.calls)]
        return self._chunk([_delta(end.index, {"tool_calls": called})])

    def ending(self, end: End, more: Mapping[str, Any]) -> dict[str, Any]:
        """The last piece of one of the answers."""
        reason = reason_of(end)
        probs = self._logprobs(end.completion.logprobs)
        last = _delta(end.index, {}) if self.chat else _text(end.index, "")
        made = self._chunk([{**last, "finish_reason": reason, "logprobs": probs}])
        return {**made, "llmops": dict(more)}

    def usage(self, usage: Usage) -> dict[str, Any]:
        """The piece with the usage, which has no choices."""
        return {**self._chunk([]), "usage": usage_of(usage)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.release,
        }

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self._head(kind), "choices": choices}

    def _choice(self, end: End) -> dict[str, Any]:
        done = end.completion
        made = {"index": end.index, "finish_reason": reason_of(end)}
        probs = self._logprobs(done.logprobs)
        if not self.chat:
            return {**made, "text": done.text, "logprobs": probs}
        message: dict[str, Any] = {
            "role": "assistant",
            "content": done.text if done.text or not end.calls else None,
            "refusal": None,
        }
        if done.reasoning:
            message["reasoning_content"] = done.reasoning
        if end.calls:
            message["tool_calls"] = [call_of(call) for call in end.calls]
        return {**made, "message": message, "logprobs": probs}

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        if not tokens:
            return None
        if self.chat:
            return {"content": [_logprob(token) for token in tokens], "refusal": None}
        offsets, at = [], 0
        for token in tokens:
            offsets.append(at)
            at += len(token.token)
        return {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [_finite(token.logprob) for token in tokens],
            "top_logprobs": [{t: _finite(p) for t, p in token.top} for token in tokens],
            "text_offset": offsets,
        }


def reason_of(end: End) -> str:
    """Why an answer ended, in OpenAI's words."""
    if end.calls:
        return "tool_calls"
    reason = end.completion.finish_reason
    return reason if reason in REASONS and reason != "tool_calls" else "stop"


def call_of(call: ToolCall) -> dict[str, Any]:
    """A call of a tool, which the caller is to make."""
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def usage_of_all(ends: Sequence[End], n: int) -> Usage:
    """What all answers took together; a prompt that got `n` answers counts once, as OpenAI has it."""
    return sum(
        (
            e.completion.usage
            if e.index % n == 0
            else replace(e.completion.usage, input_tokens=0, cached_tokens=0)
            for e in ends
        ),
        Usage(),
    )


def usage_of(usage: Usage) -> dict[str, Any]:
    """What an answer took."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def more_of(end: End, release: str) -> dict[str, Any]:
    """What OpenAI's interface has no place for: release, trace, verdicts of the guard, sources and their support."""
    done = end.completion
    found: dict[str, Any] = {"release": release, "trace_id": done.trace_id}
    if done.verdicts:
        found["guard"] = done.guarded()
    if done.hits:
        found["sources"] = [
            {
                "text": hit.text,
                "source": hit.source.replace("\\", "/").rpartition("/")[2],
                "locator": hit.locator,
                "score": _finite(hit.score),
            }
            for hit in done.hits
        ]
    if done.grounding is not None:
        found["supported"] = done.grounding.share()
    return found


def embedding(index: int, vector: NDArray[Any], form: str) -> dict[str, Any]:
    """A vector as numbers, or as base64 of 32-bit floats in little-endian order."""
    made: Any = [float(x) for x in vector]
    if form == "base64":
        made = base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return {"object": "embedding", "index": index, "embedding": made}


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": None, "logprobs": None}


def _text(index: int, text: str) -> dict[str, Any]:
    return {"index": index, "text": text, "finish_reason": None, "logprobs": None}


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    top = [
        {"token": t, "logprob": _finite(p), "bytes": list(t.encode("utf-8", "replace"))}
        for t, p in token.top
    ]
    return {
        "token": token.token,
        "logprob": _finite(token.logprob),
        "bytes": list(token.token.encode("utf-8", "replace")),
        "top_logprobs": top,
    }


def _finite(value: float) -> float:
    """A number that JSON has: what is impossible is very unlikely."""
    return max(-9999.0, min(9999.0, float(value)))
