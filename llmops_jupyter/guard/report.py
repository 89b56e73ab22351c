"""What a policy says of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.records import Decision, Verdict
from llmops_jupyter.render.html import bundle

# From harmless to grave.
ORDER: tuple[Decision, ...] = ("allow", "warn", "modify", "deny")


@dataclass(frozen=True)
class Report:
    """A text after the checks of a policy.

    Args:
        text: what is left of it: changed where a check took something out, the policy's message where it was denied.
        allowed: whether it may be used; a policy that only observes allows everything.
        verdicts: of the checks, in their order; after a denial no further check is asked.
    """

    text: str
    allowed: bool
    verdicts: tuple[Verdict, ...] = ()

    @property
    def decision(self) -> Decision:
        """The gravest decision."""
        return worst(self.verdicts)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each verdict, for a table."""
        return [row_of(v) for v in self.verdicts]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "text": self.text,
            "allowed": self.allowed,
            "decision": self.decision,
            "verdicts": [v.as_dict() for v in self.verdicts],
        }

    def __str__(self) -> str:
        from llmops_jupyter.render import text_table

        return f"{self.decision}\n{text_table(self.rows())}"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from llmops_jupyter.render import table_html

        return bundle(str(self), table_html(self.rows()))


def worst(verdicts: Sequence[Verdict]) -> Decision:
    """The gravest decision of some verdicts; 'allow' without any."""
    return max((v.decision for v in verdicts), key=ORDER.index, default="allow")


def row_of(verdict: Verdict) -> dict[str, Any]:
    """A verdict as a row of a table."""
    score = ""
    if verdict.score is not None:
        score = f"{verdict.score:.3f}"
        if verdict.threshold is not None:
            score += f" of {verdict.threshold:.3f}"
    return {
        "place": verdict.place,
        "check": verdict.check,
        "decision": verdict.decision,
        "action": verdict.action,
        "score": score,
        "reason": verdict.reason,
        "evidence": verdict.evidence,
        "ms": f"{verdict.duration_s * 1000:.1f}",
    }


def merged(reports: Sequence[Report]) -> tuple[Verdict, ...]:
    """The verdicts on several texts of one place: all that found something, and of the rest one for each check."""
    if len(reports) == 1:
        return reports[0].verdicts
    found = [
        v
        for report in reports
        for v in report.verdicts
        if v.decision != "allow" or v.action != "none"
    ]
    told = {v.check for v in found}
    passed: dict[str, Verdict] = {}
    for report in reports:
        for verdict in report.verdicts:
            if verdict.check in told:
                continue
            before = passed.get(verdict.check)
            if before is None or (verdict.score or 0.0) > (before.score or 0.0):
                passed[verdict.check] = verdict
    return (*found, *passed.values())
