"""`%monitor watch` and `%monitor golden`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_jupyter.commands.alerting import action_of
from llmops_jupyter.commands.table.monitor import GOLDEN_ACTIONS, WATCH_ACTIONS
from llmops_jupyter.commands.view import Advice, Context, Result, Rows, table, told
from llmops_jupyter.errors import OptionError

NO_GOLDEN = "There are no golden sets yet. Make one: %monitor golden add NAME PROMPT@production --data DATA --metric METRIC"
OPTIONS = ("model", "temperature", "max_tokens", "seed", "expected", "cluster")


def watch_(context: Context, values: Mapping[str, Any]) -> Result:
    stage = context.workspace.monitor
    action = action_of("%monitor watch", values["action"], WATCH_ACTIONS, "start")
    if values["every"] and action != "start":
        raise OptionError(
            f"--every goes with start: %monitor watch start --every {values['every']}"
        )
    views: list[Any] = []
    if action == "start":
        stage.watch(values["every"] or "10m")
        if not stage.alerts.rules():
            views.append(Advice("There are no rules yet. Add some: %monitor alerts add FILE"))
    elif action == "stop":
        stage.watcher.stop()
    found = stage.watcher.status()
    return Result(
        found if values.get("out") else found.as_dict(), (Advice(found.sentence()), *views)
    )


def golden_(context: Context, values: Mapping[str, Any]) -> Result:
    action = action_of("%monitor golden", values["action"], GOLDEN_ACTIONS, "list")
    golden, name = context.workspace.monitor.golden, values["name"]
    if action == "list":
        rows = [
            {
                "golden set": g.name,
                "variant": g.variant,
                "data": g.data,
                "metrics": ", ".join(g.metrics),
                "margin": g.margin,
            }
            for g in golden.list()
        ]
        return table(rows, NO_GOLDEN)
    if not name:
        raise OptionError(f"Name the golden set: %monitor golden {action} NAME")
    if action == "add":
        return _add(golden, values)
    if action == "remove":
        golden.remove(name)
        return Result({"removed": name}, (f"{name} was taken away; its runs stay",))
    if action == "run":
        with told(
            context, "broken off; golden runs are whole or not at all: the next one begins anew"
        ) as tell:
            made = golden.run(name, tell=tell, renew=values["renew"])
        return Result(made, (made.sentence(), Rows(made.rows())))
    return _show(golden, values)


def _add(golden: Any, values: Mapping[str, Any]) -> Result:
    if not (values["variant"] and values["data"] and values["metric"]):
        raise OptionError(
            "A golden set needs what is run, rows and a metric: %monitor golden add NAME PROMPT@production --data DATA "
            "--metric exact"
        )
    options = {key: values[key] for key in OPTIONS if values[key] is not None}
    level = {} if values["level"] is None else {"level": values["level"]}
    made = golden.add(
        values["name"],
        values["variant"],
        values["data"],
        values["metric"],
        margin=values["margin"] or 0.0,
        labels=values["labels"] or "",
        every=values["every"] or "1d",
        **level,
        **options,
    )
    advice = Advice(
        f"{made.name} is kept. Run it: %monitor golden run {made.name}. On a schedule: %monitor alerts add --metric "
        f"golden:{made.name}"
    )
    return Result(made, (advice,))


def _show(golden: Any, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.monitor.alerts.timelines import QualityOverTime

    made = golden.get(values["name"])
    runs = golden.series(made.name)
    if not runs:
        return Result([], (Advice(f"{made.name} was never run: %monitor golden run {made.name}"),))
    rows = [row for run in reversed(runs) for row in run.rows()]
    charts = [QualityOverTime(runs, metric, made.margin) for metric in made.metrics]
    many = f"all {len(runs)} runs" if len(runs) > 1 else "this run and all later ones"
    note = (
        f"intervals hold for {many} together; the first run is the reference, and a loss of more than "
        f"{made.margin:g} counts"
    )
    return Result(list(runs), (Rows(rows), *charts, note))
