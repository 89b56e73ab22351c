"""JSON schemas of requests: valid ones, and smaller ones than the engine itself would take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_jupyter.deploy.serving.faults import Refusal
from llmops_jupyter.engine.schemabounds import check_bounds
from llmops_jupyter.errors import SchemaError

DEEPEST, MOST_PARTS = 32, 2000


def checked(given: Mapping[str, Any], param: str) -> Mapping[str, Any]:
    """A schema that may be used.

    Raises:
        Refusal: it is no valid one, or too large.
    """
    from llmops_jupyter.prompts.content import as_schema

    try:
        check_bounds(given, deepest=DEEPEST, most_parts=MOST_PARTS)
        found = as_schema(given)
    except SchemaError as e:
        raise Refusal(400, str(e), code="invalid_schema", param=param) from e
    assert found is not None
    return found
