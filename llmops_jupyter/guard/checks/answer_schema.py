"""Answers that must be JSON of a schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard.check import About, Finding, UndecidedError
from llmops_jupyter.guard.masking import masked
from llmops_jupyter.records import Place


@dataclass(frozen=True)
class AnswerSchema:
    """Finds answers that are no JSON, or not of the schema: the policy's, else the prompt's."""

    schema: Mapping[str, Any] | None = None
    name: str = "schema"
    places: tuple[Place, ...] = ("output",)

    def find(self, text: str, about: About) -> Finding:
        """Yes where the text does not satisfy the schema."""
        from jsonschema import validators
        from referencing import Registry

        schema = self.schema if self.schema is not None else about.schema
        if schema is None:
            raise UndecidedError("neither the policy nor the prompt has a schema")
        try:
            value = json.loads(_unfenced(text))
        except (ValueError, RecursionError) as e:
            return Finding(None, True, f"it is no JSON: {type(e).__name__}", masked(text[:200]))
        validator = validators.validator_for(schema)(
            schema, registry=Registry()
        )  # nothing is fetched
        error = next(iter(sorted(validator.iter_errors(value), key=lambda e: len(e.path))), None)
        if error is None:
            return Finding(None, False, "it satisfies the schema")
        place = masked("/".join(str(p) for p in error.absolute_path)) or "the whole"
        return Finding(
            None,
            True,
            f"{place} does not satisfy the schema ({error.validator})",
            masked(error.message),
        )


def make(schema: Mapping[str, Any] | None = None) -> AnswerSchema:
    """The check 'schema'.

    Raises:
        GuardError: the schema is none.
    """
    if schema is not None:
        from jsonschema import validators
        from jsonschema.exceptions import SchemaError

        try:
            validators.validator_for(schema).check_schema(dict(schema))
        except SchemaError as e:
            raise GuardError(f"The schema is none: {e.message}. Correct it.") from e
    return AnswerSchema(schema)


def _unfenced(text: str) -> str:
    """A text without the fence of a code block around it."""
    plain = text.strip()
    if plain.startswith("```") and plain.endswith("```") and "\n" in plain:
        return plain[plain.index("\n") + 1 : -3]
    return plain
