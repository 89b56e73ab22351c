"""What a comparison came to: a difference, how sure it is, and what may be said."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

from llmops_jupyter import render
from llmops_jupyter.evaluation.statistics import Estimate, Interval
from llmops_jupyter.evaluation.summary import number
from llmops_jupyter.evaluation.verdict import Verdict
from llmops_jupyter.render.html import bundle, escaped

SHOWN = 10


@dataclass(frozen=True)
class ChangedRow:
    """A row on which two variants got different scores; `change` is the second's less the first's."""

    row_id: str
    change: float
    input: str
    a: str
    b: str
    expected: Any = None
    a_score: float | None = None
    b_score: float | None = None
    a_trace: str = ""
    b_trace: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The row for a table."""
        found = {"row": self.row_id, "change": f"{self.change:+.3g}", "input": self.input}
        if self.expected is not None:
            found["expected"] = self.expected
        return {**found, "a": self.a, "b": self.b}


@dataclass(frozen=True)
class SliceDifference:
    """The difference among the rows of one slice; `p_value` allows for the number of slices."""

    name: str
    n: int
    difference: float
    interval: Interval
    p_value: float | None


@dataclass(frozen=True)
class Comparison:
    """Two variants on the same rows by one metric.

    Args:
        metric: its name.
        a: label of the first variant, the one that is there.
        b: label of the second.
        a_value: the metric's value of the first, over the rows that are compared.
        b_value: of the second.
        difference: the second's less the first's.
        interval: of the difference; see `look`.
        p_value: that there is none, allowing for all comparisons made at once; None at later looks.
        n: rows that are compared.
        verdict: 'better', 'worse', 'not worse' (by less than the margin) or 'undecided', of b against a.
        confidence: of all looks together.
        more_rows: about how many rows to add until a difference of this size shows with 80 % power, if it is
            there; None where that is out of reach or nothing is open.
        look: which look at this comparison it is; from the second on, intervals hold at every look.
        looks_at_data: different comparisons that were looked at on this data set.
        margin: the loss that does not matter.
        left_out: rows without two scores, with the reasons and how often each.
        changed: rows with different scores, those that got worse first.
        slices: the difference within each slice.
        runs: the numbers of the two runs.
        columns: of the rows, by which they can be sliced.
    """

    metric: str
    a: str
    b: str
    a_value: float
    b_value: float
    difference: float
    interval: Interval
    p_value: float | None
    n: int
    verdict: Verdict
    confidence: float = 0.95
    more_rows: int | None = None
    detectable: float | None = None
    yes_no: bool = False
    unit: str = ""
    higher_is_better: bool = True
    test: str = ""
    clusters: int | None = None
    look: int = 1
    looks_at_data: int = 1
    data: str = ""
    margin: float | None = None
    left_out: tuple[tuple[str, int], ...] = ()
    changed: tuple[ChangedRow, ...] = ()
    n_changed: int = 0
    slices: tuple[SliceDifference, ...] = ()
    slice_column: str = ""
    notes: tuple[str, ...] = ()
    runs: tuple[int, int] = (0, 0)
    columns: tuple[str, ...] = ()

    def _points(self, value: float, *, signed: bool = True) -> str:
        if self.yes_no and math.isfinite(value):
            return f"{100 * value:{'+' if signed else ''}.1f} points"
        return number(value, self.yes_no, self.unit, signed=signed)

    def interval_text(self) -> str:
        """The interval for people."""
        if not math.isfinite(self.interval.low):
            return "no interval"
        low, high = self._points(self.interval.low), self._points(self.interval.high)
        return f"{low.removesuffix(' points')} to {high}"

    def sentence(self) -> str:
        """What may be said, on one line."""
        missing = sum(n for _, n in self.left_out)
        rows = f"n = {self.n} of {self.n + missing} rows" if missing else f"n = {self.n}"
        sure = f"{self.confidence:.0%} interval {self.interval_text()}, {rows}"
        size = self._points(abs(self.difference), signed=False)
        words = {
            "better": f"{self.b} is better than {self.a} on {self.metric} by {size} ({sure})",
            "worse": f"{self.b} is worse than {self.a} on {self.metric} by {size} ({sure})",
        }
        if self.verdict in words:
            return words[self.verdict]
        if self.verdict == "not worse" and self.margin is not None:
            least = self._points(self.margin, signed=False)
            return (
                f"{self.b} is not worse than {self.a} on {self.metric} by {least} or more ({sure})"
            )
        open_ = f"not yet: {self._points(self.difference)} on {self.metric} for {self.b} ({sure})"
        if self.more_rows is not None:
            return (
                f"{open_}; about {self.more_rows:,} more rows would show a difference of this size"
            )
        if not self.difference:
            return f"{open_}; the two are alike so far"
        return f"{open_}; a difference this small is out of reach"

    def row(self) -> dict[str, Any]:
        """The comparison as a row of a table for people."""
        p = p_text(self.p_value)
        return {
            "metric": self.metric,
            self.a if self.a != self.b else "a": number(self.a_value, self.yes_no, self.unit),
            self.b if self.a != self.b else "b": number(self.b_value, self.yes_no, self.unit),
            "difference": self._points(self.difference),
            f"{self.confidence:.0%} interval": self.interval_text(),
            "p": p,
            "rows": self.n,
            "verdict": f"{self.b}: {self.verdict}" if self.verdict != "undecided" else "not yet",
        }

    def slice_rows(self) -> list[dict[str, Any]]:
        """The slices as a table."""
        return [
            {
                self.slice_column: s.name,
                "rows": s.n,
                "difference": self._points(s.difference),
                f"{self.confidence:.0%} interval": replace(
                    self, interval=s.interval
                ).interval_text(),
                "p (all slices)": p_text(s.p_value),
            }
            for s in self.slices
        ]

    def facts(self) -> list[str]:
        """What a careful reader wants to know beside it."""
        lines = []
        if self.clusters is not None:
            lines.append(
                f"rows of {self.clusters} clusters, whose rows are not taken as independent"
            )
        if self.detectable is not None and self.verdict == "undecided":
            size = self._points(self.detectable, signed=False)
            lines.append(f"with {self.n} rows, differences of {size} are found with 80 % power")
        if self.look > 1:
            lines.append(f"look {self.look} at this comparison: the interval holds at every look")
        lines += [f"{n} rows left out: {why}" for why, n in self.left_out]
        if self.data or self.looks_at_data > 1:
            times = "time" if self.looks_at_data == 1 else "times"
            rows = f"{self.data} was" if self.data else "these rows were"
            lines.append(f"{rows} looked at {self.looks_at_data} {times}")
        lines += self.notes
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "metric": self.metric,
            "a": self.a,
            "b": self.b,
            "a_value": self.a_value,
            "b_value": self.b_value,
            "difference": self.difference,
            "interval": [_finite(self.interval.low), _finite(self.interval.high)],
            "confidence": self.confidence,
            "method": self.interval.method,
            "test": self.test,
            "p_value": self.p_value,
            "n": self.n,
            "clusters": self.clusters,
            "verdict": self.verdict,
            "more_rows": self.more_rows,
            "detectable": self.detectable,
            "margin": self.margin,
            "look": self.look,
            "looks_at_data": self.looks_at_data,
            "left_out": dict(self.left_out),
            "changed": self.n_changed,
            "slices": [
                {
                    "slice": s.name,
                    "n": s.n,
                    "difference": s.difference,
                    "interval": [_finite(s.interval.low), _finite(s.interval.high)],
                    "p_value": s.p_value,
                }
                for s in self.slices
            ],
            "notes": list(self.notes),
            "runs": list(self.runs),
        }

    def chart(self) -> Any:
        """The forest plot: the difference with its interval, and that of each slice."""
        from llmops_jupyter.evaluation.charts import Forest

        return Forest((self,))

    def __str__(self) -> str:
        parts = [self.sentence(), render.text_table([self.row()]), *self.facts()]
        if self.slices:
            parts.append(render.text_table(self.slice_rows()))
        if self.changed:
            parts.append(self._changed_title())
            parts.append(render.text_table([c.as_dict() for c in self.changed[:SHOWN]]))
        return "\n".join(parts)

    def _changed_title(self) -> str:
        shown = min(SHOWN, len(self.changed))
        return f"{self.n_changed} rows changed sides; {shown} of them, those that got worse first:"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return bundle(str(self), self.html())

    def html(self) -> str:
        """The comparison as escaped HTML."""
        blocks = [f"<p><strong>{escaped(self.sentence())}</strong></p>"]
        blocks.append(render.table_html([self.row()]))
        blocks += [f"<p><em>{escaped(line)}</em></p>" for line in self.facts()]
        if self.slices:
            blocks.append(render.table_html(self.slice_rows()))
        if self.changed:
            rows = [c.as_dict() for c in self.changed[:SHOWN]]
            blocks.append(f"<p>{escaped(self._changed_title())}</p>{render.table_html(rows)}")
        return "".join(blocks)


