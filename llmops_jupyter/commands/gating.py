"""What `%evaluate gate` and `llmops gate` both do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_jupyter.commands.view import Context, Result, told
from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation.outcomes import GateReport


def gate_(context: Context, values: Mapping[str, Any]) -> Result:
    """Run a suite and write the reports that were asked for."""
    with told(context) as tell:
        report = context.workspace.evaluation.gate(values["suite"], progress=tell)
    write_reports(report, values)
    allowed = bool(values.get("allow_undecided"))
    facts = {**report.as_dict(), "exit": report.exit_code(allow_undecided=allowed)}
    charts = tuple(c.chart() for c in report.comparisons)
    return Result(report if values.get("out") else facts, (report, *charts))


def write_reports(report: GateReport, values: Mapping[str, Any]) -> None:
    """Write JUnit's XML; append Markdown, since a summary page may have other parts already."""
    from llmops_jupyter.evaluation import reports

    allowed = bool(values.get("allow_undecided"))
    if values.get("junit"):
        _write(values["junit"], reports.junit(report, allow_undecided=allowed), "w")
    if values.get("markdown"):
        _write(values["markdown"], reports.markdown(report), "a")


def _write(name: str, text: str, mode: str) -> None:
    path = Path(name).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as e:
        raise OptionError(f"The report {name!r} cannot be written: {e.strerror}.") from e
