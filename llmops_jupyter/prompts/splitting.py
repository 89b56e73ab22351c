"""Live traffic of an alias, split between versions: which unit (a user, a session) gets which.

A unit's place between 0 and 1 is a hash of the split's salt and the unit. The versions lie one after the
other, each as long as its share. So a unit always gets the same version, in every process, and when shares
change, which keeps salt and order, only units near the moved borders get another.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.errors import OptionError, PromptError, UnknownNameError
from llmops_jupyter.store import Store, aliases

KIND = "prompt"
PRODUCTION = "production"
ID, ARM, UNIT = "llmops.split.id", "llmops.split.arm", "llmops.split.unit"


@dataclass(frozen=True)
class Split:
    """A split of an alias.

    Args:
        id: by which traces name it.
        name: of the prompt.
        alias: whose traffic is split.
        arms: versions with their weights, in their order.
        salt: makes the assignment of this split independent of others.
        started_at: when it began.
        ended_at: when it ended; None while it runs.
        note: why.
    """

    id: int
    name: str
    alias: str
    arms: tuple[tuple[int, float], ...]
    salt: str
    started_at: str
    ended_at: str | None = None
    note: str = ""

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.alias}"

    @property
    def shares(self) -> dict[int, float]:
        """Each version's share of the units."""
        total = sum(weight for _, weight in self.arms)
        return {version: weight / total for version, weight in self.arms}

    def arm_of(self, unit: str) -> int:
        """The version that a unit gets."""
        place = int.from_bytes(self._hash(unit)[:8], "big") / 2**64
        until = 0.0
        for version, share in self.shares.items():
            until += share
            if place < until:
                return version
        return self.arms[-1][0]

    def unit_hash(self, unit: str) -> str:
        """What a trace keeps of a unit: enough to tell units apart, nothing of who it is."""
        return self._hash(f"unit\0{unit}").hex()[:16]

    def words(self) -> str:
        """The shares for people."""
        shown = ", ".join(f"version {v} {share:.0%}" for v, share in self.shares.items())
        return f"{self.ref}: {shown}"

    def _hash(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.salt}\0{text}".encode(errors="surrogatepass")).digest()


