"""Thresholds from harmless texts of one's own: a check finds something in no more of them than a wanted share.

The threshold is a conformal quantile (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; split
conformal prediction): of n scores the one at rank ceil((n + 1)(1 - rate)), and a text has to score above it. If texts
to come are like these, the chance that one of them does is at most the rate, over calibrations; given this one the
share follows a beta distribution (Vovk, Conditional validity of inductive conformal predictors, 2012), whose middle
95 % are reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_jupyter.errors import GuardError, OptionError
from llmops_jupyter.guard.kept import PolicyVersion
from llmops_jupyter.guard.policy import Policy, Rule
from llmops_jupyter.guard.running import Pipeline, own_threshold, threshold_of
from llmops_jupyter.guard.texts import Texts
from llmops_jupyter.records import Place
from llmops_jupyter.render.html import bundle, escaped

RATE = 0.01
CONFIDENCE = 0.95
# Thresholds are written with so many digits, rounded up.
DIGITS = 6
# From this share of texts on that were found until now, it is asked whether they are harmless.
SUSPICIOUS = 0.2
# A threshold from which on nothing is found, and the share of a check's own below which nearly everything is.
OFF, LOW = 0.999, 0.01

Tell = Callable[[str], None]


@dataclass(frozen=True)
class CalibratedCheck:
    """What calibration found for one check.

    Args:
        check: its name.
        place: of its texts.
        rate: the wanted share of harmless texts that it may find something in, at most.
        threshold: that keeps to it.
        before: the threshold until now.
        n: harmless texts.
        found: how many of them are at or above the threshold.
        interval: of the share among texts to come, 95 %.
        before_found: how many were at or above the threshold until now.
    """

    check: str
    place: Place
    rate: float
    threshold: float
    before: float
    n: int
    found: int
    interval: tuple[float, float]
    before_found: int


@dataclass(frozen=True)
class Calibration:
    """What calibration came to.

    Args:
        policy: the new version.
        checks: those with a score.
        n: harmless texts by place.
        whole: how many of them any check of the new version finds something in, by place, with the interval of that share
            (Clopper and Pearson, 95 %); checks without a score count too.
        notes: what was not calibrated, and why.
    """

    policy: PolicyVersion
    checks: tuple[CalibratedCheck, ...]
    n: Mapping[str, int]
    whole: Mapping[str, tuple[int, tuple[float, float]]]
    notes: tuple[str, ...] = field(default=())

    def rows(self) -> list[dict[str, Any]]:
        """A row for each check and one for the policy at each place."""
        found = [
            {
                "place": c.place,
                "check": c.check,
                "wanted rate": f"at most {c.rate:.2%}",
                "threshold": f"{c.threshold:.4f} (was {c.before:.4f})",
                "harmless texts found": f"{c.found} of {c.n} (was {c.before_found})",
                "rate of texts to come": f"{c.interval[0]:.2%} to {c.interval[1]:.2%}",
            }
            for c in self.checks
        ]
        for place, (hits, interval) in self.whole.items():
            found.append(
                {
                    "place": place,
                    "check": "any of the policy",
                    "wanted rate": "",
                    "threshold": "",
                    "harmless texts found": f"{hits} of {self.n[place]}",
                    "rate of texts to come": f"{interval[0]:.2%} to {interval[1]:.2%}",
                }
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "policy": self.policy.ref,
            "checks": [vars(c) for c in self.checks],
            "n": dict(self.n),
            "whole": {p: {"found": k, "interval": list(i)} for p, (k, i) in self.whole.items()},
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from llmops_jupyter.render import text_table

        return "\n".join([f"{self.policy.ref}", text_table(self.rows()), *self.notes])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:

        from llmops_jupyter.render import table_html

        notes = "".join(f"<div>{escaped(note)}</div>" for note in self.notes)
        head = f"<div><b>{escaped(self.policy.ref)}</b></div>"
        return bundle(str(self), f"{head}{table_html(self.rows())}{notes}")


def threshold_for(scores: Sequence[float], rate: float) -> float:
    """The score from which on a text counts as found, so that at most `rate` of harmless ones to come are.

    Raises:
        GuardError: there are too few scores for the rate, or too many of them are 1.
    """
    n = len(scores)
    least = needed(rate)
    if n < least:
        raise GuardError(
            f"A rate of {rate:g} takes {least:,} harmless texts or more, and there are {n:,}. Give more texts, or a higher rate."
        )
    rank = math.ceil((n + 1) * (1 - rate) - 1e-9)
    bound = float(sorted(scores)[rank - 1])
    scale = 10**DIGITS
    found = math.floor(bound * scale + 1e-9) / scale + 1 / scale
    if found > 1:
        raise GuardError(
            f"More than {rate:g} of the harmless texts have the highest score there is, so no threshold keeps to that rate. "
            "Take the check out, or give a higher rate."
        )
    return float(round(found, DIGITS))


def needed(rate: float) -> int:
    """How many harmless texts a rate takes at least."""
    return math.ceil(1 / rate - 1e-9) - 1


def share_to_come(n: int, rate: float) -> tuple[float, float]:
    """Where the share of texts to come above the threshold lies, given the texts at hand: the middle 95 %."""
    from scipy.stats import beta

    rank = math.ceil((n + 1) * (1 - rate) - 1e-9)
    tail = (1 - CONFIDENCE) / 2
    low, high = beta.ppf([tail, 1 - tail], n + 1 - rank, rank)
    return float(low), float(high)


def exact_interval(hits: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share, 95 %."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(hits, n, alpha=1 - CONFIDENCE, method="beta")
    return (0.0 if math.isnan(low) else float(low)), (1.0 if math.isnan(high) else float(high))


def calibrated(
    pipeline: Pipeline,
    texts: Texts,
    rate: float | None,
    tell: Tell | None = None,
) -> tuple[Policy, tuple[CalibratedCheck, ...], tuple[str, ...]]:
    """The policy with thresholds from harmless texts, what was found, and notes.

    Each check is asked of the texts as they are, not of what other checks would leave of them.

    Raises:
        OptionError: the rate cannot be used, or no check has a score at these places.
        GuardError: there are too few texts, or a check fails on one.
    """
    if rate is not None and not (isinstance(rate, int | float) and 0 < rate < 1):
        raise OptionError(
            f"rate is a share of harmless texts between 0 and 1, such as 0.01, not {rate!r:.60}."
        )
    from llmops_jupyter.guard import named

    rules: list[Rule] = []
    found: list[CalibratedCheck] = []
    notes: list[str] = []
    for rule, check in pipeline.checks:
        some = texts.by_place.get(rule.place)
        scored = named.entry(rule.check).scored
        if not (scored and some):
            rules.append(rule)
            if scored:
                notes.append(
                    f"{rule.check} at {rule.place} keeps its threshold: there are no harmless texts for it"
                )
            continue
        wanted = rate if rate is not None else rule.rate if rule.rate is not None else RATE
        scores = _scores(pipeline, rule, some, tell)
        try:
            found.append(_calibrated(rule, scores, wanted, threshold_of(rule, check)))
        except GuardError as e:
            left_out = "".join(f" ({note})" for note in texts.notes)
            raise GuardError(f"{rule.check} at {rule.place}: {e}{left_out}") from e
        notes += _doubts(found[-1], own_threshold(check))
        rules.append(replace(rule, threshold=found[-1].threshold, rate=wanted))
    if not found:
        places = sorted({r.place for r in pipeline.policy.rules if named.entry(r.check).scored})
        where = "It has no check with a score."
        if places:
            where = f"Its checks with a score are for {', '.join(places)}."
        raise OptionError(f"Nothing of {pipeline.ref} can be calibrated on these texts. {where}")
    return replace(pipeline.policy, rules=tuple(rules)), tuple(found), tuple(notes)


def _calibrated(rule: Rule, scores: Sequence[float], rate: float, before: float) -> CalibratedCheck:
    threshold = threshold_for(scores, rate)
    return CalibratedCheck(
        check=rule.check,
        place=rule.place,
        rate=rate,
        threshold=threshold,
        before=before,
        n=len(scores),
        found=sum(s >= threshold for s in scores),
        interval=share_to_come(len(scores), rate),
        before_found=sum(s >= before for s in scores),
    )


def _doubts(made: CalibratedCheck, own: float) -> list[str]:
    """What speaks against taking these texts for harmless ones like those to come."""
    what, notes = f"{made.check} at {made.place}", []
    if made.before_found > SUSPICIOUS * made.n:
        notes.append(
            f"{what} found something in {made.before_found:,} of these {made.n:,} texts until now: are they harmless?"
        )
    if made.threshold >= OFF:
        notes.append(
            f"{what} is as good as switched off: next to no text has a score of {OFF} or above"
        )
    elif made.threshold < own * LOW:
        notes.append(
            f"{what} now finds something in all that differs from these texts: its threshold is less than a hundredth of the "
            f"{own:.4g} that it comes with, since they are all alike. Give texts of all the kinds that are to come"
        )
    return notes


def _scores(pipeline: Pipeline, rule: Rule, texts: Sequence[str], tell: Tell | None) -> list[float]:
    alone = replace(pipeline, checks=tuple(pair for pair in pipeline.checks if pair[0] is rule))
    found = []
    for number, text in enumerate(texts, 1):
        (verdict,) = alone.check(text, rule.place).verdicts
        if verdict.score is None:
            raise GuardError(
                f"The check {rule.check} gives no score for text {number}: {verdict.reason}."
            )
        found.append(verdict.score)
        if tell is not None and (number % 25 == 0 or number == len(texts)):
            tell(f"{rule.check} at {rule.place}: {number:,}/{len(texts):,} texts")
    return found


def whole(
    pipeline: Pipeline, texts: Mapping[Place, Sequence[str]]
) -> dict[str, tuple[int, tuple[float, float]]]:
    """In how many texts of each place the policy finds something, with the interval of that share."""
    made: dict[str, tuple[int, tuple[float, float]]] = {}
    for place, some in texts.items():
        if some:
            hits = sum(pipeline.check(text, place).decision != "allow" for text in some)
            made[place] = hits, exact_interval(hits, len(some))
    return made
