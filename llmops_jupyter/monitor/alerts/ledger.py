"""Rules, looks, changes of state and marks of people in the store; appended to, never rewritten."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from llmops_jupyter.errors import unknown_name
from llmops_jupyter.monitor.alerts.readings import Reading
from llmops_jupyter.monitor.alerts.rules import Rule
from llmops_jupyter.monitor.alerts.states import S, Standing
from llmops_jupyter.store import Store

SILENCE, SPEAK, ACKNOWLEDGE = "silence", "speak", "acknowledge"


@dataclass(frozen=True)
class Change:
    """A rule's change from one state to another."""

    id: int
    rule: str
    at: str
    before: str
    state: str
    severity: str
    reason: str


@dataclass(frozen=True)
class Mark:
    """What a person noted: a silence until a time, its end, or an acknowledgement of a change."""

    rule: str
    kind: str
    at: str
    until: str | None
    who: str
    why: str
    change_id: int

    def holds(self, now_ns: int) -> bool:
        """Whether a silence holds now; one that was made in the future, since the clock went back, does not."""
        if self.kind != SILENCE or self.until is None:
            return False
        return parse(self.at) <= now_ns < parse(self.until)


def iso(ns: int) -> str:
    """A time as the store keeps it."""
    return datetime.fromtimestamp(ns / S, timezone.utc).isoformat(timespec="milliseconds")


def parse(text: str) -> int:
    """A time of the store in nanoseconds."""
    return round(datetime.fromisoformat(text).timestamp() * 1e3) * 1_000_000


def keep_rules(store: Store, rules: Sequence[Rule]) -> list[str]:
    """Keep rules, each as the next version of its name unless it is the latest one; names of those that are new."""
    new = []
    with store.write() as conn:
        for rule in rules:
            latest = conn.execute(
                "SELECT version, content, removed FROM alert_rules WHERE name = ? ORDER BY version DESC LIMIT 1",
                (rule.name,),
            ).fetchone()
            if latest is not None and latest[1] == rule.text() and not latest[2]:
                continue
            version = 1 + (latest[0] if latest is not None else 0)
            conn.execute(
                "INSERT INTO alert_rules(name, version, content, at) VALUES (?, ?, ?, ?)",
                (rule.name, version, rule.text(), store.now()),
            )
            if latest is None or latest[2] or Rule.from_text(latest[1]).metric != rule.metric:
                conn.execute("DELETE FROM alert_standings WHERE rule = ?", (rule.name,))
            new.append(rule.name)
    return new


def remove_rule(store: Store, name: str) -> None:
    """Take a rule away: as a last version, so that its history stays."""
    rule = rule_of(store, name)
    with store.write() as conn:
        conn.execute(
            "INSERT INTO alert_rules(name, version, content, removed, at) "
            "SELECT name, max(version) + 1, ?, 1, ? FROM alert_rules WHERE name = ?",
            (rule.text(), store.now(), name),
        )
        conn.execute("DELETE FROM alert_standings WHERE rule = ?", (name,))


def rules_of(store: Store) -> list[Rule]:
    """The rules that hold now, by name."""
    rows = store.rows(
        "SELECT content FROM alert_rules r WHERE NOT removed AND version = "
        "(SELECT max(version) FROM alert_rules WHERE name = r.name) ORDER BY name"
    )
    return [Rule.from_text(row[0]) for row in rows]


def rule_of(store: Store, name: str) -> Rule:
    """A rule by its name.

    Raises:
        UnknownNameError: there is none.
    """
    found = {rule.name: rule for rule in rules_of(store)}
    if name in found:
        return found[name]
    raise unknown_name(
        "rule", name, found, "%monitor alerts shows all; %monitor alerts add FILE adds some."
    )


def standing_of(store: Store, name: str) -> Standing | None:
    """Where a rule stands; None if nobody has looked at it."""
    row = store.row("SELECT standing FROM alert_standings WHERE rule = ?", (name,))
    return None if row is None else Standing.from_text(row[0])