class Splits:
    """The splits of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def begin(
        self,
        name: str,
        alias: str,
        arms: Mapping[int, float],
        known: Sequence[int],
        note: str = "",
        salt: str | None = None,
    ) -> Split:
        """Begin a split, or give the running one other shares.

        Args:
            name: of the prompt.
            alias: whose traffic is split; it must point at a version.
            arms: versions with their weights.
            known: the versions that there are.
            note: why.
            salt: of another split, to assign as it did; else the running one's, else a new one.

        Raises:
            OptionError: the arms make no split.
            PromptError: the alias is not there.
        """
        found = _checked(name, arms, known)
        with self.store.write() as conn:
            if alias not in aliases.all_aliases(conn, KIND, name):
                raise PromptError(
                    f"{name}@{alias} does not point at a version yet, so it has no traffic to split. First: "
                    f"%prompt alias {name}@{found[0][0]} {alias}"
                )
            before = _running(conn, name, alias)
            if before is not None:
                salt = salt or before.salt
                old = [version for version, _ in before.arms]
                found.sort(key=lambda arm: old.index(arm[0]) if arm[0] in old else len(old))
                _end(conn, name, alias, self.store.now())
            conn.execute(
                "INSERT INTO prompt_splits(name, alias, arms, salt, started_at, note) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(name, alias, json.dumps(found), salt or secrets.token_hex(8)),
                    *(self.store.now(), note),
                ),
            )
            made = _running(conn, name, alias)
        assert made is not None
        return made

    def running(self, name: str, alias: str) -> Split | None:
        """The split of an alias that runs now."""
        return _running(self.store.read(), name, alias)

    def list(self, name: str | None = None) -> list[Split]:
        """Splits, newest first: of a prompt, or of all."""
        where, values = ("WHERE name = ?", (name,)) if name else ("", ())
        rows = self.store.rows(f"SELECT * FROM prompt_splits {where} ORDER BY id DESC", values)
        return [_split(row) for row in rows]

    def get(self, name: str, alias: str) -> Split:
        """The running split of an alias, else its last one.

        Raises:
            UnknownNameError: there was none.
        """
        found = [s for s in self.list(name) if s.alias == alias]
        if not found:
            raise UnknownNameError(
                f"{name}@{alias} is not split. Begin with: %prompt split {name} {alias}=1:90,2:10"
            )
        return next((s for s in found if s.ended_at is None), found[0])

    def end(self, name: str, alias: str) -> None:
        """End the running split of an alias.

        Raises:
            UnknownNameError: none runs.
        """
        with self.store.write() as conn:
            if not _end(conn, name, alias, self.store.now()):
                raise UnknownNameError(f"No split of {name}@{alias} runs.")


def end_running(conn: sqlite3.Connection, name: str, alias: str, now: str) -> bool:
    """End the split of an alias that is moved: its traffic is that of one version again."""
    return _end(conn, name, alias, now)


def parse_arms(text: str) -> tuple[str, dict[int, float]]:
    """Alias and arms from ``production=3:90,4:10``.

    Raises:
        OptionError: it is written otherwise.
    """
    alias, equals, rest = text.partition("=")
    arms: dict[int, float] = {}
    try:
        for part in rest.split(","):
            version, colon, weight = part.partition(":")
            if not colon or int(version) in arms:
                raise ValueError(part)
            arms[int(version)] = float(weight)
    except ValueError:
        equals = ""
    if not (alias and equals):
        raise OptionError(
            f"{text!r} is no split. Write ALIAS=VERSION:WEIGHT,VERSION:WEIGHT, for instance "
            "production=3:90,4:10"
        )
    return alias, arms


def attributes_of(split: Split, version: int, unit: str | None) -> dict[str, Any]:
    """What a trace says of the split that it belongs to."""
    made: dict[str, Any] = {ID: split.id, ARM: version}
    if unit is not None:
        made[UNIT] = split.unit_hash(unit)
    return made


def _checked(name: str, arms: Mapping[int, float], known: Sequence[int]) -> list[tuple[int, float]]:
    found = [(int(version), float(weight)) for version, weight in arms.items()]
    if len(found) < 2:
        raise OptionError("A split needs two versions or more. For one: %prompt alias")
    for version, weight in found:
        if version not in known:
            raise UnknownNameError(
                f"The prompt {name!r} has no version {version}; %prompt history {name} shows them."
            )
        if not 0 < weight < float("inf"):
            raise OptionError(
                f"The weight of version {version} is a number above 0, not {weight:g}."
            )
    if sum(weight for _, weight in found) == float("inf"):
        raise OptionError(
            "The weights are too large to be added up. Give shares, for instance 90 and 10."
        )
    return found


def _running(conn: sqlite3.Connection, name: str, alias: str) -> Split | None:
    row = conn.execute(
        "SELECT * FROM prompt_splits WHERE name = ? AND alias = ? AND ended_at IS NULL",
        (name, alias),
    ).fetchone()
    return None if row is None else _split(row)


def _end(conn: sqlite3.Connection, name: str, alias: str, now: str) -> bool:
    cursor = conn.execute(
        "UPDATE prompt_splits SET ended_at = ? WHERE name = ? AND alias = ? AND ended_at IS NULL",
        (now, name, alias),
    )
    return cursor.rowcount > 0


def _split(row: sqlite3.Row) -> Split:
    return Split(
        id=row["id"],
        name=row["name"],
        alias=row["alias"],
        arms=tuple((int(v), float(w)) for v, w in json.loads(row["arms"])),
        salt=row["salt"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        note=row["note"],
    )
