"""Whether a canary stays, is promoted or is taken back, by rules on errors, latency, denials and quality.

One may look as often as one likes: every interval holds at all looks together (confidence sequences, see
`evaluation.statistics.anytime`). The error of false roll-backs is divided among the rules; a promotion needs all of them to
hold, for which no correction is needed (Berger 1982).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from llmops_jupyter.errors import DataError, did_you_mean
from llmops_jupyter.evaluation.statistics.anytime import always_valid, always_valid_mean
from llmops_jupyter.evaluation.suites import check_keys, is_number

Action = Literal["keep", "promote", "rollback"]
Outcome = Literal["worse", "good", "open"]
ERRORS, DENIALS, LATENCY, SLOW, SCORE = (
    "error_rate",
    "denial_rate",
    "latency",
    "slower_than",
    "score",
)
METRICS = (ERRORS, DENIALS, LATENCY, f"{SLOW}=SECONDS", f"{SCORE}:NAME")
KEYS = ("metric", "worse_by", "at_most", "at_least")
TOP = ("rules", "units", "confidence", "promote")
# Units of each release from which the normal approximation holds for skewed values such as latencies.
LEAST_SKEWED = 100
# Units in all for which its intervals are narrowest.
PLANNED = 600
# Values that are looked at: the first of so many units. What is rare enough to need more is no canary's business.
MOST = 20_000


@dataclass(frozen=True)
class Rule:
    """One thing that a canary must not be worse in.

    Args:
        metric: 'error_rate', 'denial_rate', 'latency' (seconds, mean), 'slower_than=2' (share of calls) or 'score:NAME'
            (from 0 to 1).
        kind: 'worse_by' (than the live release), 'at_most' or 'at_least' (the canary alone).
        limit: how much worse, or the bound itself.
    """

    metric: str
    kind: str
    limit: float

    @property
    def higher_is_better(self) -> bool:
        return self.metric.startswith(f"{SCORE}:")

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Least and greatest possible value; None for seconds."""
        return None if self.metric == LATENCY else (0.0, 1.0)

    def words(self) -> str:
        """The rule for people."""
        return f"{self.metric} {self.kind.replace('_', ' ')} {self.limit:g}"


@dataclass(frozen=True)
class Rules:
    """By what a canary is watched.

    Args:
        rules: all of them.
        units: of the canary that are needed for a promotion.
        confidence: that a canary that is as good as the live release is never taken back.
        promote: whether a canary that holds to all rules is promoted without a person.
    """

    rules: tuple[Rule, ...]
    units: int = 100
    confidence: float = 0.95
    promote: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The rules as `read_rules` takes them."""
        return {
            "rules": [{"metric": r.metric, r.kind: r.limit} for r in self.rules],
            "units": self.units,
            "confidence": self.confidence,
            "promote": self.promote,
        }


@dataclass(frozen=True)
class Stats:
    """What a release did, a value for each unit (a user, a session) in the order in which units came.

    A unit has the mean of its calls, since they are not independent of each other; where calls are, each is a unit.

    Args:
        errors: share of the calls that failed.
        denials: share of the calls that a guard denied.
        latencies: seconds of a call.
        scores: of quality from 0 to 1, by name; a unit without one is left out.
    """

    errors: Sequence[float] = ()
    denials: Sequence[float] = ()
    latencies: Sequence[float] = ()
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def units(self) -> int:
        return len(self.errors)

    def values(self, metric: str) -> Sequence[float]:
        """The values by a metric."""
        if metric.startswith(f"{SCORE}:"):
            return self.scores.get(metric.removeprefix(f"{SCORE}:"), ())[:MOST]
        if metric.startswith(f"{SLOW}="):
            limit = float(metric.partition("=")[2])
            return [float(value > limit) for value in self.latencies[:MOST]]
        known = {ERRORS: self.errors, DENIALS: self.denials, LATENCY: self.latencies}
        return known[metric][:MOST]


@dataclass(frozen=True)
class Finding:
    """What a rule came to: of the canary's value, or of its difference to the live release's, with an interval."""

    rule: Rule
    outcome: Outcome
    live: float | None
    canary: float | None
    low: float
    high: float
    n: int

    def sentence(self) -> str:
        """The finding on one line, with its metric, its interval and its units."""
        if self.canary is None:
            return f"{self.rule.words()}: no unit has a value yet"
        against = "" if self.live is None else f" against {self.live:.3g}"
        bounds = f"{_shown(self.low)} to {_shown(self.high)}"
        what = "difference" if self.rule.kind == "worse_by" else "interval"
        return f"{self.rule.words()}: {self.canary:.3g}{against}, {what} {bounds} over {self.n} units of the canary"

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON values."""
        made = asdict(self)
        return {
            **made,
            "rule": self.rule.words(),
            "low": _finite(self.low),
            "high": _finite(self.high),
        }


