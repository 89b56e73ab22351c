"""`%deploy export` and `%deploy use`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_jupyter.commands.view import Advice, Context, Result, size, told

# Options of each target by the names that a command line has for them.
OPTIONS = (
    *("merged", "served_as", "arguments"),
    *("replicas", "min_replicas", "max_replicas", "at", "host", "port", "keys", "model"),
)


def export_(context: Context, values: Mapping[str, Any]) -> Result:
    options = {n: values[n] for n in OPTIONS if values[n] is not None and values[n] is not False}
    with told(context, "") as tell:
        made = context.workspace.deploy.export(
            values["ref"],
            values["target"] or "vllm",
            values["folder"],
            overwrite=values["overwrite"],
            progress=tell,
            **options,
        )
    views: list[Any] = [f"{made.kind}: {made.folder} ({len(made.files)} files, {size(made.size)})"]
    if made.check is not None:
        views.append(f"transformers against llama.cpp: {made.check}")
    views += [*made.notes, f"start it there: {' '.join(made.command)}"]
    facts = {"target": made.kind, "folder": str(made.folder), "files": dict(made.files)}
    return Result(made if values.get("out") else facts, tuple(views))


def use_(context: Context, values: Mapping[str, Any]) -> Result:
    made = context.workspace.deploy.use(
        values["name"],
        values["url"],
        model=values["model"],
        key_env=values["key_env"] or "",
        as_=values["as"],
    )
    assert made.endpoint is not None
    views: list[Any] = [f"{made.ref} is {made.endpoint.model} at {made.endpoint.url}"]
    if not made.endpoint.key_env:
        views.append(
            "No key is sent. Where it wants one, put it into a variable of the environment and name that: --key-env VAR"
        )
    views.append(Advice(f"run a prompt on it: %prompt run NAME -m {made.name}"))
    return Result(
        made if values.get("out") else {"model": made.ref, "url": made.where}, tuple(views)
    )
