"""Verdicts of guards, read back from the spans that they left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_jupyter.records import Verdict

GUARDRAIL = "run_guardrail"
VERDICTS = "llmops.guard.verdicts"


def verdicts_of(attributes: Mapping[str, Any]) -> list[Verdict]:
    """The verdicts that a span has; entries that are none are left out."""
    found = []
    for one in attributes.get(VERDICTS) or ():
        try:
            found.append(Verdict.from_dict(one))
        except TypeError:  # noqa: PERF203 - of another release, or not ours
            continue
    return found
