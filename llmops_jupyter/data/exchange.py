"""Data sets as reviewable text: JSON lines for the rows, and a small JSON file that describes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_jupyter.data.dataset import Dataset
from llmops_jupyter.data.spool import Spool
from llmops_jupyter.data.stage import Datasets, Identified
from llmops_jupyter.data.values import Row, plain
from llmops_jupyter.errors import DataError, LLMOpsError
from llmops_jupyter.store import aliases


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


@dataclass(frozen=True)
class Exported:
    """A data set as it was read from a folder, checked and not yet kept."""

    name: str
    source: str
    note: str
    pairs: Sequence[tuple[str, Row]]

    def add_to(self, datasets: Datasets) -> bool:
        """Keep it; whether its content was new there. Content that is there already stays."""
        known = {d.version for d in datasets.list() if d.name == self.name}
        before = {d.version for d in datasets.history(self.name)} if known else set()
        rows = Identified(self.pairs)
        made = datasets.add(self.name, rows, note=self.note, source=self.source)
        return made.version not in before


def read_exported(path: Path) -> Exported:
    """Read what `export_dataset` wrote, by its ``.json`` file.

    Raises:
        DataError: the files are no exported data set, or the rows are not those that were exported.
        OptionError: the name cannot be used.
    """
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        lines = path.with_suffix(".jsonl").read_text(encoding="utf-8").split("\n")
        values = [json.loads(line) for line in lines if line]
        pairs = [(str(v["row_id"]), plain(dict(v["row"]), path.name)) for v in values]
        found = Exported(
            aliases.check_name("data", str(header["name"])),
            str(header["source"]),
            str(header["note"]),
            pairs,
        )
        wanted = str(header["content_hash"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        if isinstance(e, LLMOpsError):
            raise
        raise DataError(f"{str(path)!r} is no exported data set ({e!r}). Export it again.") from e
    with Spool() as spool:
        for pair in pairs:
            spool.add(*pair)
        if not pairs or spool.content_hash != wanted:
            raise DataError(
                f"The rows beside {str(path)!r} are not those that were exported. Export it again, or "
                f"add the changed rows yourself: %data add {found.name} FILE"
            )
    return found


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
