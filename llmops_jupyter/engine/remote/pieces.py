"""What the pieces of an answer hold: text, log-probabilities, tool calls, tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from llmops_jupyter.errors import EngineError
from llmops_jupyter.records import FinishReason, TokenLogprob, ToolCall, Usage

_REASONS: Mapping[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
# What servers say of answers that they could not, and would not, bring to their end.
_GIVEN_UP = frozenset({"abort", "aborted", "cancelled", "error", "insufficient_system_resource"})
_FILTERED = frozenset({"content_filter", "safety", "recitation", "prohibited_content"})
# Characters that a token has on average in English.
TOKEN_CHARACTERS = 4


class OddPieceError(ValueError):
    """A piece has not the form of one."""


def fields(value: Any) -> Mapping[str, Any]:
    """A part of a piece that has fields; one that is not there has none.

    Raises:
        OddPieceError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise OddPieceError
    return value


class BrokenOffError(Exception):
    """The server gave the answer up; the text is its word for why."""


def finish_reason(given: str) -> FinishReason:
    """Our word for the server's; one that is not known ends the answer like any other.

    Raises:
        BrokenOffError: the answer ended because the server failed.
    """
    if given.lower() in _GIVEN_UP:
        raise BrokenOffError(given)
    return _REASONS.get(given.lower(), "stop")


def filtered(given: str) -> bool:
    """Whether the answer ended because of what the provider found in it."""
    return given.lower() in _FILTERED


def text_of(value: Any) -> str:
    """A text, or the texts of a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(text_of(part.get("text")) for part in value if isinstance(part, Mapping))
    return ""


def reasoning_of(delta: Mapping[str, Any]) -> str:
    """Reasoning that the server keeps apart, under either of its names."""
    return text_of(delta.get("reasoning_content")) or text_of(delta.get("reasoning"))


class Whole:
    """Joins characters that a server split into two halves of a pair (UTF-16) between pieces."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, text: str) -> str:
        text = self._held + text
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held, text = text[-1], text[:-1]
        if any("\ud800" <= c <= "\udfff" for c in text):
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text


class Skipped:
    """Takes a beginning off a text that comes in pieces, if it has it."""

    def __init__(self, beginning: str) -> None:
        self._left = beginning
        self._held = ""

    def add(self, text: str) -> str:
        if not self._left:
            return text
        self._held += text
        if self._left.startswith(self._held):
            return ""
        return self.end()

    def end(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        beginning, self._left = self._left, ""
        return held[len(beginning) :] if beginning and held.startswith(beginning) else held


def logprobs_of(given: Any) -> list[TokenLogprob]:
    """Log-probabilities in the form of chats, or in the older one of completions."""
    if not isinstance(given, Mapping):
        return []
    content = given.get("content")
    if isinstance(content, list):
        entries = [e for e in content if isinstance(e, Mapping) and _finite(e.get("logprob"))]
        return [
            TokenLogprob(text_of(e.get("token")), float(e["logprob"]), _top(e.get("top_logprobs")))
            for e in entries
        ]
    tokens, values = given.get("tokens"), given.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list):
        return []
    tops = given.get("top_logprobs")
    tops = tops if isinstance(tops, list) else [None] * len(tokens)
    return [
        TokenLogprob(text_of(token), float(value), _top(top))
        for token, value, top in zip(tokens, values, tops, strict=False)
        if _finite(value)
    ]


def _top(given: Any) -> tuple[tuple[str, float], ...]:
    if isinstance(given, Mapping):
        pairs = [(str(token), value) for token, value in given.items() if _finite(value)]
    elif isinstance(given, list):
        entries = [e for e in given if isinstance(e, Mapping) and _finite(e.get("logprob"))]
        pairs = [(text_of(e.get("token")), e["logprob"]) for e in entries]
    else:
        pairs = []
    return tuple(sorted(((t, float(v)) for t, v in pairs), key=lambda pair: -pair[1]))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def usage_of(given: Any) -> Usage | None:
    """The tokens that a server reports; None if it reports none."""
    if not (_count(given, "prompt_tokens") or _count(given, "completion_tokens")):
        return None
    asked = _count(given, "prompt_tokens")
    cached = _count(given.get("prompt_tokens_details"), "cached_tokens")
    return Usage(
        asked,
        # Some providers count reasoning, which is paid like the rest, in the total alone.
        max(_count(given, "completion_tokens"), _count(given, "total_tokens") - asked),
        cached or _count(given, "prompt_cache_hit_tokens"),
        reasoning_tokens=_count(given.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(given: Any, name: str) -> int:
    """A number of tokens; 0 if it is not there or is none."""
    value: Any = given.get(name) if isinstance(given, Mapping) else None
    return int(value) if _finite(value) and 0 <= value < 1 << 53 else 0


def estimate(text: str) -> int:
    """Tokens that a text may have: one for four bytes."""
    return math.ceil(len(text.encode("utf-8", "replace")) / TOKEN_CHARACTERS)


class ToolCalls:
    """Puts tool calls together that come in pieces."""

    def __init__(self) -> None:
        self._calls: list[dict[str, str]] = []
        self._places: dict[Any, int] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, deltas: Any) -> None:
        for delta in deltas if isinstance(deltas, list) else []:
            if not isinstance(delta, Mapping):
                continue
            call = self._call(delta)
            function = fields(delta.get("function"))
            name = str(function.get("name") or "")
            if name != call["name"]:  # some servers give it again with each piece
                call["name"] += name
            arguments = function.get("arguments")
            if isinstance(arguments, str):
                call["arguments"] += arguments
            elif arguments is not None:
                call["arguments"] = json.dumps(arguments)

    def _call(self, delta: Mapping[str, Any]) -> dict[str, str]:
        """The call that a piece belongs to. Some servers give all the same index, or none."""
        index, name = delta.get("index"), str(delta.get("id") or "")
        place = self._places.get(index)
        if place is None and index is None and self._calls and not name:
            place = len(self._calls) - 1
        if place is None or (name and self._calls[place]["id"] not in ("", name)):
            place = len(self._calls)
            self._calls.append({"id": "", "name": "", "arguments": ""})
        self._places[index] = place
        call = self._calls[place]
        call["id"] = call["id"] or name
        return call

    def finish(self, *, cut: bool = False) -> tuple[ToolCall, ...]:
        """The calls; with `cut` the answer ended before its end, and the last call may be none.

        Raises:
            EngineError: arguments are not a JSON object.
        """
        calls = self._calls
        if cut and calls and _arguments(calls[-1]) is None:
            calls = calls[:-1]
        return tuple(_whole(call, number) for number, call in enumerate(calls))


def _arguments(call: Mapping[str, str]) -> dict[str, Any] | None:
    """The arguments of a call; None if they are no JSON object, or the call has no name."""
    try:
        arguments = json.loads(call["arguments"].strip() or "{}")
    except ValueError:
        return None
    return arguments if call["name"] and isinstance(arguments, dict) else None


def _whole(call: Mapping[str, str], number: int) -> ToolCall:
    arguments = _arguments(call)
    if arguments is None:
        raise EngineError(
            f"The model called the tool {call['name']!r:.80} with arguments that are no JSON object: "
            f"{call['arguments']!r:.200}. Run it again, with more --max-tokens if it was cut off."
        )
    return ToolCall(call["id"] or f"call_{number}", call["name"], arguments)
