"""Gates: whether a variant may go on. Thresholds are on the bounds of intervals, never on means.

A gate that holds with 95 % confidence lets a variant that does not deserve it pass in at most 5 % of cases.
All gates must hold, so the whole suite lets it pass no more often than the gate that it deserves least: no
correction for their number is needed (an intersection-union test; Berger 1982).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError, LLMOpsError
from llmops_jupyter.evaluation.comparing import Question, compare_all
from llmops_jupyter.evaluation.comparison import ChangedRow, Comparison
from llmops_jupyter.evaluation.metrics.metric import Metric, Scored
from llmops_jupyter.evaluation.outcomes import GateReport, Outcome, Verdict
from llmops_jupyter.evaluation.rows import check_column
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import ScoredMetric
from llmops_jupyter.evaluation.statistics import Estimate
from llmops_jupyter.evaluation.suites import AGAINST, Gate, Suite
from llmops_jupyter.evaluation.summary import Summary, summarise

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.base import Runs

SHOWN = 10


def run_suite(
    evaluation: Runs,
    suite: Suite,
    *,
    prompt_difference: Callable[[str, str], str],
    progress: Callable[[str], None] | None = None,
) -> GateReport:
    """Run what a suite says, and decide its gates.

    Args:
        evaluation: of the workspace.
        suite: what to run.
        prompt_difference: the difference of two versions of prompts, as text.
        progress: told how far it is.

    Raises:
        LLMOpsError: it cannot be run.
    """
    data = _data(suite)
    how: dict[str, Any] = {
        "expected": suite.expected,
        "repeat": suite.repeat,
        "cluster": suite.cluster,
        "progress": progress,
    }
    names = suite.every_metric()
    metrics = evaluation.metrics(names)
    called = {name: metric.name for name, metric in zip(names, metrics, strict=True)}
    _check_limits(suite, dict(zip(names, metrics, strict=True)))
    run = _complete(evaluation.run(suite.variant, data, metrics, **how))
    baseline = None
    if suite.baseline is not None:
        baseline = _complete(evaluation.run(suite.baseline, data, metrics, **how))
    comparisons = _comparisons(evaluation, suite, run, baseline, called)
    verdicts = [
        verdict
        for gate in suite.gates
        for verdict in _decide(gate, run, comparisons.get((gate.metric, gate.kind)), suite, called)
    ]
    return GateReport(
        suite,
        tuple(verdicts),
        run,
        baseline,
        tuple(comparisons.values()),
        _difference(run, baseline, prompt_difference),
    )


def _check_limits(suite: Suite, metrics: Mapping[str, Metric]) -> None:
    """Refuse limits that every answer keeps to, or none.

    Raises:
        DataError: there is one.
    """
    for gate in suite.gates:
        bounds = metrics[gate.metric].bounds
        if bounds is None or gate.kind in ("never", "always"):
            continue
        low, high = (0.0, bounds[1] - bounds[0]) if gate.kind in AGAINST else bounds
        if not low <= gate.limit <= high:
            what = "differs by" if gate.kind in AGAINST else "lies between"
            raise DataError(
                f"Line {gate.line} of the suite: {gate.metric} {what} {low:g} {'to' if gate.kind in AGAINST else 'and'} "
                f"{high:g}, so {gate.kind}: {gate.limit:g} says nothing. Rates are shares: 5 % is 0.05."
            )


def _complete(run: EvaluationRun) -> EvaluationRun:
    """The run in which answers that are missing have the worst score that there can be.

    Metrics that say yes or no have it already; those without bounds know no worst one.
    """
    metrics = {}
    for name, metric in run.metrics.items():
        if metric.bounds is None:
            metrics[name] = metric
            continue
        worst = metric.bounds[0] if metric.higher_is_better else metric.bounds[1]
        scores = tuple(
            Scored(worst, explanation=s.explanation)
            if item.output_id is None and s.value is None
            else s
            for item, s in zip(run.items, metric.scores, strict=True)
        )
        metrics[name] = replace(metric, scores=scores)
    return replace(run, metrics=metrics)


def _data(suite: Suite) -> Any:
    """The data set's reference, or the rows of a file beside the suite."""
    if suite.folder is not None and Path(suite.data).suffix:
        from llmops_jupyter.data.reading import read_rows

        path = suite.folder / suite.data
        if path.is_file():
            return list(read_rows(path))
    return suite.data


