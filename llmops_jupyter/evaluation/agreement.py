"""How far people agree on answers, and a judge with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from llmops_jupyter import render
from llmops_jupyter.errors import DataError
from llmops_jupyter.evaluation.labelled import Label, labels_of, majority
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import ScoredMetric
from llmops_jupyter.evaluation.statistics import Estimate, cohens_kappa, krippendorffs_alpha
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.store import Store

# Answers that are shown of those on which annotators differ.
SHOWN = 10
# Values that labels can have beside those that were given, where these are among them.
SCALES = ((0.0, 1.0), (-1.0, 0.0, 1.0))


@dataclass(frozen=True)
class Agreement:
    """How far annotators, and a judge, agree beyond chance.

    Args:
        name: of the labels.
        answers: that have labels.
        alpha: Krippendorff's, of all annotators; None with one.
        kappas: Cohen's, of each two annotators on the answers that both labelled.
        rates: how often each label was given.
        rates_by: the same of each annotator.
        judge: κ of the judge and the majority of people; None without a judge.
        judge_alpha: α of the same two.
        disagreements: answers on which annotators differ, with what each said; those on which they differ
            most come first.
        level: 'ordinal' for grades: α then counts how far labels are apart; else 'nominal'.
    """

    name: str
    answers: int
    alpha: Estimate | None
    kappas: tuple[tuple[str, str, Estimate], ...]
    rates: Mapping[str, float]
    rates_by: Mapping[str, Mapping[str, float]]
    judge: tuple[str, Estimate] | None
    judge_alpha: Estimate | None
    disagreements: tuple[dict[str, Any], ...]
    level: str = "nominal"

    def rows(self) -> list[dict[str, Any]]:
        """One row for each two that are compared."""
        found = []
        if self.alpha is not None:
            found.append(_row(f"all annotators ({self.level} α)", self.alpha))
        found += [_row(f"{a} and {b} (κ)", k) for a, b, k in self.kappas]
        if self.judge is not None:
            found.append(_row(f"{self.judge[0]} and people (κ)", self.judge[1]))
        if self.judge is not None and self.judge_alpha is not None:
            found.append(_row(f"{self.judge[0]} and people ({self.level} α)", self.judge_alpha))
        return found

    def sentences(self) -> list[str]:
        """How many answers have labels, and how often each label was given, by whom."""
        said = [f"{self.name}: {self.answers} answers labelled ({_shares(self.rates)})"]
        if len(self.rates_by) > 1:
            said += [f"{by}: {_shares(rates)}" for by, rates in self.rates_by.items()]
        return said

    def differ(self) -> str:
        """What stands over the answers on which annotators differ."""
        n = len(self.disagreements)
        more = f", of which these {SHOWN} most" if n > SHOWN else ""
        return f"they differ on {n} answer{'s' if n > 1 else ''}{more}:"

    def __str__(self) -> str:
        parts = self.sentences()
        if self.rows():
            parts.append(render.text_table(self.rows()))
        if self.disagreements:
            parts += [self.differ(), render.text_table(self.disagreements[:SHOWN])]
        return "\n".join(parts)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [f"<p>{'<br>'.join(map(escaped, self.sentences()))}</p>"]
        if self.rows():
            blocks.append(render.table_html(self.rows()))
        if self.disagreements:
            shown = render.table_html(self.disagreements[:SHOWN])
            blocks.append(f"<p>{escaped(self.differ())}</p>{shown}")
        return bundle(str(self), "".join(blocks))


def agreement(
    store: Store, runs: Sequence[EvaluationRun], name: str, judge: str | None = None
) -> Agreement:
    """How far the annotators of a run's answers agree, and a judge with them; or of pairs of two runs.

    Raises:
        DataError: there are no labels of this name.
        UnknownNameError: there never were, or the run has no such judge.
    """
    found = labels_of(store, runs, name)
    level = _level(found)
    by_item: dict[str, list[Label]] = {}
    ratings: dict[str, dict[str, Any]] = {}
    for label in found:
        key = f"{label.position}\0{label.repetition}"
        by_item.setdefault(key, []).append(label)
        rating = label.label if level == "nominal" else label.value
        ratings.setdefault(label.by, {})[key] = rating
    kappas = []
    for a, b in combinations(sorted(ratings), 2):
        shared = [k for k in ratings[a] if k in ratings[b]]
        if shared:
            both = ([ratings[by][k] for k in shared] for by in (a, b))
            kappas.append((a, b, cohens_kappa(*both)))
    with_judge = _judge_agreement(runs[-1], by_item, judge, level) if judge else None
    return Agreement(
        name,
        len(by_item),
        krippendorffs_alpha(ratings, level=level) if kappas else None,
        tuple(kappas),
        _rates(found),
        {by: _rates([x for x in found if x.by == by]) for by in sorted(ratings)},
        (judge, with_judge[0]) if judge and with_judge else None,
        with_judge[1] if with_judge else None,
        _disagreements(by_item.values()),
        level,
    )


def _level(found: Sequence[Label]) -> str:
    """Labels with three values or more are grades, unless two of them have the same value."""
    words, values = {label.label for label in found}, {label.value for label in found}
    return "ordinal" if len(values) == len(words) > 2 else "nominal"


def _rates(found: Sequence[Label]) -> dict[str, float]:
    counts = Counter(label.label for label in found)
    return {label: n / len(found) for label, n in sorted(counts.items())}


def _disagreements(items: Any) -> tuple[dict[str, Any], ...]:
    """Answers with different labels: first where the fewest agree, then where values are furthest apart."""

    def key(found: Sequence[Label]) -> tuple[float, float]:
        most = Counter(label.label for label in found).most_common(1)[0][1]
        values = [label.value for label in found]
        return most / len(found), min(values) - max(values)

    differ = [found for found in items if len({label.label for label in found}) > 1]
    return tuple(
        {"row": found[0].row_id, **{label.by: label.label for label in found}}
        for found in sorted(differ, key=key)
    )


def _judge_agreement(
    run: EvaluationRun, by_item: Mapping[str, Sequence[Label]], judge: str, level: str
) -> tuple[Estimate, Estimate]:
    """κ and α of a judge and the majority; a score stands for the label whose value is nearest."""
    metric = run.metric(judge)
    places = {f"{i.position}\0{i.repetition}": n for n, i in enumerate(run.items)}
    scale = _scale({label.value for found in by_item.values() for label in found})
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    for key, found in by_item.items():
        scored, most = metric.scores[places[key]], majority(found)
        if scored.value is not None and most is not None:
            ours[key] = nearest(scored.value, metric, scale)
            theirs[key] = most[1]
    if not ours:
        raise DataError(
            f"{judge} has no score of an answer that people agree on. Label more: %evaluate label {run.id}"
        )
    kappa = cohens_kappa(list(ours.values()), [theirs[key] for key in ours])
    return kappa, krippendorffs_alpha({"judge": ours, "people": theirs}, level=level)


def _scale(values: set[float]) -> list[float]:
    """The values that labels can have, as far as is known from those that were given."""
    for known in SCALES:
        if values <= set(known):
            return list(known)
    return sorted(values)


def nearest(score: float, metric: ScoredMetric, scale: Sequence[float]) -> float:
    """The value of a scale that a score stands for; scores on another scale are stretched onto it."""
    low, high = metric.bounds or (scale[0], scale[-1])
    if (scale[0] < low or scale[-1] > high) and low < high:
        score = scale[0] + (score - low) / (high - low) * (scale[-1] - scale[0])
    return min(scale, key=lambda value: (abs(value - score), -value))


def _shares(rates: Mapping[str, float]) -> str:
    return ", ".join(f"{label} {share:.0%}" for label, share in rates.items())


def _row(name: str, estimate: Estimate) -> dict[str, Any]:
    return {
        "": name,
        "agreement": f"{estimate.value:.2f}",
        "95 % interval": f"{estimate.interval.low:.2f} to {estimate.interval.high:.2f}",
        "answers": estimate.n,
    }
