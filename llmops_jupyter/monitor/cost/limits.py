"""What is given for a budget, checked."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmops_jupyter.config import number
from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.monitor.cost.budget import CALL, DAY, SCOPES, TOTAL, UNITS, Budget
from llmops_jupyter.store import aliases

MOST_HOURS = 24 * 366


def limit(unit: str, value: Any) -> float:
    if unit not in UNITS:
        raise OptionError(
            f"There is no limit {unit!r}.{did_you_mean(unit, UNITS)} Limits: {', '.join(UNITS)}."
        )
    found = number(unit, value)
    if not found >= 0:
        raise OptionError(f"{unit} is a number that is at least 0, not {value!r:.80}.")
    return found


def scope_name(kind: str, value: Any) -> str:
    if kind not in SCOPES:
        raise OptionError(
            f"A budget is for one of {', '.join(SCOPES)}, not {kind!r}.{did_you_mean(kind, SCOPES)}"
        )
    if not isinstance(value, str) or not value:
        raise OptionError(f"{kind} is a name, not {value!r:.80}.")
    if kind == "prompt":
        aliases.parse_reference(value)
    return value


def _per(value: Any) -> str:
    if isinstance(value, str) and value in (CALL, DAY, TOTAL):
        return value
    hourly = isinstance(value, numbers.Real) and not isinstance(value, bool)
    text = f"{float(value):g}h" if hourly else value
    if isinstance(text, str) and text.endswith("h"):
        try:
            hours = float(text[:-1])
        except ValueError:
            hours = math.nan
        if 0 < hours <= MOST_HOURS:
            return f"{hours:g}h"
    raise OptionError(
        f"per is 'call', 'day', 'total' or hours such as '24h' (at most {MOST_HOURS:,}), not {value!r:.80}."
    )


def changed(
    before: Budget | None,
    name: str,
    limits: Mapping[str, float],
    per: Any,
    scope: Mapping[str, str],
    warn: Any,
) -> Budget:
    """A budget with what is given changed, checked whole."""
    start = before or Budget(name, 0, {})
    both = {**start.limits, **limits}
    kept = {unit: both[unit] for unit in UNITS if unit in both and math.isfinite(both[unit])}
    if not kept:
        raise OptionError(
            f"The budget {name!r} has no limit. Give one, for instance tokens=10_000; to end a budget: "
            f"monitor.end_budget({name!r})."
        )
    share = number("warn", start.warn if warn is None else warn)
    if not 0 < share <= 1:
        raise OptionError(f"warn is a share such as 0.8, not {warn!r:.80}.")
    return replace(
        start,
        limits=kept,
        per=start.per if per is None else _per(per),
        scope=dict(scope) if scope else dict(start.scope),
        warn=share,
    )