@dataclass(frozen=True)
class Comparisons(Sequence[Comparison]):
    """Several comparisons made at once; their p-values and verdicts allow for that."""

    comparisons: tuple[Comparison, ...]
    correction: str = "holm"
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.comparisons)

    @overload
    def __getitem__(self, index: int) -> Comparison: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Comparison, ...]: ...
    def __getitem__(self, index: int | slice) -> Comparison | tuple[Comparison, ...]:
        return self.comparisons[index]

    def __iter__(self) -> Iterator[Comparison]:
        return iter(self.comparisons)

    def rows(self) -> list[dict[str, Any]]:
        """One row a comparison."""
        found = []
        for c in self.comparisons:
            row = c.row()
            values = list(row.items())
            found.append(
                {
                    "metric": c.metric,
                    "variant": c.b,
                    "against": c.a,
                    "value": values[2][1],
                    "was": values[1][1],
                    **dict(values[3:]),
                }
            )
        return found

    def records(self) -> list[dict[str, Any]]:
        """Each as JSON values."""
        return [c.as_dict() for c in self.comparisons]

    def chart(self) -> Any:
        """The forest plot of all of them."""
        from llmops_jupyter.evaluation.charts import Forest

        return Forest(self.comparisons)

    def _title(self) -> str:
        many = f"{len(self)} comparisons at once"
        if len(self) < 2:
            return ""
        said = f"{many}: p-values are corrected ({self.correction}), and verdicts follow them"
        if self.correction == "none":
            said = f"{many}; p-values are not corrected for that"
        return f"{said}; each interval is that of its own comparison"

    def __str__(self) -> str:
        parts = [c.sentence() for c in self.comparisons]
        parts += [render.text_table(self.rows()), self._title(), *self.notes]
        for c in self.comparisons[:1]:
            parts += c.facts()
        return "\n".join(filter(None, parts))

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [f"<p><strong>{escaped(c.sentence())}</strong></p>" for c in self.comparisons]
        blocks.append(render.table_html(self.rows()))
        lines = filter(None, [self._title(), *self.notes, *self.comparisons[0].facts()])
        blocks += [f"<p><em>{escaped(line)}</em></p>" for line in lines]
        for c in self.comparisons:
            if c.slices or c.changed:
                blocks.append(
                    f"<details><summary>{escaped(f'{c.metric}: rows and slices')}</summary>{c.html()}"
                    "</details>"
                )
        return bundle(str(self), "".join(blocks))


def p_text(p_value: float | None) -> str:
    """A p-value for people."""
    if p_value is None:
        return ""
    return f"{p_value:.3f}" if p_value >= 0.001 else "<0.001"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def unknown_interval(confidence: float, why: str) -> Interval:
    """The interval of which nothing is known."""
    return Interval(-math.inf, math.inf, confidence, why)


def without_interval(value: float, n: int, confidence: float, why: str) -> Estimate:
    """An estimate of which only the value is known."""
    return Estimate(value, unknown_interval(confidence, why), n)
