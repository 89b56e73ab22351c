"""Rows of a data set, a list or a DataFrame, as a sample: works without any trace."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
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
    truth values or few different words a categorical one. A column is of one kind: of that which the baseline has, else
    of that which most of its values have. Rows are put in the order of their times, if all have one.

    Args:
        data: a data set or a reference to one, a list of mappings or texts, a DataFrame, or a file.
        datasets: of the workspace.
        most: rows to keep.
        like: a baseline, whose features these rows are to have.

    Raises:
        DataError: there is nothing in the rows to watch, or a value cannot be used.
    """
    keeper = Keeper(most)
    marks: dict[str, str | None] = {}
    twice = 0
    for number, (row_id, values, known) in enumerate(_pairs(data, datasets)):
        trace = values.get(TRACE)
        name, mark = (trace, trace) if isinstance(trace, str) and trace else (row_id, known)
        if name in marks:
            twice += 1
            continue
        marks[name] = mark
        row = _row(name, values)
        # An id that follows from the content would draw equal rows together.
        unit = name if mark == name else f"{number} {name}"
        if keeper.wants(row.session, unit):
            keeper.add(row, unit)
    rows, notes = _in_order(keeper.rows(), like)
    if twice:
        notes.append(f"{twice} rows that were there twice count once")
    notes += [*_one_kind(rows, like), *_keep_kinds(rows, like)]
    found = sample_of(rows, seen=keeper.seen, from_traces=False, notes=notes)
    found = replace(found, marks=tuple(marks[row.id] for row in rows))
    vectors = _vectors(rows)
    if vectors is not None:
        found = replace(found, vectors={"input": vectors})
    if rows and not (found.numbers or found.categories or found.texts or found.vectors):
        raise DataError(
            "There is nothing to watch in these rows. Give columns such as input and output, or numbers."
        )
    return found


def _pairs(data: Any, datasets: Datasets) -> Iterator[tuple[str, Mapping[str, Any], str | None]]:
    """Ids with values, and by what the row is known when it comes again.

    Ids that a data set gave are known within it only: in another one they may mean other rows.
    """
    if isinstance(data, str) and not data.lower().endswith(
        (".jsonl", ".json", ".csv", ".tsv", ".parquet")
    ):
        data = datasets.get(data)
    if isinstance(data, Dataset):
        for row_id, values in data.items():
            yield row_id, values, row_id if ID in values else f"{data.name} {row_id}"
        return
    to_dict = getattr(data, "to_dict", None)
    if hasattr(data, "columns") and callable(to_dict):
        data = [{k: _there(v) for k, v in row.items()} for row in to_dict("records")]
    for row_id, row in _identified(data, datasets):
        yield row_id, row, row_id if ID in row else None


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
            row.numbers[name] = _number(value, name, row_id)
        elif isinstance(value, str):
            row.categories[name] = value
    return row


def _number(value: float, name: str, row_id: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise DataError(
            f"The row {row_id!r} has a number in {name!r} that is too large to be compared. Replace it with a smaller "
            "one or leave it out."
        ) from None


def _first(values: Mapping[str, Any], wanted: tuple[str, ...]) -> Any:
    return next((values[name] for name in wanted if values.get(name) is not None), None)


def _time(value: Any) -> int:
    """Nanoseconds since 1970 of a time; 0 where it is none, or is centuries away."""
    if not isinstance(value, str):
        return 0
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    found = int(moment.timestamp() * 1e9)
    return found if abs(found) < 1 << 63 else 0


def _in_order(rows: list[Row], like: Sample | None) -> tuple[list[Row], list[str]]:
    """The rows in the order of their times, if all have one; a note where they stay as they are."""
    timed = sum(row.at != 0 for row in rows)
    if timed == len(rows):
        return sorted(rows, key=lambda row: row.at), []
    said = "so they count in the order in which they are given"
    if timed:
        return rows, [
            f"{timed:,} of {len(rows):,} rows have a time ('at') that can be read, {said}"
        ]
    return rows, [] if like is not None else [f"the rows have no time ('at'), {said}"]


def _one_kind(rows: list[Row], like: Sample | None) -> list[str]:
    """Have each column hold numbers or words, and not both; notes on what that changed."""
    if like is None:
        numbers = Counter(name for row in rows for name in row.numbers)
        words = Counter(name for row in rows for name, word in row.categories.items() if word)
        of_numbers = {name for name, count in numbers.items() if count >= words[name]}
        of_words = words.keys() - of_numbers
    else:
        of_numbers, of_words = {*like.numbers} - {*like.categories}, {*like.categories}
    written = {n: {*like.categories[n]} if like is not None else set() for n in of_words}
    lost, turned = Counter[str](), Counter[str]()
    for row in rows:
        for name in of_numbers & row.categories.keys():
            word = row.categories.pop(name).strip()
            value = _from_word(word)
            if value is not None:
                row.numbers.setdefault(name, value)
            elif word:
                lost[name] += 1
        for name in of_words & row.numbers.keys():
            row.categories.setdefault(name, _as_word(row.numbers.pop(name), written[name]))
            turned[name] += 1
    return [
        *(f"{n:,} words in the column of numbers {c!r} count as missing" for c, n in lost.items()),
        *(f"{n:,} numbers in the column of words {c!r} count as words" for c, n in turned.items()),
    ]


def _from_word(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _as_word(value: float, known: Collection[str | None]) -> str:
    """A number as the baseline writes it: 1 and 1.0 are one word."""
    whole = value.is_integer() and str(value) not in known
    return str(int(value)) if whole else str(value)


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
        found = np.asarray([rows[i].vector for i in having], np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            "The embeddings are not all lists of numbers of one length. Make them with one model, or leave the column out."
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
