"""Rows of a data set, a list or a DataFrame, as a sample: works without any trace."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from llmops_jupyter.data import Dataset, Datasets
from llmops_jupyter.errors import DataError
from llmops_jupyter.monitor.drift.collecting import Keeper, sample_of
from llmops_jupyter.monitor.drift.features import Row, add_texts
from llmops_jupyter.monitor.drift.sample import Sample, Vectors, halved, unit_length

INPUT = ("input", "question", "text", "query", "prompt")
OUTPUT = ("output", "answer", "completion", "response")
SESSION = ("session", "session_id", "conversation_id")
TIME = ("at", "time", "timestamp")
ID, TRACE, VECTOR = "id", "trace_id", "embedding"
# A column of words is a category if it has no more different ones, and none longer.
MOST_KINDS, LONGEST_KIND = 50, 100
GIVEN = "given in the rows"


def from_rows(data: Any, datasets: Datasets, most: int, *, like: Sample | None = None) -> Sample:
    """The rows with their features.

    Columns: input (or question, text, query, prompt), output (or answer, completion, response), session, at (a time),
    id or trace_id, embedding (vectors of the inputs); every other column of numbers is a numeric feature, and of
    truth values or few different words a categorical one.

    Args:
        data: a data set or a reference to one, a list of mappings or texts, a DataFrame, or a file.
        datasets: of the workspace.
        most: rows to keep.
        like: a baseline, whose features these rows are to have.

    Raises:
        DataError: there is nothing in the rows to watch, or a value cannot be used.
    """
    keeper, ids = Keeper(most), set()
    twice = 0
    for row_id, values in _pairs(data, datasets):
        trace = values.get(TRACE)
        name = str(trace) if isinstance(trace, str) and trace else row_id
        if name in ids:
            twice += 1
            continue
        ids.add(name)
        row = _row(name, values)
        if keeper.wants(row.session, row.id):
            keeper.add(row)
    rows = keeper.rows()
    notes = [f"{twice} rows that were there twice count once"] if twice else []
    notes += _keep_kinds(rows, like)
    found = sample_of(rows, seen=keeper.seen, from_traces=False, notes=notes)
    vectors = _vectors(rows)
    if vectors is not None:
        found = _with(found, vectors)
    if rows and not (found.numbers or found.categories or found.texts or found.vectors):
        raise DataError(
            "There is nothing to watch in these rows. Give columns such as input and output, or numbers."
        )
    return found


def _with(sample: Sample, vectors: Vectors) -> Sample:
    from dataclasses import replace

    return replace(sample, vectors={"input": vectors})


def _pairs(data: Any, datasets: Datasets) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(data, str) and not data.lower().endswith(
        (".jsonl", ".json", ".csv", ".tsv", ".parquet")
    ):
        data = datasets.get(data)
    if isinstance(data, Dataset):
        yield from data.items()
        return
    to_dict = getattr(data, "to_dict", None)
    if hasattr(data, "columns") and callable(to_dict):
        data = [{k: _there(v) for k, v in row.items()} for row in to_dict("records")]
    yield from _identified(data, datasets)


def _identified(data: Any, datasets: Datasets) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows with ids; vectors go beside them, since they are no part of what makes an id."""
    if not isinstance(data, list | tuple):
        yield from datasets.identified(data)
        return
    vectors = [row.get(VECTOR) if isinstance(row, Mapping) else None for row in data]
    bare = [
        {k: v for k, v in row.items() if k != VECTOR} if isinstance(row, Mapping) else row
        for row in data
    ]
    for (row_id, row), vector in zip(datasets.identified(bare), vectors, strict=True):
        yield row_id, row if vector is None else {**row, VECTOR: vector}


def _there(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _row(row_id: str, values: Mapping[str, Any]) -> Row:
    given, made = _first(values, INPUT), _first(values, OUTPUT)
    session = _first(values, SESSION)
    row = Row(row_id, None if session is None else str(session), _time(_first(values, TIME)))
    add_texts(
        row,
        None if given is None else str(given),
        None if made is None else str(made),
        finished=False,
    )
    row.vector = values.get(VECTOR)
    known = {*INPUT[:1], *OUTPUT[:1], *SESSION, *TIME, ID, TRACE, VECTOR}
    known |= {
        n for group in (INPUT, OUTPUT) for n in group if _first(values, group) is values.get(n)
    }
    for name, value in values.items():
        if name in known or value is None:
            continue
        if isinstance(value, bool):
            row.categories[name] = "yes" if value else "no"
        elif isinstance(value, int | float):
            if math.isfinite(value):
                row.numbers[name] = float(value)
        elif isinstance(value, str):
            row.categories[name] = value
    return row


def _first(values: Mapping[str, Any], wanted: tuple[str, ...]) -> Any:
    return next((values[name] for name in wanted if values.get(name) is not None), None)


def _time(value: Any) -> int:
    """Nanoseconds since 1970 of a time; 0 where it is none."""
    if isinstance(value, datetime):
        return int(value.timestamp() * 1e9)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return 0
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return int(moment.timestamp() * 1e9)
    return 0


def _keep_kinds(rows: list[Row], like: Sample | None) -> list[str]:
    """Leave out columns of words that are no categories; notes on them."""
    kinds: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.categories.items():
            kinds.setdefault(name, set()).add(value)
    if like is None:
        dropped = [
            name
            for name, found in kinds.items()
            if len(found) > MOST_KINDS or max(map(len, found)) > LONGEST_KIND
        ]
    else:
        dropped = [name for name in kinds if name not in like.categories]
    for row in rows:
        for name in dropped:
            row.categories.pop(name, None)
    if not dropped or like is not None:
        return []
    return [f"not watched, since they are neither numbers nor few words: {', '.join(dropped)}"]


def _vectors(rows: list[Row]) -> Vectors | None:
    import numpy as np

    having = [i for i, row in enumerate(rows) if row.vector is not None]
    if not having:
        return None
    try:
        found = np.asarray([rows[i].vector for i in having], np.float32)
    except (TypeError, ValueError):
        raise DataError(
            "The embeddings do not all have one length. Make them with one model, or leave the column out."
        ) from None
    if found.ndim != 2:
        raise DataError("An embedding is a list of numbers. Correct the column 'embedding'.")
    bad = np.flatnonzero(~np.isfinite(found).all(1))
    if len(bad):
        raise DataError(
            f"{len(bad)} embeddings hold NaN or infinity, first that of the row {rows[having[bad[0]]].id!r}. "
            "Embed these rows again, or leave them out."
        )
    if not found.any(1).all():
        raise DataError("An embedding is all zeros, which has no direction. Embed that row again.")
    digest = f"given-{found.shape[1]}"
    return Vectors(GIVEN, digest, np.asarray(having), halved(unit_length(found)))