def keep_standing(
    conn: sqlite3.Connection, rule: str, standing: Standing, change_id: int | None
) -> None:
    """Keep where a rule stands, and by which change if there was one."""
    conn.execute(
        "INSERT INTO alert_standings(rule, state, standing, change_id) VALUES (?, ?, ?, ?) ON CONFLICT(rule) DO "
        "UPDATE SET state = excluded.state, standing = excluded.standing, "
        "change_id = CASE WHEN excluded.change_id THEN excluded.change_id ELSE change_id END",
        (rule, standing.state, standing.text(), change_id or 0),
    )


def add_look(
    conn: sqlite3.Connection, rule: Rule, reading: Reading, found: str, state: str, now_ns: int
) -> int:
    """Append a look; returns its number."""
    cursor = conn.execute(
        "INSERT INTO alert_looks(rule, at, at_ns, value, low, high, n, found, state, note, traces) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(rule.name, iso(now_ns), now_ns, reading.value, reading.low, reading.high, reading.n),
            *(found, state, reading.note, json.dumps(list(reading.traces))),
        ),
    )
    return int(cursor.lastrowid or 0)


def add_change(
    conn: sqlite3.Connection, rule: Rule, before: str, state: str, reason: str, look: int, at: str
) -> int:
    """Append a change of state; returns its number."""
    cursor = conn.execute(
        "INSERT INTO alert_changes(rule, at, before, state, severity, reason, look_id) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (rule.name, at, before, state, rule.severity, reason, look),
    )
    return int(cursor.lastrowid or 0)


def looks_of(store: Store, rule: str, limit: int) -> list[Mapping[str, Any]]:
    """The latest looks at a rule, oldest first."""
    rows = store.rows(
        "SELECT * FROM alert_looks WHERE rule = ? ORDER BY id DESC LIMIT ?", (rule, limit)
    )
    return [{**dict(row), "traces": json.loads(row["traces"])} for row in reversed(rows)]


def changes_of(store: Store, rule: str | None, limit: int) -> list[Change]:
    """The latest changes of state, newest first."""
    where, parameters = ("WHERE rule = ?", [rule]) if rule else ("", [])
    rows = store.rows(
        "SELECT id, rule, at, before, state, severity, reason FROM alert_changes "
        f"{where} ORDER BY id DESC LIMIT ?",
        (*parameters, limit),
    )
    return [Change(*row) for row in rows]


def change_now(store: Store, rule: str) -> int:
    """The number of the change by which a rule stands where it does; 0 without one."""
    row = store.row("SELECT change_id FROM alert_standings WHERE rule = ?", (rule,))
    return 0 if row is None else int(row[0])


def add_mark(store: Store, mark: Mark) -> None:
    """Append what a person noted."""
    with store.write() as conn:
        conn.execute(
            "INSERT INTO alert_marks(rule, kind, at, until, who, why, change_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (mark.rule, mark.kind, mark.at, mark.until, mark.who, mark.why, mark.change_id),
        )


def marks_of(store: Store, rule: str, limit: int = 50) -> list[Mark]:
    """The latest marks of a rule, newest first."""
    rows = store.rows(
        "SELECT rule, kind, at, until, who, why, change_id FROM alert_marks WHERE rule = ? "
        "ORDER BY id DESC LIMIT ?",
        (rule, limit),
    )
    return [Mark(*row) for row in rows]


def silence_of(store: Store, rule: str, now_ns: int) -> Mark | None:
    """The silence of a rule that holds now."""
    last = next((m for m in marks_of(store, rule) if m.kind in (SILENCE, SPEAK)), None)
    return last if last is not None and last.holds(now_ns) else None


def acknowledgement_of(store: Store, rule: str) -> Mark | None:
    """The acknowledgement of the change by which a rule stands where it does."""
    change = change_now(store, rule)
    if not change:
        return None
    return next(
        (m for m in marks_of(store, rule) if m.kind == ACKNOWLEDGE and m.change_id == change), None
    )