@dataclass(frozen=True)
class Decision:
    """What is to become of a canary.

    Args:
        action: 'keep', 'promote' or 'rollback'.
        reason: on one line.
        findings: what each rule came to.
    """

    action: Action
    reason: str
    findings: tuple[Finding, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """The findings as a table."""
        marks = {"worse": "✗", "good": "✓", "open": "?"}
        return [
            {
                "": marks.get(f.outcome, "?"),
                "rule": f.rule.words(),
                "live": "" if f.live is None else f"{f.live:.3g}",
                "canary": "" if f.canary is None else f"{f.canary:.3g}",
                "interval": f"{_shown(f.low)} to {_shown(f.high)}",
                "units": f.n,
            }
            for f in self.findings
        ]

    def as_dict(self) -> dict[str, Any]:
        """The decision as JSON values; `summary` is what a log shows."""
        return {
            "action": self.action,
            "summary": self.reason,
            "findings": [f.as_dict() for f in self.findings],
        }


DEFAULT = Rules((Rule(ERRORS, "worse_by", 0.05), Rule(DENIALS, "worse_by", 0.05)))


def decide(live_stats: Stats, canary_stats: Stats, rules: Rules = DEFAULT) -> Decision:
    """Whether a canary is kept, promoted or taken back; a pure function of what both did since the canary began.

    Args:
        live_stats: of the live release while the canary runs.
        canary_stats: of the canary.
        rules: by which it is judged.
    """
    alpha = (1 - rules.confidence) / max(1, len(rules.rules))
    findings = tuple(_finding(rule, live_stats, canary_stats, alpha) for rule in rules.rules)
    worse = [f for f in findings if f.outcome == "worse"]
    if worse:
        return Decision("rollback", "; ".join(f.sentence() for f in worse), findings)
    n = canary_stats.units
    if n < rules.units:
        return Decision("keep", f"{n} of {rules.units} units of the canary so far", findings)
    waiting = [f for f in findings if f.outcome == "open"]
    if waiting:
        return Decision("keep", f"not sure yet: {waiting[0].sentence()}", findings)
    if not rules.promote:
        return Decision(
            "keep", f"holds to all rules over {n} units; a person promotes it", findings
        )
    return Decision("promote", f"holds to all {len(findings)} rules over {n} units", findings)


def read_rules(given: Any, at: str = "the rules of the canary") -> Rules:
    """Rules from a list of mappings, or a mapping with rules, units, confidence and promote; the default ones for None.

    Raises:
        DataError: something cannot be used.
    """
    if given is None or (isinstance(given, Mapping) and not given):
        return DEFAULT
    if isinstance(given, Rules):
        return given
    value = {"rules": given} if isinstance(given, list | tuple) else given
    if not isinstance(value, Mapping):
        raise DataError(
            f"{at}: write a list such as [{{metric: error_rate, worse_by: 0.05}}], not {given!r:.60}."
        )
    check_keys(value, TOP, at, 0, "A canary")
    listed = value.get("rules")
    if listed is not None and (not isinstance(listed, list | tuple) or not listed):
        raise DataError(f"{at}: rules is a list such as [{{metric: error_rate, worse_by: 0.05}}].")
    found = DEFAULT.rules if listed is None else tuple(_rule(one, at) for one in listed)
    units: Any = value.get("units", DEFAULT.units)
    confidence: Any = value.get("confidence", DEFAULT.confidence)
    if isinstance(units, bool) or not isinstance(units, int) or units < 1:
        raise DataError(f"{at}: units is a whole number from 1, not {units!r:.40}.")
    if not is_number(confidence) or not 0.5 <= confidence < 1:
        raise DataError(
            f"{at}: confidence is between 0.5 and 1, as in 0.95, not {confidence!r:.40}."
        )
    promote = value.get("promote", True)
    if not isinstance(promote, bool):
        raise DataError(f"{at}: promote is true or false, not {promote!r:.40}.")
    return Rules(found, units, float(confidence), promote)


def _rule(given: Any, at: str) -> Rule:
    if isinstance(given, Rule):
        return given
    if not isinstance(given, Mapping) or not isinstance(given.get("metric"), str):
        raise DataError(
            f"{at}: a rule names a metric, as in {{metric: error_rate, worse_by: 0.05}}"
        )
    check_keys(given, KEYS, at, 0, "A rule of a canary")
    metric = str(given["metric"])
    _check_metric(metric, at)
    kinds = [kind for kind in KEYS[1:] if kind in given]
    if len(kinds) != 1 or not is_number(given[kinds[0]]):
        raise DataError(
            f"{at}: the rule of {metric} has one of {', '.join(KEYS[1:])}, with a number; for instance worse_by: 0.05"
        )
    made = Rule(metric, kinds[0], float(given[kinds[0]]))
    wrong = "at_most" if made.higher_is_better else "at_least"
    if made.kind == wrong:
        right = "at_least" if made.higher_is_better else "at_most"
        better = "higher" if made.higher_is_better else "lower"
        raise DataError(f"{at}: {metric} is better when it is {better}: write {right} or worse_by.")
    if made.limit < 0 or (made.bounds is not None and made.limit >= 1 and made.kind != "at_least"):
        raise DataError(
            f"{at}: {made.words()} says nothing: shares and scores lie between 0 and 1, and 5 % is 0.05."
        )
    return made


def _check_metric(metric: str, at: str) -> None:
    name, _, seconds = metric.partition("=")
    if name == SLOW:
        try:
            if 0 < float(seconds) < math.inf:
                return
        except ValueError:
            pass
        raise DataError(f"{at}: write {SLOW}= with seconds, as in {SLOW}=2, not {metric!r:.40}.")
    if metric in (ERRORS, DENIALS, LATENCY) or (metric.startswith(f"{SCORE}:") and metric[6:]):
        return
    near = did_you_mean(metric, (ERRORS, DENIALS, LATENCY, SLOW, SCORE))
    raise DataError(
        f"{at}: there is no metric {metric!r:.60}.{near} Metrics: {', '.join(METRICS)}."
    )


def _finding(rule: Rule, live: Stats, canary: Stats, alpha: float) -> Finding:
    new = canary.values(rule.metric)
    old = live.values(rule.metric) if rule.kind == "worse_by" else ()
    if not new or (rule.kind == "worse_by" and not old):
        return Finding(rule, "open", None, None, -math.inf, math.inf, len(new))
    if rule.kind == "worse_by":
        low, high = _difference(rule, old, new, alpha)
    else:
        low, high = _interval(rule, new, alpha)
    sign = -1 if rule.higher_is_better else 1
    # As losses: how much worse it is, or how far past the bound.
    worst, best = (low, high) if sign > 0 else (-high, -low)
    limit = rule.limit if rule.kind == "worse_by" else sign * rule.limit
    outcome: Outcome = "worse" if worst > limit else "good" if best <= limit else "open"
    before = _mean(old) if old else None
    return Finding(rule, outcome, before, _mean(new), low, high, len(new))


def _difference(
    rule: Rule, old: Sequence[float], new: Sequence[float], alpha: float
) -> tuple[float, float]:
    """The interval of how much higher the canary's mean is, at all looks together."""
    if rule.bounds is not None:
        first, second = (_interval(rule, values, alpha / 2) for values in (old, new))
        return second[0] - first[1], second[1] - first[0]
    if min(len(old), len(new)) < LEAST_SKEWED:
        return -math.inf, math.inf
    se = math.sqrt(_variance(old) / len(old) + _variance(new) / len(new))
    planned = se * math.sqrt((len(old) + len(new)) / PLANNED)
    made = always_valid(_mean(new) - _mean(old), se, planned, 1 - alpha)
    return made.low, made.high


def _interval(rule: Rule, values: Sequence[float], alpha: float) -> tuple[float, float]:
    if rule.bounds is not None:
        low, high = rule.bounds
        inside = [min(high, max(low, value)) for value in values]
        made = always_valid_mean(inside, low, high, confidence=1 - alpha).interval
        return made.low, made.high
    if len(values) < LEAST_SKEWED:
        return -math.inf, math.inf
    se = math.sqrt(_variance(values) / len(values))
    made = always_valid(_mean(values), se, se * math.sqrt(len(values) / PLANNED), 1 - alpha)
    return made.low, made.high


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    middle = _mean(values)
    return sum((value - middle) ** 2 for value in values) / max(1, len(values) - 1)


def _shown(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "?"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
