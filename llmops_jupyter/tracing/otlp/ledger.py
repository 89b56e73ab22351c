"""What the store knows of an endpoint: its settings, the place reached, what is held back, and who sends."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from llmops_jupyter.errors import SendError
from llmops_jupyter.store import Store
from llmops_jupyter.tracing.arrivals import imported
from llmops_jupyter.tracing.otlp.endpoints import Endpoint, checked_address
from llmops_jupyter.tracing.process import is_dead, this_process
from llmops_jupyter.tracing.tracer import Tracer

Kind = Literal["span", "score"]
# Seconds between two signs of life of whoever sends, and those after which it is taken for gone.
BEAT_S, GONE_S = 60.0, 900.0


@dataclass(frozen=True)
class Place:
    """How far an endpoint has come: the last span and the last score that were looked at."""

    id: int
    floor: int
    position: int
    scored: int


@dataclass(frozen=True)
class Step:
    """What a batch changes: the place after it, what is held from now on or no longer, and how many spans went."""

    position: int
    scored: int
    sent: int
    opened: Sequence[int] = ()
    refused: Sequence[tuple[Kind, int, str]] = ()
    settled: Sequence[tuple[Kind, int]] = ()
    note: str = ""


@dataclass(frozen=True)
class EndpointStatus:
    """How an endpoint stands.

    Args:
        endpoint: its address and settings.
        sent: spans that it has taken, those of scores among them.
        waiting: spans and scores that are to be looked at.
        open: spans that were running when their turn came; they go when they have ended.
        refused: spans that it did not take, with `reasons`.
        sent_at: when it took something last; '' for never.
        error: why nothing goes now; '' if it does.
        error_at: when that was found.
        holder: who sends: 'here', a process, or '' for nobody.
        reasons: why spans were refused, the newest first, with how many.
    """

    endpoint: Endpoint
    sent: int
    waiting: int
    open: int
    refused: int
    sent_at: str
    error: str
    error_at: str
    holder: str
    reasons: tuple[tuple[str, int], ...]

    def row(self) -> dict[str, Any]:
        """A line of a table."""
        return {
            "endpoint": self.endpoint.url,
            "sent": f"{self.sent:,}",
            "waiting": f"{self.waiting:,}",
            "open": f"{self.open:,}",
            "refused": f"{self.refused:,}",
            "last sent": self.sent_at[:19].replace("T", " "),
            "sender": self.holder or "nobody",
            "error": self.error,
        }

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        made = {k: v for k, v in vars(self).items() if k not in ("endpoint", "reasons")}
        reasons = [{"reason": reason, "spans": n} for reason, n in self.reasons]
        settings = {**vars(self.endpoint), "headers": dict(self.endpoint.headers)}
        return {"endpoint": settings.pop("url"), **made, "settings": settings, "reasons": reasons}


class Ledger:
    """The rows of one endpoint, for one sender; each sender has one of its own."""

    def __init__(self, tracer: Tracer, url: str) -> None:
        self.tracer = tracer
        self.store: Store = tracer.store
        self.url = checked_address(url)
        self.owner = uuid.uuid4().hex

    def known(self) -> Endpoint | None:
        """The endpoint with the settings that were kept; None if it is new."""
        row = self.store.row("SELECT settings FROM otlp_endpoints WHERE endpoint = ?", (self.url,))
        return None if row is None else Endpoint.from_json(self.url, row[0])

    def take(self, endpoint: Endpoint, since_ns: int | None) -> None:
        """Become the one who sends, and keep the settings; with `since_ns` from the spans that began then.

        Raises:
            SendError: another sender is at it.
        """
        store = self.store
        with store.write() as conn:
            row = conn.execute(_WITH_SENDER, (self.url,)).fetchone()
            if row is not None and row["owner"] not in ("", self.owner) and _is_alive(row):
                where = (
                    "this process" if row["pid"] == this_process().pid else f"process {row['pid']}"
                )
                raise SendError(
                    f"{self.url} is being sent to by {where} on {row['host']} already, and one at a time is enough. See "
                    "%trace send --status; %trace send --stop ends one of this notebook."
                )
            process = self.tracer.register_process(conn)
            if row is None:
                conn.execute(
                    "INSERT INTO otlp_endpoints(endpoint, settings, floor, position, scored, created_at) "
                    "VALUES (?, ?, 0, 0, 0, ?)",
                    (self.url, endpoint.as_json(), store.now()),
                )
            conn.execute(
                "UPDATE otlp_endpoints SET settings = ?, owner = ?, process_id = ?, beat_at = ? WHERE endpoint = ?",
                (endpoint.as_json(), self.owner, process, store.now(), self.url),
            )
            if since_ns is not None:
                _go_to(conn, self.url, since_ns)
        self.tracer.registered()

    def beat(self) -> None:
        """Say that this sender lives.

        Raises:
            SendError: another one has taken over.
        """
        with self.store.write() as conn:
            self._own(conn, "beat_at = ?", (self.store.now(),))

    def release(self) -> None:
        """Let others send."""
        with self.store.write() as conn:
            conn.execute(
                "UPDATE otlp_endpoints SET owner = '', process_id = '' WHERE endpoint = ? AND owner = ?",
                (self.url, self.owner),
            )

    def place(self) -> Place:
        """How far it has come.

        Raises:
            SendError: the endpoint was forgotten.
        """
        row = self.store.row(
            "SELECT id, floor, position, scored FROM otlp_endpoints WHERE endpoint = ?", (self.url,)
        )
        if row is None:
            raise SendError(f"{self.url} was forgotten. Name it again: %trace send {self.url}")
        return Place(*row)

    def note(self, place: Place, step: Step) -> None:
        """Keep what a batch came to, in one transaction.

        Raises:
            SendError: another sender has taken over.
        """
        now = self.store.now()
        with self.store.write() as conn:
            self._own(
                conn,
                # Where spans were deleted meanwhile, the place has gone back already.
                "position = CASE position WHEN ? THEN ? ELSE position END, "
                "scored = CASE scored WHEN ? THEN ? ELSE scored END, "
                "sent = sent + ?, beat_at = ?, error = ?, error_at = ?",
                (
                    *(place.position, step.position, place.scored, step.scored),
                    *(step.sent, now, step.note, now if step.note else ""),
                ),
            )
            if step.sent:
                self._own(conn, "sent_at = ?", (now,))
            conn.executemany(
                "DELETE FROM otlp_held WHERE kind = ? AND row_id = ? AND endpoint_id = ?",
                [(kind, row, place.id) for kind, row in step.settled],
            )
            held = [
                *(("span", row, "open", "") for row in step.opened),
                *((kind, row, "refused", why) for kind, row, why in step.refused),
            ]
            conn.executemany(
                "INSERT OR REPLACE INTO otlp_held(kind, row_id, state, reason, endpoint_id, at) VALUES (?, ?, ?, ?, ?, ?)",
                [(*one, place.id, now) for one in held],
            )

    def failed(self, error: str) -> None:
        """Keep why nothing goes."""
        with self.store.write() as conn:
            conn.execute(
                "UPDATE otlp_endpoints SET error = ?, error_at = ? WHERE endpoint = ?",
                (error[:500], self.store.now(), self.url),
            )

    def offer_again(self) -> int:
        """Have what was refused go once more; returns how many."""
        place = self.place()
        with self.store.write() as conn:
            return conn.execute(
                "UPDATE otlp_held SET state = 'open' WHERE endpoint_id = ? AND state = 'refused'",
                (place.id,),
            ).rowcount

    def held(self, place: Place) -> list[tuple[Kind, int]]:
        """What was open when its turn came, or is to go again."""
        rows = self.store.rows(
            "SELECT kind, row_id FROM otlp_held WHERE endpoint_id = ? AND state = 'open' ORDER BY kind DESC, row_id",
            (place.id,),
        )
        return [(row[0], row[1]) for row in rows]

    def _own(self, conn: Any, change: str, values: tuple[Any, ...]) -> None:
        changed = conn.execute(
            f"UPDATE otlp_endpoints SET {change} WHERE endpoint = ? AND owner = ?",
            (*values, self.url, self.owner),
        )
        if not changed.rowcount:
            raise SendError(
                f"Another process sends to {self.url} now, or it was forgotten. See %trace send --status"
            )


_WITH_SENDER = (
    "SELECT e.owner, e.beat_at, p.* FROM otlp_endpoints e LEFT JOIN processes p ON p.id = e.process_id "
    "WHERE e.endpoint = ?"
)


def _is_alive(row: Any) -> bool:
    if row["id"] is None or is_dead(row):
        return False
    heard = datetime.fromisoformat(row["beat_at"])
    return abs((datetime.now(timezone.utc) - heard).total_seconds()) < GONE_S


def _go_to(conn: Any, url: str, since_ns: int) -> None:
    """Put the place before the first span of this workspace that began at a moment or later, and before its scores."""
    first = conn.execute(
        f"SELECT min(id) FROM spans s WHERE start_ns >= ? AND NOT {imported('s')}",
        (since_ns,),
    ).fetchone()[0]
    if first is None:
        first = conn.execute("SELECT coalesce(max(id), 0) + 1 FROM spans").fetchone()[0]
    scored = conn.execute(
        "SELECT coalesce(min(c.id) - 1, (SELECT coalesce(max(id), 0) FROM scores)) FROM scores c "
        "WHERE c.trace_id IN (SELECT trace_id FROM spans WHERE id >= ?)",
        (first,),
    ).fetchone()[0]
    conn.execute(
        "UPDATE otlp_endpoints SET floor = ?, position = ?, scored = ? WHERE endpoint = ?",
        (first - 1, first - 1, scored, url),
    )


def statuses(store: Store, owners: set[str]) -> list[EndpointStatus]:
    """How all endpoints stand; `owners` are the senders of this workspace."""
    return [_status(store, row, owners) for row in store.rows(_ALL)]


def forget(store: Store, url: str) -> bool:
    """Forget an endpoint, with its place and what is held for it; whether it was known."""
    with store.write() as conn:
        row = conn.execute("SELECT id FROM otlp_endpoints WHERE endpoint = ?", (url,)).fetchone()
        if row is None:
            return False
        conn.execute("DELETE FROM otlp_held WHERE endpoint_id = ?", (row[0],))
        conn.execute("DELETE FROM otlp_endpoints WHERE id = ?", (row[0],))
    return True


_ALL = (
    "SELECT e.id AS number, e.endpoint, e.settings, e.floor, e.position, e.scored, e.sent, e.sent_at, e.error, e.error_at, "
    "e.owner, e.beat_at, p.* FROM otlp_endpoints e LEFT JOIN processes p ON p.id = e.process_id ORDER BY e.id"
)


def _status(store: Store, row: Any, owners: set[str]) -> EndpointStatus:
    counts = dict(
        tuple(found)
        for found in store.rows(
            "SELECT state, count(*) FROM otlp_held WHERE endpoint_id = ? GROUP BY 1",
            (row["number"],),
        )
    )
    waiting = store.rows(
        f"SELECT (SELECT count(*) FROM spans s WHERE s.id > ? AND NOT {imported('s')}) + "
        "(SELECT count(*) FROM scores WHERE id > ? AND valid AND output_id IS NULL)",
        (row["position"], row["scored"]),
    )[0][0]
    reasons = store.rows(
        "SELECT reason, count(*) FROM otlp_held WHERE endpoint_id = ? AND state = 'refused' GROUP BY 1 "
        "ORDER BY max(at) DESC LIMIT 5",
        (row["number"],),
    )
    holder = ""
    if row["owner"] and _is_alive(row):
        holder = "here" if row["owner"] in owners else f"process {row['pid']} on {row['host']}"
    return EndpointStatus(
        Endpoint.from_json(row["endpoint"], row["settings"]),
        row["sent"],
        waiting,
        counts.get("open", 0),
        counts.get("refused", 0),
        *(row["sent_at"], row["error"], row["error_at"], holder),
        tuple((r[0], r[1]) for r in reasons),
    )
