"""Two runs of the same attacks: before and after a change of the prompt, with a guard and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.errors import DataError
from llmops_jupyter.evaluation.statistics import Estimate, adjusted, paired_rates
from llmops_jupyter.render.html import bundle, escaped

if TYPE_CHECKING:
    from llmops_jupyter.monitor.redteam.charts import Changes
    from llmops_jupyter.monitor.redteam.report import RedTeamReport

ALL, USEFUL = "all", "harmless inputs answered"


@dataclass(frozen=True)
class Change:
    """How a rate changed from one run to the other, on the same attacks.

    `p_value` allows for the number of families (Holm).
    """

    family: str
    before: int
    after: int
    estimate: Estimate
    p_value: float

    @property
    def n(self) -> int:
        return self.estimate.n

    def verdict(self, level: float) -> str:
        """'fewer', 'more' or 'undecided'."""
        if self.p_value >= level or self.estimate.value == 0:
            return "undecided"
        return "fewer" if self.estimate.value < 0 else "more"

    def row(self, level: float) -> dict[str, Any]:
        """For a table."""
        low, high = self.estimate.interval.low, self.estimate.interval.high
        return {
            "family": self.family,
            "before": f"{self.before} of {self.n}",
            "after": f"{self.after} of {self.n}",
            "difference": f"{100 * self.estimate.value:+.0f} points",
            "interval": f"{100 * low:+.0f} to {100 * high:+.0f}",
            "p (Holm)": f"{self.p_value:.3f}",
            "verdict": self.verdict(level),
        }


@dataclass(frozen=True)
class RedTeamComparison:
    """Two runs compared attack by attack.

    Args:
        a: the first run.
        b: the second.
        changes: of each family, the largest decrease first.
        overall: of all attacks together.
        useful: of the harmless inputs; None if the runs have none in common.
        confidence: of the intervals.
        left_out: attacks that only one run has, or that one has no answer to.
    """

    a: RedTeamReport
    b: RedTeamReport
    changes: tuple[Change, ...]
    overall: Change
    useful: Change | None
    confidence: float
    left_out: int

    @property
    def level(self) -> float:
        return 1 - self.confidence

    def sentence(self) -> str:
        """What changed, in words."""
        one = self.overall
        low, high = one.estimate.interval.low, one.estimate.interval.high
        parts = [
            (
                f"Of the same {one.n} attacks {one.before} succeeded on {_named(self.a)} and {one.after} on "
                f"{_named(self.b)} ({100 * one.estimate.value:+.0f} points, {100 * low:+.0f} to {100 * high:+.0f})"
            )
        ]
        if self.useful is not None:
            parts.append(
                f"harmless inputs answered: {self.useful.before} before and {self.useful.after} after, of "
                f"{self.useful.n}"
            )
        return "; ".join(parts) + "."

    def rows(self) -> list[dict[str, Any]]:
        """One row a family, then all, then usefulness."""
        every = [*self.changes, self.overall, *([self.useful] if self.useful is not None else [])]
        return [one.row(self.level) for one in every]

    def chart(self) -> Changes:
        """The differences with their intervals."""
        from llmops_jupyter.monitor.redteam.charts import Changes

        return Changes(self)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "a": self.a.id,
            "b": self.b.id,
            "families": [_figures(one, self.level) for one in self.changes],
            "all": _figures(self.overall, self.level),
            "useful": None if self.useful is None else _figures(self.useful, self.level),
            "left_out": self.left_out,
        }

    def notes(self) -> list[str]:
        """What a reader must know."""
        found = [
            f"p-values of {len(self.changes)} families by Holm, those of all attacks and of harmless inputs alone."
        ]
        if self.left_out:
            found.append(
                f"{self.left_out} attacks are not in both runs with an answer, and are left out."
            )
        return found

    def __str__(self) -> str:
        return "\n".join([self.sentence(), render.text_table(self.rows()), *self.notes()])

    def __repr__(self) -> str:
        return f"RedTeamComparison({self.sentence()!r})"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [
            f"<p><strong>{escaped(self.sentence())}</strong></p>",
            render.table_html(self.rows()),
            *(f"<p><em>{escaped(note)}</em></p>" for note in self.notes()),
        ]
        return bundle(str(self), "".join(blocks))


def compare(a: RedTeamReport, b: RedTeamReport, confidence: float = 0.95) -> RedTeamComparison:
    """Compare two runs by the attacks that both have.

    Raises:
        DataError: they have none in common.
    """
    theirs = {(t.id, t.digest): t for t in b.attempts if not t.error}
    pairs = [
        (t, theirs[t.id, t.digest])
        for t in a.attempts
        if not t.error and (t.id, t.digest) in theirs
    ]
    if not pairs:
        raise DataError(
            "The two runs have no attack in common that both answered. Run both with the same families, seed and n."
        )
    families = list(dict.fromkeys(one.family for one, _ in pairs))
    raw = [
        _change(
            family,
            [(x.success, y.success) for x, y in pairs if x.family == family],
            confidence,
        )
        for family in families
    ]
    p_values = adjusted([one.p_value for one in raw])
    changes = [
        Change(one.family, one.before, one.after, one.estimate, p)
        for one, p in zip(raw, p_values, strict=True)
    ]
    harmless = {(h.id, h.digest): h for h in b.harmless if not h.error}
    both = [
        (h.useful, harmless[h.id, h.digest].useful)
        for h in a.harmless
        if not h.error and (h.id, h.digest) in harmless
    ]
    every = {(t.id, t.digest) for t in (*a.attempts, *b.attempts)}
    return RedTeamComparison(
        a,
        b,
        tuple(sorted(changes, key=lambda c: (c.estimate.value, c.family))),
        _change(ALL, [(x.success, y.success) for x, y in pairs], confidence),
        _change(USEFUL, both, confidence) if both else None,
        confidence,
        len(every) - len(pairs),
    )


def _change(name: str, pairs: Sequence[tuple[bool, bool]], confidence: float) -> Change:
    first, second = [int(x) for x, _ in pairs], [int(y) for _, y in pairs]
    estimate = paired_rates(first, second, confidence=confidence)
    return Change(name, sum(first), sum(second), estimate, estimate.p_value or 0.0)


def _named(report: RedTeamReport) -> str:
    return f"{report.prompt}{f' with {report.guard}' if report.guard else ''} (run {report.id})"


def _figures(one: Change, level: float) -> dict[str, Any]:
    return {
        "family": one.family,
        "before": one.before,
        "after": one.after,
        "n": one.n,
        "difference": one.estimate.value,
        "interval": [one.estimate.interval.low, one.estimate.interval.high],
        "p_value": one.p_value,
        "verdict": one.verdict(level),
    }
