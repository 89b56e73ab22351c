"""`%finetune` and `llmops finetune`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

from llmops_jupyter.commands.view import (
    Advice,
    Context,
    Result,
    Rows,
    line,
    minute,
    size,
    table,
    told,
)
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.runs import Run

CUT = 300
Shown = Callable[[Run], None]


def run_(context: Context, values: Mapping[str, Any], shown: Shown | None = None) -> Result:
    stage = context.workspace.finetune
    data = _rows(context, values["data"])
    given = {f.name: values.get(f.name) for f in fields(Recipe)}
    # A flag that was not given is False; a number may well be 0.
    settings = {name: v for name, v in given.items() if v is not None and v is not False}
    options = {name: values[name] for name in ("format", "prompt", "answer") if values[name]}
    options |= {"system": _text(context, values["system"]), "model": values["model"]}
    if values["eval"]:
        options["evals"] = _rows(context, values["eval"])
    for name in ("weights", "trainer"):
        if values[name]:
            options[name] = values[name]
    with told(context, "") as tell:
        if values["estimate"]:
            plan = stage.plan(data, recipe=Recipe.from_dict(settings), **options)
            return Result(plan.as_dict(), (plan.sentence(), *plan.notes))
        run = stage.start(data, values["name"], tell=tell, **options, **settings)
        return _followed(context, run, tell, values, shown)


def resume_(context: Context, values: Mapping[str, Any], shown: Shown | None = None) -> Result:
    with told(context, "") as tell:
        run = context.workspace.finetune.resume(values["run"], tell=tell)
        return _followed(context, run, tell, values, shown)


def status_(context: Context, values: Mapping[str, Any]) -> Result:
    run = context.workspace.finetune.get(values["run"])
    views = [f"{run.id} · {run.line()}", *([run.chart()] if run.losses else []), *run.notes]
    return Result(run if values.get("out") else run.as_dict(), tuple(views))


def stop_(context: Context, values: Mapping[str, Any]) -> Result:
    run = context.workspace.finetune.stop(values["run"])
    return line(f"{run.id} stops after this step. Go on with: %finetune resume {run.name}")


def list_(context: Context, _: Mapping[str, Any]) -> Result:
    rows = [
        {
            "run": run.id,
            "adapter": run.adapter or run.name,
            "model": run.model,
            "data": run.data,
            "status": run.status,
            "step": f"{run.step:,} of {run.steps:,}",
            "eval loss": "" if run.best is None else f"{run.best[1]:.3f}",
            "base": "" if not run.evals else f"{run.evals[0][1]:.3f}",
            "began": minute(run.created_at),
        }
        for run in context.workspace.finetune.list()
    ]
    return table(rows, "No runs yet. Make one: %finetune run NAME DATA")


def show_(context: Context, values: Mapping[str, Any]) -> Result:
    stage = context.workspace.finetune
    run = stage.get(values["run"])
    views = _views(run)
    if values["no_compare"] or not run.adapter:
        return Result(run if values.get("out") else run.as_dict(), views)
    if not (run.evals or values["general"]):
        note = Advice("it had no eval rows to compare on: name some with --eval when it is run")
        return Result(run if values.get("out") else run.as_dict(), (*views, note))
    with told(context) as tell:
        outcome = stage.compare(
            run.id,
            metric=values["metric"],
            general=_rows(context, values["general"]) if values["general"] else None,
            tell=tell,
        )
    found: tuple[Any, ...] = (outcome.sentence(),)
    if len(outcome.evals):
        found += (outcome.evals, outcome.evals.chart())
    more = () if outcome.general is None else (outcome.general,)
    return Result(outcome if values.get("out") else outcome.as_dict(), (*views, *found, *more))


def remove_(context: Context, values: Mapping[str, Any]) -> Result:
    run = context.workspace.finetune.remove(values["run"], adapter=values["with_adapter"])
    text = f"{run.id} and its checkpoints are gone"
    if run.adapter:
        text += f", the adapter {run.adapter} {'too' if values['with_adapter'] else 'stays'}"
    return line(text)


def export_(context: Context, values: Mapping[str, Any]) -> Result:
    with told(context) as tell:
        made = context.workspace.finetune.export(
            values["name"],
            values["folder"],
            values["to"] or "adapter",
            kind=values["kind"],
            merged=values["merged"],
            scale=1.0 if values["scale"] is None else values["scale"],
            overwrite=values["overwrite"],
            check=not values["no_check"],
            tell=tell,
        )
    rows = [{"file": name, "size": size(count)} for name, count in made.files.items()]
    views: list[Any] = [f"{made.to} in {made.folder}", Rows(rows)]
    if made.check is not None:
        views.append(f"against this engine: {made.check}")
    facts = {
        "to": made.to,
        "folder": str(made.folder),
        "files": dict(made.files),
        "check": None if made.check is None else asdict(made.check),
        "notes": list(made.notes),
    }
    return Result(made if values.get("out") else facts, (*views, *made.notes))


def _followed(
    context: Context,
    run: Run,
    tell: Callable[[str], None],
    values: Mapping[str, Any],
    shown: Shown | None,
) -> Result:
    if values["background"]:
        text = (
            f"{run.id} trains in the background. %finetune status {run.name} shows how far it is."
        )
        return Result(run if values.get("out") else run.as_dict(), (Advice(text),))
    done = context.workspace.finetune.wait(run.id, tell=tell, shown=shown)
    views = _views(done, curve=shown is None)
    return Result(done if values.get("out") else done.as_dict(), views)


def _views(run: Run, *, curve: bool = True) -> tuple[Any, ...]:
    views: list[Any] = [f"{run.name} · {run.line()}"]
    if curve:
        views.append(run.chart())
    if run.samples:
        views.append(Rows([_sample(s) for s in run.samples]))
    views += facts_of(run)
    return tuple(v for v in views if v is not None)


def _sample(sample: Any) -> dict[str, str]:
    texts = {
        "asked": sample.prompt,
        "wanted": sample.wanted,
        "before": sample.before,
        "after": sample.after,
    }
    return {name: text if len(text) <= CUT else f"{text[:CUT]}…" for name, text in texts.items()}


def facts_of(run: Run) -> list[str]:
    """What is known of a run beside its curve, a line each."""
    facts, found = run.facts, list(run.notes)
    if "parameters" in facts:
        found.append(
            f"{facts['parameters']:,} parameters in {facts['modules']} layers, rank {run.recipe.rank}; "
            f"{facts['trainer']} on {facts['device']}, {facts['precision']}"
        )
    if run.best is not None and run.best[1] >= run.evals[0][1]:
        found.append(
            f"no look at the eval examples was better than the base model ({run.evals[0][1]:.3f}): look at "
            "the rows, or use a lower --learning-rate"
        )
    if "served_kl" in facts:
        found.append(
            f"served as it was trained: mean KL {facts['served_kl']:.4f} nats with the adapter, "
            f"{facts['base_kl']:.4f} without"
        )
    if run.adapter:
        found.append(Advice(f"the adapter is {run.adapter}: %%prompt --adapter {run.name}"))
    return found


def _rows(context: Context, given: str) -> Any:
    """A variable with rows, a data set, or the path of a file."""
    return context.variables.get(given, given)


def _text(context: Context, given: str | None) -> str:
    """A text, or that of the variable with this name."""
    found = context.variables.get(given, given) if given else ""
    return found if isinstance(found, str) else str(given)
