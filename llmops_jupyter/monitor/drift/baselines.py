"""Baselines: rows of normal traffic, frozen as versions of a name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llmops_jupyter import render
from llmops_jupyter.errors import UnknownNameError, did_you_mean, unknown_name
from llmops_jupyter.monitor.drift.collecting import check_limit
from llmops_jupyter.monitor.drift.sample import Sample, from_bytes, to_bytes
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.store import Store, aliases

KIND = "baseline"
# Filters that say when, and not what.
MOMENTS = ("since", "until")
COLUMNS = (
    "id, name, version, content_hash, filters, source, n_rows, n_sessions, seen, place, features, "
    "embedder, embedder_digest, note, created_at"
)


@dataclass(frozen=True)
class Baseline:
    """One version of a baseline; its rows are read when they are asked for.

    Args:
        name: of the baseline.
        version: its number.
        content_hash: of the rows with their features and vectors.
        filters: by which its traces were chosen; a check looks at the same kind.
        source: 'traces', or what the rows were.
        n_rows: that are kept.
        n_sessions: units that rows make: sessions, and rows without one.
        seen: rows that there were.
        features: by kind: 'numbers', 'categories', 'texts'.
        embedder: of the texts; '' if they have no vectors.
        embedder_digest: of its weights.
        note: why it was made.
        created_at: when.
        place: of the last trace that was looked at.
    """

    name: str
    version: int
    content_hash: str
    filters: Mapping[str, Any]
    source: str
    n_rows: int
    n_sessions: int
    seen: int
    place: int
    features: Mapping[str, Sequence[str]]
    embedder: str
    embedder_digest: str
    note: str
    created_at: str
    _store: Store = field(repr=False, compare=False)
    key: int = field(repr=False, compare=False, default=0)

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    def __len__(self) -> int:
        return self.n_rows

    @cached_property
    def sample(self) -> Sample:
        """The rows with their features."""
        row = self._store.row("SELECT content FROM monitor_baselines WHERE id = ?", (self.key,))
        if row is None:
            raise self.gone()
        return from_bytes(row[0])

    def gone(self) -> UnknownNameError:
        """What to say once it was removed."""
        return UnknownNameError(
            f"The baseline {self.ref} was removed. ws.monitor.baselines() lists what there is."
        )

    def check_there(self, conn: sqlite3.Connection) -> None:
        """Check, inside a write for what follows in it, that it was not removed.

        Raises:
            UnknownNameError: it was.
        """
        found = conn.execute("SELECT 1 FROM monitor_baselines WHERE id = ?", (self.key,))
        if found.fetchone() is None:
            raise self.gone()

    @property
    def kind(self) -> dict[str, Any]:
        """The filters without those that say when: traces of its kind fit them."""
        return {key: value for key, value in self.filters.items() if key not in MOMENTS}

    def is_of(self, digest: str, filters: Mapping[str, Any], source: str) -> bool:
        """Whether it is of these rows, chosen in this way; when they were asked for is no difference."""
        same = {key: value for key, value in filters.items() if key not in MOMENTS}
        traces = (self.source == "traces", source == "traces")
        return self.content_hash == digest and self.kind == same and traces[0] == traces[1]

    def sentence(self) -> str:
        """What it is, on one line."""
        rows = f"{self.n_rows:,} rows"
        if self.seen > self.n_rows:
            rows += f" of {self.seen:,}"
        if self.n_sessions < self.n_rows:
            rows += f" in {self.n_sessions:,} sessions"
        count = sum(len(names) for names in self.features.values())
        embedder = f", vectors by {self.embedder}" if self.embedder else ""
        return f"{self.ref}: {rows} from {self.source}, {count} features{embedder}"

    def as_dict(self) -> dict[str, Any]:
        """The baseline as JSON values."""
        return {
            "baseline": self.ref,
            "content_hash": self.content_hash,
            "filters": dict(self.filters),
            "source": self.source,
            "rows": self.n_rows,
            "sessions": self.n_sessions,
            "seen": self.seen,
            "features": {kind: list(names) for kind, names in self.features.items()},
            "embedder": self.embedder,
            "embedder_digest": self.embedder_digest,
            "note": self.note,
            "created_at": self.created_at,
        }

    def rows(self) -> list[dict[str, Any]]:
        """What is watched, as a table."""
        return [
            {
                "feature": name,
                "kind": {"numbers": "number", "categories": "category"}.get(kind, "text"),
            }
            for kind, names in self.features.items()
            for name in names
        ]

    def __str__(self) -> str:
        return "\n".join([self.sentence(), *self.sample.notes])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        notes = "".join(f"<p><em>{escaped(note)}</em></p>" for note in self.sample.notes)
        page = f"<p><strong>{escaped(self.sentence())}</strong></p>{notes}"
        return bundle(str(self), page + render.table_html(self.rows()))


class Baselines:
    """The baselines of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def keep(
        self,
        name: str,
        sample: Sample,
        *,
        filters: Mapping[str, Any],
        source: str,
        place: int,
        note: str = "",
    ) -> Baseline:
        """Freeze rows as a version of `name`.

        Rows equal to those of the newest version, chosen by the same filters, are that version, with its note. Where an older
        version is equal there is a new one, since checks go by the newest.
        """
        digest = sample.digest
        text = json.dumps(dict(filters), sort_keys=True, default=str)
        one = next(iter(sample.vectors.values()), None)
        features = {
            "numbers": sorted(sample.numbers),
            "categories": sorted(sample.categories),
            "texts": sorted({*sample.texts, *sample.vectors}),
        }
        values = (
            *(digest, text, source),
            *(len(sample), sample.n_sessions, sample.seen, place, json.dumps(features)),
            *(one.embedder if one else "", one.digest if one else "", to_bytes(sample), note),
        )
        with self.store.write() as conn:
            row = conn.execute(
                f"SELECT {COLUMNS} FROM monitor_baselines WHERE name = ? ORDER BY version DESC LIMIT 1",
                (name,),
            ).fetchone()
            newest = None if row is None else self._made(row)
            if newest is not None and newest.is_of(digest, json.loads(text), source):
                return newest
            version = conn.execute(
                "INSERT INTO monitor_baselines(name, version, content_hash, filters, source, n_rows, "
                "n_sessions, seen, place, features, embedder, embedder_digest, content, note, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING version",
                (name, 1 if newest is None else newest.version + 1, *values, self.store.now()),
            ).fetchone()[0]
        return self.get(f"{name}@{version}")

    def get(self, reference: str | Baseline) -> Baseline:
        """A baseline by ``name`` (the highest version), ``name@2`` or ``name@alias``.

        Raises:
            UnknownNameError: there is none, or it was removed.
        """
        if isinstance(reference, Baseline):
            if not self.store.row("SELECT 1 FROM monitor_baselines WHERE id = ?", (reference.key,)):
                raise reference.gone()
            return reference
        name, selector = aliases.parse_reference(reference, KIND)
        versions = [row["version"] for row in self._rows(name)]
        if not versions:
            known = [one.name for one in self.list()]
            raise unknown_name(KIND, name, known, f"Make it: ws.monitor.baseline({name!r}, …)")
        version = self._version(name, selector, versions)
        return self._made(next(row for row in self._rows(name) if row["version"] == version))

    def list(self) -> list[Baseline]:
        """The highest version of each, by name."""
        rows = self.store.rows(
            f"SELECT {COLUMNS} FROM monitor_baselines b WHERE version = (SELECT max(version) "
            "FROM monitor_baselines WHERE name = b.name) ORDER BY name"
        )
        return [self._made(row) for row in rows]

    def history(self, name: str) -> Sequence[Baseline]:
        """All versions, newest first."""
        self.get(name)
        return [self._made(row) for row in self._rows(aliases.parse_reference(name, KIND)[0])]

    def alias(self, reference: str | Baseline, alias: str, note: str = "") -> Baseline:
        """Have an alias, such as ``production``, mean a version."""
        found = self.get(reference)
        with self.store.write() as conn:
            found.check_there(conn)
            aliases.set_alias(conn, KIND, found.name, alias, found.version, note)
        return found

    def remove(self, reference: str | Baseline) -> None:
        """Delete a version with its rows, texts, checks and streams; aliases of it go."""
        found = self.get(reference)
        with self.store.write() as conn:
            for alias, version in aliases.all_aliases(conn, KIND, found.name).items():
                if version == found.version:
                    aliases.remove_alias(conn, KIND, found.name, alias, "the baseline was removed")
            for table in ("monitor_calibrations", "monitor_reports", "monitor_streams"):
                conn.execute(f"DELETE FROM {table} WHERE baseline_id = ?", (found.key,))
            conn.execute("DELETE FROM monitor_baselines WHERE id = ?", (found.key,))

    def calibration(self, baseline: Baseline, key: str) -> Mapping[str, Any] | None:
        """What was measured on a baseline before."""
        row = self.store.row(
            "SELECT result FROM monitor_calibrations WHERE baseline_id = ? AND key = ?",
            (baseline.key, key),
        )
        return None if row is None else json.loads(row[0])

    def keep_calibration(self, baseline: Baseline, key: str, result: Mapping[str, Any]) -> None:
        """Keep what was measured on a baseline."""
        if self.store.read_only:
            return
        with self.store.write() as conn:
            baseline.check_there(conn)
            conn.execute(
                "INSERT OR REPLACE INTO monitor_calibrations(baseline_id, key, result, at) "
                "VALUES (?, ?, ?, ?)",
                (baseline.key, key, json.dumps(result), self.store.now()),
            )

    def keep_report(self, baseline: Baseline, report: Mapping[str, Any]) -> None:
        """Note what a check came to."""
        if self.store.read_only:
            return
        with self.store.write() as conn:
            baseline.check_there(conn)
            conn.execute(
                "INSERT INTO monitor_reports(baseline_id, alarm, n_rows, result, at) "
                "VALUES (?, ?, ?, ?, ?)",
                (
                    *(baseline.key, int(report["alarm"]), report["rows"]),
                    *(json.dumps(report), self.store.now()),
                ),
            )

    def reports(
        self, baseline: Baseline | None = None, limit: int = 50
    ) -> Sequence[dict[str, Any]]:
        """What checks came to, newest first.

        Raises:
            OptionError: the limit is no whole number from 1.
        """
        check_limit(limit)
        where, values = ("WHERE baseline_id = ?", (baseline.key,)) if baseline else ("", ())
        rows = self.store.rows(
            f"SELECT id, result, at FROM monitor_reports {where} ORDER BY id DESC LIMIT ?",
            (*values, limit),
        )
        return [{**json.loads(row["result"]), "id": row["id"], "at": row["at"]} for row in rows]

    def _version(self, name: str, selector: str | None, versions: Sequence[int]) -> int:
        if selector is None:
            return max(versions)
        if selector.isdigit():
            if int(selector) in versions:
                return int(selector)
            raise UnknownNameError(
                f"The baseline {name!r} has no version {selector}. The latest is {name}@{max(versions)}."
            )
        known = aliases.all_aliases(self.store.read(), KIND, name)
        if selector in known:
            return known[selector]
        raise UnknownNameError(
            f"The baseline {name!r} has no alias {selector!r}.{did_you_mean(selector, known)} Set one: "
            f"ws.monitor.alias('{name}@{max(versions)}', {selector!r})"
        )

    def _rows(self, name: str) -> Sequence[sqlite3.Row]:
        return self.store.rows(
            f"SELECT {COLUMNS} FROM monitor_baselines WHERE name = ? ORDER BY version DESC", (name,)
        )

    def _made(self, row: sqlite3.Row) -> Baseline:
        return Baseline(
            name=row["name"],
            version=row["version"],
            content_hash=row["content_hash"],
            filters=json.loads(row["filters"]),
            source=row["source"],
            n_rows=row["n_rows"],
            n_sessions=row["n_sessions"],
            seen=row["seen"],
            place=row["place"],
            features=json.loads(row["features"]),
            embedder=row["embedder"],
            embedder_digest=row["embedder_digest"],
            note=row["note"],
            created_at=row["created_at"],
            _store=self.store,
            key=row["id"],
        )
