"""The list of models: names and versions that point at files, which are never copied."""

from __future__ import annotations

import builtins
import json
import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import (
    ModelChangedError,
    ModelError,
    ModelFormatError,
    UnknownNameError,
    unknown_name,
)
from llmops_jupyter.models import hub, sources
from llmops_jupyter.models.gguf import GGUFMetadata, check_architecture, read_metadata
from llmops_jupyter.models.model import Model, Progress, changed, sha256_of, stat_of
from llmops_jupyter.models.sources import Candidate, Roots
from llmops_jupyter.store import Store, aliases

DEFAULT_KEY = "default_model"
ADAPTER = "adapter"
_KIND = "model"


class Models:
    """The models of a workspace.

    Args:
        store: where the list is kept.
        roots: where to look for models that are not registered; this user's folders if None.
    """

    def __init__(self, store: Store, roots: Roots | None = None) -> None:
        self._store = store
        self._roots = roots

    def add(
        self,
        source: str | os.PathLike[str],
        name: str | None = None,
        progress: Progress | None = None,
    ) -> Model:
        """Register a path, a source or a discovered name, and return its version.

        The same content under the same name is the same version; new content is the next one. A
        file whose path, size and time are known is not hashed again.

        Raises:
            OptionError: the name cannot be used.
            UnknownNameError, ModelError: there is no such file, or it is not a model that runs.
        """
        return self._register(self._locate(os.fspath(source)), name, progress)

    def add_copy(self, path: Path, name: str, parent: Model, made_by: str) -> Model:
        """Register a file that was made from a registered model by the command `made_by`."""
        found = Candidate(name, path, made_by, path.stat().st_size)
        return self._register(found, name, None, parent.sha256)

    def pull(
        self,
        source: str,
        name: str | None = None,
        revision: str | None = None,
        progress: Progress | None = None,
    ) -> Model:
        """Download ``hf:org/repo/file.gguf`` into the Hugging Face cache and register it.

        Raises:
            DownloadError: see `hub.pull`.
        """
        if name is not None:
            aliases.check_name(_KIND, name)
        path = hub.pull(source, revision=revision, progress=progress)
        found = Candidate(sources.registry_name(path.stem), path, source, path.stat().st_size)
        return self._register(found, name, progress)

    def list(self) -> builtins.list[Model]:
        """All versions of all registered models that run on their own, by name."""
        return [m for m in self._all() if m.metadata.kind != ADAPTER]

    def adapters(self) -> builtins.list[Model]:
        """All versions of all registered adapters, by name."""
        return [m for m in self._all() if m.metadata.kind == ADAPTER]

    def adapter(self, ref: str) -> Model:
        """The adapter that ``name``, ``name@2`` or ``name@alias`` means, its file checked.

        Raises:
            UnknownNameError: there is none of that name; the message lists those there are.
            ModelError: it is a whole model, or its file has changed.
        """
        name, selector = aliases.parse_reference(ref, _KIND)
        versions = self._versions(name)
        if not versions:
            known = sorted({m.name for m in self.adapters()})
            listed = f"Adapters: {', '.join(known)}." if known else "Add one: %model add PATH"
            raise unknown_name("adapter", name, known, listed)
        found = self._pick(name, selector, versions)
        if found.metadata.kind != ADAPTER:
            raise ModelError(f"{found.ref} is a whole model, not an adapter. Run it with -m {name}")
        return self.check_unchanged(found)

    def discover(self) -> tuple[builtins.list[Candidate], builtins.list[str]]:
        """GGUF files on this machine, registered or not, and notes on what was passed over."""
        found = sources.survey(self._roots)
        return [*found.candidates], [*found.notes]

    def get(self, ref: str) -> Model:
        """The model that ``name``, ``name@2`` or ``name@alias`` means; a bare name is the newest.

        Raises:
            UnknownNameError: with the nearest name, what is registered and what could be.
        """
        name, selector = aliases.parse_reference(ref, _KIND)
        versions = self._versions(name)
        if not versions:
            raise self._unknown(name)
        return self._pick(name, selector, versions)

    def resolve(self, ref: str | None = None) -> Model:
        """The model to run: `ref`, else the default, else the only one there is.

        What is not registered but lies on this machine under that name, or under a path or source,
        is registered on the way; so is the only packaged model where none is registered.

        Raises:
            UnknownNameError: nothing fits; the message lists what there is.
        """
        if ref:
            return self._resolve_named(ref)
        default = self.default()
        if default is not None:
            return default
        names = sorted({m.name for m in self.list()})
        if len(names) == 1:
            return self.get(names[0])
        if names:
            raise UnknownNameError(
                f"Which model? There are {', '.join(names)}. Name one with -m, or choose a default "
                f"with: %model use {names[0]}"
            )
        packaged = [c for c in self.discover()[0] if c.origin == "package"]
        if len(packaged) == 1:
            return self._register(packaged[0], None, None)
        raise UnknownNameError(f"No model is registered. {self._what_there_is()}")

    def use(self, ref: str) -> Model:
        """Make a model the workspace's default; a bare name or an alias is followed later on."""
        model = self._resolve_named(ref)
        kept = model.name if sources.is_source(ref) else ref
        with self._store.write() as conn:
            conn.execute(
                "INSERT INTO settings(key, value) VALUES (?, ?) "
                "ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                (DEFAULT_KEY, json.dumps(kept)),
            )
        return model

    def default(self) -> Model | None:
        """The workspace's default, or None if none was chosen."""
        row = self._store.row("SELECT value FROM settings WHERE key = ?", (DEFAULT_KEY,))
        found = self.get(json.loads(row["value"])) if row else None
        return found if found is not None and found.metadata.kind != ADAPTER else None

    def verify(self, ref: str, progress: Progress | None = None) -> Model:
        """Read the whole file again and compare it with what was registered.

        Raises:
            ModelChangedError: the content is another one.
            ModelError: the file is gone or cannot be read.
        """
        model = self.get(ref)
        stat = stat_of(model)
        if sha256_of(model.path, progress) != model.sha256:
            raise changed(model)
        return self._refreshed(model, stat)

    def check_unchanged(self, model: Model) -> Model:
        """A quick check before loading: size and time, and the hash only if the time differs.

        Raises:
            ModelChangedError, ModelError: as for `verify`.
        """
        stat = stat_of(model)
        if stat.st_size != model.size:
            raise changed(model)
        if stat.st_mtime_ns == model.mtime_ns:
            return model
        if sha256_of(model.path) != model.sha256:
            raise changed(model)
        return self._refreshed(model, stat)

    def remove(self, ref: str) -> None:
        """Take a model off the list: all versions for a bare name. Its file is left alone."""
        name, selector = aliases.parse_reference(ref, _KIND)
        model = self.get(ref)
        gone = [model.version] if selector else self._versions(name)
        with self._store.write() as conn:
            marks = ", ".join("?" * len(gone))
            conn.execute(
                f"UPDATE models SET removed_at = ? WHERE name = ? AND version IN ({marks})",
                (self._store.now(), name, *gone),
            )
            for alias, version in aliases.all_aliases(conn, _KIND, name).items():
                if version in gone:
                    aliases.remove_alias(conn, _KIND, name, alias, note="the version was removed")
            self._forget_lost_default(conn)

    def alias(self, ref: str, alias: str) -> Model:
        """Point an alias at a version; a bare name is its newest."""
        model = self.get(ref)
        with self._store.write() as conn:
            aliases.set_alias(conn, _KIND, model.name, alias, model.version)
        return self.get(model.ref)

    def unalias(self, ref: str, alias: str) -> None:
        """Take an alias away."""
        name, _ = aliases.parse_reference(ref, _KIND)
        if not self._versions(name):
            raise self._unknown(name)
        with self._store.write() as conn:
            aliases.remove_alias(conn, _KIND, name, alias)
            self._forget_lost_default(conn)

    def _all(self) -> builtins.list[Model]:
        rows = self._store.rows(
            "SELECT * FROM models WHERE removed_at IS NULL ORDER BY name, version"
        )
        return [self._model(row) for row in rows]

    def _resolve_named(self, ref: str) -> Model:
        found = self._find_named(ref)
        if found.metadata.kind == ADAPTER:
            raise ModelError(
                f"{found.ref} is an adapter and does not run alone. Name a model, and add the adapter "
                f"to it with --adapter {found.name}"
            )
        return found

    def _find_named(self, ref: str) -> Model:
        if sources.is_source(ref):
            return self.add(ref)
        name, selector = aliases.parse_reference(ref, _KIND)
        if not self._versions(name):
            found = [c for c in self.discover()[0] if c.name == name]
            if not found:
                raise self._unknown(name)
            self._register(found[0], name, None)
        return self._pick(name, selector, self._versions(name))

    def _locate(self, text: str) -> Candidate:
        if not sources.is_source(text) and not Path(text).exists():
            found, _ = self.discover()
            for candidate in found:
                if candidate.name == text:
                    return candidate
        return sources.find(text, self._roots)

    def _register(
        self,
        candidate: Candidate,
        name: str | None,
        progress: Progress | None,
        parent: str = "",
    ) -> Model:
        name = aliases.check_name(_KIND, name or candidate.name)
        path = candidate.path
        metadata = read_metadata(path)
        if metadata.parts > 1:
            raise ModelFormatError(
                f"{str(path)!r} is one of {metadata.parts} parts of a split model. Join them first "
                "with: llama-gguf-split --merge"
            )
        # An adapter is of its base model's architecture.
        check_architecture(
            replace(metadata, kind="model") if metadata.kind == ADAPTER else metadata
        )
        stat = path.stat()
        digest = self._known_digest(path, stat) or sha256_of(path, progress)
        after = path.stat()
        if (after.st_size, after.st_mtime_ns) != (stat.st_size, stat.st_mtime_ns):
            raise ModelChangedError(
                f"{str(path)!r} is being written. Wait until it is complete and add it again."
            )
        values = {
            "path": str(path),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "source": candidate.source,
            "metadata": json.dumps(metadata.as_dict()),
            "parent": parent,
        }
        return self.get(f"{name}@{self._write(name, digest, values)}")

    def _write(self, name: str, digest: str, values: dict[str, Any]) -> int:
        """Keep a version; the number of the one with this content, new or not."""
        with self._store.write() as conn:
            rows = conn.execute(
                "SELECT version, sha256 FROM models WHERE name = ?", (name,)
            ).fetchall()
            for row in rows:
                if row["sha256"] == digest:
                    conn.execute(
                        "UPDATE models SET path = :path, size = :size, mtime_ns = :mtime_ns, "
                        "source = :source, metadata = :metadata, parent = :parent, removed_at = NULL "
                        "WHERE name = :name AND version = :version",
                        {**values, "name": name, "version": row["version"]},
                    )
                    return int(row["version"])
            version = 1 + max((int(row["version"]) for row in rows), default=0)
            conn.execute(
                "INSERT INTO models(name, version, sha256, path, size, mtime_ns, source, metadata, "
                "parent, added_at) VALUES (:name, :version, :sha256, :path, :size, :mtime_ns, "
                ":source, :metadata, :parent, :added_at)",
                {
                    **values,
                    "name": name,
                    "version": version,
                    "sha256": digest,
                    "added_at": self._store.now(),
                },
            )
            return version

    def _known_digest(self, path: Path, stat: os.stat_result) -> str | None:
        """The hash of a file that was registered with this path, size and time before."""
        row = self._store.row(
            "SELECT sha256 FROM models WHERE path = ? AND size = ? AND mtime_ns = ?",
            (str(path), stat.st_size, stat.st_mtime_ns),
        )
        return str(row["sha256"]) if row else None

    def _versions(self, name: str) -> builtins.list[int]:
        rows = self._store.rows(
            "SELECT version FROM models WHERE name = ? AND removed_at IS NULL", (name,)
        )
        return [int(row["version"]) for row in rows]

    def _pick(self, name: str, selector: str | None, versions: builtins.list[int]) -> Model:
        with self._store.lock:
            version = aliases.resolve(self._store.read(), _KIND, name, selector, versions)
        row = self._store.row(
            "SELECT * FROM models WHERE name = ? AND version = ?", (name, version)
        )
        if row is None:
            raise self._unknown(name)
        return self._model(row)

    def _model(self, row: sqlite3.Row) -> Model:
        named = self._store.rows(
            "SELECT alias FROM aliases WHERE kind = ? AND name = ? AND version = ? ORDER BY alias",
            (_KIND, row["name"], row["version"]),
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
        )

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
        name, selector = aliases.parse_reference(json.loads(row["value"]), _KIND)
        rows = conn.execute(
            "SELECT version FROM models WHERE name = ? AND removed_at IS NULL", (name,)
        ).fetchall()
        try:
            aliases.resolve(conn, _KIND, name, selector, [int(r["version"]) for r in rows])
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
        return unknown_name(_KIND, name, known, self._what_there_is())

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
