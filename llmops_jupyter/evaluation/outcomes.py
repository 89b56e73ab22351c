"""What came of the gates of a suite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from llmops_jupyter import render
from llmops_jupyter.evaluation.comparison import Comparison
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.suites import Gate, Suite
from llmops_jupyter.render.html import bundle, escaped

Outcome = Literal["passed", "failed", "undecided"]
# Exit codes of the command; 1 is an error.
PASSED, FAILED, UNDECIDED = 0, 2, 3


@dataclass(frozen=True)
class Verdict:
    """What came of one gate.

    Args:
        gate: the demand.
        outcome: 'passed', 'failed', or 'undecided' where the interval holds the threshold.
        reason: on one line.
        rows: the rows that speak against it, worst first.
        n: rows it rests on.
        low: of the interval.
        high: of the interval.
    """

    gate: Gate
    outcome: Outcome
    reason: str
    rows: tuple[dict[str, Any], ...] = ()
    n: int = 0
    low: float = -math.inf
    high: float = math.inf

    def as_dict(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        return {
            "gate": self.gate.words(),
            "outcome": self.outcome,
            "reason": self.reason,
            "n": self.n,
            "interval": [_finite(self.low), _finite(self.high)],
            "rows": list(self.rows),
        }


@dataclass(frozen=True)
class GateReport:
    """What came of a suite.

    Args:
        suite: what was run.
        verdicts: of its gates.
        run: of the variant.
        baseline: the baseline's run.
        comparisons: with the baseline, by metric.
        difference: of the prompts, as text; '' where they are no versions of prompts or are equal.
    """

    suite: Suite
    verdicts: tuple[Verdict, ...]
    run: EvaluationRun
    baseline: EvaluationRun | None = None
    comparisons: tuple[Comparison, ...] = ()
    difference: str = ""

    @property
    def outcome(self) -> Outcome:
        """'failed' if a gate failed, else 'undecided' if one is, else 'passed'."""
        outcomes = [v.outcome for v in self.verdicts]
        return (
            "failed"
            if "failed" in outcomes
            else "undecided"
            if "undecided" in outcomes
            else "passed"
        )

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    def exit_code(self, *, allow_undecided: bool = False) -> int:
        """0 passed, 2 failed, 3 undecided (0 if that is allowed)."""
        if self.outcome == "failed":
            return FAILED
        return UNDECIDED if self.outcome == "undecided" and not allow_undecided else PASSED

    def title(self) -> str:
        """The report on one line."""
        passed = sum(v.outcome == "passed" for v in self.verdicts)
        return (
            f"{self.suite.name}: {self.outcome} ({passed} of {len(self.verdicts)} gates passed) · "
            f"{self.run.label} on {self.run.data}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row a gate."""
        marks = {"passed": "✓", "failed": "✗", "undecided": "?"}
        return [
            {
                "": marks[v.outcome],
                "gate": v.gate.words(),
                "outcome": v.outcome,
                "why": v.reason,
            }
            for v in self.verdicts
        ]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "suite": self.suite.name,
            "outcome": self.outcome,
            "variant": self.run.label,
            "data": self.run.data,
            "run": self.run.id,
            "baseline": self.baseline.id if self.baseline else None,
            "gates": [v.as_dict() for v in self.verdicts],
            "difference": self.difference,
        }

    def details(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """The rows behind each gate that did not pass."""
        return [
            (f"{v.gate.words()}: {v.outcome}", list(v.rows))
            for v in self.verdicts
            if v.outcome != "passed" and v.rows
        ]

    def __str__(self) -> str:
        parts = [self.title(), render.text_table(self.rows())]
        for title, rows in self.details():
            parts += ["", title, render.text_table(rows)]
        if self.difference and not self.passed:
            parts += ["", self.difference]
        return "\n".join([*parts, *self.run.notes])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [
            f"<p><strong>{escaped(self.title())}</strong></p>",
            render.table_html(self.rows()),
        ]
        for title, rows in self.details():
            blocks.append(f"<p>{escaped(title)}</p>{render.table_html(rows)}")
        if self.difference and not self.passed:
            blocks.append(f"<pre>{escaped(self.difference)}</pre>")
        blocks += [f"<p><em>{escaped(note)}</em></p>" for note in self.run.notes]
        return bundle(str(self), "".join(blocks))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