def _comparisons(
    evaluation: Runs,
    suite: Suite,
    run: EvaluationRun,
    baseline: EvaluationRun | None,
    called: dict[str, str],
) -> dict[tuple[str, str], Comparison]:
    """Of each gate against the baseline. Gates look at fixed rows: the whole error is this look's."""
    found: dict[tuple[str, str], Comparison] = {}
    for gate in suite.gates:
        if gate.kind not in AGAINST or baseline is None:
            continue
        margin = gate.limit if gate.kind == "not_worse_by" else None
        question = Question(confidence=suite.confidence, margin=margin, final=True)
        made = compare_all(evaluation.store, [(baseline, run, called[gate.metric])], question)
        found[gate.metric, gate.kind] = made[0]
    return found


def _decide(
    gate: Gate,
    run: EvaluationRun,
    comparison: Comparison | None,
    suite: Suite,
    called: dict[str, str],
) -> list[Verdict]:
    metric = run.metric(called[gate.metric])
    if gate.kind in AGAINST:
        assert comparison is not None
        return [_against(gate, comparison, metric)]
    if gate.kind in ("never", "always"):
        return [_on_rows(gate, run, metric)]
    if not gate.slice:
        summary = summarise(metric, run.items, run.clusters(), confidence=suite.confidence)
        return [_bounded(gate, summary, run, metric, range(len(run.items)))]
    return _sliced(gate, run, metric, suite)


def _sliced(gate: Gate, run: EvaluationRun, metric: ScoredMetric, suite: Suite) -> list[Verdict]:
    columns = dict.fromkeys(name for item in run.items for name in item.case.row)
    check_column(gate.slice, tuple(columns), "slice")
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(run.items):
        groups.setdefault(str(item.case.row.get(gate.slice)), []).append(place)
    made = []
    clusters = run.clusters()
    for name, places in groups.items():
        part = replace(metric, scores=tuple(metric.scores[i] for i in places))
        items = [run.items[i] for i in places]
        some = [clusters[i] for i in places] if clusters is not None else None
        summary = summarise(part, items, some, confidence=suite.confidence)
        named = replace(gate, slice=f"{gate.slice} ({name})")
        made.append(_bounded(named, summary, run, metric, places))
    return made


def _bounded(
    gate: Gate,
    summary: Summary,
    run: EvaluationRun,
    metric: ScoredMetric,
    places: Sequence[int],
) -> Verdict:
    """A gate on the interval of one value."""
    estimate = summary.estimate
    if estimate is None:
        why = "; ".join(f"{n}× {reason}" for reason, n in summary.missing) or "no answers"
        return Verdict(gate, "undecided", f"there is no score: {why}")
    low, high = estimate.interval.low, estimate.interval.high
    holds, breaks = low >= gate.limit, high < gate.limit
    if gate.kind == "at_most":
        holds, breaks = high <= gate.limit, low > gate.limit
    outcome: Outcome = "passed" if holds else "failed" if breaks else "undecided"
    reason = f"{summary.value_text()}, interval {summary.interval_text()}, n = {estimate.n}"
    if outcome == "undecided":
        reason += f": it holds the threshold {gate.limit:g}{_more_rows(gate, estimate)}"
    if summary.missing:
        why = summary.missing[0][0]
        reason += f"; {sum(n for _, n in summary.missing)} answers have no score: {why}"
        # Who says nothing, or fails, does not pass by it.
        outcome = "undecided" if outcome == "passed" else outcome
    rows = () if outcome == "passed" else _worst(gate, run, metric, places)
    return Verdict(gate, outcome, reason, rows, estimate.n, low, high)


def _more_rows(gate: Gate, estimate: Estimate) -> str:
    """How many more rows would decide, if the value stays what it is."""
    distance = abs(estimate.value - gate.limit)
    half = estimate.interval.width / 2
    if not distance or not math.isfinite(half) or not half:
        return ""
    wanted = math.ceil(estimate.n * (half / distance) ** 2) - estimate.n
    if not 0 < wanted < 1_000_000:
        return ""
    return f", and about {wanted:,} more rows would decide if the value stays as it is"


