"""Versions of policies: kept by content, found by number or alias, compared, exported; and those that come along."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import GuardError, OptionError, unknown_name
from llmops_jupyter.guard.policy import Policy, read_policy
from llmops_jupyter.store import aliases
from llmops_jupyter.store.versions import Versions

KIND = "guard"
FOLDER = Path(__file__).parent / "policies"
ALIASES = "aliases.json"
# The version of a policy that comes with the package.
OURS = 0
# Turns a remembered policy off.
NONE = "none"


@dataclass(frozen=True)
class PolicyVersion:
    """One version of a policy; 0 is the one that comes with the package."""

    name: str
    version: int
    policy: Policy
    text: str = field(repr=False)
    note: str = ""
    created_at: str = ""
    aliases: tuple[str, ...] = ()
    created: bool = field(default=False, compare=False)

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    def __str__(self) -> str:
        return self.text


class Policies(Versions[PolicyVersion]):
    """The policies of a store, and those that come with the package."""

    KIND = KIND

    def add(
        self, name: str, policy: str | Path | Mapping[str, Any] | Policy, *, note: str = ""
    ) -> PolicyVersion:
        """Keep a policy as a version of `name`: a YAML file, its text, or a mapping.

        A policy that decides as an older version does is that version; `created` tells which happened.

        Raises:
            GuardError: the policy has a fault, which is named with its line.
        """
        aliases.check_name(KIND, name)
        if name == NONE:
            raise OptionError(f"{NONE!r} means that no policy holds. Choose another name.")
        read, text = read_policy(policy, name)
        with self.store.write() as conn:
            row = conn.execute(
                "SELECT version FROM policies WHERE name = ? AND content_hash = ?",
                (name, read.digest),
            ).fetchone()
            if row is not None:
                return _load(conn, name, row[0])
            highest = conn.execute(
                "SELECT max(version) FROM policies WHERE name = ?", (name,)
            ).fetchone()[0]
            version = (highest or 0) + 1
            conn.execute(
                "INSERT INTO policies(name, version, content_hash, content, note, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (name, version, read.digest, text, note or read.note, self.store.now()),
            )
            return _load(conn, name, version, created=True)

    def list(self) -> list[PolicyVersion]:
        """The latest version of each policy, by name; those that come with the package among them."""
        conn = self.store.read()
        return [_load(conn, name, max(self._numbers(name)), strict=False) for name in self.names()]

    def names(self) -> Sequence[str]:
        rows = self.store.rows("SELECT DISTINCT name FROM policies")
        return sorted({*(row[0] for row in rows), *ours()})

    def export(self, folder: Path) -> Sequence[Path]:
        """Write every kept version: a folder for each policy, a YAML file for each version, and the aliases."""
        written = []
        names = [
            row[0] for row in self.store.rows("SELECT DISTINCT name FROM policies ORDER BY name")
        ]
        for name in names:
            target = folder / name
            target.mkdir(parents=True, exist_ok=True)
            history = self.history(name)
            for version in history:
                if version.version == OURS:
                    continue
                path = target / f"{version.version:04d}.yaml"
                path.write_text(version.text, "utf-8")
                written.append(path)
            points = {a: v.version for v in history for a in v.aliases}
            path = target / ALIASES
            path.write_text(json.dumps(points, indent=1, sort_keys=True) + "\n", "utf-8")
            written.append(path)
        return written

    def import_(self, read: Sequence[ExportedPolicy]) -> int:
        """Keep what `read_folder` read; how many versions were new. Aliases that are there stay as they are."""
        new = 0
        for one in read:
            numbers = {OURS: OURS}
            for number, text in one.versions:
                kept = self.add(one.name, text)
                numbers[number] = kept.version
                new += kept.created
            known = {c.alias for c in self.alias_log(one.name)}
            for alias, number in one.aliases.items():
                if alias not in known:
                    self.alias(f"{one.name}@{numbers[number]}", alias, "imported")
        return new

    def _numbers(self, name: str) -> Sequence[int]:
        rows = self.store.rows("SELECT version FROM policies WHERE name = ?", (name,))
        found = [row[0] for row in rows]
        if name in ours():
            found.append(OURS)
        if not found:
            raise unknown_name(
                "guard policy", name, self.names(), "Keep one: %guard add NAME FILE.yaml"
            )
        return found

    def _load(self, conn: sqlite3.Connection, name: str, version: int) -> PolicyVersion:
        return _load(conn, name, version)

    def _parts(self, version: PolicyVersion) -> Mapping[str, str]:
        return {"": version.text}


@dataclass(frozen=True)
class ExportedPolicy:
    """All kept versions of a policy as text, oldest first, and its aliases by the numbers they had."""

    name: str
    versions: tuple[tuple[int, str], ...]
    aliases: Mapping[str, int]


def read_folder(folder: Path) -> list[ExportedPolicy]:
    """Read and check what `Policies.export` wrote; nothing is kept.

    Raises:
        GuardError: with the file that is no policy, and why.
    """
    return [_read(path) for path in sorted(folder.glob("*")) if path.is_dir()]


def _read(folder: Path) -> ExportedPolicy:
    aliases.check_name(KIND, folder.name)
    versions = []
    for path in sorted(folder.glob("[0-9]*.yaml")):
        if not path.stem.isdigit():
            raise GuardError(
                f"{str(path)!r} is no exported policy: its name is no number. Rename it."
            )
        versions.append((int(path.stem), read_policy(path)[1]))
    points: dict[str, int] = {}
    path = folder / ALIASES
    if path.is_file():
        try:
            points = {str(k): int(v) for k, v in json.loads(path.read_text("utf-8")).items()}
            for alias in points:
                aliases.check_alias(alias)
        except (OSError, ValueError, TypeError, AttributeError) as e:
            raise GuardError(f"{str(path)!r} cannot be read: {e}. Export again.") from e
        missing = set(points.values()) - {n for n, _ in versions} - {OURS}
        if missing:
            raise GuardError(
                f"{str(path)!r} names version {min(missing)}, which is not there. Export again."
            )
    return ExportedPolicy(folder.name, tuple(versions), points)


@lru_cache(maxsize=1)
def ours() -> Mapping[str, tuple[Policy, str]]:
    """The policies that come with the package, by name, with their text."""
    return {path.stem: read_policy(path) for path in sorted(FOLDER.glob("*.yaml"))}


def _load(
    conn: sqlite3.Connection,
    name: str,
    version: int,
    *,
    created: bool = False,
    strict: bool = True,
) -> PolicyVersion:
    pointing = tuple(a for a, v in aliases.all_aliases(conn, KIND, name).items() if v == version)
    if version == OURS:
        policy, text = ours()[name]
        return PolicyVersion(name, version, policy, text, policy.note, "", pointing)
    row = conn.execute(
        "SELECT content, note, created_at FROM policies WHERE name = ? AND version = ?",
        (name, version),
    ).fetchone()
    try:
        policy, _ = read_policy(row[0], name)
    except GuardError as e:  # a check of the user's own that is not registered in this process
        if strict:
            raise
        policy = Policy(name, (), note=str(e))
    return PolicyVersion(name, version, policy, row[0], row[1], row[2], pointing, created)
