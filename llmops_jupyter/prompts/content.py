"""What makes a prompt version: its template, examples, schema and the like, and their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_jupyter.errors import SchemaError
from llmops_jupyter.render.difference import text_of

THOUGHT, EXAMPLES = "chain of thought", "examples"
# What is said of a content that has no such part.
ABSENT = {THOUGHT: "no", EXAMPLES: "none"}


@dataclass(frozen=True)
class Examples:
    """Few-shot examples: rows given in place, or a data set by reference and content hash.

    `pick` is 'first' (the first `count`) or 'similar' (the `count` most like the input); a `count` of
    None takes all.
    """

    rows: tuple[Mapping[str, Any], ...] = ()
    dataset: str = ""
    dataset_hash: str = ""
    pick: str = "first"
    count: int | None = None

    def readable(self) -> str:
        """How they are chosen and from what, then the rows that were given in place, each on a line."""
        chosen = f"{self.count if self.count is not None else 'all'}, {self.pick}"
        if self.dataset:
            chosen += f", from {self.dataset} as of {self.dataset_hash[:8]}"
        rows = [json.dumps(dict(row), ensure_ascii=False, default=str) for row in self.rows]
        return "\n".join([chosen, *rows])


@dataclass(frozen=True)
class Content:
    """A version's content. Model and sampling are settings and not part of it.

    The order of a schema's properties is kept, since the answer is written in it, but it makes no other
    content: a version keeps the order in which it was saved first.
    """

    template: str
    examples: Examples | None = None
    schema: Mapping[str, Any] | None = None
    cot: bool = False
    tools: tuple[Mapping[str, Any], ...] = field(default=())

    def to_json(self) -> str:
        """Canonical JSON, for the hash: equal content gives equal text."""
        return json.dumps(self.as_dict(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    def to_text(self) -> str:
        """JSON in the order of the schema's properties, to be kept. The template stands first."""
        return json.dumps(self.as_dict(), ensure_ascii=False, separators=(",", ":"))

    def as_dict(self) -> dict[str, Any]:
        """JSON values, without what is empty."""
        value: dict[str, Any] = {"template": self.template}
        if self.examples is not None:
            value["examples"] = {
                **vars(self.examples),
                "rows": [dict(r) for r in self.examples.rows],
            }
        if self.schema is not None:
            value["schema"] = dict(self.schema)
        if self.cot:
            value["cot"] = True
        if self.tools:
            value["tools"] = [dict(t) for t in self.tools]
        return value

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def parts(self) -> dict[str, str]:
        """What there is of it as text for people, by what it is; the template comes first."""
        found = {"template": self.template.rstrip()}
        if self.cot:
            found[THOUGHT] = "yes"
        if self.examples is not None:
            found[EXAMPLES] = self.examples.readable()
        if self.schema is not None:
            found["schema"] = json.dumps(self.schema, ensure_ascii=False, indent=2)
        if self.tools:
            found["tools"] = json.dumps(list(self.tools), ensure_ascii=False, indent=2)
        return found

    def readable(self) -> str:
        """The content as text for people, for show and diff."""
        return text_of(self.parts())


def from_json(text: str) -> Content:
    """The content that `to_text` or `to_json` wrote."""
    return from_dict(json.loads(text))


def lost_order(text: str) -> bool:
    """Whether a kept text is of a release that sorted the properties of schemas."""
    return not text.startswith('{"template"')


def same_order(a: Content, b: Content) -> bool:
    """Whether two equal contents have the properties of their schemas in the same order."""
    return json.dumps(a.schema) == json.dumps(b.schema)


def from_dict(value: Mapping[str, Any]) -> Content:
    """The content that `as_dict` gave."""
    examples = value.get("examples")
    if examples is not None:
        examples = Examples(**{**examples, "rows": tuple(examples["rows"])})
    return Content(
        template=value["template"],
        examples=examples,
        schema=value.get("schema"),
        cot=value.get("cot", False),
        tools=tuple(value.get("tools", ())),
    )


def with_template(content: Content, template: str) -> Content:
    """The same content around a template, trailing blank lines left out."""
    return replace(content, template=template.rstrip("\n") + "\n")


def as_schema(schema: Any) -> Mapping[str, Any] | None:
    """A JSON schema from a mapping, JSON text, or a pydantic model class.

    Raises:
        SchemaError: it is none of these, or not a valid schema.
    """
    if schema is None:
        return None
    make = getattr(schema, "model_json_schema", None)
    if callable(make):
        schema = make()
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except json.JSONDecodeError as e:
            raise SchemaError(
                f"The schema is not JSON: {e}. Give a dict or a pydantic class."
            ) from e
    if not isinstance(schema, Mapping):
        raise SchemaError(
            f"A schema is a dict (JSON schema) or a pydantic model class, not {type(schema).__name__}."
        )
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        return dict(json.loads(json.dumps(schema)))
    except jsonschema.SchemaError as e:
        raise SchemaError(f"The schema is not valid: {e.message}. Correct it and run again.") from e
    except TypeError as e:
        raise SchemaError(f"The schema holds what JSON cannot: {e}.") from e
