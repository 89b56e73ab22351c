"""`%monitor baseline`, `drift`, `stream` and `reports`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_jupyter.commands.view import Advice, Context, Result, Rows, minute, table, told
from llmops_jupyter.errors import OptionError

FILTERS = ("prompt", "model", "session", "notebook", "source", "since", "until")
# What says of which rows a baseline is made, and how.
OF_ROWS = (*FILTERS, "data", "limit", "embedder")
NO_BASELINES = "There are no baselines yet. Make one: %monitor baseline NAME --since 30d"
NO_REPORTS = "Nothing was compared yet. Make a baseline, then: %monitor drift NAME"
# As `llmops monitor --once` ends.
OK, ALARM, NO_DATA = 0, 2, 3
SHOWN = 20


def baseline_(context: Context, values: Mapping[str, Any]) -> Result:
    stage: Any = context.workspace.monitor
    name = values["name"]
    given = [key for key in OF_ROWS if values[key] is not None]
    if not name:
        if given or values["remove"] or values["alias"] or values["note"]:
            raise OptionError("Name the baseline: %monitor baseline NAME --prompt NAME --since 30d")
        rows = rows_of(stage.baselines())
        return Result(rows, (Rows(rows),) if rows else (Advice(NO_BASELINES),))
    if values["remove"] or values["alias"]:
        return _changed(stage, values, given)
    options = {key: values[key] for key in ("limit", "embedder", "note") if values[key] is not None}
    with told(context, ""):
        made = stage.baseline(name, **data_of(context, values), **options, **filters_of(values))
    return result_of(made, values, made)


def _changed(stage: Any, values: Mapping[str, Any], given: Sequence[str]) -> Result:
    """Remove a version, or point an alias at it."""
    option = "--remove" if values["remove"] else "--alias"
    other = [*given, *(key for key in ("alias", "note") if option == "--remove" and values[key])]
    if other:
        raise OptionError(
            f"--{other[0]} does not go with {option}, which is for a baseline that there is. Write it in two lines: "
            f"%monitor baseline NAME@VERSION {option}{' ALIAS' if option == '--alias' else ''}"
        )
    if option == "--remove":
        found = stage.get(values["name"])
        stage.remove(found.ref)
        return Result(
            {"removed": found.ref}, (f"{found.ref} was removed, with its checks and streams",)
        )
    found = stage.alias(values["name"], values["alias"], values["note"] or "")
    said = f"{found.name}@{values['alias']} → version {found.version}"
    return Result({"alias": values["alias"], "baseline": found.ref}, (said,))


def drift_(context: Context, values: Mapping[str, Any]) -> Result:
    stage: Any = context.workspace.monitor
    with told(context, ""):
        options = {key: values[key] for key in ("limit", "level") if values[key] is not None}
        if values["feature"]:
            options["features"] = values["feature"]
        report = stage.check(
            values["baseline"], **data_of(context, values), **options, **filters_of(values)
        )
        views: list[Any] = [report]
        if values["to_data"]:
            kept = report.to_data(values["to_data"])
            views.append(f"{len(kept)} rows were kept as {kept.ref}")
    code = ALARM if report.alarm else OK if report.can_alarm else NO_DATA
    return _ending(report, values, code, *views)


def stream_(context: Context, values: Mapping[str, Any]) -> Result:
    stage: Any = context.workspace.monitor
    options = {key: values[key] for key in ("name", "level") if values[key] is not None}
    with told(context, ""):
        stream = stage.stream(values["baseline"], **options)
        if values["reset"]:
            stream.reset()
        # A stream of rows gets them from whoever has them; it can be looked at without any.
        seen = bool(stream.rows) and not stream.baseline.sample.from_traces
        if values["data"] is not None or not (values["reset"] or seen):
            stream.update(**data_of(context, values))
    views = [stream, stream.chart()] if stream.rows else [stream]
    return _ending(stream, values, ALARM if stream.alarm else OK, *views)


def reports_(context: Context, values: Mapping[str, Any]) -> Result:
    stage: Any = context.workspace.monitor
    found = stage.reports(values["baseline"], limit=values["limit"] or SHOWN)
    shown = [
        {
            "at": minute(one["at"]),
            "baseline": one["baseline"],
            "rows": one["rows"],
            "alarm": "yes" if one["alarm"] else "",
            "found": one["summary"],
        }
        for one in found
    ]
    return Result(list(found), table(shown, NO_REPORTS).views)


def _ending(found: Any, values: Mapping[str, Any], code: int, *views: Any) -> Result:
    """A result with the exit code that a terminal ends with."""
    made = result_of(found, values, *views)
    if isinstance(made.value, dict):
        return Result({**made.value, "exit": code}, made.views)
    return made


def result_of(found: Any, values: Mapping[str, Any], *views: Any) -> Result:
    """A result that a variable gets as it is, and a terminal as JSON."""
    plain = getattr(found, "as_dict", None)
    return Result(found if values.get("out") or plain is None else plain(), views)


def filters_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Which traces: those of the filters that are given."""
    return {key: values[key] for key in FILTERS if values[key] is not None}


def data_of(context: Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """The rows that are given instead of traces: a variable's, or a data set."""
    given = values["data"]
    return {} if given is None else {"data": context.variables.get(given, given)}


def rows_of(found: Any) -> Sequence[Mapping[str, Any]]:
    """What a part of the stage lists, as rows of a table."""
    from llmops_jupyter.monitor.alerts import overview

    return overview.rows_of(found)
