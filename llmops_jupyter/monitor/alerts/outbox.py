"""Notices in the store: each is kept before it is sent, so that one of a process that ended is sent by another.

A notice may be sent twice where a process ends between the answer of whoever is told and the note of it; none is lost.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from llmops_jupyter.monitor.alerts.channels import Channel
from llmops_jupyter.store import Store
from llmops_jupyter.tracing.process import is_dead, this_process

WAITING: Literal["waiting"] = "waiting"
SENT: Literal["sent"] = "sent"
FAILED: Literal["failed"] = "failed"
# Nobody can see whether a process on another machine has ended: so many seconds are more than all tries take.
AWAY_S = 3600.0
GIVEN_UP = "two processes ended before it was delivered"


@dataclass(frozen=True)
class Parcel:
    """A notice that is to be delivered."""

    id: int
    channel: Channel
    body: Mapping[str, Any]


def keep(
    conn: sqlite3.Connection,
    channel: Channel,
    body: Mapping[str, Any],
    *,
    change_id: int,
    process: str,
    at: str,
) -> Parcel:
    """Keep a notice that this process is about to deliver, in the transaction of what it tells of."""
    text = json.dumps(body, ensure_ascii=False, default=str)
    cursor = conn.execute(
        "INSERT INTO alert_notices(rule, change_id, at, channel, kind, outcome, tries, error, target, body, "
        "process_id) VALUES (?, ?, ?, ?, ?, ?, 0, '', ?, ?, ?)",
        (
            *(body["rule"], change_id, at, channel.words(), body["kind"], WAITING),
            *(json.dumps(channel.as_dict()), text, process),
        ),
    )
    return Parcel(int(cursor.lastrowid or 0), channel, json.loads(text))


def settle(
    store: Store, parcel: Parcel, outcome: Literal["sent", "failed"], tries: int, error: str = ""
) -> None:
    """Note how a delivery went, unless another process has taken the notice over meanwhile."""
    with store.write() as conn:
        conn.execute(
            "UPDATE alert_notices SET outcome = ?, tries = tries + ?, error = ?, at = ?, body = '', target = '' "
            "WHERE id = ? AND outcome = 'waiting' AND process_id IN (?, '')",
            (outcome, tries, error, store.now(), parcel.id, this_process().id),
        )


def release(store: Store, parcels: Sequence[Parcel], error: str) -> None:
    """Let any process deliver what this one could not before it ended."""
    with store.write() as conn:
        conn.executemany(
            "UPDATE alert_notices SET process_id = '', error = ? WHERE id = ? AND outcome = 'waiting' "
            "AND process_id = ?",
            [(error, parcel.id, this_process().id) for parcel in parcels],
        )


def left(store: Store) -> bool:
    """Whether notices wait that no living process delivers."""
    return any(_is_left(row) for row in store.rows(_WAITING))


def adopt(store: Store, process: str) -> list[Parcel]:
    """Take over what no living process delivers, each once; what was taken over before has failed."""
    found: list[Parcel] = []
    with store.write() as conn:
        for row in conn.execute(_WAITING).fetchall():
            if not _is_left(row):
                continue
            if row["takes"]:
                conn.execute(
                    "UPDATE alert_notices SET outcome = ?, error = ?, at = ?, body = '', target = '' WHERE id = ?",
                    (FAILED, row["error"] or GIVEN_UP, store.now(), row["notice"]),
                )
                continue
            conn.execute(
                "UPDATE alert_notices SET process_id = ?, takes = takes + 1 WHERE id = ?",
                (process, row["notice"]),
            )
            channel = Channel(**json.loads(row["target"]))
            found.append(Parcel(row["notice"], channel, json.loads(row["body"])))
    return found


_WAITING = (
    "SELECT n.id AS notice, n.at, n.target, n.body, n.takes, n.error, n.process_id AS sender, p.* FROM alert_notices n "
    "LEFT JOIN processes p ON p.id = n.process_id WHERE n.outcome = 'waiting' ORDER BY n.id"
)


def _is_left(row: sqlite3.Row) -> bool:
    """Whether the process of a notice has ended, or has let it go."""
    here = this_process()
    if row["sender"] == here.id:
        return False
    if not row["sender"] or row["id"] is None or is_dead(row):
        return True
    if row["host"] == here.host and row["boot"] == here.boot:
        return False
    kept = datetime.fromisoformat(row["at"])
    return abs((datetime.now(timezone.utc) - kept).total_seconds()) > AWAY_S


def notices_of(store: Store, limit: int, *, failed: bool = False) -> list[Mapping[str, Any]]:
    """What channels were told lately, newest first; only what is not delivered, if asked for."""
    where = f"WHERE outcome IN ('{FAILED}', '{WAITING}')" if failed else ""
    rows = store.rows(
        "SELECT rule, at, channel, kind, outcome, tries, error FROM alert_notices "
        f"{where} ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [dict(row) for row in rows]
