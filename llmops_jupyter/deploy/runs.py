"""Runs of pipelines in the store: their steps with what went in and came out, and the lines that they told."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from llmops_jupyter.deploy.actors import Actor
from llmops_jupyter.deploy.plan import Plan
from llmops_jupyter.errors import DeployError
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Tracer
from llmops_jupyter.tracing.messages import clean
from llmops_jupyter.tracing.process import is_dead, this_process

RUNNING, OK, FAILED, INTERRUPTED, WAITING, SKIPPED = (
    *("running", "ok", "failed", "interrupted", "waiting", "skipped"),
)
MARKS = {OK: "✓", SKIPPED: "✓", FAILED: "✗", INTERRUPTED: "…", WAITING: "…", RUNNING: "…"}
LONGEST = 2_000
# After which a run on another machine, which may be gone, is in nobody's way.
LOST = timedelta(days=1)


@dataclass(frozen=True)
class Step:
    """A step of a pipeline.

    Args:
        id: in the store.
        name: of the step.
        key: the hash of what went into it.
        status: 'running', 'ok', 'failed', 'interrupted', 'waiting', or 'skipped' where it had succeeded before.
        result: what came out, as JSON values.
        error: what went wrong.
        started_at: when it began.
        finished_at: when it ended.
    """

    id: int
    name: str
    key: str
    status: str
    result: Mapping[str, Any]
    error: str
    started_at: str
    finished_at: str | None

    def row(self) -> dict[str, Any]:
        """The step as a row for people."""
        said = self.error or str(self.result.get("summary") or "")
        return {
            "": MARKS.get(self.status, "?"),
            "step": self.name,
            "status": self.status,
            "began": self.started_at[:19].replace("T", " "),
            "what": said,
        }


@dataclass(frozen=True)
class PipelineRun:
    """A run of a pipeline with its steps."""

    id: int
    deployment: str
    status: str
    actor: Actor
    started_at: str
    finished_at: str | None
    steps: tuple[Step, ...] = ()
    content: str = field(default="", repr=False)

    def title(self) -> str:
        """The run on one line."""
        began = self.started_at[:16].replace("T", " ")
        return f"pipeline {self.id} of {self.deployment}: {self.status} · {self.actor.words()}, {began}"

    def rows(self) -> list[dict[str, Any]]:
        """One row a step."""
        return [step.row() for step in self.steps]

    def as_dict(self) -> dict[str, Any]:
        """The run as JSON values."""
        steps = [
            {"step": s.name, "status": s.status, "error": s.error, "result": dict(s.result)}
            for s in self.steps
        ]
        return {
            "run": self.id,
            "deployment": self.deployment,
            "status": self.status,
            "steps": steps,
        }


class Ledger:
    """Where a run is written while it goes on."""

    # Runs that go on in this process; one that is not among them and says so was broken off.
    _going: set[tuple[str, int]] = set()  # noqa: RUF012 - shared on purpose
    _lock = threading.Lock()

    def __init__(self, store: Store, tracer: Tracer, plan: Plan, actor: Actor) -> None:
        self._store, self._plan = store, plan
        with store.write() as conn:
            process = tracer.register_process(conn)
            self._refuse_another(conn, process)
            cursor = conn.execute(
                "INSERT INTO pipeline_runs(deployment, content_hash, content, status, actor, process_id, started_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(plan.name, plan.digest, clean(plan.text), RUNNING, actor.text()),
                    *(process, store.now()),
                ),
            )
            self.run = int(cursor.lastrowid or 0)
        tracer.registered()
        with self._lock:
            self._going.add((store.id, self.run))

    def done(self, step: str, key: str) -> Step | None:
        """The step that succeeded on the same inputs, in whatever run."""
        row = self._store.row(
            "SELECT * FROM pipeline_steps WHERE deployment = ? AND step = ? AND key = ? AND status = ? "
            "ORDER BY id DESC LIMIT 1",
            (self._plan.name, step, key, OK),
        )
        return None if row is None else _step(row)

    def skip(self, step: str, key: str, found: Step) -> None:
        """Note that a step had succeeded before."""
        place = self._begin(step, key)
        self._end(place, SKIPPED, found.result, "")

    @contextmanager
    def step(self, name: str, key: str) -> Iterator[Progress]:
        """A step that goes on: what it tells is kept as it comes, and how it ends."""
        progress = Progress(self._store, self._begin(name, key))
        try:
            yield progress
        except KeyboardInterrupt:
            self._end(progress.step, INTERRUPTED, progress.result, "interrupted")
            raise
        except BaseException as e:
            self._end(progress.step, FAILED, progress.result, " ".join(str(e).split()))
            raise
        self._end(progress.step, progress.status, progress.result, "")

    def finish(self, status: str) -> None:
        """Note how the run ended."""
        try:
            with self._store.write() as conn:
                conn.execute(
                    "UPDATE pipeline_runs SET status = ?, finished_at = ? WHERE id = ?",
                    (status, self._store.now(), self.run),
                )
        finally:
            with self._lock:
                self._going.discard((self._store.id, self.run))

    def _begin(self, step: str, key: str) -> int:
        with self._store.write() as conn:
            cursor = conn.execute(
                "INSERT INTO pipeline_steps(run_id, deployment, step, key, status, started_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (self.run, self._plan.name, step, key, RUNNING, self._store.now()),
            )
            return int(cursor.lastrowid or 0)

    def _end(self, step: int, status: str, result: Mapping[str, Any], error: str) -> None:
        text = clean(json.dumps(dict(result), ensure_ascii=False, default=str))
        with self._store.write() as conn:
            conn.execute(
                "UPDATE pipeline_steps SET status = ?, result = ?, error = ?, finished_at = ? WHERE id = ?",
                (status, text, clean(error), self._store.now(), step),
            )

    def _refuse_another(self, conn: sqlite3.Connection, process: str) -> None:
        """One pipeline of a deployment at a time; what was broken off is noted as such.

        Raises:
            DeployError: another one goes on.
        """
        rows = conn.execute(
            "SELECT r.id AS run, r.actor, r.process_id, r.started_at, p.* FROM pipeline_runs r JOIN processes p ON p.id = r.process_id "
            "WHERE r.deployment = ? AND r.status = ?",
            (self._plan.name, RUNNING),
        ).fetchall()
        for row in rows:
            mine = row["process_id"] == process
            goes_on = (self._store.id, row["run"]) in self._going if mine else not _is_over(row)
            if goes_on:
                who = Actor.from_text(row["actor"]).words()
                raise DeployError(
                    f"The pipeline of {self._plan.name!r} is running already: {who}, process {row['pid']}. Wait for it, or "
                    f"stop it there; %deploy status {self._plan.name} shows how far it is."
                )
            conn.execute(
                "UPDATE pipeline_steps SET status = ?, finished_at = ? WHERE run_id = ? AND status = ?",
                (INTERRUPTED, self._store.now(), row["run"], RUNNING),
            )
            conn.execute(
                "UPDATE pipeline_runs SET status = ?, finished_at = ? WHERE id = ?",
                (INTERRUPTED, self._store.now(), row["run"]),
            )


class Progress:
    """What a step tells while it goes on, and what comes out of it."""

    def __init__(self, store: Store, step: int) -> None:
        self._store, self.step = store, step
        self.status = OK
        self.result: dict[str, Any] = {}

    def log(self, line: str) -> None:
        """Keep a line."""
        with self._store.write() as conn:
            conn.execute(
                "INSERT INTO pipeline_lines(step_id, at, line) VALUES (?, ?, ?)",
                (self.step, self._store.now(), clean(line[:LONGEST])),
            )


def runs_of(store: Store, name: str, limit: int = 20) -> list[PipelineRun]:
    """The runs of a deployment's pipeline, newest first; one whose process has gone is shown as interrupted."""
    rows = store.rows(
        "SELECT r.*, p.id AS process, p.pid, p.started, p.host, p.boot FROM pipeline_runs r "
        "LEFT JOIN processes p ON p.id = r.process_id WHERE r.deployment = ? ORDER BY r.id DESC LIMIT ?",
        (name, limit),
    )
    return [_run(store, row) for row in rows]


