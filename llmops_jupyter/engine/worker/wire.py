"""What travels between a client and a worker: JSON in bytes, checked on arrival, never pickle.

Text goes as UTF-8 that lets lone surrogates through, so that a wrongly decoded prompt meets the same
error in the worker as in this process. Infinite numbers are written as Python's JSON does.
"""

from __future__ import annotations

import base64
import json
import math
import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from llmops_jupyter import errors
from llmops_jupyter.engine.protocol import Event, Finished, Prompt, Request, Token
from llmops_jupyter.errors import EngineError, LLMOpsError, OptionError
from llmops_jupyter.records import (
    ROLES,
    FinishReason,
    Message,
    Resources,
    Sampling,
    Timing,
    TokenLogprob,
    Tool,
    ToolCall,
    Usage,
)
from llmops_jupyter.records.resources import CERTAINTIES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

# Counts changes of what the messages look like.
FORM = 2
# Bytes of one message; a longer one is refused before it is read.
MAX_MESSAGE = 1 << 28
REASONS = get_args(FinishReason)
_OWN_FORM = ("id", "messages", "sampling", "adapters", "tools")
_WHOLE = ("max_tokens", "top_k", "penalty_window")


class WireError(Exception):
    """Bytes that are no message of this protocol."""


def encode(value: Any) -> bytes:
    """A message as bytes.

    Raises:
        OptionError: something in it has no JSON form, or it is too long.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError) as e:
        raise OptionError(
            f"The request cannot be sent to the worker: {e}. Give text, numbers, lists and dictionaries."
        ) from e
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > MAX_MESSAGE:
        raise OptionError(
            f"The request has {len(data) / 10**6:.0f} MB, more than a worker takes at once "
            f"({MAX_MESSAGE / 10**6:.0f} MB). Cut it into smaller ones."
        )
    return data


def decode(data: bytes) -> Any:
    """The JSON value of a message; raises WireError."""
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as e:
        raise WireError(f"not JSON: {e}") from e


def _plain(value: Any) -> Any:
    """Numbers of other libraries and paths, as the plain kinds that they stand for."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise WireError(f"{what} is not a text")
    return value


