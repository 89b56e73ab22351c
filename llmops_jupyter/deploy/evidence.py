"""What speaks for a release: runs, comparisons and gates, as JSON for programs and Markdown for people.

Numbers of runs, traces and times are not in it, since they are of one store and one day; the bundle tells them beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.comparison import Comparison
    from llmops_jupyter.evaluation.outcomes import GateReport, Verdict
    from llmops_jupyter.evaluation.runs import EvaluationRun

JSON, MARKDOWN = "evaluation/report.json", "evaluation/report.md"
PASSED, FAILED, UNDECIDED, MEASURED = "passed", "failed", "undecided", "measured"
# What is of one store and one look.
LOCAL = ("runs", "look", "looks_at_data", "id", "run", "baseline", "recorded")


@dataclass(frozen=True)
class Evidence:
    """What speaks for, or against, a release.

    Args:
        gates: reports of suites.
        runs: evaluation runs.
        comparisons: of two variants.
    """

    gates: tuple[GateReport, ...] = ()
    runs: tuple[EvaluationRun, ...] = ()
    comparisons: tuple[Comparison, ...] = ()

    @property
    def outcome(self) -> str:
        """'failed' if a gate failed, else 'undecided', else 'passed'; 'measured' where there is no gate."""
        found = {report.outcome for report in self.gates}
        for worse in (FAILED, UNDECIDED, PASSED):
            if worse in found:
                return worse
        return MEASURED

    def summary(self) -> str:
        """All of it on one line."""
        parts = [report.title() for report in self.gates]
        if not parts:
            parts = [_run_line(run) for run in self.runs]
        parts += [c.sentence() for c in self.comparisons]
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The evidence as JSON values."""
        return {
            "outcome": self.outcome,
            "summary": self.summary(),
            "gates": [_gates(report) for report in self.gates],
            "runs": [_without_local(run.as_dict()) for run in self.runs],
            "comparisons": [_without_local(c.as_dict()) for c in self.comparisons],
        }

    def numbers(self) -> dict[str, Any]:
        """Where it is found in the store that it is from."""
        runs = [r.id for r in self.runs]
        runs += [one.id for g in self.gates for one in (g.run, g.baseline) if one is not None]
        return {"runs": sorted(set(runs))}

    def told(self) -> Told:
        """The evidence as it is kept and carried."""
        return Told(self.outcome, self.summary(), self.as_dict(), self.markdown(), self.numbers())

    def markdown(self) -> str:
        """The evidence for people."""
        from llmops_jupyter.evaluation import reports

        parts = [reports.markdown(report) for report in self.gates]
        for run in self.runs:
            rows = [
                f"| {s['metric']} | {s['value']} | {s['95 % interval']} | {s['answers']} |"
                for s in run.summary_rows()
            ]
            head = ["| metric | value | 95 % interval | answers |", "|---|---|---|---|"]
            parts.append("\n".join([f"## {_run_line(run)}", "", *head, *rows, ""]))
        for comparison in self.comparisons:
            parts.append(f"## {comparison.metric}\n\n{comparison.sentence()}\n")
        return "\n".join(parts)


@dataclass(frozen=True)
class Told:
    """Evidence as it is kept and carried: without the objects that it was made of.

    Args:
        outcome: 'passed', 'failed', 'undecided' or 'measured'.
        summary: on one line.
        report: as JSON values.
        markdown: for people.
        numbers: of the runs in the store that it is from.
    """

    outcome: str
    summary: str
    report: Mapping[str, Any]
    markdown: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"outcome": self.outcome, "summary": self.summary, "report": JSON}

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return dict(vars(self))


def merged(every: Sequence[Told]) -> Told | None:
    """Several pieces of evidence as one; the worst outcome is that of all."""
    if len(every) < 2:
        return every[0] if every else None
    outcomes = [one.outcome for one in every]
    outcome = next(o for o in (FAILED, UNDECIDED, PASSED, MEASURED) if o in outcomes)
    summary = "; ".join(one.summary for one in every if one.summary)
    parts = ("gates", "runs", "comparisons")
    report = {part: [x for one in every for x in one.report.get(part, ())] for part in parts}
    runs = sorted({n for one in every for n in one.numbers.get("runs", ())})
    return Told(
        outcome,
        summary,
        {"outcome": outcome, "summary": summary, **report},
        "\n".join(one.markdown for one in every),
        {"runs": runs},
    )


def gathered(given: Any) -> Told | None:
    """Evidence from a run, a comparison, a gate's report, or several of them.

    Raises:
        OptionError: something is none of these.
    """
    from llmops_jupyter.evaluation.comparison import Comparison, Comparisons
    from llmops_jupyter.evaluation.outcomes import GateReport
    from llmops_jupyter.evaluation.runs import EvaluationRun

    if given is None or isinstance(given, Told):
        return given
    if isinstance(given, Evidence):
        return given.told()
    every: list[Any] = []
    for one in given if isinstance(given, list | tuple) else [given]:
        every += list(one) if isinstance(one, Comparisons) else [one]
    kinds = {GateReport: [], EvaluationRun: [], Comparison: []}  # type: dict[type, list[Any]]
    for one in every:
        if type(one) not in kinds:
            raise OptionError(
                f"Evidence is a run, a comparison or a gate's report, not {type(one).__name__}. For instance "
                "evidence=ws.evaluation.gate('suite.yaml')."
            )
        kinds[type(one)].append(one)
    found = [tuple(kinds[kind]) for kind in (GateReport, EvaluationRun, Comparison)]
    return Evidence(*found).told() if any(found) else None


def failure(reports: Sequence[GateReport]) -> str:
    """The first gate that did not pass, with its metric, its interval and its rows; '' if all did."""
    for report in reports:
        for verdict in report.verdicts:
            if verdict.outcome != PASSED:
                return f"{report.suite.name}: {verdict_words(verdict)}"
    return ""


def verdict_words(verdict: Verdict) -> str:
    """What came of a gate on one line, with the rows that speak against it."""
    said = f"{verdict.gate.words()} {verdict.outcome} ({verdict.reason})"
    rows = [str(row.get("row")) for row in verdict.rows if row.get("row") is not None]
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"{said}; rows {', '.join(rows[:5])}{more}" if rows else said


def _run_line(run: EvaluationRun) -> str:
    values = ", ".join(f"{s.metric} {s.value_text()} [{s.interval_text()}]" for s in run.summary())
    return f"{run.label} on {run.data}: {values or 'no metrics'}"


def _gates(report: GateReport) -> dict[str, Any]:
    found = _without_local(report.as_dict())
    found["baseline"] = report.baseline.label if report.baseline else None
    found["text"] = report.suite.text.replace("\r\n", "\n")
    return found


def _without_local(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in value.items() if name not in LOCAL}
