"""`%deploy` and `llmops deploy`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from llmops_jupyter.commands.prompt import settings_of
from llmops_jupyter.commands.sizing import bench_, size_
from llmops_jupyter.commands.targets import export_, use_
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
from llmops_jupyter.deploy.manifest import FILE
from llmops_jupyter.deploy.pipeline import Outcome
from llmops_jupyter.deploy.releases import Live, Release, rows_of
from llmops_jupyter.errors import DeployError, OptionError

# What the table calls beside what stands here.
__all__ = ["bench_", "export_", "size_", "use_"]

NOTHING = "Nothing was deployed yet. Build a bundle: %deploy build NAME PROMPT; or run a pipeline: %deploy run"
# Where serving is; looked up when it is asked for, since it needs packages that not everybody has.
SERVING = "llmops_jupyter.deploy.serving.process"


def build_(context: Context, values: Mapping[str, Any]) -> Result:
    evaluation = context.workspace.evaluation
    options = {k: v for k, v in settings_of(values).items() if k != "session"}
    with told(context, "") as tell:
        release = context.workspace.deploy.build(
            values["name"],
            values["prompt"],
            evidence=[evaluation.get(_number(n)) for n in values["run"] or ()] or None,
            suites=values["suite"] or (),
            weights=values["weights"] or "reference",
            folder=values["folder"],
            overwrite=values["overwrite"],
            progress=tell,
            **options,
        )
    return _built(release, values)


def run_(context: Context, values: Mapping[str, Any]) -> Result:
    with told(context, "what succeeded is kept; run it again to go on") as tell:
        try:
            outcome = context.workspace.deploy.run(
                values["file"] or "deploy.yaml",
                until=values["until"],
                fresh=values["fresh"],
                again=values["again"],
                folder=values["folder"],
                progress=tell,
            )
        except DeployError as e:
            _append(values["markdown"], f"## ❌ Not deployed\n\n{_quoted(str(e))}\n")
            raise
    _append(values["markdown"], _markdown(outcome))
    views: list[Any] = [outcome.title(), Rows(outcome.run.rows())]
    if outcome.note:
        views.append(Advice(outcome.note))
    return Result(outcome if values.get("out") else outcome.as_dict(), tuple(views))


def promote_(context: Context, values: Mapping[str, Any]) -> Result:
    stage = context.workspace.deploy
    note = values["note"] or ""
    if values["stage"]:
        if values["canary"] is not None or values["expected"] is not None:
            raise OptionError("--stage goes alone: a staged release serves nobody yet.")
        return _now(stage.stage(values["ref"], note=note), values)
    now = stage.promote(
        values["ref"],
        canary=values["canary"],
        expected=values["expected"],
        note=note,
        anyway=values["anyway"],
    )
    return _now(now, values)


def rollback_(context: Context, values: Mapping[str, Any]) -> Result:
    now = context.workspace.deploy.rollback(
        values["name"],
        canary=values["canary"],
        expected=values["expected"],
        note=values["note"] or "",
    )
    return _now(now, values)


def status_(context: Context, values: Mapping[str, Any]) -> Result:
    stage = context.workspace.deploy
    if not values["name"]:
        return list_(context, values)
    runs = stage.runs(values["name"], 1)
    if not runs:
        stage.releases(values["name"])  # says what there is
    now = stage.status(values["name"])
    views: list[Any] = [_sentence(now), *_slots(now)]
    if now.canary is not None and now.release is not None:
        decision = stage.check(now.name, act=False)
        views += [f"the canary: {decision.action} · {decision.reason}", Rows(decision.rows())]
    if runs:
        views += [runs[0].title(), Rows(runs[0].rows())]
        if values["log"]:
            views += _log(context, runs[0])
    return Result(now if values.get("out") else _facts(now), tuple(views))


def list_(context: Context, values: Mapping[str, Any]) -> Result:
    stage = context.workspace.deploy
    if values.get("name"):
        return table(rows_of(stage.releases(values["name"]), stage.status(values["name"])), "")
    rows = [
        {
            "deployment": now.name,
            "live": _ref(now.release),
            "what": "" if now.release is None else now.release.words(),
            "canary": "" if now.canary is None else f"{now.canary.ref} {now.weight:.0%}",
            "staged": _ref(now.staged),
            "changed": minute(now.since),
        }
        for now in stage.list()
    ]
    return table(rows, NOTHING)


def history_(context: Context, values: Mapping[str, Any]) -> Result:
    limit = 50 if values["limit"] is None else values["limit"]
    entries = context.workspace.deploy.history(values["name"], limit)
    rows = [entry.row() for entry in entries]
    empty = f"No release of {values['name']} was moved yet. %deploy promote {values['name']}"
    made = table(rows, empty)
    return Result(entries, made.views) if values.get("out") else made


def ci_(context: Context, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.deploy.planfile import read_plan
    from llmops_jupyter.deploy.templates import EXPORTED, PYTHON, path_of

    file = Path(values["pipeline"] or "deploy.yaml")
    exported = values["exported"] or EXPORTED
    text = context.workspace.deploy.ci(
        values["system"],
        file,
        exported=exported,
        documents=values["documents"] or (),
        python=values["python"] or PYTHON,
    )
    if values["show"]:
        return Result({"text": text}, (text.rstrip("\n"),))
    target = Path(values["file"] or path_of(values["system"], read_plan(file))).expanduser()
    if target.exists() and not values["overwrite"]:
        raise OptionError(
            f"{str(target)!r} is there already. Replace it with --overwrite, or name another file with --file."
        )
    _write(target, text, "w")
    todo = f"export what the pipeline runs on, and commit both: llmops export {exported}"
    return Result({"file": str(target)}, (f"written to {target}", todo))


def serve_(context: Context, values: Mapping[str, Any]) -> Result:
    options = {key: values[key] for key in ("host", "port") if values[key] is not None}
    ref = values["ref"]
    folder = Path(ref).expanduser()
    given = folder if (folder / FILE).is_file() else ref
    made = _serving().start(given, store=context.workspace.path, **options)
    return Result(made if values.get("out") else {"serving": str(made)}, (str(made),))


def stop_(context: Context, values: Mapping[str, Any]) -> Result:
    del context
    _serving().stop(values["name"])
    return line(f"{values['name']} is no longer served")


def _serving() -> Any:
    try:
        return import_module(SERVING)
    except ModuleNotFoundError as e:
        raise DeployError(
            f'Serving needs {e.name}, which is not there. Run: pip install "llmops-jupyter[serve]"'
        ) from e


def _built(release: Release, values: Mapping[str, Any]) -> Result:
    weights = release.manifest.get("weights") or {}
    carried = sum(int(f["size"]) for f in (weights.get("files") or {}).values())
    how = f"weights {weights.get('mode')}" + (f", {size(carried)}" if carried else "")
    told_ = (release.manifest.get("evaluation") or {}).get(
        "summary"
    ) or "no evaluation came with it"
    views = (
        f"{release.ref} · {release.words()} · {how}",
        f"{release.digest} in {release.folder}",
        told_,
        Advice(f"make it live: %deploy promote {release.ref}"),
    )
    facts = {
        "release": release.ref,
        "digest": release.digest,
        "folder": str(release.folder),
        "manifest": dict(release.manifest),
    }
    return Result(release if values.get("out") else facts, views)


def _now(now: Live, values: Mapping[str, Any]) -> Result:
    return Result(now if values.get("out") else _facts(now), (_sentence(now), *_slots(now)))


def _sentence(now: Live) -> str:
    if now.release is None:
        return f"nothing of {now.name} is live"
    said = f"{now.release.ref} is live since {minute(now.since)}"
    if now.canary is not None:
        said += f", {now.canary.ref} gets {now.weight:.0%} of the units"
    return said


def _slots(now: Live) -> list[Any]:
    rows = [
        {"slot": slot, "release": one.ref, "what": one.words(), "digest": one.short}
        for slot, one in now.slots().items()
        if one is not None
    ]
    return [Rows(rows)] if rows else []


def _facts(now: Live) -> dict[str, Any]:
    return {
        "deployment": now.name,
        **{slot: None if one is None else one.ref for slot, one in now.slots().items()},
        "weight": now.weight,
        "changed": now.changed,
        "since": now.since,
    }


def _log(context: Context, run: Any) -> list[Any]:
    from llmops_jupyter.deploy.runs import lines_of

    store = context.workspace.store
    return [
        f"{step.name} {at[11:19]}  {text}"
        for step in run.steps
        for at, text in lines_of(store, step.id)
    ]


def _ref(release: Release | None) -> str:
    return "" if release is None else release.ref


def _number(text: str) -> int:
    if not text.isdigit():
        raise OptionError(
            f"--run is the number of an evaluation run, not {text!r}. See %evaluate list"
        )
    return int(text)


def _markdown(outcome: Outcome) -> str:
    mark = "✅" if outcome.exit == 0 else "⏳"
    lines = [
        f"## {mark} {_quoted(outcome.title())}",
        "",
        "| step | status | what |",
        "|---|---|---|",
    ]
    for row in outcome.run.rows():
        cells = [_quoted(str(row[name])) for name in ("step", "status", "what")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _quoted(outcome.note), ""])


def _quoted(text: str) -> str:
    """A text in which nothing is Markdown or HTML."""
    plain = " ".join(text.split())
    for mark in "\\`*_[]<>|#~!":
        plain = plain.replace(mark, f"\\{mark}")
    return plain.replace("@", "&#64;").replace("://", ":&#47;&#47;")


def _append(name: str | None, text: str) -> None:
    if name:
        _write(Path(name).expanduser(), text, "a")


def _write(path: Path, text: str, mode: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as e:
        raise OptionError(
            f"{str(path)!r} cannot be written: {e.strerror or e}. Name another file."
        ) from e