def whole(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise WireError(f"{what} is not a whole number")
    return value


def number(value: Any, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise WireError(f"{what} is not a number")
    return value


def flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise WireError(f"{what} is not true or false")
    return value


def mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WireError(f"{what} is not an object")
    return value


def sequence(value: Any, what: str, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise WireError(f"{what} is not a list" + (f" of {length}" if length is not None else ""))
    return value


def optional(value: Any, what: str, read: Callable[[Any, str], T]) -> T | None:
    return None if value is None else read(value, what)


def texts(value: Any, what: str) -> list[str]:
    return [text(item, what) for item in sequence(value, what)]


def prompt_value(prompt: Prompt) -> Any:
    if isinstance(prompt, str):
        return prompt
    return [_message_value(message) for message in prompt]


def _message_value(message: Message) -> list[Any]:
    plain = [message.role, message.content]
    if not (message.tool_calls or message.tool_call_id):
        return plain
    calls = [[call.id, call.name, call.arguments] for call in message.tool_calls]
    return [*plain, calls, message.tool_call_id]


def read_prompt(value: Any) -> Prompt:
    return value if isinstance(value, str) else _messages(value)


def _messages(value: Any) -> tuple[Message, ...]:
    return tuple(_message(item) for item in sequence(value, "messages"))


def _message(value: Any) -> Message:
    items = sequence(value, "a message")
    if len(items) not in (2, 4):
        raise WireError("a message has the wrong length")
    role, content = text(items[0], "a role"), text(items[1], "a content")
    if role not in ROLES:
        raise WireError(f"{role!r} is no role")
    calls, answers = items[2:] if len(items) == 4 else ([], "")
    return Message(role, content, _tool_calls(calls), text(answers, "a call's id"))


def _tool_calls(value: Any) -> tuple[ToolCall, ...]:
    found = [sequence(call, "a call", 3) for call in sequence(value, "calls")]
    return tuple(
        ToolCall(text(i, "a call's id"), text(n, "a tool"), mapping(a, "arguments"))
        for i, n, a in found
    )


def _tools(value: Any) -> tuple[Tool, ...]:
    found = [sequence(tool, "a tool", 3) for tool in sequence(value, "tools")]
    return tuple(
        Tool(text(n, "a tool"), text(d, "a description"), mapping(p, "parameters"))
        for n, d, p in found
    )


def adapters_value(adapters: Sequence[tuple[str, float]]) -> list[list[Any]]:
    # The worker has another working directory.
    return [[os.path.abspath(path), scale] for path, scale in adapters]  # noqa: PTH100


def read_adapters(value: Any) -> tuple[tuple[str, float], ...]:
    pairs = [sequence(pair, "an adapter", 2) for pair in sequence(value, "adapters")]
    return tuple((text(p, "an adapter's path"), number(s, "a scale")) for p, s in pairs)


def request_value(request: Request, request_id: str) -> dict[str, Any]:
    """A request under the id that it has on the wire; what is at its default is left out."""
    found: dict[str, Any] = {"id": request_id}
    for field in fields(Request):
        value = getattr(request, field.name)
        if field.name not in _OWN_FORM and value != field.default:
            found[field.name] = value
    if request.messages:
        found["messages"] = prompt_value(request.messages)
    if request.adapters:
        found["adapters"] = adapters_value(request.adapters)
    if request.tools:
        found["tools"] = [[t.name, t.description, t.parameters] for t in request.tools]
    sampling = {f.name: getattr(request.sampling, f.name) for f in fields(Sampling)}
    found["sampling"] = sampling
    return found


def read_request(value: Mapping[str, Any]) -> Request:
    """The request; raises WireError if something in it has the wrong kind."""
    default = Request("")
    get = value.get
    return Request(
        id=text(get("id"), "id"),
        messages=_messages(get("messages", [])),
        text=optional(get("text"), "text", text),
        prefill=text(get("prefill", ""), "prefill"),
        sampling=_sampling(mapping(get("sampling", {}), "sampling")),
        schema=optional(get("schema"), "schema", mapping),
        grammar=optional(get("grammar"), "grammar", text),
        tools=_tools(get("tools", [])),
        tool_choice=text(get("tool_choice", default.tool_choice), "tool_choice"),
        adapters=read_adapters(get("adapters", [])),
        deadline_s=optional(get("deadline_s"), "deadline_s", number),
        interactive=flag(get("interactive", default.interactive), "interactive"),
        exact=flag(get("exact", default.exact), "exact"),
        trace_id=text(get("trace_id", ""), "trace_id"),
    )


def _sampling(value: dict[str, Any]) -> Sampling:
    known = {f.name for f in fields(Sampling)}
    found: dict[str, Any] = {}
    for name, given in value.items():
        if name not in known:
            raise WireError(f"sampling has no {name!r}")
        if name == "stop":
            found[name] = tuple(texts(given, name))
        elif name == "logit_bias":
            pairs = [sequence(pair, name, 2) for pair in sequence(given, name)]
            found[name] = tuple((_token(t), number(b, name)) for t, b in pairs)
        elif name in ("seed", "logprobs"):
            found[name] = optional(given, name, whole)
        elif name in _WHOLE:
            found[name] = whole(given, name)
        else:
            found[name] = number(given, name)
    return Sampling(**found)


def _token(value: Any) -> int | str:
    return value if isinstance(value, str) else whole(value, "a token")


def event_value(event: Event) -> list[Any]:
    if isinstance(event, Token):
        return [event.request_id, event.text, *([True] if event.reasoning else [])]
    usage, timing = event.usage, event.timing
    return [
        event.request_id,
        event.text,
        event.finish_reason,
        [usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens],
        [timing.total_s, timing.first_token_s, timing.tokens_per_s],
        event.seed,
        event.reasoning,
        [[t.token, t.logprob, t.top] for t in event.logprobs],
        [[call.id, call.name, call.arguments] for call in event.tool_calls],
        event.cost,
        list(event.notes),
        None if event.error is None else error_value(event.error),
        None if event.resources is None else list(vars(event.resources).values()),
    ]


def read_event(value: Any) -> Event:
    items = sequence(value, "an event")
    if len(items) in (2, 3):
        thought = flag(items[2], "reasoning") if items[2:] else False
        return Token(text(items[0], "id"), text(items[1], "text"), thought)
    request_id, words, reason, usage, timing, seed, *rest = sequence(items, "an event", 13)
    reasoning, logprobs, calls, cost, notes, error, resources = rest
    if reason not in REASONS:
        raise WireError(f"{reason!r} is no finish reason")
    total, first, rate = sequence(timing, "timing", 3)
    return Finished(
        request_id=text(request_id, "id"),
        text=text(words, "text"),
        finish_reason=reason,
        usage=Usage(*(whole(n, "usage") for n in sequence(usage, "usage", 4))),
        timing=Timing(
            number(total, "timing"),
            optional(first, "timing", number),
            optional(rate, "timing", number),
        ),
        seed=whole(seed, "seed"),
        reasoning=text(reasoning, "reasoning"),
        logprobs=tuple(_logprob(item) for item in sequence(logprobs, "logprobs")),
        tool_calls=_tool_calls(calls),
        cost=optional(cost, "cost", number),
        notes=tuple(texts(notes, "notes")),
        error=optional(error, "error", lambda v, _: read_error(v)),
        resources=optional(resources, "resources", _resources),
    )


def _resources(value: Any, what: str) -> Resources:
    busy, cpu, peak, energy, shared, source = sequence(value, what, len(fields(Resources)))
    if source not in CERTAINTIES:
        raise WireError(f"{source!r} is no source of a figure")
    return Resources(
        optional(busy, what, number),
        optional(cpu, what, number),
        optional(peak, what, whole),
        optional(energy, what, number),
        flag(shared, what),
        source,
    )


def _logprob(value: Any) -> TokenLogprob:
    token, logprob, top = sequence(value, "a logprob", 3)
    pairs = [sequence(pair, "top", 2) for pair in sequence(top, "top")]
    return TokenLogprob(
        text(token, "a token"),
        number(logprob, "a logprob"),
        tuple((text(t, "a token"), number(p, "a logprob")) for t, p in pairs),
    )


def error_value(error: BaseException) -> dict[str, str]:
    return {"kind": type(error).__name__, "message": str(error)}


def read_error(value: Any) -> LLMOpsError:
    """The error that was raised on the other side; a kind that is not ours is an EngineError."""
    found = mapping(value, "error")
    name, message = text(found.get("kind"), "kind"), text(found.get("message"), "message")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, LLMOpsError):
        return kind(message)
    return EngineError(f"The engine failed: {name}: {message}. Run again.")


def array_value(array: NDArray[np.float32]) -> dict[str, Any]:
    import numpy as np

    made = np.ascontiguousarray(array, dtype="<f4")
    return {"shape": list(made.shape), "f32": base64.b64encode(made.tobytes()).decode("ascii")}


def read_array(value: Any) -> NDArray[np.float32]:
    import numpy as np

    found = mapping(value, "an array")
    shape = [whole(n, "shape") for n in sequence(found.get("shape"), "shape")]
    try:
        data = base64.b64decode(text(found.get("f32"), "f32"), validate=True)
    except ValueError as e:
        raise WireError(f"not base64: {e}") from e
    if any(n < 0 for n in shape) or math.prod(shape) * 4 != len(data):
        raise WireError("an array's shape does not fit its data")
    try:
        return np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(shape)
    except (ValueError, OverflowError) as e:
        raise WireError(f"an array cannot have this shape: {e}") from e
