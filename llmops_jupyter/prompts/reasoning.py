"""Chain of thought and structured answers: what is asked for, and how the answer is taken apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmops_jupyter.errors import SchemaError
from llmops_jupyter.records import Message

ANSWER = "Answer:"
DEFINITIONS = ("$defs", "definitions")
INSTRUCTION = (
    "Think step by step first. Then write the final answer alone on a last line that begins with "
    f'"{ANSWER}".'
)
SCHEMA_INSTRUCTION = 'Reason step by step in the field "reasoning", then fill in "answer".'


def ask_to_reason(messages: Sequence[Message], *, structured: bool) -> tuple[Message, ...]:
    """The messages with the request to reason added to the last one of the user."""
    text = SCHEMA_INSTRUCTION if structured else INSTRUCTION
    found = list(messages)
    for place in range(len(found) - 1, -1, -1):
        if found[place].role == "user":
            found[place] = replace(found[place], content=f"{found[place].content}\n\n{text}")
            return tuple(found)
    return (*found, Message("user", text))


def reasoning_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema whose answer is preceded by reasoning; definitions move to the top."""
    inner = {k: _moved(v) for k, v in schema.items()}
    outer: dict[str, Any] = {
        "type": "object",
        "properties": {"reasoning": {"type": "string"}, "answer": inner},
        "required": ["reasoning", "answer"],
        "additionalProperties": False,
    }
    for key in DEFINITIONS:
        if key in inner:
            outer[key] = inner.pop(key)
    return outer


def _moved(value: Any) -> Any:
    """A part of a schema with its references to other parts pointing at where these are now."""
    if isinstance(value, list):
        return [_moved(v) for v in value]
    if not isinstance(value, Mapping):
        return value
    found = {k: _moved(v) for k, v in value.items()}
    target = value.get("$ref")
    kept = tuple(f"#/{key}/" for key in DEFINITIONS)
    if isinstance(target, str) and target.startswith("#") and not target.startswith(kept):
        found["$ref"] = f"#/properties/answer{target[1:]}"
    return found


def without_root_reference(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same schema with what its root refers to put in its place.

    Recursive pydantic classes have such a root, which llama.cpp's converter of schemas cannot follow.
    """
    target, seen = schema.get("$ref"), set()
    while isinstance(target, str) and target not in seen:
        seen.add(target)
        _, _, rest = target.partition("#/")
        group, _, name = rest.partition("/")
        found = schema.get(group, {}).get(name) if group in DEFINITIONS else None
        if not isinstance(found, Mapping):
            return schema
        others = {k: v for k, v in schema.items() if k != "$ref"}
        schema = {**found, **others}
        target = schema.get("$ref")
    return schema


def parse_answer(text: str, schema: Mapping[str, Any], model_class: Any, *, cut: bool) -> Any:
    """The parsed answer: plain JSON values, or an object of the pydantic class that was given.

    Raises:
        SchemaError: the text is no JSON, or not what the schema asks for.
    """
    import jsonschema

    try:
        value = json.loads(text)
    except json.JSONDecodeError as e:
        if cut:
            raise SchemaError(
                "The answer was cut at max_tokens before the JSON was complete. Raise --max-tokens."
            ) from e
        raise SchemaError(
            f"The answer is not JSON ({e}). Run again, or simplify the schema."
        ) from e
    try:
        jsonschema.validate(value, schema)
    except jsonschema.ValidationError as e:
        raise SchemaError(
            f"The answer does not satisfy the schema: {e.message}. Run again, or relax the schema."
        ) from e
    validate = getattr(model_class, "model_validate", None)
    if not callable(validate):
        return value
    try:
        return validate(value)
    except ValueError as e:
        raise SchemaError(
            f"The answer does not satisfy {model_class.__name__}: {e}. Run again."
        ) from e


def dumps(value: Any) -> str:
    """JSON text of an answer, readable."""
    return json.dumps(value, ensure_ascii=False)
