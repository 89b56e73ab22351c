"""How large a JSON schema may be: only such as a grammar can be made of without harm to what else runs.

A grammar spells repetitions out, so that a bound of a million is a million rules, which llama.cpp does not survive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmops_jupyter.errors import SchemaError

DEEPEST, MOST_PARTS, MOST_TIMES, LONGEST_PATTERN = 64, 20_000, 4096, 500
MOST_TOGETHER = 4 * MOST_TIMES
BOUNDS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_TIMES = re.compile(r"\{(\d*),?(\d*)\}")


def check_bounds(
    schema: Mapping[str, Any], *, deepest: int = DEEPEST, most_parts: int = MOST_PARTS
) -> None:
    """Refuse a schema whose grammar would be too large.

    Args:
        schema: to be turned into a grammar.
        deepest: levels that it may have.
        most_parts: objects, lists and values that it may have.

    Raises:
        SchemaError: it is larger, and in what.
    """
    parts, times = 0, 0
    waiting: list[tuple[Any, int]] = [(schema, 0)]
    while waiting:
        value, depth = waiting.pop()
        parts += 1
        if depth > deepest or parts > most_parts:
            raise _too_large(f"has more than {deepest} levels or {most_parts:,} parts")
        if isinstance(value, Mapping):
            times += _times(value)
            if times > MOST_TOGETHER:
                raise _too_large(f"repeats more than {MOST_TOGETHER:,} parts")
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]


def _times(value: Mapping[str, Any]) -> int:
    """How many repetitions are spelled out.

    Raises:
        SchemaError: something is repeated more often than an answer is long.
    """
    bounds = [(n, value[n]) for n in BOUNDS if isinstance(value.get(n), int | float)]
    for name, bound in bounds:
        if bound > MOST_TIMES:
            raise _too_large(f"has a {name} above {MOST_TIMES:,}")
    together = int(sum(max(0, bound) for _, bound in bounds))
    pattern = value.get("pattern")
    if not isinstance(pattern, str):
        return together
    times = 1
    for numbers in _TIMES.findall(pattern[: LONGEST_PATTERN + 1]):
        times *= max([1, *(int(n[:9]) for n in numbers if n)])
    if len(pattern) > LONGEST_PATTERN or times > MOST_TIMES:
        raise _too_large(
            f"has a pattern of more than {LONGEST_PATTERN} characters or {MOST_TIMES:,} repetitions"
        )
    return together + times


def _too_large(what: str) -> SchemaError:
    return SchemaError(f"The schema {what}. Make it simpler.")
