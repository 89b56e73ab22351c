"""What `%data prepare` and `llmops data prepare` do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_jupyter.commands.view import Advice, Context, Result, Rows, told
from llmops_jupyter.data.preparing.prepared import Prepared
from llmops_jupyter.data.preparing.recipe import caps_of
from llmops_jupyter.errors import OptionError, UnknownNameError, did_you_mean


def prepare_(context: Context, values: Mapping[str, Any]) -> Result:
    """Prepare rows, or show the report of an earlier preparation."""
    data = context.workspace.data
    if values["show"]:
        return _shown(data.preparation(values["data"]), values)
    rows, name = _rows(context, values["data"])
    options = {key: values[key] for key in ("format", "pii", "language") if values[key]}
    if values["near"] is not None:
        options["near"] = values["near"]
    with told(context) as tell:
        prepared = context.workspace.finetune.prepare(
            rows,
            values["name"] or name,
            model=values["model"],
            against=[_rows(context, given)[0] for given in values["against"] or ()],
            prompt=values["prompt"],
            answer=values["answer"],
            system=values["system"] or "",
            clean=not values["no_clean"],
            quality=not values["no_quality"],
            cap=caps_of(values["cap"]),
            keep=tuple(values["keep"] or ()),
            progress=tell,
            **options,
        )
    return _shown(prepared, values)


def _shown(prepared: Prepared, values: Mapping[str, Any]) -> Result:
    views = tuple(
        Rows(view) if isinstance(view, list) else Advice(view) if isinstance(view, str) else view
        for view in prepared.views()
    )
    value = prepared if values.get("out") else prepared.as_dict()
    return Result(value, (*views, prepared.chart()))


def _rows(context: Context, given: str) -> tuple[Any, str | None]:
    """Rows of a variable, a data set or a file, and the name of what they become if it is not the source's."""
    if given in context.variables:
        return context.variables[given], f"{_plain(given)}.clean"
    known = {d.name for d in context.workspace.data.list()}
    if given.partition("@")[0] in known:
        return context.workspace.data.get(given), None
    path = Path(given).expanduser()
    if path.is_file():
        return path, f"{_plain(path.stem)}.clean"
    names = [*known, *(n for n in context.variables if not n.startswith("_"))]
    raise UnknownNameError(
        f"{given!r} is neither a data set nor a variable nor a file.{did_you_mean(given, names)} "
        "%data list shows what there is."
    )


def _plain(name: str) -> str:
    made = "".join(c if c.isalnum() and c.isascii() else "-" for c in name.lower()).strip("-")
    if not made:
        raise OptionError(f"Name the data set that {name!r} becomes, with --name.")
    return made
