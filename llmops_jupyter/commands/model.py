"""`%model` and `llmops models`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.view import Advice, Context, Result, Rows, line, minute, size, table
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.models.endpoint import Endpoint

ADDRESS = ("http://", "https://")


def list_(context: Context, values: Mapping[str, Any]) -> Result:
    models = context.workspace.models
    default, registered, adapters = models.default(), models.list(), models.adapters()
    rows = [
        {
            "model": m.name,
            "version": m.version,
            "aliases": ", ".join(m.aliases),
            "default": "yes" if default is not None and default.ref == m.ref else "",
            "size": size(m.size) if m.size else "",
            "quantisation": m.metadata.quantization,
            "context": m.metadata.context_length or "",
            "source": m.source,
        }
        for m in registered
    ]
    empty = "No models are registered. Add one: %model add PATH, or see %model list --found"
    views = table(rows, empty).views
    also = [
        {
            "adapter": a.name,
            "version": a.version,
            "aliases": ", ".join(a.aliases),
            "base": a.metadata.architecture,
            "size": size(a.size),
            "source": a.source,
        }
        for a in adapters
    ]
    if also:
        views = (*views, Rows(also))
    if not values["found"]:
        return Result([*rows, *also], views)
    found, notes = models.discover()
    here = {str(m.path) for m in (*registered, *adapters)}
    more = [
        {"found": c.name, "size": size(c.size), "source": c.source}
        for c in found
        if str(c.path) not in here
    ]
    nothing = "Nothing else was found in packages or in the folders of other tools."
    shown = (Rows(more), Advice("Add one: %model add SOURCE")) if more else (nothing,)
    facts = {"models": rows, "adapters": also, "found": more}
    return Result(facts, (*views, *shown, *notes))


def add_(context: Context, values: Mapping[str, Any]) -> Result:
    models, source, address = context.workspace.models, values["source"], values["address"]
    if address is not None or source.startswith(ADDRESS):
        name = values["name"] if address is None else source
        return _added(models.add_endpoint(*_endpoint(values, name, address or source)))
    meant = [o for o in ("model", "key_env", "context", "concurrency") if values[o] is not None]
    if meant:
        raise OptionError(
            f"--{meant[0].replace('_', '-')} is for endpoints, and {source!r} is no address: it would "
            "begin with http:// or https://."
        )
    report = _bytes(context, "reading")
    return _added(models.add(source, name=values["name"], progress=report))


def _endpoint(values: Mapping[str, Any], name: str | None, address: str) -> tuple[str, Endpoint]:
    """The name and the endpoint that the options describe."""
    from llmops_jupyter.models.endpoint import Endpoint
    from llmops_jupyter.models.sources import registry_name

    if not values["model"]:
        raise OptionError(
            f"Say which model of the endpoint with --model ID. It lists its own at {address}/models"
        )
    more = {} if values["concurrency"] is None else {"concurrency": values["concurrency"]}
    endpoint = Endpoint(
        address,
        values["model"],
        key_env=values["key_env"] or "",
        context_length=values["context"],
        **more,
    )
    return name or registry_name(values["model"].rpartition("/")[2]), endpoint


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
    if model.endpoint is not None:
        end = model.endpoint
        key = f", key from {end.key_env}" if end.key_env else ", no key"
        facts = {"model": model.ref, "endpoint": end.as_dict()}
        return line(f"{model.ref}: {end.model} at {end.url}{key}", facts)
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
        "context": meta.context_length or "",
        "size": size(model.size) if model.size else "",
        "licence": meta.licence,
        **_place(model),
        "source": model.source,
        "sha256": model.sha256,
        "added": minute(model.added_at),
        "chat template": "" if model.endpoint is not None else meta.chat_template or "(none)",
    }
    known = {k: v for k, v in facts.items() if v not in ("", None)}
    return Result(known, (Rows([{"fact": k, "value": v} for k, v in known.items()]),))


def _place(model: Any) -> dict[str, Any]:
    """Where a model is."""
    if model.endpoint is None:
        return {"path": str(model.path)}
    end = model.endpoint
    return {
        "endpoint": end.url,
        "model there": end.model,
        "key from": end.key_env,
        "requests at once": end.concurrency,
    }


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


def quantize_(context: Context, values: Mapping[str, Any]) -> Result:
    engines = context.workspace.engine
    return _added(
        engines.quantize(
            values["ref"], values["kind"], copy_name=values["name"], progress=context.progress()
        )
    )


def tune_(context: Context, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.engine.chart import Chart

    percent, kinds = values["allow_loss"], values["only"]
    options: dict[str, Any] = {} if percent is None else {"loss": percent / 100}
    if kinds is not None:
        options["only"] = [kind for kind in kinds.replace(",", " ").split() if kind]
    text = None if values["text"] is None else _text(values["text"])
    register, show = not values["no_register"], context.progress()
    tuning = context.workspace.engine.tune(
        values["ref"], text=text, register=register, progress=show, **options
    )
    show("measured")
    lines = Advice("\n".join(tuning.lines()))
    return Result(tuning, (Rows(tuning.rows()), Chart(tuning), lines))


def _text(name: str) -> str:
    try:
        return Path(name).expanduser().read_text("utf-8")
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise OptionError(f"The text {name!r} cannot be read: {why}. Name a text file.") from e


def compare_(context: Context, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.commands.evaluate import data_of, how, metrics_of
    from llmops_jupyter.commands.view import told

    metrics = metrics_of(context, values["metric"])
    options = how(context, values)
    with told(context) as tell:
        made = context.workspace.evaluation.compare_models(
            values["models"],
            data_of(context, values["data"]),
            prompt=values["prompt"],
            metric=metrics or None,
            progress=tell,
            **options,
        )
    return Result(made, (made, made.chart(), made.comparisons.chart()))


def check_(context: Context, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.prompts.options import adapter_pairs

    ((adapter, scale),) = adapter_pairs(values["adapter"])
    copy, progress = values["copy"], context.progress()
    progress("comparing the copy with its parent")
    found = context.workspace.engine.adapter_follows(copy, adapter, scale)
    progress("compared")
    says = "may be used with" if found.follows else "is not to be used with"
    facts = {"copy": copy, "adapter": adapter, "scale": scale, "follows": found.follows}
    return line(f"{values['adapter']} {says} {copy}: {found}", {**facts, **found.as_dict()})


def status_(context: Context, _: Mapping[str, Any]) -> Result:
    status = context.workspace.engine.status()
    lines = [f"mode: {status['mode']}"]
    if "cassette" in status:
        lines.append(f"cassette: {status['cassette']}")
    for engine in status["loaded"]:
        lines += _facts(engine)
    if not status["loaded"]:
        lines.append("no model is loaded; the first prompt loads one")
    saved = status["saved"]
    if saved["entries"] or saved["most"]:
        bound = f" of {size(saved['most'])}" if saved["most"] else ""
        lines.append(
            f"saved beginnings of prompts: {saved['entries']}, {size(saved['bytes'])}{bound} in "
            f"{saved['folder']}"
        )
    lines += [f"note: {note}" for note in saved.get("notes", ())]
    for other in status.get("others", ()):
        lines += ["", "another shared worker:", *(f"  {fact}" for fact in _facts(other))]
    return Result(status, ("\n".join(lines),))


def _facts(status: Mapping[str, Any]) -> list[str]:
    """A line for each thing that an engine says about itself, with those who use it last."""
    shown = {k: v for k, v in status.items() if k not in ("users", "notes") and v is not None}
    if isinstance(shown.get("memory"), int):
        shown["memory"] = size(shown["memory"])
    lines = [f"{key}: {value}" for key, value in shown.items()]
    users = [f"{user['name'] or 'a process'} ({user['pid']})" for user in status.get("users", ())]
    if "users" in status:
        lines.append(f"used by: {', '.join(users) or 'nobody'}")
    return lines + [f"note: {note}" for note in status.get("notes", ())]


def forget_(context: Context, _: Mapping[str, Any]) -> Result:
    gone = context.workspace.engine.clear_prefixes()
    facts = {"entries": gone.entries, "bytes": gone.bytes}
    return line(f"deleted: {gone.entries} saved beginnings of prompts, {size(gone.bytes)}", facts)


def remove_(context: Context, values: Mapping[str, Any]) -> Result:
    context.workspace.models.remove(values["ref"])
    return line(f"{values['ref']} is off the list; what it points at was left alone")