def _against(gate: Gate, comparison: Comparison, metric: ScoredMetric) -> Verdict:
    """A gate on the difference to the baseline."""
    low, high = comparison.interval.low, comparison.interval.high
    if not metric.higher_is_better:
        low, high = -high, -low
    threshold = gate.limit if gate.kind == "better_by" else -gate.limit
    holds = low > threshold
    breaks = high <= threshold
    outcome: Outcome = "passed" if holds else "failed" if breaks else "undecided"
    reason = (
        f"{comparison.row()['difference']} against {comparison.a}, interval {comparison.interval_text()}, "
        f"n = {comparison.n}"
    )
    if outcome == "undecided":
        reason += f": it holds the threshold {threshold:+g}"
    if comparison.left_out:
        missing = sum(n for _, n in comparison.left_out)
        reason += f"; {missing} rows have not two scores: {comparison.left_out[0][0]}"
        outcome = "undecided" if outcome == "passed" else outcome
    changed = () if outcome == "passed" else _regressed(comparison)
    return Verdict(
        gate,
        outcome,
        reason,
        changed,
        comparison.n,
        comparison.interval.low,
        comparison.interval.high,
    )


def _regressed(comparison: Comparison) -> tuple[dict[str, Any], ...]:
    """The rows that got worse than with the baseline."""
    sign = 1 if comparison.higher_is_better else -1
    rows: list[ChangedRow] = [c for c in comparison.changed if sign * c.change < 0]
    return tuple(
        {
            "row": c.row_id,
            "input": c.input,
            "expected": c.expected,
            "baseline": c.a,
            "now": c.b,
        }
        for c in rows[:SHOWN]
    )


def _on_rows(gate: Gate, run: EvaluationRun, metric: ScoredMetric) -> Verdict:
    """A gate on every row: one that it does not hold for is enough."""
    if not metric.is_yes_no:
        raise DataError(
            f"Line {gate.line} of the suite: {gate.kind} is for metrics that say yes or no, and {gate.metric} is a "
            f"number. Give it a bound, for instance {gate.metric}<2."
        )
    wanted = 0.0 if gate.kind == "never" else 1.0
    broken = [
        i
        for i, (item, s) in enumerate(zip(run.items, metric.scores, strict=True))
        if item.output_id is None or (s.value is not None and s.value != wanted)
    ]
    silent = sum(s.value is None for s in metric.scores)
    n = len(metric.scores)
    if broken:
        absent = len(run.failures)
        reason = f"{len(broken)} of {n} answers do not hold to it"
        if absent:
            reason += f", {absent} of which did not come: {run.failures[0].error or 'no answer'}"
        return Verdict(gate, "failed", reason, _rows(run, broken[:SHOWN], metric), n)
    if silent:
        return Verdict(gate, "undecided", f"{silent} of {n} answers have no score", (), n)
    return Verdict(gate, "passed", f"holds for all {n} answers", (), n)


def _worst(
    gate: Gate, run: EvaluationRun, metric: ScoredMetric, places: Sequence[int]
) -> tuple[dict[str, Any], ...]:
    """The rows that pull the value to the wrong side of the threshold."""
    upward = gate.kind == "at_least"
    scored = [i for i in places if metric.scores[i].value is not None]
    scored.sort(key=lambda i: metric.scores[i].value or 0.0, reverse=not upward)
    wrong = [
        i
        for i in scored
        if ((metric.scores[i].value or 0.0) < gate.limit) == upward
        and (metric.scores[i].value or 0.0) != gate.limit
    ]
    return _rows(run, wrong[:SHOWN], metric)


def _rows(
    run: EvaluationRun, places: Sequence[int], metric: ScoredMetric
) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "row": run.items[i].case.row_id,
            "input": run.items[i].case.input,
            "expected": run.items[i].case.expected,
            "output": run.items[i].case.output or run.items[i].error,
            metric.name: metric.scores[i].value,
        }
        for i in places
    )


def _difference(
    run: EvaluationRun,
    baseline: EvaluationRun | None,
    prompt_difference: Callable[[str, str], str],
) -> str:
    if baseline is None:
        return ""
    before, after = baseline.variant.get("prompt"), run.variant.get("prompt")
    if not before or not after or before == after:
        return ""
    try:
        return prompt_difference(before, after)
    except LLMOpsError:
        return ""
