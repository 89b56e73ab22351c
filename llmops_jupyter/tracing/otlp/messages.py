"""Messages of other programs: parts of the conventions, those of OpenAI, and keys with numbers in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_jupyter.records import Message, Role, ToolCall

MOST_MESSAGES = 10_000
ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
REASONING = ("reasoning", "thinking")


def decoded(value: Any) -> Any:
    """What JSON text stands for; anything else as it is."""
    if not isinstance(value, str) or value[:1] not in '[{"':
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def messages_of(value: Any, role: str) -> tuple[list[Message], str]:
    """The messages that a value holds, and the reasoning in them.

    Args:
        value: a list of messages or of parts, a message, or a text; or one of these as JSON text.
        role: of those that name none.
    """
    found: list[Message] = []
    thoughts: list[str] = []
    given = decoded(value)
    items = given if isinstance(given, list) else [given]
    if items and all(_is_part(item) for item in items):
        items = [{"role": role, "parts": items}]
    for item in items[:MOST_MESSAGES]:
        if isinstance(item, Mapping):
            inner = item.get("message") if isinstance(item.get("message"), Mapping) else None
            _read(inner or item, role, found, thoughts)
        elif item not in (None, ""):
            found.append(Message(ROLES[role], as_text(item)))
    return found, "\n".join(thoughts)


def _is_part(item: Any) -> bool:
    return isinstance(item, Mapping) and "type" in item and "role" not in item


def _read(item: Mapping[str, Any], role: str, found: list[Message], thoughts: list[str]) -> None:
    """One message; answers of functions in it become messages of their own."""
    kind = ROLES.get(str(item.get("role") or role).lower(), "user")
    texts: list[str] = []
    calls = [c for c in map(call_of, _list(item.get("tool_calls"))) if c is not None]
    answers: list[Message] = []
    parts = item.get("parts", item.get("contents", item.get("content")))
    for part in parts if isinstance(parts, list) else [parts]:
        _read_part(part, texts, calls, answers, thoughts)
    answered = item.get("tool_call_id") or (item.get("id") if kind == "tool" else None)
    text = "".join(texts)
    if kind == "tool" and answered and not answers:
        answers, texts = [Message("tool", text, (), str(answered))], []
    if texts or calls or not answers:
        found.append(Message(kind, text if texts else "", tuple(calls)))
    found += answers
    reasoning = item.get("reasoning_content") or item.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        thoughts.append(reasoning)


def _read_part(
    part: Any,
    texts: list[str],
    calls: list[ToolCall],
    answers: list[Message],
    thoughts: list[str],
) -> None:
    if not isinstance(part, Mapping):
        if part is not None:
            texts.append(as_text(part))
        return
    kind = str(part.get("type", "text"))
    if kind in ("tool_call", "tool_use", "function_call"):
        call = call_of(part)
        if call is not None:
            calls.append(call)
    elif kind in ("tool_call_response", "tool_result", "function_call_output"):
        said = next((part[k] for k in ("response", "result", "content", "output") if k in part), "")
        name = part.get("id") or part.get("tool_use_id") or part.get("call_id") or ""
        answers.append(Message("tool", as_text(said), (), str(name)))
    elif kind in REASONING:
        thoughts.append(as_text(part.get("content", part.get("thinking", ""))))
    elif isinstance(part.get("text", part.get("content")), str):
        texts.append(str(part.get("text", part.get("content"))))
    else:  # an image, say, whose bytes nobody reads here
        texts.append(f"[{kind}]")


def call_of(item: Any) -> ToolCall | None:
    """A call of a function, in any of the forms that are written."""
    if not isinstance(item, Mapping):
        return None
    inner = item.get("function") if isinstance(item.get("function"), Mapping) else item
    assert isinstance(inner, Mapping)
    name = inner.get("name")
    if not isinstance(name, str):
        return None
    given = inner.get("arguments", inner.get("input", inner.get("args")))
    return ToolCall(str(item.get("id") or item.get("call_id") or ""), name, arguments_of(given))


def arguments_of(given: Any) -> dict[str, Any]:
    """Arguments as a mapping; what is none stands under 'value'."""
    value = decoded(given)
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    return {} if value in (None, "") else {"value": value}


def as_text(value: Any) -> str:
    """A value as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _list(value: Any) -> Sequence[Any]:
    found = decoded(value)
    return found if isinstance(found, list) else []


def nested(attributes: dict[str, Any], prefix: str) -> list[Any]:
    """A list out of keys such as ``prefix.0.message.role``, which are taken out of the attributes; in the order of the numbers."""
    start = f"{prefix}."
    keys = [k for k in attributes if k.startswith(start)]
    root: dict[str, Any] = {}
    for key in keys:
        at, *rest = key[len(start) :].split(".")
        if not at.isdigit() or len(at) > 6 or len(rest) > 12:
            continue
        value = attributes.pop(key)
        node = root.setdefault(at, {})
        for step in rest[:-1]:
            following = node.setdefault(step, {})
            if not isinstance(following, dict):
                following = node[step] = {}
            node = following
        if rest:
            node[rest[-1]] = value
    return _listed(root) if root else []


def _listed(node: Any) -> Any:
    """Mappings whose keys are numbers as lists."""
    if not isinstance(node, dict):
        return node
    made = {k: _listed(v) for k, v in node.items()}
    if made and all(k.isdigit() for k in made):
        return [made[k] for k in sorted(made, key=int)]
    return made
