"""`%data` and `llmops data`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.trace import filters_of
from llmops_jupyter.commands.view import Context, Result, Rows, line, minute, table
from llmops_jupyter.errors import OptionError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset

PREVIEW = 10


def list_(context: Context, _: Mapping[str, Any]) -> Result:
    rows = [_row(d) for d in context.workspace.data.list()]
    return table(rows, "No data sets yet. Add one: %data add NAME VARIABLE-OR-FILE")


def history_(context: Context, values: Mapping[str, Any]) -> Result:
    return table([_row(d) for d in context.workspace.data.history(values["name"])], "")


def _row(dataset: Dataset) -> dict[str, Any]:
    return {
        "data set": dataset.name,
        "version": dataset.version,
        "rows": dataset.n_rows,
        "columns": ", ".join(dataset.columns),
        "source": dataset.source,
        "note": dataset.note,
        "saved": minute(dataset.created_at),
    }


def add_(context: Context, values: Mapping[str, Any]) -> Result:
    given, data, names = values["rows"], context.workspace.data, context.variables
    show = context.progress()
    if given in names:
        rows, source = names[given], f"variable {given}"
    elif Path(given).expanduser().exists():
        rows, source = Path(given).expanduser(), None
    else:
        known = [n for n in names if not n.startswith("_")]
        raise UnknownNameError(
            f"{given!r} is neither a variable nor a file.{did_you_mean(given, known)} "
            "Define it first, or give the path of a .jsonl, .json, .csv, .tsv or .parquet file."
        )
    known_names = {d.name for d in data.list()}
    before = set()
    if values["name"] in known_names:
        before = {d.version for d in data.history(values["name"])}
    dataset = data.add(
        values["name"],
        rows,
        id_column=values["id"],
        note=values["note"] or "",
        source=source,
        progress=lambda done, total: show(f"{done:,} rows" + (f" of {total:,}" if total else "")),
    )
    same = " (this content was there already)" if dataset.version in before else ""
    return line(f"{dataset.ref}: {dataset.n_rows:,} rows{same}", _row(dataset))


def show_(context: Context, values: Mapping[str, Any]) -> Result:
    dataset = context.workspace.data.get(values["ref"])
    limit = PREVIEW if values["limit"] is None else values["limit"]
    if limit < 0:
        raise OptionError(f"--limit is a number of rows, not {limit}.")
    rows = [{"row": i, **row} for i, row in islice(dataset.items(), limit)]
    views = (f"{dataset.ref}: {dataset.n_rows:,} rows", Rows(rows))
    return Result(dataset if values.get("out") else {**_row(dataset), "items": rows}, views)


def diff_(context: Context, values: Mapping[str, Any]) -> Result:
    data = context.workspace.data
    before, after = values["ref"], values["other"]
    if after is None:
        newer = data.get(before)
        older = [d for d in data.history(newer.name) if d.version < newer.version]
        if not older:
            raise OptionError(f"{newer.ref} is the first version: there is nothing to compare.")
        before, after = max(older, key=lambda d: d.version).ref, newer.ref
    difference = data.diff(before, after)
    return Result(difference, (difference,))


def split_(context: Context, values: Mapping[str, Any]) -> Result:
    made = context.workspace.data.split(
        values["ref"],
        dict(_share(part) for part in values["parts"]),
        seed=values["seed"] or 0,
        by=values["by"],
        stratify=values["stratify"],
    )
    return table([{"part": n, "data set": d.ref, "rows": d.n_rows} for n, d in made.items()], "")


def _share(part: str) -> tuple[str, float]:
    name, _, text = part.partition("=")
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not name or math.isnan(share):
        raise OptionError(f"{part!r} is no part. Write NAME=SHARE, for example train=0.8 test=0.2.")
    return name, share


def prepare_(context: Context, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.commands import preparing

    return preparing.prepare_(context, values)


def from_traces_(context: Context, values: Mapping[str, Any]) -> Result:
    dataset = context.workspace.data_from_traces(
        values["name"], limit=values["limit"] or 200, **filters_of(values)
    )
    return line(f"{dataset.ref}: {dataset.n_rows:,} rows", _row(dataset))
