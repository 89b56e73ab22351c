"""The list of models: names and versions that point at files, which are never copied."""

from __future__ import annotations

import builtins
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import ModelError, UnknownNameError, unknown_name
from llmops_jupyter.models import sources
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.models.gguf import GGUFMetadata
from llmops_jupyter.models.model import (
    GGUF,
    MLX,
    Model,
    Progress,
    changed,
    need_file,
    sha256_of,
    stat_of,
)
from llmops_jupyter.models.sources import Candidate, Roots
from llmops_jupyter.store import Store, aliases

DEFAULT_KEY = "default_model"
ADAPTER = "adapter"
KIND = "model"


class Registry:
    """The model versions of a store.

    Args:
        store: where the list is kept.
        roots: where to look for models that are not registered; this user's folders if None.
    """

    def __init__(self, store: Store, roots: Roots | None = None) -> None:
        self._store = store
        self._roots = roots

    def list(self) -> builtins.list[Model]:
        """All versions of all registered models that run on their own, by name."""
        return [m for m in self._all() if m.metadata.kind != ADAPTER]

    def adapters(self) -> builtins.list[Model]:
        """All versions of all registered adapters, by name."""
        return [m for m in self._all() if m.metadata.kind == ADAPTER]

    def get(self, ref: str) -> Model:
        """The model that ``name``, ``name@2`` or ``name@alias`` means; a bare name is the newest.

        Raises:
            UnknownNameError: with the nearest name, what is registered and what could be.
        """
        name, selector = aliases.parse_reference(ref, KIND)
        versions = self._versions(name)
        if not versions:
            raise self._unknown(name)
        return self._pick(name, selector, versions)

    def has(self, ref: str) -> bool:
        """Whether there is a model of that name; what else there might be is not looked for."""
        name, _ = aliases.parse_reference(ref, KIND)
        return bool(self._versions(name))

    def adapter(self, ref: str) -> Model:
        """The adapter that ``name``, ``name@2`` or ``name@alias`` means, its file checked.

        Raises:
            UnknownNameError: there is none of that name; the message lists those there are.
            ModelError: it is a whole model, or its file has changed.
        """
        name, selector = aliases.parse_reference(ref, KIND)
        versions = self._versions(name)
        if not versions:
            known = sorted({m.name for m in self.adapters()})
            listed = f"Adapters: {', '.join(known)}." if known else "Add one: %model add PATH"
            raise unknown_name("adapter", name, known, listed)
        found = self._pick(name, selector, versions)
        if found.metadata.kind != ADAPTER:
            raise ModelError(f"{found.ref} is a whole model, not an adapter. Run it with -m {name}")
        return self.check_unchanged(found)

    def default(self) -> Model | None:
        """The workspace's default, or None if none was chosen."""
        row = self._store.row("SELECT value FROM settings WHERE key = ?", (DEFAULT_KEY,))
        found = self.get(json.loads(row["value"])) if row else None
        return found if found is not None and found.metadata.kind != ADAPTER else None

    def discover(self) -> tuple[builtins.list[Candidate], builtins.list[str]]:
        """GGUF files on this machine, registered or not, and notes on what was passed over."""
        found = sources.survey(self._roots)
        return [*found.candidates], [*found.notes]

    def verify(self, ref: str, progress: Progress | None = None) -> Model:
        """Read the whole file again and compare it with what was registered.

        Raises:
            ModelChangedError: the content is another one.
            ModelError: the file is gone or cannot be read.
        """
        model = need_file(self.get(ref), "verified")
        stat = stat_of(model)
        if sha256_of(model.path, progress) != model.sha256:
            raise changed(model)
        return self._refreshed(model, stat)

    def check_unchanged(self, model: Model) -> Model:
        """A quick check before loading: size and time, and the hash only if the time differs.

        Raises:
            ModelChangedError, ModelError: as for `verify`.
        """
        if model.format == MLX:
            return self._check_folder(model)
        if model.format != GGUF:
            return model
        stat = stat_of(model)
        if stat.st_size != model.size:
            raise changed(model)
        if stat.st_mtime_ns == model.mtime_ns:
            return model
        if sha256_of(model.path) != model.sha256:
            raise changed(model)
        return self._refreshed(model, stat)

    def _check_folder(self, model: Model) -> Model:
        from llmops_jupyter.models import mlxfolder

        if not mlxfolder.is_folder(model.path):
            stat_of(model)
            raise changed(model)
        if mlxfolder.stat_of_folder(model.path) == (model.size, model.mtime_ns):
            return model
        if mlxfolder.digest_of_folder(model.path) != model.sha256:
            raise changed(model)
        return model

    def alias(self, ref: str, alias: str) -> Model:
        """Point an alias at a version; a bare name is its newest."""
        model = self.get(ref)
        with self._store.write() as conn:
            aliases.set_alias(conn, KIND, model.name, alias, model.version)
        return self.get(model.ref)

    def unalias(self, ref: str, alias: str) -> None:
        """Take an alias away."""
        name, _ = aliases.parse_reference(ref, KIND)
        if not self._versions(name):
            raise self._unknown(name)
        with self._store.write() as conn:
            aliases.remove_alias(conn, KIND, name, alias)
            self._forget_lost_default(conn)

    def remove(self, ref: str) -> None:
        """Take a model off the list: all versions for a bare name. Its file is left alone."""
        name, selector = aliases.parse_reference(ref, KIND)
        model = self.get(ref)
        gone = [model.version] if selector else self._versions(name)
        with self._store.write() as conn:
            marks = ", ".join("?" * len(gone))
            conn.execute(
                f"UPDATE models SET removed_at = ? WHERE name = ? AND version IN ({marks})",
                (self._store.now(), name, *gone),
            )
            for alias, version in aliases.all_aliases(conn, KIND, name).items():
                if version in gone:
                    aliases.remove_alias(conn, KIND, name, alias, note="the version was removed")
            self._forget_lost_default(conn)

    def _all(self) -> builtins.list[Model]:
        rows = self._store.rows(
            "SELECT * FROM models WHERE removed_at IS NULL ORDER BY name, version"
        )
        return [self._model(row) for row in rows]

    def _versions(self, name: str) -> builtins.list[int]:
        rows = self._store.rows(
            "SELECT version FROM models WHERE name = ? AND removed_at IS NULL", (name,)
        )
        return [int(row["version"]) for row in rows]

    def _pick(self, name: str, selector: str | None, versions: builtins.list[int]) -> Model:
        with self._store.lock:
            version = aliases.resolve(self._store.read(), KIND, name, selector, versions)
        row = self._store.row(
            "SELECT * FROM models WHERE name = ? AND version = ?", (name, version)
        )
        if row is None:
            raise self._unknown(name)
        return self._model(row)

    def _model(self, row: sqlite3.Row) -> Model:
        named = self._store.rows(
            "SELECT alias FROM aliases WHERE kind = ? AND name = ? AND version = ? ORDER BY alias",
            (KIND, row["name"], row["version"]),
        )
        return Model(
            name=row["name"],
            version=int(row["version"]),
            path=Path(row["path"]),
            sha256=row["sha256"],
            size=int(row["size"]),
            mtime_ns=int(row["mtime_ns"]),
            source=row["source"],
            metadata=GGUFMetadata.from_dict(json.loads(row["metadata"])),
            added_at=row["added_at"],
            aliases=tuple(r["alias"] for r in named),
            parent=row["parent"],
            format=row["format"],
            endpoint=Endpoint.from_dict(json.loads(row["endpoint"])) if row["endpoint"] else None,
        )

    def _write(self, name: str, digest: str, values: dict[str, Any]) -> int:
        """Keep a version; the number of the one with this content, new or not."""
        values = {"parent": "", "format": GGUF, "endpoint": None, **values}
        with self._store.write() as conn:
            rows = conn.execute(
                "SELECT version, sha256 FROM models WHERE name = ?", (name,)
            ).fetchall()
            for row in rows:
                if row["sha256"] == digest:
                    conn.execute(
                        "UPDATE models SET path = :path, size = :size, mtime_ns = :mtime_ns, "
                        "source = :source, metadata = :metadata, parent = :parent, format = :format, "
                        "endpoint = :endpoint, removed_at = NULL "
                        "WHERE name = :name AND version = :version",
                        {**values, "name": name, "version": row["version"]},
                    )
                    return int(row["version"])
            version = 1 + max((int(row["version"]) for row in rows), default=0)
            conn.execute(
                "INSERT INTO models(name, version, sha256, path, size, mtime_ns, source, metadata, "
                "parent, format, endpoint, added_at) VALUES (:name, :version, :sha256, :path, :size, "
                ":mtime_ns, :source, :metadata, :parent, :format, :endpoint, :added_at)",
                {
                    **values,
                    "name": name,
                    "version": version,
                    "sha256": digest,
                    "added_at": self._store.now(),
                },
            )
            return version

    def _digest(self, path: Path, stat: os.stat_result, progress: Progress | None) -> str:
        """The hash of a file; known if it was registered with this path, size and time before."""
        row = self._store.row(
            "SELECT sha256 FROM models WHERE path = ? AND size = ? AND mtime_ns = ?",
            (str(path), stat.st_size, stat.st_mtime_ns),
        )
        return str(row["sha256"]) if row else sha256_of(path, progress)

    def _refreshed(self, model: Model, stat: os.stat_result) -> Model:
        """The model with the file's new time, where only that has changed."""
        if stat.st_mtime_ns == model.mtime_ns or self._store.read_only:
            return model
        with self._store.write() as conn:
            conn.execute(
                "UPDATE models SET mtime_ns = ? WHERE name = ? AND version = ?",
                (stat.st_mtime_ns, model.name, model.version),
            )
        return self.get(model.ref)

    def _forget_lost_default(self, conn: sqlite3.Connection) -> None:
        """Unset the default if nothing answers to it any more."""
        row = conn.execute("SELECT value FROM settings WHERE key = ?", (DEFAULT_KEY,)).fetchone()
        if row is None:
            return
        name, selector = aliases.parse_reference(json.loads(row["value"]), KIND)
        rows = conn.execute(
            "SELECT version FROM models WHERE name = ? AND removed_at IS NULL", (name,)
        ).fetchall()
        try:
            aliases.resolve(conn, KIND, name, selector, [int(r["version"]) for r in rows])
        except UnknownNameError:
            conn.execute("DELETE FROM settings WHERE key = ?", (DEFAULT_KEY,))

    def _unknown(self, name: str) -> UnknownNameError:
        found = [c.name for c in self.discover()[0]]
        if name in found:
            return UnknownNameError(
                f"The model {name!r} is on this machine but not registered. Run it once by name, or "
                f"add it: %model add {name}"
            )
        known = {m.name for m in self._all()} | set(found)
        return unknown_name(KIND, name, known, self._what_there_is())

    def _what_there_is(self) -> str:
        registered = sorted({m.name for m in self.list()})
        found = sorted({c.name for c in self.discover()[0]} - set(registered))
        parts = []
        if registered:
            parts.append(f"Registered: {', '.join(registered)}.")
        if found:
            parts.append(f"On this machine: {', '.join(found)}; name one, or add it: %model add.")
        if not parts:
            parts.append('Get one with: pip install "llmops-jupyter[demo]", or %model add PATH.')
        return " ".join(parts)
