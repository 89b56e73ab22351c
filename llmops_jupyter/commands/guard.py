"""`%guard` and `llmops guard`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_jupyter.commands import versions
from llmops_jupyter.commands.view import Context, Result, Rows, line, minute, table, told
from llmops_jupyter.errors import OptionError
from llmops_jupyter.guard import PolicyVersion, Report
from llmops_jupyter.guard.report import ORDER, row_of
from llmops_jupyter.guard.stage import check_place
from llmops_jupyter.guard.texts import texts_of
from llmops_jupyter.records import Decision, Place

# Characters of a checked text in a table, and texts that are shown.
CUT, SHOWN = 80, 50
# How `llmops guard check` ends, by what is decided about a text, or about the worst of several.
EXITS: Mapping[Decision, int] = {"allow": 0, "warn": 0, "modify": 2, "deny": 3}


def list_(context: Context, _: Mapping[str, Any]) -> Result:
    rows = [
        {
            "policy": version.name,
            "version": version.version,
            "mode": version.policy.mode,
            **{place: _checks(version, place) for place in ("input", "context", "output")},
            "aliases": ", ".join(version.aliases),
            "kept": minute(version.created_at) if version.version else "comes with the package",
        }
        for version in context.workspace.guard.list()
    ]
    return table(rows, "No policies. Keep one: %guard add NAME FILE.yaml")


def _checks(version: PolicyVersion, place: str) -> str:
    return ", ".join(f"{r.check} ({r.action})" for r in version.policy.rules if r.place == place)


def checks_(context: Context, _: Mapping[str, Any]) -> Result:
    rows = [
        {
            "check": entry.name,
            "finds": entry.summary,
            "places": ", ".join(entry.places),
            "score": "yes" if entry.scored else "",
            "modify": "yes" if entry.replaces else "",
            "options": "; ".join(f"{n}: {k.help}" for n, k in entry.options.items()),
        }
        for entry in context.workspace.guard.checks()
    ]
    return table(rows, "")


def show_(context: Context, values: Mapping[str, Any]) -> Result:
    found = context.workspace.guard.get(values["ref"])
    head = found.ref
    if found.created_at:
        head += f"  kept {minute(found.created_at)}"
    lines = [head]
    if found.aliases:
        lines.append(f"aliases: {', '.join(found.aliases)}")
    if found.note:
        lines.append(f"note: {found.note}")
    value = (
        found
        if values.get("out")
        else {"ref": found.ref, "note": found.note, **found.policy.as_dict()}
    )
    return Result(value, ("\n".join([*lines, "", found.text.rstrip()]),))


def add_(context: Context, values: Mapping[str, Any]) -> Result:
    given = values["file"]
    policy = context.variables.get(given, given)
    found = context.workspace.guard.add(values["name"], policy, note=values["note"] or "")
    told_ = "kept" if found.created else "was there already, it decides the same"
    return line(f"{found.ref} {told_}", {"ref": found.ref, "created": found.created})


def check_(context: Context, values: Mapping[str, Any]) -> Result:
    guard = context.workspace.guard
    text = " ".join(values["text"])
    place: Place = values["place"] or "input"
    if bool(text.strip()) == bool(values["data"]):
        raise OptionError('Give a text, or --data with several: %guard check POLICY "a text"')
    if text.strip():
        report = guard.check(text, values["ref"], place)
        views: tuple[Any, ...] = (_sentence(report), Rows(report.rows()))
        if report.text != text:
            views = (*views, f"what is left: {report.text}")
        facts = {**report.as_dict(), "exit": EXITS[report.decision]}
        return Result(report if values.get("out") else facts, views)
    pipeline = guard.pipeline(values["ref"])
    check_place(pipeline, place)
    texts = texts_of(
        given_of(context, values["data"]), place, context.workspace.data, values["column"]
    )
    with told(context, "") as tell:
        reports = []
        for number, one in enumerate(texts, 1):
            reports.append(pipeline.check(one, place))
            tell(f"{number:,}/{len(texts):,} texts")
    return _several(texts, reports, as_facts=not values.get("out"))


def _sentence(report: Report) -> str:
    found = [v for v in report.verdicts if v.decision != "allow"]
    if not found:
        return f"nothing found by {len(report.verdicts)} checks"
    return ", ".join(dict.fromkeys(v.words() for v in found))


def _several(texts: list[str], reports: list[Report], *, as_facts: bool) -> Result:
    """How many texts each check found something in, and the texts."""
    counts: dict[str, dict[str, Any]] = {}
    rows = []
    for text, report in zip(texts, reports, strict=True):
        for verdict in report.verdicts:
            row = counts.setdefault(
                verdict.check, {"check": verdict.check, **dict.fromkeys(ORDER, 0)}
            )
            row[verdict.decision] += 1
        hits = [v for v in report.verdicts if v.decision != "allow"]
        shown = " ".join(text.split())
        shown = shown if len(shown) <= CUT else f"{shown[:CUT]}…"
        rows += [{"text": shown, **row_of(v)} for v in hits]
    n = sum(r.decision != "allow" for r in reports)
    views = (
        f"something was found in {n:,} of {len(texts):,} texts",
        Rows(list(counts.values())),
        *((Rows(rows[:SHOWN]),) if rows else ()),
    )
    told_ = [r.as_dict() for r in reports]
    worst = max((EXITS[r.decision] for r in reports), default=0)
    return Result({"reports": told_, "exit": worst} if as_facts else told_, views)


def calibrate_(context: Context, values: Mapping[str, Any]) -> Result:
    filters = {k: values[k] for k in ("prompt", "since") if values[k] is not None}
    if bool(filters) == bool(values["data"]):
        raise OptionError(
            "Give harmless texts: --data with a data set or a variable, or --prompt and --since for traces."
        )
    with told(context, "") as tell:
        made = context.workspace.guard.calibrate(
            values["ref"],
            filters or given_of(context, values["data"]),
            values["rate"],
            place=values["place"] or "input",
            column=values["column"],
            progress=tell,
        )
    return Result(made if values.get("out") else made.as_dict(), (made,))


def history_(context: Context, values: Mapping[str, Any]) -> Result:
    guard, name = context.workspace.guard, values["name"]
    rows = [
        {
            "version": v.version,
            "aliases": ", ".join(v.aliases),
            "kept": minute(v.created_at) if v.version else "comes with the package",
            "note": v.note,
        }
        for v in guard.history(name)
    ]
    return versions.history(guard, name, rows)


def diff_(context: Context, values: Mapping[str, Any]) -> Result:
    return versions.diff(context.workspace.guard, values)


def alias_(context: Context, values: Mapping[str, Any]) -> Result:
    return versions.alias(context.workspace.guard, values)


def given_of(context: Context, name: str) -> Any:
    """What a notebook's variable holds, else a data set's reference."""
    return context.variables.get(name, name) if name.isidentifier() else name
