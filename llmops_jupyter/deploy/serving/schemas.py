"""JSON schemas of requests: only such as a grammar can be made of without harm to what else runs.

A grammar spells repetitions out, so that a bound of a million is a million rules, which the engine may not survive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmops_jupyter.deploy.serving.faults import Refusal
from llmops_jupyter.errors import SchemaError

DEEPEST, MOST_PARTS, MOST_TIMES, LONGEST_PATTERN = 32, 2000, 4096, 500
MOST_TOGETHER = 4 * MOST_TIMES
BOUNDS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_TIMES = re.compile(r"\{(\d*),?(\d*)\}")


def checked(given: Mapping[str, Any], param: str) -> Mapping[str, Any]:
    """A schema that may be used.

    Raises:
        Refusal: it is no valid one, or too large.
    """
    from llmops_jupyter.prompts.content import as_schema

    parts, times = 0, 0
    waiting: list[tuple[Any, int]] = [(given, 0)]
    while waiting:
        value, depth = waiting.pop()
        parts += 1
        if depth > DEEPEST or parts > MOST_PARTS:
            raise _too_large(f"has more than {DEEPEST} levels or {MOST_PARTS:,} parts", param)
        if isinstance(value, Mapping):
            times += _times(value, param)
            if times > MOST_TOGETHER:
                raise _too_large(f"repeats more than {MOST_TOGETHER:,} parts", param)
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]
    try:
        found = as_schema(given)
    except SchemaError as e:
        raise Refusal(400, str(e), code="invalid_schema", param=param) from e
    assert found is not None
    return found


def _times(value: Mapping[str, Any], param: str) -> int:
    """How many repetitions are spelled out.

    Raises:
        Refusal: something is repeated more often than an answer is long.
    """
    bounds = [(n, value[n]) for n in BOUNDS if isinstance(value.get(n), int | float)]
    for name, bound in bounds:
        if bound > MOST_TIMES:
            raise _too_large(f"has a {name} above {MOST_TIMES:,}", param)
    together = int(sum(max(0, bound) for _, bound in bounds))
    pattern = value.get("pattern")
    if not isinstance(pattern, str):
        return together
    times = 1
    for numbers in _TIMES.findall(pattern[: LONGEST_PATTERN + 1]):
        times *= max([1, *(int(n[:9]) for n in numbers if n)])
    if len(pattern) > LONGEST_PATTERN or times > MOST_TIMES:
        raise _too_large(
            f"has a pattern of more than {LONGEST_PATTERN} characters or {MOST_TIMES:,} repetitions",
            param,
        )
    return together + times


def _too_large(what: str, param: str) -> Refusal:
    return Refusal(400, f"The schema {what}. Make it simpler.", code="invalid_schema", param=param)
