"""Releases of a deployment, and which of them is live, staged or canary.

A release is a bundle under a number of its deployment: ``support@3``. A serving process asks `live` as often as it likes:
it is one small row, and its `changed` says by one number whether something moved since.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DeployError, unknown_name
from llmops_jupyter.prompts.splitting import Split
from llmops_jupyter.store import Store, aliases

KIND = "deployment"
LIVE, STAGED, CANARY = "live", "staged", "canary"
SLOTS = (LIVE, STAGED, CANARY)
# Hexadecimal digits by which a release is named where a number would be another store's.
SHORT = 12


@dataclass(frozen=True)
class Release:
    """A bundle as a release of a deployment.

    Args:
        deployment: its name.
        number: counted from 1 within the deployment.
        digest: of the bundle, ``sha256:…``; the same bundle is the same release.
        folder: where the bundle lies.
        created_at: when it was registered.
        manifest: the bundle's, as JSON values.
    """

    deployment: str
    number: int
    digest: str
    folder: Path
    created_at: str
    manifest: Mapping[str, Any] = field(repr=False, compare=False, default_factory=dict)

    @property
    def ref(self) -> str:
        return f"{self.deployment}@{self.number}"

    @property
    def short(self) -> str:
        """The beginning of the digest, by which traces name the release."""
        return self.digest.removeprefix("sha256:")[:SHORT]

    def words(self) -> str:
        """What it runs, on one line."""
        parts = [str((self.manifest.get("prompt") or {}).get("ref", "")), _model(self.manifest)]
        parts += [f"adapter {one['name']}" for one in self.manifest.get("adapters") or ()]
        for name in ("index", "guard"):
            part = self.manifest.get(name)
            if part:
                parts.append(f"{name} {part.get('ref') or part.get('name')}")
        return " · ".join(filter(None, parts))


@dataclass(frozen=True)
class Live:
    """What serves a deployment now.

    Args:
        name: of the deployment.
        release: that is live; None before the first promotion.
        canary: that gets a share of the units; None without one.
        weight: that share, from 0 to 1.
        changed: counts every move of the deployment's slots; equal numbers mean that nothing moved.
        staged: the release that waits to be promoted.
        rules: by which the canary is watched, as JSON values.
        salt: decides which units are the canary's.
        since: when something moved last.
    """

    name: str
    release: Release | None = None
    canary: Release | None = None
    weight: float = 0.0
    changed: int = 0
    staged: Release | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    salt: str = ""
    since: str = ""

    @cached_property
    def _split(self) -> Split:
        arms = ((0, 1.0 - self.weight), (1, self.weight))
        return Split(0, self.name, LIVE, arms, self.salt, self.since)

    def is_canary(self, unit: str) -> bool:
        """Whether a unit (a user, a session) is served by the canary: always the same answer while it runs."""
        if self.canary is None or self.weight <= 0:
            return False
        return self.release is None or self.weight >= 1 or self._split.arm_of(unit) == 1

    def release_of(self, unit: str) -> Release:
        """The release that serves a unit.

        Raises:
            DeployError: nothing is live.
        """
        found = self.canary if self.is_canary(unit) else self.release
        if found is None:
            raise DeployError(
                f"Nothing of {self.name!r} is live. Promote a release: %deploy promote {self.name}"
            )
        return found

    def unit_hash(self, unit: str) -> str:
        """What a trace keeps of a unit."""
        return self._split.unit_hash(unit)

    def slots(self) -> dict[str, Release | None]:
        """The releases by their slots."""
        return {LIVE: self.release, STAGED: self.staged, CANARY: self.canary}


def live(store: Store, name: str) -> Live:
    """What of a deployment is live, staged and canary; cheap enough to be asked at every request.

    A deployment without a row has nothing in any slot.
    """
    row = store.row("SELECT * FROM deployments WHERE name = ?", (name,))
    if row is None:
        return Live(name)
    numbers = {row[slot] for slot in SLOTS} - {None}
    found = {number: _numbered(store, name, number) for number in numbers}
    return Live(
        name=name,
        release=found.get(row[LIVE]),
        canary=found.get(row[CANARY]),
        weight=row["weight"],
        changed=row["changed"],
        staged=found.get(row[STAGED]),
        rules=json.loads(row["rules"] or "{}"),
        salt=row["salt"],
        since=row["changed_at"],
    )


def changed(store: Store, name: str) -> int:
    """How often the slots of a deployment have moved; the cheapest question of all."""
    row = store.row("SELECT changed FROM deployments WHERE name = ?", (name,))
    return 0 if row is None else int(row[0])


def names(store: Store) -> list[str]:
    """All deployments with a release, by name."""
    rows = store.rows("SELECT DISTINCT deployment FROM deployment_releases ORDER BY deployment")
    return [str(row[0]) for row in rows]


def releases(store: Store, name: str) -> list[Release]:
    """The releases of a deployment, newest first.

    Raises:
        UnknownNameError: there is no such deployment.
    """
    rows = store.rows(
        "SELECT * FROM deployment_releases WHERE deployment = ? ORDER BY number DESC", (name,)
    )
    if not rows:
        raise unknown_name(
            KIND, name, names(store), "Build one: %deploy build NAME PROMPT, or %deploy run"
        )
    return [_release(store, row) for row in rows]


def get(store: Store, reference: str) -> Release:
    """The release that ``support`` (the newest), ``support@3``, ``support@live`` or the beginning of a digest means.

    Raises:
        UnknownNameError: there is none.
    """
    name, selector = aliases.parse_reference(reference, KIND)
    every = releases(store, name)
    if selector is None:
        return every[0]
    if selector in SLOTS:
        found = live(store, name).slots()[selector]
        if found is None:
            raise unknown_name("release", reference, [], f"%deploy status {name} shows the slots.")
        return found
    for one in every:
        if selector == str(one.number) or (len(selector) >= 8 and one.short.startswith(selector)):
            return one
    known = [one.ref for one in every] + [f"{name}@{slot}" for slot in SLOTS]
    raise unknown_name("release", reference, known, f"%deploy history {name} lists them.")


def add(store: Store, name: str, digest: str, folder: Path, manifest: Mapping[str, Any]) -> Release:
    """Register a bundle as the next release of a deployment; the same digest is the release that has it.

    Its folder may have moved since: then the new one holds.
    """
    aliases.check_name(KIND, name)
    place = _kept_path(store, folder)
    with store.write() as conn:
        row = conn.execute(
            "SELECT * FROM deployment_releases WHERE deployment = ? AND digest = ?", (name, digest)
        ).fetchone()
        text = json.dumps(dict(manifest), ensure_ascii=False, sort_keys=True)
        if row is None:
            highest = conn.execute(
                "SELECT max(number) FROM deployment_releases WHERE deployment = ?", (name,)
            ).fetchone()[0]
            conn.execute(
                "INSERT INTO deployment_releases(deployment, number, digest, folder, manifest, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (name, (highest or 0) + 1, digest, place, text, store.now()),
            )
        elif row["folder"] != place:
            conn.execute(
                "UPDATE deployment_releases SET folder = ?, manifest = ? WHERE id = ?",
                (place, text, row["id"]),
            )
        row = conn.execute(
            "SELECT * FROM deployment_releases WHERE deployment = ? AND digest = ?", (name, digest)
        ).fetchone()
    return _release(store, row)


def rows_of(found: Sequence[Release], now: Live) -> list[dict[str, Any]]:
    """Releases as rows for people."""
    where = {one.number: slot for slot, one in now.slots().items() if one is not None}
    return [
        {
            "release": one.ref,
            "slot": where.get(one.number, "")
            + (f" {now.weight:.0%}" if where.get(one.number) == CANARY else ""),
            "what": one.words(),
            "digest": one.short,
            "gate": (one.manifest.get("evaluation") or {}).get("outcome", ""),
            "built": one.created_at[:16].replace("T", " "),
        }
        for one in found
    ]


def _numbered(store: Store, name: str, number: int) -> Release:
    row = store.row(
        "SELECT * FROM deployment_releases WHERE deployment = ? AND number = ?", (name, number)
    )
    assert row is not None
    return _release(store, row)


def _release(store: Store, row: sqlite3.Row) -> Release:
    folder = Path(row["folder"])
    if not folder.is_absolute() and store.path is not None:
        folder = store.path.parent / folder
    return Release(
        row["deployment"],
        int(row["number"]),
        row["digest"],
        folder,
        row["created_at"],
        json.loads(row["manifest"]),
    )


def _kept_path(store: Store, folder: Path) -> str:
    """A folder as the store keeps it: relative to the store's own where it lies in it."""
    whole = folder.resolve()
    if store.path is not None and whole.is_relative_to(store.path.parent):
        return whole.relative_to(store.path.parent).as_posix()
    return os.fspath(whole)


def _model(manifest: Mapping[str, Any]) -> str:
    model = manifest.get("model") or {}
    return " ".join(filter(None, [str(model.get("name", "")), str(model.get("quantization", ""))]))
