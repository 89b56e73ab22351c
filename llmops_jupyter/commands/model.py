"""`%model` and `llmops models`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmops_jupyter.commands.view import Context, Result, Rows, line, minute, size, table


def list_(context: Context, values: Mapping[str, Any]) -> Result:
    models = context.workspace.models
    default, registered = models.default(), models.list()
    rows = [
        {
            "model": m.name,
            "version": m.version,
            "aliases": ", ".join(m.aliases),
            "default": "yes" if default is not None and default.ref == m.ref else "",
            "size": size(m.size),
            "quantisation": m.metadata.quantization,
            "context": m.metadata.context_length,
            "source": m.source,
        }
        for m in registered
    ]
    empty = "No models are registered. Add one: %model add PATH, or see %model list --found"
    result = table(rows, empty)
    if not values["found"]:
        return result
    found, notes = models.discover()
    here = {str(m.path) for m in registered}
    more = [
        {"found": c.name, "size": size(c.size), "add with": f"%model add {c.source}"}
        for c in found
        if str(c.path) not in here
    ]
    nothing = "Nothing else was found in packages or in the folders of other tools."
    view = Rows(more) if more else nothing
    return Result({"models": rows, "found": more}, (*result.views, view, *notes))


def add_(context: Context, values: Mapping[str, Any]) -> Result:
    report = _bytes(context, "reading")
    models = context.workspace.models
    return _added(models.add(values["source"], name=values["name"], progress=report))


def pull_(context: Context, values: Mapping[str, Any]) -> Result:
    report = _bytes(context, "downloading")
    models = context.workspace.models
    return _added(
        models.pull(
            values["source"], name=values["name"], revision=values["revision"], progress=report
        )
    )


def _bytes(context: Context, verb: str) -> Callable[[int, int | None], None]:
    show = context.progress()

    def report(done: int, total: int | None) -> None:
        show(f"{verb} {size(done)}" + (f" of {size(total)} ({done / total:.0%})" if total else ""))

    return report


def _added(model: Any) -> Result:
    facts = {"model": model.ref, "path": str(model.path), "sha256": model.sha256}
    return line(
        f"{model.ref}: {size(model.size)}, {model.metadata.quantization}, {model.path}", facts
    )


def use_(context: Context, values: Mapping[str, Any]) -> Result:
    model = context.workspace.models.use(values["ref"])
    return line(f"{model.ref} is the default of this workspace")


def show_(context: Context, values: Mapping[str, Any]) -> Result:
    model = context.workspace.models.get(values["ref"])
    meta = model.metadata
    facts = {
        "model": model.ref,
        "aliases": ", ".join(model.aliases),
        "name in the file": meta.name,
        "architecture": meta.architecture,
        "quantisation": meta.quantization,
        "parameters": f"{meta.parameters:,}" if meta.parameters else "",
        "context": meta.context_length,
        "size": size(model.size),
        "licence": meta.licence,
        "path": str(model.path),
        "source": model.source,
        "sha256": model.sha256,
        "added": minute(model.added_at),
        "chat template": meta.chat_template or "(none)",
    }
    known = {k: v for k, v in facts.items() if v not in ("", None)}
    return Result(known, (Rows([{"fact": k, "value": v} for k, v in known.items()]),))


def verify_(context: Context, values: Mapping[str, Any]) -> Result:
    model = context.workspace.models.verify(values["ref"])
    return line(f"{model.ref} is unchanged: sha256 {model.sha256}")


def alias_(context: Context, values: Mapping[str, Any]) -> Result:
    models = context.workspace.models
    if values["remove"]:
        models.unalias(values["ref"], values["alias"])
        return line(f"{values['ref'].partition('@')[0]}@{values['alias']} removed")
    model = models.alias(values["ref"], values["alias"])
    return line(f"{model.name}@{values['alias']} → version {model.version}")


def status_(context: Context, _: Mapping[str, Any]) -> Result:
    status = context.workspace.engine.status()
    lines = [f"mode: {status['mode']}"]
    if "cassette" in status:
        lines.append(f"cassette: {status['cassette']}")
    for engine in status["loaded"]:
        lines += [f"{key}: {value}" for key, value in engine.items()]
    if not status["loaded"]:
        lines.append("no model is loaded; the first prompt loads one")
    return Result(status, ("\n".join(lines),))


def remove_(context: Context, values: Mapping[str, Any]) -> Result:
    context.workspace.models.remove(values["ref"])
    return line(f"{values['ref']} is off the list; its file was left alone")
