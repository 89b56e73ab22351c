"""The stage a workspace hands out: add, find, compare and split data sets."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.data.dataset import Change, Dataset, DatasetDiff
from llmops_jupyter.data.reading import read_rows
from llmops_jupyter.data.splitting import assign, check_parts
from llmops_jupyter.data.spool import Spool
from llmops_jupyter.data.values import Row, canonical, changed_columns, digest
from llmops_jupyter.errors import DataError, unknown_name
from llmops_jupyter.store import Store, aliases

if TYPE_CHECKING:
    from llmops_jupyter.data.preparing import Masker, Prepared

KIND = "data"
REPORT_EVERY = 1000
Progress = Callable[[int, "int | None"], None]


class Datasets:
    """The data sets of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def add(
        self,
        name: str,
        rows: Any,
        *,
        id_column: str | None = None,
        note: str = "",
        source: str | None = None,
        progress: Progress | None = None,
    ) -> Dataset:
        """Keep rows as a version of `name`; rows equal to an older version are that version.

        Args:
            name: small letters, digits, '.', '_' and '-'.
            rows: a list of mappings or texts, a DataFrame, a data set, or the path of a .jsonl, .json,
                .csv, .tsv or .parquet file.
            id_column: the column that identifies a row; else ``id`` if there is one, else ids are made
                from the content, so that a row keeps its id when others come and go.
            note: why there is a new version.
            source: where the rows are from; the path of a file if not given.
            progress: called with (rows done, rows in all or None).

        Raises:
            DataError: rows cannot be read or kept; nothing has been written.
        """
        aliases.check_name(KIND, name)
        total = len(rows) if hasattr(rows, "__len__") and not isinstance(rows, str) else None
        where = source if source is not None else str(rows) if _is_path(rows) else ""
        # The source may be slow, and may trace its own work: it is read to its end before others are
        # kept from writing.
        with Spool() as spool:
            for row_id, row in self.identified(rows, id_column):
                spool.add(row_id, row)
                if progress is not None and len(spool.items) % REPORT_EVERY == 0:
                    progress(len(spool.items), total)
            if not spool.items:
                raise DataError("There are no rows to keep. Check the source.")
            with self.store.write() as conn:
                conn.executemany(
                    "INSERT OR IGNORE INTO dataset_rows(hash, row) VALUES (?, ?)", spool.rows()
                )
                return self._keep(conn, name, spool, where, note)

    def find(self, name: str, content_hash: str) -> Dataset | None:
        """The version of a data set that has exactly this content, if there is one."""
        row = self.store.row(
            "SELECT version FROM datasets WHERE name = ? AND content_hash = ?",
            (name, content_hash),
        )
        return self._load(self.store.read(), name, row[0]) if row else None

    def get(self, reference: str) -> Dataset:
        """A data set by ``name`` (the highest version) or ``name@2``."""
        name, selector = aliases.parse_reference(reference, KIND)
        conn = self.store.read()
        versions = [d.version for d in self.history(name)]
        return self._load(conn, name, aliases.resolve(conn, KIND, name, selector, versions))

    def list(self) -> list[Dataset]:
        """The highest version of each data set, by name."""
        rows = self.store.rows(
            "SELECT d.* FROM datasets d JOIN (SELECT name, max(version) AS version FROM datasets GROUP BY name) "
            "USING (name, version) ORDER BY name"
        )
        return [self._made(row) for row in rows]

    def history(self, name: str) -> Sequence[Dataset]:
        """All versions of a data set, newest first."""
        name, _ = aliases.parse_reference(name, KIND)
        rows = self.store.rows(
            "SELECT version FROM datasets WHERE name = ? ORDER BY version DESC", (name,)
        )
        if not rows:
            known = [d.name for d in self.list()]
            raise unknown_name("data set", name, known, "%data list shows what there is.")
        return [self._load(self.store.read(), name, row[0]) for row in rows]

    def diff(self, a: str, b: str) -> DatasetDiff:
        """Rows added, removed and changed from `a` to `b`, by row id."""
        before, after = self.get(a), self.get(b)
        old, new = dict(before.items()), dict(after.items())
        differences = {i: changed_columns(old[i], new[i]) for i in old if i in new}
        changed = tuple(Change(i, c, old[i], new[i]) for i, c in differences.items() if c)
        return DatasetDiff(
            before=before.ref,
            after=after.ref,
            added={i: r for i, r in new.items() if i not in old},
            removed={i: r for i, r in old.items() if i not in new},
            changed=changed,
            unchanged=sum(1 for columns in differences.values() if not columns),
        )

    def split(
        self,
        reference: str,
        parts: Mapping[str, float],
        *,
        seed: int = 0,
        by: str | None = None,
        stratify: str | None = None,
    ) -> dict[str, Dataset]:
        """Split into data sets ``name.part`` with the given shares.

        Which part a row goes to follows from its id and the seed alone, so it stays there when rows are
        added. `by` keeps rows with equal values of a column together. `stratify` splits each value of a
        column in the given proportions (which depends on the other rows of that value).

        Raises:
            DataError: the shares do not add up to 1, a column is missing, or a part would be empty.
        """
        dataset = self.get(reference)
        check_parts(parts)
        items = list(dataset.items())
        chosen = assign(items, parts, seed=seed, by=by, stratify=stratify)
        empty = [part for part in parts if part not in chosen.values()]
        if empty:
            raise DataError(
                f"The part {empty[0]!r} would have no rows: {len(items)} are too few for this split. "
                "Change the shares or the seed."
            )
        made = {}
        with self.store.write():
            for part in parts:
                rows = [(i, row) for i, row in items if chosen[i] == part]
                note = f"{parts[part]:g} of {dataset.ref}, seed {seed}"
                made[part] = self.add(
                    f"{dataset.name}.{part}", Identified(rows), note=note, source=dataset.ref
                )
        return made

    def from_rows_of_traces(self, name: str, traces: Iterable[Mapping[str, Any]]) -> Dataset:
        """A data set from traces: trace_id, input, output, then variables and scores as columns."""
        rows = [_row_of(trace) for trace in traces]
        if not rows:
            raise DataError("No traces match. Widen the filters; %trace list shows what there is.")
        return self.add(name, rows, id_column="trace_id", source="traces")

    def collect(self, name: str, traces: Iterable[Mapping[str, Any]]) -> tuple[Dataset, int]:
        """The next version of a data set with traces as further rows, and how many of them are new; made if need be.

        A trace that is a row already takes its place anew, with the scores that it has now.
        """
        aliases.check_name(KIND, name)
        with self.store.write():
            there = self.store.row("SELECT 1 FROM datasets WHERE name = ?", (name,)) is not None
            # Read inside the write, so that what another process collects meanwhile is not lost.
            rows = dict(self.get(name).items()) if there else {}
            before = len(rows)
            for trace in traces:
                rows[str(trace["trace_id"])] = _row_of(trace)
            if not rows:
                raise DataError("There are no traces to add. Name at least one.")
            made = self.add(name, Identified(list(rows.items())), source="traces")
        return made, len(rows) - before

    def prepare(
        self,
        rows: Any,
        name: str | None = None,
        *,
        against: Any = None,
        masker: Masker | None = None,
        progress: Callable[[str], None] | None = None,
        **options: Any,
    ) -> Prepared:
        """Clean rows for fine-tuning: repair them, and leave out what a model should not learn.

        Rows keep their ids and their order. What is left out is kept as ``NAME.dropped`` with the rule that
        did it. Equal rows and options give the same version. Nothing is written before the end.

        Args:
            rows: a data set or its reference, or what `add` takes.
            name: of the cleaned data set; that of the source with ``.clean`` if left out.
            against: an evaluation set, or several: rows that one of them has too are left out.
            masker: a model's chat template and tokenizer, to check rows by and to show what is learned.
            progress: called with a line on how far it is.
            options: see `Recipe`.

        Raises:
            OptionError: an option cannot be used.
            DataError: no row would stay; the message counts by which rules they would go.
            MissingDependencyError: an option needs a package that is not installed.
        """
        from llmops_jupyter.data.preparing import Recipe
        from llmops_jupyter.data.preparing.preparation import prepare

        recipe = Recipe.of(options)
        tell = progress or (lambda _: None)
        return prepare(self, rows, name, recipe, against=against or (), masker=masker, tell=tell)

    def preparation(self, reference: str) -> Prepared:
        """The report of the preparation that made a version.

        Raises:
            UnknownNameError: there is no such version, or no preparation made it.
        """
        from llmops_jupyter.data.preparing import kept

        return kept.find(self, reference)

    def with_ids(self, pairs: Sequence[tuple[str, Row]]) -> Identified:
        """Rows that have their ids already, for `add`."""
        return Identified(pairs)

    def identified(self, rows: Any, id_column: str | None = None) -> Iterator[tuple[str, Row]]:
        """Rows, as `add` takes them, with the ids under which it would keep them."""
        if isinstance(rows, Identified) or (isinstance(rows, Dataset) and id_column is None):
            yield from rows.items()
            return
        seen: dict[str, int] = {}
        for number, row in enumerate(read_rows(rows), 1):
            column = id_column or ("id" if "id" in row else None)
            if column is None:
                base = digest(canonical(row))[:12]
                seen[base] = seen.get(base, 0) + 1
                yield (base if seen[base] == 1 else f"{base}-{seen[base]}"), row
                continue
            if row.get(column) is None:
                raise DataError(f"Row {number} has no {column!r}. Give every row an id, or none.")
            row_id = str(row[column])
            if row_id in seen:
                raise DataError(
                    f"Rows {seen[row_id]} and {number} have the same {column} {row_id!r}. Ids must differ."
                )
            seen[row_id] = number
            yield row_id, row

    def _keep(
        self, conn: sqlite3.Connection, name: str, spool: Spool, source: str, note: str
    ) -> Dataset:
        content = spool.content_hash
        row = conn.execute(
            "SELECT version FROM datasets WHERE name = ? AND content_hash = ?", (name, content)
        ).fetchone()
        if row is not None:
            return self._load(conn, name, row[0])
        highest = conn.execute(
            "SELECT max(version) FROM datasets WHERE name = ?", (name,)
        ).fetchone()[0]
        version = (highest or 0) + 1
        cursor = conn.execute(
            "INSERT INTO datasets(name, version, content_hash, n_rows, columns, source, note, "
            "created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(name, version, content, len(spool.items)),
                *(spool.columns_json, source, note, self.store.now()),
            ),
        )
        conn.executemany(
            "INSERT INTO dataset_items(dataset_id, position, row_id, row_hash) VALUES (?, ?, ?, ?)",
            ((cursor.lastrowid, place, *item) for place, item in enumerate(spool.items)),
        )
        return self._load(conn, name, version)

    def _load(self, conn: sqlite3.Connection, name: str, version: int) -> Dataset:
        row = conn.execute(
            "SELECT * FROM datasets WHERE name = ? AND version = ?", (name, version)
        ).fetchone()
        return self._made(row)

    def _made(self, row: sqlite3.Row) -> Dataset:
        return Dataset(
            name=row["name"],
            version=row["version"],
            content_hash=row["content_hash"],
            n_rows=row["n_rows"],
            columns=tuple(json.loads(row["columns"])),
            source=row["source"],
            note=row["note"],
            created_at=row["created_at"],
            _store=self.store,
            _key=row["id"],
        )


class Identified:
    """Rows that have their ids already."""

    def __init__(self, pairs: Sequence[tuple[str, Row]]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def items(self) -> Iterator[tuple[str, Row]]:
        yield from self._pairs


def _row_of(trace: Mapping[str, Any]) -> dict[str, Any]:
    """A trace as a row of a data set: trace_id, input, output, then variables and scores as columns."""
    row = {name: trace[name] for name in ("trace_id", "input", "output")}
    for extra in (trace.get("variables") or {}, trace.get("scores") or {}):
        for key, value in extra.items():
            row[key if key not in row else f"{key}_"] = value
    return row


def _is_path(rows: Any) -> bool:
    return isinstance(rows, str) or hasattr(rows, "__fspath__")