def run_of(store: Store, number: int) -> PipelineRun:
    """A run by its number."""
    row = store.row(
        "SELECT r.*, p.id AS process, p.pid, p.started, p.host, p.boot FROM pipeline_runs r "
        "LEFT JOIN processes p ON p.id = r.process_id WHERE r.id = ?",
        (number,),
    )
    assert row is not None
    return _run(store, row)


def lines_of(store: Store, step: int) -> Sequence[tuple[str, str]]:
    """When and what a step told."""
    rows = store.rows("SELECT at, line FROM pipeline_lines WHERE step_id = ? ORDER BY id", (step,))
    return [(row["at"], row["line"]) for row in rows]


def _is_over(row: sqlite3.Row) -> bool:
    """Whether the process of a run has ended; of one on another machine nobody knows, so a day is waited for."""
    if row["host"] == this_process().host:
        return is_dead(row)
    began = datetime.fromisoformat(row["started_at"])
    return datetime.now(timezone.utc) - began > LOST


def _run(store: Store, row: sqlite3.Row) -> PipelineRun:
    status = row["status"]
    if status == RUNNING and row["process"] is not None:
        process = {"id": row["process"], **{k: row[k] for k in ("pid", "started", "host", "boot")}}
        if is_dead(process):  # type: ignore[arg-type]
            status = INTERRUPTED
    steps = store.rows("SELECT * FROM pipeline_steps WHERE run_id = ? ORDER BY id", (row["id"],))
    return PipelineRun(
        row["id"],
        row["deployment"],
        status,
        Actor.from_text(row["actor"]),
        row["started_at"],
        row["finished_at"],
        tuple(_ended(_step(step)) if status == INTERRUPTED else _step(step) for step in steps),
        row["content"],
    )


def _ended(step: Step) -> Step:
    """A step as it is once its process has gone."""
    return replace(step, status=INTERRUPTED) if step.status == RUNNING else step


def _step(row: sqlite3.Row) -> Step:
    return Step(
        row["id"],
        row["step"],
        row["key"],
        row["status"],
        json.loads(row["result"]),
        row["error"],
        row["started_at"],
        row["finished_at"],
    )
