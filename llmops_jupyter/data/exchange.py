"""Data sets as reviewable text: JSON lines for the rows, and a small JSON file that describes them."""

from __future__ import annotations

import json
from pathlib import Path

from llmops_jupyter.data.dataset import Dataset
from llmops_jupyter.data.stage import Datasets, Identified
from llmops_jupyter.errors import DataError


def export_dataset(dataset: Dataset, folder: Path) -> list[Path]:
    """Write ``name.v3.jsonl`` and ``name.v3.json``; each is there whole or not at all."""
    stem = f"{dataset.name}.v{dataset.version}"
    header = {
        "name": dataset.name,
        "version": dataset.version,
        "rows": dataset.n_rows,
        "columns": list(dataset.columns),
        "source": dataset.source,
        "note": dataset.note,
        "created_at": dataset.created_at,
        "content_hash": dataset.content_hash,
    }
    lines = (
        json.dumps({"row_id": i, "row": row}, ensure_ascii=False) for i, row in dataset.items()
    )
    rows = folder / f"{stem}.jsonl"
    _write(rows, "".join(f"{line}\n" for line in lines))
    described = folder / f"{stem}.json"
    _write(described, json.dumps(header, indent=1, ensure_ascii=False) + "\n")
    return [rows, described]


def import_dataset(datasets: Datasets, path: Path) -> Dataset:
    """Read what `export_dataset` wrote, by its ``.json`` file; content that is here already stays.

    Raises:
        DataError: the files are no exported data set, or the rows were changed.
    """
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        pairs = []
        for line in path.with_suffix(".jsonl").read_text(encoding="utf-8").split("\n"):
            if not line:
                continue
            value = json.loads(line)
            pairs.append((str(value["row_id"]), dict(value["row"])))
        return datasets.add(
            header["name"], Identified(pairs), note=header["note"], source=header["source"]
        )
    except (OSError, ValueError, KeyError, TypeError) as e:
        if isinstance(e, DataError):
            raise
        raise DataError(f"{str(path)!r} is no exported data set ({e!r}). Export it again.") from e


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
