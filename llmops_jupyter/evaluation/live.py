"""A split of live traffic, looked at as often as one likes: what each version did, and which is better.

Units (users, sessions) are independent, their calls are not: each unit counts once, with the mean of its
calls. Since traffic is watched, every interval holds at every look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter import render
from llmops_jupyter.evaluation.statistics import Allocation, Estimate, always_valid, sample_ratio
from llmops_jupyter.evaluation.statistics.estimate import ROUNDING
from llmops_jupyter.evaluation.summary import number
from llmops_jupyter.evaluation.verdict import Verdict, verdict_of
from llmops_jupyter.prompts.splitting import ARM, ID, UNIT, Split
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import values

# Units of each version from which the normal approximation holds: for yes-or-no scores, and for others, which
# may be skewed as latency and cost are.
LEAST, LEAST_SKEWED = 20, 100
# Units in all for which intervals are narrowest, unless another number is planned.
PLANNED = 600
FIGURES = {
    "latency": ("s", False),
    "output tokens": ("tokens", False),
    "cost": ("$", False),
    "errors": ("", False),
}
POWER_Z = 0.8416
FAR = 100


@dataclass(frozen=True)
class Traffic:
    """What a version did: units and calls, and for each score the mean of each unit."""

    version: int
    units: int
    calls: int
    scores: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class LiveDifference:
    """A version against the first one, by one score; `more_units` in all until a difference would show."""

    score: str
    version: int
    value: float
    against: float
    estimate: Estimate
    verdict: Verdict
    yes_no: bool
    unit: str
    more_units: int | None


@dataclass(frozen=True)
class LiveComparison:
    """A split with what came of it so far."""

    split: Split
    traffic: tuple[Traffic, ...]
    allocation: Allocation | None
    differences: tuple[LiveDifference, ...]
    waiting: tuple[str, ...]

    @property
    def is_off(self) -> bool:
        """Whether the versions did not get their shares, so that nothing can be said of them."""
        return self.allocation is not None and self.allocation.is_off

    def title(self) -> str:
        """The split on one line."""
        state = "ended" if self.split.ended_at else "running"
        return (
            f"{self.split.words()} · {state} since {self.split.started_at[:16].replace('T', ' ')}"
        )

    def notes(self) -> list[str]:
        """What a reader must know."""
        lines = []
        if self.allocation is not None and self.is_off:
            lines.append(
                f"the versions did not get their shares (p = {self.allocation.p_value:.1g}): something loses "
                "or doubles units, and the differences mean nothing until that is found. Do all callers give "
                "the same unit? Are failed calls of one version missing?"
            )
        if self.differences:
            lines.append(
                f"intervals hold at every look and for all {len(self.differences)} differences together"
            )
        return [*lines, *self.waiting]

    def traffic_rows(self) -> list[dict[str, Any]]:
        """One row a version."""
        return [
            {
                "version": t.version,
                "share": f"{self.split.shares.get(t.version, 0):.0%}",
                "units": t.units,
                "calls": t.calls,
            }
            for t in self.traffic
        ]

    def rows(self) -> list[dict[str, Any]]:
        """One row a difference."""
        return [
            {
                "score": d.score,
                "version": d.version,
                "value": number(d.value, d.yes_no, d.unit),
                "first version": number(d.against, d.yes_no, d.unit),
                "difference": _points(d.estimate.value, d),
                "95 % interval": _interval(d),
                "verdict": "the split is off" if self.is_off else _words(d),
            }
            for d in self.differences
        ]

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "split": self.split.id,
            "ref": self.split.ref,
            "shares": {str(v): s for v, s in self.split.shares.items()},
            "running": self.split.ended_at is None,
            "traffic": self.traffic_rows(),
            "allocation_p": self.allocation.p_value if self.allocation else None,
            "differences": [
                {
                    "score": d.score,
                    "version": d.version,
                    "difference": d.estimate.value,
                    "interval": [
                        _finite(x) for x in (d.estimate.interval.low, d.estimate.interval.high)
                    ],
                    "verdict": d.verdict if not self.is_off else "undecided",
                    "more_units": d.more_units,
                }
                for d in self.differences
            ],
            "notes": self.notes(),
        }

    def __str__(self) -> str:
        parts = [self.title(), render.text_table(self.traffic_rows())]
        if self.differences:
            parts.append(render.text_table(self.rows()))
        return "\n".join([*parts, *self.notes()])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [
            f"<p><strong>{escaped(self.title())}</strong></p>",
            render.table_html(self.traffic_rows()),
        ]
        if self.differences:
            blocks.append(render.table_html(self.rows()))
        blocks += [f"<p><em>{escaped(note)}</em></p>" for note in self.notes()]
        return bundle(str(self), "".join(blocks))


def analyse(
    store: Store,
    split: Split,
    scores: Sequence[str] = (),
    *,
    planned: int = PLANNED,
    confidence: float = 0.95,
) -> LiveComparison:
    """What came of a split so far.

    Args:
        store: with its traces and their scores.
        split: running or ended.
        scores: names of scores and of figures (latency, output tokens, cost, errors); left out, all there
            are.
        planned: units in all for which the intervals are narrowest.
        confidence: of all intervals together, at all looks.
    """
    units = _units(store, split)
    names = list(scores) or _names(units)
    traffic = [_traffic(version, units.get(version, {}), names) for version in split.shares]
    counts = {str(t.version): t.units for t in traffic}
    shares = {str(v): s for v, s in split.shares.items()}
    allocation = sample_ratio(counts, shares) if sum(counts.values()) else None
    first, pairs, waiting = traffic[0], [], []
    for other in traffic[1:]:
        for name in names:
            a, b = first.scores.get(name, ()), other.scores.get(name, ())
            least = LEAST if _is_yes_no((*a, *b)) else LEAST_SKEWED
            if min(len(a), len(b)) >= least:
                pairs.append((name, other.version, a, b))
            else:
                waiting.append(
                    f"{name}: {len(a)} units of version {first.version} and {len(b)} of version "
                    f"{other.version} have it; {least} of each are needed"
                )
    earlier = _of_other_splits(store, split)
    if earlier:
        waiting.append(
            f"{earlier} calls of {split.ref} belong to splits before this one, with other shares, and are not "
            "counted here"
        )
    alpha = (1 - confidence) / max(1, len(pairs))
    weights = split.shares
    made = [
        _difference(
            name, version, a, b, 1 - alpha, planned, weights[first.version], weights[version]
        )
        for name, version, a, b in pairs
    ]
    return LiveComparison(split, tuple(traffic), allocation, tuple(made), tuple(waiting))


def difference_interval(
    a: Sequence[float],
    b: Sequence[float],
    *,
    confidence: float,
    planned: int = PLANNED,
    shares: tuple[float, float] = (0.5, 0.5),
) -> Estimate:
    """How much higher b's mean is than a's, of independent units, at every look.

    The variances of yes-or-no scores are those with one more unit of each kind, so that they are not 0 where
    only one kind was seen.
    """
    first, second = _variance(a), _variance(b)
    value = sum(b) / len(b) - sum(a) / len(a)
    if abs(value) <= ROUNDING * max(abs(x) for x in (*a, *b)):
        value = 0.0
    se = math.sqrt(first / len(a) + second / len(b))
    at = math.sqrt(first / (planned * shares[0]) + second / (planned * shares[1]))
    return Estimate(value, always_valid(value, se, at, confidence), len(a) + len(b), se=se)


def _difference(
    name: str,
    version: int,
    a: Sequence[float],
    b: Sequence[float],
    confidence: float,
    planned: int,
    share_a: float,
    share_b: float,
) -> LiveDifference:
    unit, higher = FIGURES.get(name, ("", True))
    total = share_a + share_b
    shares = share_a / total, share_b / total
    estimate = difference_interval(a, b, confidence=confidence, planned=planned, shares=shares)
    verdict = verdict_of(estimate, higher_is_better=higher, level=0.0)
    more = None
    if verdict == "undecided" and estimate.se:
        planned_se = math.sqrt(
            _variance(a) / (planned * shares[0]) + _variance(b) / (planned * shares[1])
        )
        more = _more_units(estimate, planned_se, confidence)
    yes_no = _is_yes_no((*a, *b)) or name == "errors"
    return LiveDifference(
        name,
        version,
        sum(b) / len(b),
        sum(a) / len(a),
        estimate,
        verdict,
        yes_no,
        unit,
        more,
    )


def _more_units(estimate: Estimate, planned_se: float, confidence: float) -> int | None:
    """Units to come until a difference of this size, if it is the true one, shows with 80 % power."""
    size, n = abs(estimate.value), estimate.n
    times = 1.0
    while times <= FAR:
        se = (estimate.se or 0.0) / math.sqrt(times)
        if always_valid(0.0, se, planned_se, confidence).high + POWER_Z * se <= size:
            return max(1, math.ceil(n * (times - 1)))
        times *= 1.05
    return None


def _variance(found: Sequence[float]) -> float:
    n, total = len(found), sum(found)
    if _is_yes_no(found):
        share = (total + 1) / (n + 2)
        return share * (1 - share)
    middle, unit = total / n, ROUNDING * max(map(abs, found))
    return sum((v - middle) ** 2 for v in found if abs(v - middle) > unit) / (n - 1)


def _is_yes_no(found: Sequence[float]) -> bool:
    return all(v in (0.0, 1.0) for v in found)


def _of_other_splits(store: Store, split: Split) -> int:
    """Calls of splits of the same alias that began before this one."""
    others = store.rows(
        "SELECT id FROM prompt_splits WHERE name = ? AND alias = ? AND id < ?",
        (split.name, split.alias, split.id),
    )
    ids = {row["id"] for row in others}
    if not ids:
        return 0
    rows = store.rows(
        "SELECT attributes FROM spans WHERE prompt_name = ? AND parent_id IS NULL AND attributes LIKE ?",
        (split.name, f'%"{ID}"%'),
    )
    return sum(values.read(row["attributes"]).get(ID) in ids for row in rows)


def _units(store: Store, split: Split) -> dict[int, dict[str, list[dict[str, float]]]]:
    """By version and unit, the figures and scores of each call."""
    found: dict[int, dict[str, list[dict[str, float]]]] = {}
    calls: dict[str, dict[str, float]] = {}
    for row in store.rows(
        "SELECT trace_id, prompt_version, start_ns, end_ns, status, output_tokens, cost, attributes "
        "FROM spans WHERE prompt_name = ? AND parent_id IS NULL AND end_ns IS NOT NULL "
        "AND attributes LIKE ?",
        (split.name, f'%"{ID}"%'),
    ):
        attributes = values.read(row["attributes"])
        if attributes.get(ID) != split.id:
            continue
        call: dict[str, float] = {"errors": float(row["status"] == "error")}
        if row["status"] == "ok":
            call["latency"] = (row["end_ns"] - row["start_ns"]) / 1e9
            if row["output_tokens"] is not None:
                call["output tokens"] = float(row["output_tokens"])
        if row["cost"] is not None:
            call["cost"] = row["cost"]
        unit = str(attributes.get(UNIT) or row["trace_id"])
        version = int(attributes.get(ARM) or row["prompt_version"])
        found.setdefault(version, {}).setdefault(unit, []).append(call)
        calls[row["trace_id"]] = call
    for row in store.rows(
        "SELECT s.trace_id, s.name, avg(s.value) AS value FROM scores s JOIN spans p "
        "ON p.trace_id = s.trace_id AND p.parent_id IS NULL WHERE p.prompt_name = ? AND s.valid "
        "AND s.value IS NOT NULL GROUP BY s.trace_id, s.name",
        (split.name,),
    ):
        if row["trace_id"] in calls:
            calls[row["trace_id"]][row["name"]] = row["value"]
    return found


def _names(units: Mapping[int, Mapping[str, Sequence[Mapping[str, float]]]]) -> list[str]:
    """Scores that people and code gave, before the figures that all calls have."""
    seen = {
        name: None
        for arm in units.values()
        for calls in arm.values()
        for call in calls
        for name in call
    }
    own = [name for name in seen if name not in FIGURES]
    return [*sorted(own), *(name for name in FIGURES if name in seen)]


def _traffic(
    version: int, units: Mapping[str, Sequence[Mapping[str, float]]], names: Sequence[str]
) -> Traffic:
    scores: dict[str, tuple[float, ...]] = {}
    for name in names:
        means = []
        for calls in units.values():
            known = [call[name] for call in calls if name in call]
            if known:
                means.append(sum(known) / len(known))
        scores[name] = tuple(means)
    return Traffic(version, len(units), sum(map(len, units.values())), scores)


def _points(value: float, d: LiveDifference) -> str:
    if d.yes_no and math.isfinite(value):
        return f"{100 * value:+.1f} points"
    return number(value, d.yes_no, d.unit, signed=True)


def _interval(d: LiveDifference) -> str:
    low, high = d.estimate.interval.low, d.estimate.interval.high
    return f"{_points(low, d).removesuffix(' points')} to {_points(high, d)}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _words(d: LiveDifference) -> str:
    if d.verdict != "undecided":
        return f"version {d.version} is {d.verdict}"
    if d.more_units is None:
        return "not yet"
    return f"not yet: about {d.more_units:,} more units"
