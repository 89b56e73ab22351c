"""Two runs on the same rows, compared by one metric or several."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation import looks
from llmops_jupyter.evaluation.aligning import Aligned, Pair, align, check_same_rows, clusters_of
from llmops_jupyter.evaluation.comparison import (
    ChangedRow,
    Comparison,
    Comparisons,
    SliceDifference,
    without_interval,
)
from llmops_jupyter.evaluation.looks import Look
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.statistics import (
    Estimate,
    Interval,
    adjusted,
    always_valid,
    always_valid_difference,
    clustered_difference,
    detectable,
    paired_means,
    paired_rates,
)
from llmops_jupyter.evaluation.statistics.estimate import ROUNDING, check_confidence
from llmops_jupyter.evaluation.verdict import rows_wanted, verdict_of
from llmops_jupyter.store import Store

# A slice of fewer rows gets no interval.
LEAST_SLICE = 5


@dataclass(frozen=True)
class Question:
    """How two runs are to be compared.

    Args:
        confidence: of all looks together.
        margin: the loss that does not matter, in units of the metric; None if any does.
        detect: the difference that one wants to find; None for the one that is seen.
        slices: the column whose values are looked at one by one.
        final: no rows will be added after this look.
        common: compare the rows that both runs have, where they have different ones.
        correction: of p-values where several comparisons are made at once.
        counted: whether this is a look that is kept, see `looks.glance`.
    """

    confidence: float = 0.95
    margin: float | None = None
    detect: float | None = None
    slices: str = ""
    final: bool = False
    common: bool = False
    correction: str = "holm"
    counted: bool = True

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        for name in ("margin", "detect"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
                raise OptionError(f"{name} is a difference above 0, as in 0.05, not {value!r}.")


def compare_runs(
    store: Store,
    a: EvaluationRun,
    b: EvaluationRun,
    metrics: Sequence[str],
    question: Question,
) -> Comparisons:
    """Compare two runs by metrics that both have.

    Raises:
        DataError: the runs are on different rows, or no row has two scores.
        UnknownNameError: a run does not have the metric.
    """
    return compare_all(store, [(a, b, name) for name in metrics], question)


def compare_all(
    store: Store, pairs: Sequence[tuple[EvaluationRun, EvaluationRun, str]], question: Question
) -> Comparisons:
    """Compare several pairs at once; p-values and verdicts allow for their number."""
    drafts = [_draft(store, a, b, name, question, len(pairs)) for a, b, name in pairs]
    known = [i for i, d in enumerate(drafts) if d.estimate.p_value is not None]
    p_values = adjusted([drafts[i].estimate.p_value or 0.0 for i in known], question.correction)
    by_place = dict(zip(known, p_values, strict=True))
    made = [_finish(store, draft, question, by_place.get(i)) for i, draft in enumerate(drafts)]
    return Comparisons(tuple(made), question.correction)


def with_notes(comparisons: Comparisons, notes: Sequence[Sequence[str]]) -> Comparisons:
    """The same with more to be said of each."""
    made = [replace(c, notes=(*c.notes, *more)) for c, more in zip(comparisons, notes, strict=True)]
    return replace(comparisons, comparisons=tuple(made))


@dataclass(frozen=True)
class _Draft:
    a: EvaluationRun
    b: EvaluationRun
    metric: str
    aligned: Aligned
    look: Look
    family: str
    estimate: Estimate
    # For the margin: it holds for all comparisons that are made at once.
    strict: Interval
    together: str


def _draft(
    store: Store, a: EvaluationRun, b: EvaluationRun, name: str, question: Question, among: int
) -> _Draft:
    check_same_rows(a, b, common=question.common)
    one, other = a.metric(name), b.metric(name)
    aligned = align(a, one, b, other)
    if not aligned.pairs:
        reasons = "; ".join(f"{n}× {why}" for why, n in aligned.left_out)
        raise DataError(f"No row has a score of {name} in both runs: {reasons or 'no rows'}.")
    family = looks.family_of(a, b, one.identifier)
    seen = aligned.seen(a, b)
    where = (
        looks.look(
            store,
            family,
            seen,
            data_name=a.data_name,
            confidence=question.confidence,
            final=question.final,
            among=among,
        )
        if question.counted
        else looks.glance(
            store, family, seen, data_name=a.data_name, confidence=question.confidence
        )
    )
    clusters, together = clusters_of(a, b, aligned)
    bounds = one.bounds if one.bounds == other.bounds else None
    estimate = difference(aligned, clusters, where, bounds)
    strict = estimate
    if question.margin is not None and among > 1 and not where.sequential:
        level = replace(where, confidence=1 - (1 - where.confidence) / among)
        strict = difference(aligned, clusters, level, bounds)
    return _Draft(a, b, name, aligned, where, family, estimate, strict.interval, together)


def difference(
    aligned: Aligned,
    clusters: Sequence[Hashable] | None,
    where: Look,
    bounds: tuple[float, float] | None,
) -> Estimate:
    """The second variant's mean less the first's, with the interval that this look may have."""
    n, confidence = len(aligned.pairs), where.confidence
    a, b = aligned.values()
    value = sum(y - x for x, y in zip(a, b, strict=True)) / n
    if n < 2:
        return without_interval(value, n, confidence, "one row only")
    if clusters is not None and len(set(clusters)) < 2:
        return without_interval(value, n, confidence, "one cluster only")
    if where.sequential:
        return _at_every_look(aligned, clusters, where, bounds)
    if clusters is not None and len(set(clusters)) < n:
        return clustered_difference(a, b, clusters, confidence=confidence)
    if all(v in (0.0, 1.0) for v in (*a, *b)):
        return paired_rates(a, b, confidence=confidence)
    return paired_means(a, b, confidence=confidence)


def _at_every_look(
    aligned: Aligned,
    clusters: Sequence[Hashable] | None,
    where: Look,
    bounds: tuple[float, float] | None,
) -> Estimate:
    """With an interval that holds at every look; rows that were seen first come first."""
    a, b = aligned.values()
    if clusters is not None and len(set(clusters)) < len(a):
        made = clustered_difference(a, b, clusters, confidence=where.confidence)
        if not made.se:
            return without_interval(made.value, made.n, where.confidence, "no spread seen yet")
        planned = made.se * math.sqrt(len(a) / where.planned)
        interval = always_valid(made.value, made.se, planned, where.confidence)
        # Few clusters tell little of the spread: as much wider as the t distribution is.
        wider = made.interval.width / 2 / made.se / _normal(where.confidence)
        half = interval.width / 2 * max(1.0, wider)
        wide = replace(interval, low=made.value - half, high=made.value + half)
        return replace(made, interval=wide, p_value=None, test="")
    seen = {row: i for i, row in enumerate(where.order)}
    places = sorted(
        range(len(a)), key=lambda i: (seen.get(aligned.pairs[i].a_item.row_hash, len(seen)), i)
    )
    first, second = [a[i] for i in places], [b[i] for i in places]
    return always_valid_difference(
        first, second, bounds=bounds, confidence=where.confidence, planned=where.planned
    )


def _normal(confidence: float) -> float:
    from llmops_jupyter.evaluation.statistics.estimate import normal_quantile

    return normal_quantile(confidence)


def _finish(store: Store, draft: _Draft, question: Question, p_value: float | None) -> Comparison:
    a, b, aligned, estimate = draft.a, draft.b, draft.aligned, draft.estimate
    metric = a.metric(draft.metric)
    verdict = verdict_of(
        estimate,
        higher_is_better=metric.higher_is_better,
        level=1 - draft.look.confidence,
        margin=question.margin,
        p_value=p_value,
        strict=draft.strict,
    )
    first, second = aligned.values()
    spread = _spread(first, second)
    effect = _design_effect(estimate, first, second)
    changed = _changed(aligned, higher_is_better=metric.higher_is_better)
    made = Comparison(
        metric=draft.metric,
        a=a.label,
        b=b.label,
        a_value=sum(first) / len(first),
        b_value=sum(second) / len(second),
        difference=estimate.value,
        interval=estimate.interval,
        p_value=p_value,
        n=estimate.n,
        verdict=verdict,
        confidence=question.confidence,
        more_rows=_more(draft, question, spread * math.sqrt(effect))
        if verdict == "undecided"
        else None,
        detectable=_detectable(len(first), spread, effect, draft.look.confidence),
        yes_no=metric.is_yes_no and b.metric(draft.metric).is_yes_no,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        test=estimate.test,
        clusters=estimate.clusters,
        look=draft.look.number,
        data=a.data if a.data_name else "",
        margin=question.margin,
        left_out=aligned.left_out,
        changed=tuple(changed),
        n_changed=len(changed),
        slices=_slices(draft, question),
        slice_column=question.slices,
        notes=tuple(_notes(draft, question)),
        runs=(a.id, b.id),
        columns=tuple(dict.fromkeys(name for item in a.items for name in item.case.row)),
    )
    if not question.counted:
        return replace(made, looks_at_data=looks.looks_at(store, a))
    counted = looks.keep(
        store,
        draft.family,
        a,
        b,
        draft.metric,
        aligned.seen(a, b),
        final=question.final,
        result=made.as_dict(),
    )
    return replace(made, looks_at_data=counted)


def _notes(draft: _Draft, question: Question) -> list[str]:
    found = []
    if draft.look.after_final:
        found.append(
            "the first look was announced as the final one and took the whole error: with this one it is "
            f"{1.2 * (1 - question.confidence):.0%}"
        )
    if draft.look.glance:
        found.append(
            "this is not counted as a look, so the interval is one that holds however often one looks; %evaluate "
            f"compare {draft.a.id} {draft.b.id} counts one"
        )
    if draft.together:
        found.append(draft.together)
    if draft.a.repeats > 1:
        found.append(f"means of {draft.a.repeats} answers a row")
    if draft.a.variant_key == draft.b.variant_key:
        found.append("both are the same variant: the answers are the same")
    if len(draft.aligned.pairs) == 1:
        found.append("one row says nothing about others: add rows")
    return found


def _spread(a: Sequence[float], b: Sequence[float]) -> float:
    n = len(a)
    if n < 2:
        return 0.0
    differences = [y - x for x, y in zip(a, b, strict=True)]
    middle = sum(differences) / n
    return math.sqrt(sum((d - middle) ** 2 for d in differences) / (n - 1))


def _design_effect(estimate: Estimate, a: Sequence[float], b: Sequence[float]) -> float:
    """How many times the variance is that of independent rows."""
    spread = _spread(a, b)
    if estimate.clusters is None or not spread or not estimate.se:
        return 1.0
    return max(1.0, (estimate.se / spread) ** 2 * len(a))


def _more(draft: _Draft, question: Question, spread: float) -> int | None:
    """Rows to add until a later look finds the difference."""
    wanted = question.detect or abs(draft.estimate.value)
    n = len(draft.aligned.pairs)
    later = 1 - (1 - looks.FIRST) * (1 - question.confidence)
    confidence = draft.look.confidence if draft.look.sequential else later
    bounded = draft.a.metric(draft.metric).bounds is not None and draft.estimate.clusters is None
    rows = rows_wanted(
        wanted, spread, n, confidence=confidence, planned=draft.look.planned, betting=bounded
    )
    return None if rows is None else max(1, rows - n)


def _detectable(n: int, spread: float, effect: float, confidence: float) -> float | None:
    if not spread or n / effect < 2:
        return None
    return detectable(n, spread, confidence=confidence, design_effect=effect).detectable


def _changed(aligned: Aligned, *, higher_is_better: bool) -> list[ChangedRow]:
    """Rows with other scores; those that got worse first, then those that got better."""
    sign = 1.0 if higher_is_better else -1.0
    rows = [
        ChangedRow(
            p.a_item.case.row_id,
            p.b - p.a,
            p.a_item.case.input,
            p.a_item.case.output or p.a_item.error,
            p.b_item.case.output or p.b_item.error,
            p.a_item.case.expected,
            p.a,
            p.b,
            p.a_item.trace_id,
            p.b_item.trace_id,
        )
        for p in aligned.pairs
        if not math.isclose(p.a, p.b, rel_tol=ROUNDING, abs_tol=ROUNDING)
    ]
    return sorted(rows, key=lambda r: sign * r.change)


def _slices(draft: _Draft, question: Question) -> tuple[SliceDifference, ...]:
    if not question.slices:
        return ()
    groups: dict[str, list[Pair]] = {}
    one, other = draft.a.metric(draft.metric), draft.b.metric(draft.metric)
    bounds = one.bounds if one.bounds == other.bounds else None
    for pair in draft.aligned.pairs:
        row: Mapping[str, object] = pair.a_item.case.row
        if question.slices not in row:
            raise DataError(
                f"There is no column {question.slices!r} to slice by. Columns: {', '.join(row)}."
            )
        groups.setdefault(str(row[question.slices]), []).append(pair)
    plain = replace(draft.look, confidence=question.confidence)
    found = []
    for name, pairs in groups.items():
        part = Aligned(tuple(pairs), ())
        clusters, _ = clusters_of(draft.a, draft.b, part)
        made = difference(part, clusters, draft.look if draft.look.sequential else plain, bounds)
        if len(pairs) < LEAST_SLICE:
            made = without_interval(made.value, len(pairs), question.confidence, "too few rows")
        found.append((name, made))
    tested = [i for i, (_, made) in enumerate(found) if made.p_value is not None]
    p_values = dict(
        zip(tested, adjusted([found[i][1].p_value or 0.0 for i in tested]), strict=True)
    )
    made_slices = [
        SliceDifference(name, made.n, made.value, made.interval, p_values.get(i))
        for i, (name, made) in enumerate(found)
    ]
    return tuple(sorted(made_slices, key=lambda s: -s.n))
