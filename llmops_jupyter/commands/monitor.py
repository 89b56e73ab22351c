"""`%monitor` and `llmops monitor`; rules are in `alerting`, drift in `drifting`, golden sets and watching in `watching`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_jupyter.commands.alerting import alerts_
from llmops_jupyter.commands.drifting import (
    FILTERS,
    baseline_,
    drift_,
    filters_of,
    reports_,
    result_of,
    rows_of,
    stream_,
)
from llmops_jupyter.commands.scheduling import golden_, watch_
from llmops_jupyter.commands.view import Advice, Context, Result, Rows, told
from llmops_jupyter.errors import OptionError

__all__ = [
    "alerts_",
    "baseline_",
    "bias_",
    "budget_",
    "cost_",
    "drift_",
    "golden_",
    "redteam_",
    "reports_",
    "safety_",
    "spikes_",
    "status_",
    "stream_",
    "watch_",
]

LIMITS = ("tokens", "output_tokens", "seconds", "calls", "dollars", "joules")
SCOPES = ("prompt", "session", "notebook", "deployment")
NO_BUDGETS = (
    "There are no budgets yet. Make one: %monitor budget NAME --output-tokens 100000 --per day"
)


def status_(context: Context, values: Mapping[str, Any]) -> Result:
    found = context.workspace.monitor.status()
    views: list[Any] = [found]
    if not found.board.entries:
        views.append(
            Advice("Add rules: %monitor alerts add FILE, or NAME --metric error_rate --alert 0.1")
        )
    return result_of(found, values, *views)


def safety_(context: Context, values: Mapping[str, Any]) -> Result:
    filters = {k: values[k] for k in FILTERS[:5] if values[k] is not None}
    examples = 5 if values["examples"] is None else values["examples"]
    report = context.workspace.monitor.safety(
        values["window"] or "24h", examples=examples, **filters
    )
    return result_of(report, values, report)


def cost_(context: Context, values: Mapping[str, Any]) -> Result:
    stage: Any = context.workspace.monitor
    report = stage.costs(by=values["by"] or "prompt", **filters_of(values))
    return result_of(report, values, report)


def budget_(context: Context, values: Mapping[str, Any]) -> Result:
    stage: Any = context.workspace.monitor
    name = values["name"]
    wanted = {
        key: values[key] for key in (*LIMITS, *SCOPES, "per", "warn") if values[key] is not None
    }
    if not name:
        if wanted or values["end"] or values["fresh"]:
            raise OptionError("Name the budget: %monitor budget NAME --output-tokens N --per day")
        rows = rows_of(stage.budgets())
        return Result(rows, (Rows(rows),) if rows else (Advice(NO_BUDGETS),))
    if values["end"]:
        stage.end_budget(name)
        return Result({"ended": name}, (f"the budget {name} is no longer in force",))
    made = stage.budget(name, fresh=values["fresh"], **wanted)
    return result_of(made, values, made)


def spikes_(context: Context, values: Mapping[str, Any]) -> Result:
    options = {} if values["per_thousand"] is None else {"per_thousand": values["per_thousand"]}
    stage: Any = context.workspace.monitor
    report = stage.spikes(**options, **filters_of(values))
    return result_of(report, values, report)


def redteam_(context: Context, values: Mapping[str, Any]) -> Result:
    options = {
        key: values[key]
        for key in (
            *("variable", "document", "guard", "rag", "model", "temperature", "max_tokens", "seed"),
        )
        if values[key] is not None
    }
    if values["attacks"] is not None:
        options["n"] = values["attacks"]
    stage: Any = context.workspace.monitor
    with told(context) as tell:
        report = stage.redteam(
            values["prompt"],
            values["family"] or None,
            fresh=values["fresh"],
            progress=tell,
            **options,
        )
    views: list[Any] = [report]
    if values["to_data"]:
        kept = report.to_data(values["to_data"])
        views.append(f"{len(kept)} attacks were kept as {kept.ref}")
    return result_of(report, values, *views)


def bias_(context: Context, values: Mapping[str, Any]) -> Result:
    options = {key: values[key] for key in ("variable", "seed", "model") if values[key] is not None}
    stage: Any = context.workspace.monitor
    with told(context) as tell:
        report = stage.bias(
            values["prompt"],
            context.variables.get(values["texts"], values["texts"]),
            attributes=values["attribute"] or None,
            metrics=values["metric"] or None,
            progress=tell,
            **options,
        )
    return result_of(report, values, report)
