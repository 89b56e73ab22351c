"""Rows from what a notebook or a folder holds."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmops_jupyter.data.values import Row, plain
from llmops_jupyter.errors import DataError, missing_dependency

BLOCK = 1 << 20
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


def read_rows(source: Any) -> Iterator[Row]:
    """Rows of a path, a DataFrame, or a list of mappings or texts (column ``text``), as JSON values.

    Raises:
        DataError: with the line or row where it goes wrong.
    """
    if isinstance(source, str | Path):
        yield from _read_file(Path(source).expanduser())
        return
    to_dict = getattr(source, "to_dict", None)
    if hasattr(source, "columns") and callable(to_dict):
        source = to_dict("records")
    rows = getattr(source, "rows", None)
    if callable(rows):
        source = rows()
    if isinstance(source, bytes | Mapping) or not isinstance(source, Iterable):
        raise DataError(
            f"Rows are a list, a DataFrame, a data set or a file, not {type(source).__name__}."
        )
    for number, row in enumerate(source, 1):
        yield _row(row, f"row {number}")


def _row(row: Any, where: str) -> Row:
    if isinstance(row, str):
        return {"text": plain(row, where)}
    if not isinstance(row, Mapping):
        raise DataError(
            f"{where} is a {type(row).__name__}. A row is a mapping of column names to values."
        )
    return {str(k): plain(v, f"{where}, column {str(k)!r}") for k, v in row.items()}


def _read_file(path: Path) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"There is no file {str(path)!r}. Check the path.")
    if suffix == ".parquet":
        yield from _read_parquet(path)
        return
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv}
    if suffix not in readers:
        raise DataError(
            f"{path.name!r} is none of {', '.join(SUFFIXES)}. Convert it to one of them."
        )
    try:
        yield from readers[suffix](path)
    except UnicodeDecodeError as e:
        raise DataError(
            f"{path.name!r} is not UTF-8 at byte {_first_bad_byte(path)}. Save it as UTF-8, or read it "
            "with pandas and its encoding and add the DataFrame."
        ) from e
    except OSError as e:
        raise DataError(f"{path.name!r} cannot be read: {e.strerror}.") from e


def _first_bad_byte(path: Path) -> int:
    """Where a file is no UTF-8, counted from its beginning; the reader counts from its last block."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    with path.open("rb") as file:
        while True:
            block = file.read(BLOCK)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as e:
                return done - (len(e.object) - len(block)) + e.start
            done += len(block)
            if not block:
                return done


def _parse(text: str, path: Path, line: int | None = None) -> Any:
    """The JSON value of a file, or of one of its lines."""
    where = repr(path.name) if line is None else f"{path.name!r} line {line}"
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        place = f"{path.name!r} line {line or e.lineno}"
        raise DataError(f"{place} is not JSON: {e.msg}. Correct that line.") from e
    except RecursionError as e:
        raise DataError(f"{where} nests too deep to be read. Give flatter rows.") from e
    except ValueError as e:
        raise DataError(
            f"{where} has a number of more than 4,300 digits. Write it as text, in quotes."
        ) from e


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            yield _row(_parse(line, path, number), f"line {number}")


def _json(path: Path) -> Iterator[Row]:
    value = _parse(path.read_text(encoding="utf-8-sig"), path)
    if not isinstance(value, list):
        raise DataError(f"{path.name!r} holds no list of rows. Wrap the rows in [ and ].")
    for number, row in enumerate(value, 1):
        yield _row(row, f"row {number}")


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = next(lines, None)
            if not header:
                raise DataError(f"{path.name!r} is empty. Its first line names the columns.")
            double = sorted({name for name in header if header.count(name) > 1})
            if double:
                raise DataError(f"{path.name!r} has two columns {double[0]!r}. Rename one.")
            for cells in lines:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise DataError(
                        f"{path.name!r} line {lines.line_num} has {len(cells)} cells where the header "
                        f"has {len(header)}. Put quotes around cells that hold {delimiter!r}."
                    )
                yield _row(dict(zip(header, cells, strict=True)), f"line {lines.line_num}")
        except csv.Error as e:
            raise DataError(f"{path.name!r} line {lines.line_num}: {e}. Correct the quotes.") from e


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise missing_dependency("pyarrow", "Reading Parquet", "data") from e
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield _row(row, f"row {number}")
    except (pyarrow.ArrowException, OSError) as e:
        raise DataError(f"{path.name!r} is no readable Parquet file: {e}.") from e
