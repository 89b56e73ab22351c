"""Moves of releases between slots: each is one transaction, and has its entry in a log that is never rewritten."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter.deploy.actors import Actor
from llmops_jupyter.deploy.releases import CANARY, LIVE, SLOTS, STAGED, Live, live
from llmops_jupyter.errors import DeployError
from llmops_jupyter.store import Store
from llmops_jupyter.tracing.messages import clean

PROMOTE, STAGE, TRY, END, ROLLBACK = "promote", "stage", "canary", "end canary", "rollback"


@dataclass(frozen=True)
class Entry:
    """One entry of the log.

    Args:
        id: of the entry.
        deployment: its name.
        action: 'stage', 'canary', 'promote', 'end canary' or 'rollback'.
        slot: that was changed.
        number: of the release that is there now; None if it is empty.
        previous: of the one that was there before.
        weight: the canary's share; None for other slots.
        at: when.
        actor: who.
        reason: why, in words.
        evidence: what it rests on: gates, runs, the decision of a canary's rules.
    """

    id: int
    deployment: str
    action: str
    slot: str
    number: int | None
    previous: int | None
    weight: float | None
    at: str
    actor: Actor
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """The entry as a row for people."""
        share = "" if self.weight is None else f" {self.weight:.0%}"
        return {
            "when": self.at[:19].replace("T", " "),
            "action": self.action,
            "slot": f"{self.slot}{share}",
            "release": "–" if self.number is None else f"{self.deployment}@{self.number}",
            "before": "" if self.previous is None else f"{self.deployment}@{self.previous}",
            "who": self.actor.words(),
            "why": self.reason,
            "evidence": evidence_words(self.evidence),
        }


@dataclass(frozen=True)
class Move:
    """What is to be entered with a move.

    Args:
        actor: who.
        reason: why.
        evidence: what it rests on, as JSON values.
        expected: how often the deployment had changed when it was looked at; None asks nothing.
    """

    actor: Actor
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    expected: int | None = None


def stage(store: Store, name: str, number: int, move: Move) -> Live:
    """Put a release where it waits to be promoted."""
    with store.write() as conn:
        now = _checked(conn, name, move)
        _set(conn, store, name, staged=number)
        _log(conn, store, name, STAGE, STAGED, (number, now[STAGED]), move)
    return live(store, name)


def promote(store: Store, name: str, number: int, move: Move) -> Live:
    """Make a release the live one; a canary ends with it.

    Raises:
        DeployError: it is live already, or somebody moved something meanwhile; nothing has changed.
    """
    with store.write() as conn:
        now = _checked(conn, name, move)
        if now[LIVE] == number:
            raise DeployError(f"{name}@{number} is live already. %deploy status {name}")
        staged = None if now[STAGED] == number else now[STAGED]
        _set(conn, store, name, live=number, staged=staged, canary=None, weight=0.0, rules="")
        _log(conn, store, name, PROMOTE, LIVE, (number, now[LIVE]), move)
        if now[CANARY] is not None and now[CANARY] != number:
            ended = Move(move.actor, f"{name}@{number} was promoted")
            _log(conn, store, name, END, CANARY, (None, now[CANARY]), ended)
    return live(store, name)


def begin_canary(
    store: Store, name: str, number: int, weight: float, rules: Mapping[str, Any], move: Move
) -> Live:
    """Give a release a share of the units; of the one that is the canary already, change the share.

    Units stay where they are when only the share grows: those that come to the canary come from the live release.

    Raises:
        DeployError: nothing is live, it is live itself, or the share cannot be used.
    """
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1:
        raise DeployError(
            f"A canary gets a share of the units between 0 and 1, not {weight!r}. For instance 0.1; to give it all: "
            "%deploy promote without --canary."
        )
    with store.write() as conn:
        now = _checked(conn, name, move)
        if now[LIVE] is None:
            raise DeployError(
                f"Nothing of {name!r} is live, so a canary has nothing to be compared with. Promote it: %deploy promote "
                f"{name}@{number}"
            )
        if now[LIVE] == number:
            raise DeployError(f"{name}@{number} is live already, so it cannot be a canary.")
        salt = now["salt"] if now[CANARY] == number and now["salt"] else secrets.token_hex(8)
        text = json.dumps(dict(rules), sort_keys=True)
        staged = None if now[STAGED] == number else now[STAGED]
        _set(
            *(conn, store, name),
            staged=staged,
            canary=number,
            weight=float(weight),
            salt=salt,
            rules=text,
        )
        _log(conn, store, name, TRY, CANARY, (number, now[CANARY]), move, float(weight))
    return live(store, name)


def end_canary(store: Store, name: str, move: Move) -> Live:
    """Take the canary back; the live release serves all units again.

    Raises:
        DeployError: there is none.
    """
    with store.write() as conn:
        now = _checked(conn, name, move)
        if now[CANARY] is None:
            raise DeployError(f"{name!r} has no canary. %deploy status {name} shows its slots.")
        _set(conn, store, name, canary=None, weight=0.0, rules="")
        _log(conn, store, name, ROLLBACK, CANARY, (None, now[CANARY]), move)
    return live(store, name)


def rollback(store: Store, name: str, move: Move) -> Live:
    """Make the release live that was so before the last promotion; a canary ends with it.

    Rolling back again goes one further step back, as with the aliases of prompts.

    Raises:
        DeployError: nothing was live before.
    """
    with store.write() as conn:
        now = _checked(conn, name, move)
        target = before(_entries(conn, name))
        if target is None:
            canary = now[CANARY] is not None
            hint = " To take the canary back: %deploy rollback NAME --canary" if canary else ""
            raise DeployError(
                f"Nothing else of {name!r} was live before: there is nothing to roll back to.{hint}"
            )
        _set(conn, store, name, live=target, canary=None, weight=0.0, rules="")
        _log(conn, store, name, ROLLBACK, LIVE, (target, now[LIVE]), move)
        if now[CANARY] is not None:
            ended = Move(move.actor, "the live release was rolled back")
            _log(conn, store, name, END, CANARY, (None, now[CANARY]), ended)
    return live(store, name)


def history(store: Store, name: str, limit: int = 200) -> list[Entry]:
    """The log of a deployment, newest first."""
    rows = store.rows(
        "SELECT * FROM deployment_log WHERE deployment = ? ORDER BY id DESC LIMIT ?", (name, limit)
    )
    return [_entry(row) for row in rows]


def before(log: Iterable[Entry]) -> int | None:
    """What was live before: promotions form a stack from which a roll-back takes the top."""
    stack: list[int] = []
    for entry in log:
        if entry.slot != LIVE or entry.number is None:
            continue
        if entry.action == ROLLBACK and len(stack) > 1:
            stack.pop()
        elif not stack or stack[-1] != entry.number:
            stack.append(entry.number)
    return stack[-2] if len(stack) > 1 else None


def taken_back(log: Sequence[Entry], number: int) -> Entry | None:
    """The roll-back by which a release was taken back, if nothing was done with it since; `log` is newest first."""
    for entry in log:
        if number in (entry.number, entry.previous):
            return entry if entry.action == ROLLBACK and entry.previous == number else None
    return None


def evidence_words(evidence: Mapping[str, Any]) -> str:
    """Evidence on one line."""
    return str(evidence.get("summary") or "")


def _checked(conn: sqlite3.Connection, name: str, move: Move) -> dict[str, Any]:
    """The row of a deployment as it is now, if that is what was expected."""
    row = conn.execute("SELECT * FROM deployments WHERE name = ?", (name,)).fetchone()
    now: dict[str, Any] = dict(row) if row is not None else {**dict.fromkeys(SLOTS), "changed": 0}
    if move.expected is None or move.expected == now["changed"]:
        return {"salt": "", **now}
    last = conn.execute(
        "SELECT * FROM deployment_log WHERE deployment = ? ORDER BY id DESC LIMIT 1", (name,)
    ).fetchone()
    said = ""
    if last is not None:
        entry = _entry(last)
        shown = entry.row()
        said = f": {entry.actor.words()} did '{entry.action}' with {shown['release']} at {shown['when']}"
    raise DeployError(
        f"{name!r} was changed by somebody else meanwhile{said}. Nothing was done; look at it again with %deploy status "
        f"{name}, and repeat it if it still holds."
    )


def _set(conn: sqlite3.Connection, store: Store, name: str, **values: Any) -> None:
    conn.execute(
        "INSERT OR IGNORE INTO deployments(name, changed_at) VALUES (?, ?)", (name, store.now())
    )
    setting = ", ".join(f"{column} = :{column}" for column in values)
    conn.execute(
        f"UPDATE deployments SET {setting}, changed = changed + 1, changed_at = :now WHERE name = :name",
        {**values, "now": store.now(), "name": name},
    )


def _log(
    conn: sqlite3.Connection,
    store: Store,
    name: str,
    action: str,
    slot: str,
    numbers: tuple[int | None, int | None],
    move: Move,
    weight: float | None = None,
) -> None:
    evidence = clean(json.dumps(dict(move.evidence), ensure_ascii=False, sort_keys=True))
    conn.execute(
        "INSERT INTO deployment_log(deployment, action, slot, number, previous, weight, at, actor, reason, evidence) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(name, action, slot, *numbers, weight, store.now()),
            *(move.actor.text(), clean(move.reason), evidence),
        ),
    )


def _entries(conn: sqlite3.Connection, name: str) -> list[Entry]:
    rows = conn.execute("SELECT * FROM deployment_log WHERE deployment = ? ORDER BY id", (name,))
    return [_entry(row) for row in rows]


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(
        id=row["id"],
        deployment=row["deployment"],
        action=row["action"],
        slot=row["slot"],
        number=row["number"],
        previous=row["previous"],
        weight=row["weight"],
        at=row["at"],
        actor=Actor.from_text(row["actor"]),
        reason=row["reason"],
        evidence=json.loads(row["evidence"]),
    )
