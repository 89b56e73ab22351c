"""`%evaluate` and `llmops evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_jupyter.commands.prompt import settings_of
from llmops_jupyter.commands.view import Context, Result, Rows, line, table, told
from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation.metrics.metric import Metric
from llmops_jupyter.evaluation.variant import Variant

LOWEST = 10


def run_(context: Context, values: Mapping[str, Any]) -> Result:
    with told(context) as tell:
        run = context.workspace.evaluation.run(
            variant_of(context, values["variant"]),
            data_of(context, values["data"]),
            metrics_of(context, values["metric"]),
            progress=tell,
            on=values["on"],
            **how(context, values),
        )
    return Result(run, (run,))


def compare_(context: Context, values: Mapping[str, Any]) -> Result:
    given = [_side(context, text) for text in values["variants"]]
    if len(given) < 2:
        raise OptionError(
            "There is one variant, and it takes two. Write %evaluate compare A B --data DATA --metric METRIC"
        )
    metrics = metrics_of(context, values["metric"])
    several = len(given) > 2 or len(metrics) > 1
    data = data_of(context, values["data"]) if values["data"] else None
    with told(context) as tell:
        made = context.workspace.evaluation.compare(
            given[0],
            given[1:] if several else given[1],
            data,
            metrics if several or not metrics else metrics[0],
            slices=values["slices"],
            margin=values["margin"],
            detect=values["detect"],
            confidence=0.95 if values["confidence"] is None else values["confidence"],
            correction=values["correction"] or "holm",
            final=values["final"],
            common=values["common"],
            progress=tell,
            **how(context, values),
        )
    return Result(made, (made, made.chart()))


def plan_(context: Context, values: Mapping[str, Any]) -> Result:
    given = values["data"]
    made = context.workspace.evaluation.plan(
        int(given) if given.isdigit() else data_of(context, given),
        detect=values["detect"],
        changed=values["changed"],
        spread=values["spread"],
        power=0.8 if values["power"] is None else values["power"],
        confidence=0.95 if values["confidence"] is None else values["confidence"],
    )
    return Result(made, (made, made.chart()))


def list_(context: Context, values: Mapping[str, Any]) -> Result:
    rows = context.workspace.evaluation.list(values["limit"] or 20)
    empty = "No runs yet. Make one: %evaluate run PROMPT --data DATA --metric METRIC"
    return table([dict(row) for row in rows], empty)


def show_(context: Context, values: Mapping[str, Any]) -> Result:
    run = context.workspace.evaluation.get(run_number(values["run"]))
    metric = values["metric"][0] if values["metric"] else None
    rows = run.worst(metric, LOWEST if values["limit"] is None else values["limit"])
    value = run if values.get("out") else {**run.as_dict(), "rows": rows}
    return Result(value, (run.title(), Rows(run.summary_rows()), Rows(rows), *run.notes))


def forget_(context: Context, values: Mapping[str, Any]) -> Result:
    number = run_number(values["run"])
    gone = context.workspace.evaluation.forget(number)
    return line(f"run {number}: {gone} answers deleted, with their scores and labels; traces stay")


def optimize_(context: Context, values: Mapping[str, Any]) -> Result:
    metrics = metrics_of(context, values["metric"])
    if len(metrics) != 1:
        raise OptionError("A search makes one metric better: name it with --metric.")
    options = settings_of(values)
    held = values["held_out"]
    with told(context) as tell:
        made = context.workspace.evaluation.optimize(
            values["ref"],
            data_of(context, values["data"]),
            metrics[0],
            held_out=data_of(context, held) if held else None,
            budget=500 if values["budget"] is None else values["budget"],
            proposer=values["proposer"],
            shots=_sizes(values["shots"]),
            seed=options.pop("seed", 0),
            expected=values["expected"],
            cluster=values["cluster"],
            think=values["think"],
            progress=tell,
            **options,
        )
    views: tuple[Any, ...] = (made, made.chart())
    if made.comparison is not None:
        views = (*views, made.comparison.chart())
    if values["save"]:
        kept = made.save(values["save"])
        views = (*views, f"kept as {kept.ref}; no alias was moved")
    return Result(made, views)


def _sizes(text: str | None) -> tuple[int, ...]:
    if text is None:
        return (2, 4)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() for part in parts):
        raise OptionError(f"--shots takes sizes such as 2,4, not {text!r}.")
    return tuple(int(part) for part in parts)


def agreement_(context: Context, values: Mapping[str, Any]) -> Result:
    made = context.workspace.evaluation.agreement(
        run_number(values["run"]), values["name"], values["judge"]
    )
    return Result(made, (made,))


def correct_(context: Context, values: Mapping[str, Any]) -> Result:
    made = context.workspace.evaluation.corrected(
        run_number(values["run"]), values["judge"], values["name"]
    )
    return Result(made, (made, made.chart()))


def gate_(context: Context, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.commands import gating

    return gating.gate_(context, values)


def metrics_(_: Context, __: Mapping[str, Any]) -> Result:
    from llmops_jupyter.evaluation.metrics import catalogue

    return table([entry.as_dict() for entry in catalogue()], "")


def how(context: Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that a command line gave."""
    found = settings_of(values)
    found.pop("session", None)
    return {
        **found,
        "expected": values["expected"],
        "repeat": 1 if values.get("repeat") is None else values["repeat"],
        "cluster": values.get("cluster"),
        "fresh": values["fresh"],
        "variables": context.variables,
    }


def variant_of(context: Context, text: str) -> Any:
    """A variant by its text, or a notebook's variable that holds one or a function."""
    names = context.variables
    if text in names and (isinstance(names[text], Variant) or callable(names[text])):
        return names[text]
    return text


def data_of(context: Context, name: str | None) -> Any:
    """Rows of a notebook's variable, else a data set's reference."""
    if not name:
        raise OptionError("Say on which rows: --data NAME, a data set or a variable.")
    return context.variables.get(name, name) if name.isidentifier() else name


def metrics_of(context: Context, given: list[str] | None) -> list[Any]:
    """Metrics by their text, or by a notebook's variable that holds one or a function."""
    names = context.variables
    return [
        names[text] if isinstance(names.get(text), Metric) or callable(names.get(text)) else text
        for text in given or ()
    ]


def run_number(text: str) -> int:
    """The number of a run.

    Raises:
        OptionError: it is no number.
    """
    if not str(text).isdigit():
        raise OptionError(f"{text!r} is no number of a run. %evaluate list shows them.")
    return int(text)


def _side(context: Context, text: str) -> Any:
    return int(text) if text.isdigit() else variant_of(context, text)
