"""A gate's report for other programs: JUnit's XML, and Markdown for a summary page."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from llmops_jupyter.evaluation.outcomes import GateReport, Verdict
from llmops_jupyter.render.html import cut

# What XML 1.0 cannot hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$])")


def junit(report: GateReport, *, allow_undecided: bool = False) -> str:
    """JUnit's XML: a test case for each gate, with the rows in the failure's text."""
    undecided = [v for v in report.verdicts if v.outcome == "undecided"]
    failed = [v for v in report.verdicts if v.outcome == "failed"]
    skipped = len(undecided) if allow_undecided else 0
    suite = ElementTree.Element(
        "testsuite",
        {
            "name": _clean(report.suite.name),
            "tests": str(len(report.verdicts)),
            "failures": str(len(failed) + len(undecided) - skipped),
            "errors": "0",
            "skipped": str(skipped),
            "timestamp": report.run.started_at[:19],
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    facts = {
        "variant": report.run.label,
        "data": report.run.data,
        "rows": report.run.n_rows,
        "run": report.run.id,
        "baseline": report.baseline.label if report.baseline else "",
    }
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _clean(str(value))})
    for verdict in report.verdicts:
        _case(suite, report, verdict, allow_undecided=allow_undecided)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(
    suite: ElementTree.Element, report: GateReport, verdict: Verdict, *, allow_undecided: bool
) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {"classname": _clean(report.suite.name), "name": _clean(verdict.gate.words())},
    )
    said = {"message": _clean(verdict.reason)}
    if verdict.outcome == "passed":
        ElementTree.SubElement(case, "system-out").text = _clean(verdict.reason)
    elif verdict.outcome == "undecided" and allow_undecided:
        ElementTree.SubElement(case, "skipped", said)
    else:
        failure = ElementTree.SubElement(case, "failure", {**said, "type": verdict.outcome})
        lines = [" · ".join(f"{k}: {cut(v, 200)}" for k, v in row.items()) for row in verdict.rows]
        if report.difference:
            lines += ["", report.difference]
        failure.text = _clean("\n".join(lines))


def markdown(report: GateReport) -> str:
    """A summary in Markdown; nothing of an answer or a row is live in it."""
    mark = {"passed": "✅", "failed": "❌", "undecided": "❔"}
    lines = [f"## {mark[report.outcome]} {_inert(report.title())}", ""]
    lines += _table(
        [
            {
                "": mark[v.outcome],
                "gate": v.gate.words(),
                "outcome": v.outcome,
                "why": v.reason,
            }
            for v in report.verdicts
        ]
    )
    for title, rows in report.details():
        lines += ["", f"### {_inert(title)}", "", *_table(rows)]
    if report.difference and not report.passed:
        fence = "`" * max(
            3, 1 + max((len(r) for r in re.findall("`+", report.difference)), default=0)
        )
        lines += ["", "### The prompts", "", f"{fence}diff", _clean(report.difference), fence]
    lines += ["", *(f"*{_inert(note)}*" for note in report.run.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    names = list(rows[0])
    made = ["| " + " | ".join(_inert(n) for n in names) + " |", "|" + "---|" * len(names)]
    return made + [
        "| " + " | ".join(_inert(cut(row.get(n), 160)) for n in names) + " |" for row in rows
    ]


def _inert(text: Any) -> str:
    plain = _MARKDOWN.sub(r"\\\1", " ".join(_clean(str(text)).split()))
    # What GitHub would make a link or a mention of.
    return plain.replace("://", ":&#47;&#47;").replace("@", "&#64;").replace("www.", "www&#46;")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
