"""Runs of fine-tuning: what each was, how far it is, and its curves, kept in the store."""

from __future__ import annotations

import builtins
import json
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import UnknownNameError, unknown_name
from llmops_jupyter.finetune import job
from llmops_jupyter.finetune.curves import Curves
from llmops_jupyter.finetune.job import Events
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.told import Told, ending
from llmops_jupyter.store import Store

RUNNING, INTERRUPTED, FAILED = "running", "interrupted", "failed"
# How a run ends: all steps, no better look for a while, or on request.
ENDS = ("finished", "early", "stopped")


@dataclass(frozen=True)
class SampleAnswer:
    """An eval prompt with the answer wanted, and what the model said before and after."""

    row: str
    prompt: str
    wanted: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Run:
    """A run as the store has it. `status` is running, finished, early, stopped, interrupted or failed.

    `losses` are (step, loss, smoothed) of each step, `evals` (step, loss) of each look at the eval examples,
    in nats for a token. `step`, `seconds` and `tokens` are those of the last step; `facts` say what ran where.
    """

    id: str
    name: str
    status: str
    model: str
    model_sha256: str
    data: str
    eval_data: str
    recipe: Recipe
    plan: Mapping[str, Any]
    folder: Path
    created_at: str
    ended_at: str | None = None
    message: str = ""
    adapter: str = ""
    phase: str = ""
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    tokens: int = 0
    losses: tuple[tuple[int, float, float], ...] = field(default=(), repr=False)
    evals: tuple[tuple[int, float], ...] = field(default=(), repr=False)
    samples: tuple[SampleAnswer, ...] = field(default=(), repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on examples that were left out."""
        return tuple(self.plan.get("notes", ()))

    @property
    def is_over(self) -> bool:
        """Whether it came to an end of its own, or was stopped."""
        return self.status in ENDS

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and loss of the best look at the eval examples after the first step."""
        looked = [pair for pair in self.evals if pair[0] > 0]
        return min(looked, key=lambda pair: pair[1]) if looked else None

    @property
    def tokens_per_s(self) -> float:
        """Tokens read in a second of training, shared ones once."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def remaining_s(self) -> float | None:
        """Seconds to the end at the speed so far; None before the first step."""
        if not self.step or not self.steps:
            return None
        return self.seconds / self.step * (self.steps - self.step)

    def line(self) -> str:
        """How far the run is, on one line."""
        from llmops_jupyter.finetune.planning import spoken

        if self.status == FAILED:
            return f"{self.id} failed: {self.message}"
        parts = [f"step {self.step:,} of {self.steps:,}" if self.step else self.phase or "starting"]
        if self.losses:
            parts.append(f"loss {self.losses[-1][2]:.3f}")
        if self.evals:
            first, last = self.evals[0][1], self.evals[-1][1]
            parts.append(
                f"eval {last:.3f}" + (f" (base {first:.3f})" if len(self.evals) > 1 else "")
            )
        if self.tokens_per_s:
            parts.append(f"{self.tokens_per_s:,.0f} tokens/s")
        left = self.remaining_s
        if self.status == RUNNING and left is not None and self.step < self.steps:
            parts.append(f"{spoken(left)} left")
        if self.status == RUNNING and self.step and self.phase and self.phase != "training":
            parts.append(self.phase)
        return " · ".join(parts if self.status == RUNNING else [self.status, *parts])

    def chart(self) -> Curves | None:
        """Loss over steps, with the looks at the eval examples; None before the first step."""
        return Curves(self) if self.losses else None

    def as_dict(self) -> dict[str, Any]:
        """The run as JSON values."""
        best = self.best
        return {
            "run": self.id,
            "name": self.name,
            "status": self.status,
            "model": self.model,
            "data": self.data,
            "eval_data": self.eval_data,
            "step": self.step,
            "steps": self.steps,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "base_loss": self.evals[0][1] if self.evals else None,
            "best_loss": best[1] if best else None,
            "best_step": best[0] if best else None,
            "adapter": self.adapter,
            "message": self.message,
            "notes": list(self.notes),
            "facts": dict(self.facts),
            "recipe": self.recipe.as_dict(),
            "created_at": self.created_at,
            "ended_at": self.ended_at,
        }


class Runs:
    """The runs of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Of runs that go on: whoever waits looks several times a second, and reads only what is new.
        self._told: dict[str, Told] = {}
        self._lock = threading.Lock()

    def add(self, given: job.Job, folder: Path) -> None:
        """Keep a run that is about to begin."""
        with self._store.write() as conn:
            conn.execute(
                "INSERT INTO finetune_runs(id, name, status, model, model_sha256, data, data_hash, "
                "eval_data, recipe, plan, samples, folder, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(given.run, given.name, RUNNING, given.model_ref, given.model_sha256),
                    *(given.data, given.data_hash, given.eval_data),
                    json.dumps(given.recipe.as_dict()),
                    json.dumps(dict(given.plan)),
                    json.dumps([[s.row, s.prompt, s.wanted] for s in given.samples]),
                    *(str(folder), given.made_at),
                ),
            )

    def ids(self) -> builtins.list[str]:
        """All runs, newest first."""
        rows = self._store.rows("SELECT id FROM finetune_runs ORDER BY created_at DESC, id DESC")
        return [row[0] for row in rows]

    def find(self, name: str | None) -> str:
        """The run with this id or its beginning, else that of this adapter, or the newest of this name, or of all.

        A name with a version, such as ``tickets@2``, is that of the run whose adapter it is.

        Raises:
            UnknownNameError: there is none.
        """
        known = self.ids()
        if not known:
            raise UnknownNameError("There are no runs yet. Make one: %finetune run NAME DATA")
        if not name:
            return known[0]
        found = [i for i in known if i.startswith(name)]
        if len(found) == 1 or (name in found):
            return name if name in found else found[0]
        column = "adapter" if "@" in name else "name"
        row = self._store.row(
            f"SELECT id FROM finetune_runs WHERE {column} = ? "
            "ORDER BY created_at DESC, id DESC LIMIT 1",
            (name,),
        )
        if row is None:
            named = self._store.rows(f"SELECT DISTINCT {column} FROM finetune_runs")
            names = [r[0] for r in named if r[0]]
            raise unknown_name("run", name, [*known, *names], "%finetune list shows what there is.")
        return str(row[0])

    def list(self, limit: int | None = None) -> list[Run]:
        """The newest runs, or all, without their curves, newest first."""
        return [self._load(run, curves=False) for run in self.ids()[:limit]]

    def get(self, name: str | None = None) -> Run:
        """A run as it is now, by id or by the name of its adapter; the newest if none is named."""
        return self._load(self.find(name))

    def sync(self, run: str) -> builtins.list[dict[str, Any]]:
        """Bring the events of a run into the store; returns those that are new."""
        row = self._row(run)
        folder = Path(row["folder"])
        if self._store.read_only:
            return []
        events, end = Events(folder).since(row["read_bytes"])
        # Most looks find nothing new, and those keep nobody from writing.
        if not events:
            return []
        with self._store.write() as conn:
            # Asked inside the transaction: two that look at once must not keep an event twice.
            place, seq = conn.execute(
                "SELECT read_bytes, (SELECT count(*) FROM finetune_events WHERE run_id = id) "
                "FROM finetune_runs WHERE id = ?",
                (run,),
            ).fetchone()
            if place != row["read_bytes"]:
                events, end = Events(folder).since(place)
            conn.executemany(
                "INSERT INTO finetune_events(run_id, seq, kind, step, event) VALUES (?, ?, ?, ?, ?)",
                [
                    (run, seq + i, e.get("kind", ""), e.get("step"), json.dumps(e))
                    for i, e in enumerate(events)
                ],
            )
            conn.execute("UPDATE finetune_runs SET read_bytes = ? WHERE id = ?", (end, run))
            for event in events:
                self._end(conn, run, event)
        return events

    def _end(self, conn: sqlite3.Connection, run: str, event: Mapping[str, Any]) -> None:
        now = self._store.now()
        if event.get("kind") == "end":
            conn.execute(
                "UPDATE finetune_runs SET status = ?, ended_at = ?, message = '' WHERE id = ?",
                (event["ended"], now, run),
            )
        elif event.get("kind") == "error":
            conn.execute(
                "UPDATE finetune_runs SET status = ?, ended_at = ?, message = ? WHERE id = ?",
                (FAILED, now, event["text"], run),
            )

    def mark(self, run: str, status: str, message: str = "") -> None:
        """Note what became of a run."""
        with self._store.write() as conn:
            conn.execute(
                "UPDATE finetune_runs SET status = ?, message = ?, ended_at = ? WHERE id = ?",
                (status, message, None if status == RUNNING else self._store.now(), run),
            )

    def begin_again(self, run: str) -> None:
        """Note that a run goes on; another adapter will come of it."""
        with self._store.write() as conn:
            conn.execute(
                "UPDATE finetune_runs SET status = ?, message = '', ended_at = NULL, adapter = '' "
                "WHERE id = ?",
                (RUNNING, run),
            )

    def remove(self, run: str) -> None:
        """Forget a run and what it told."""
        with self._store.write() as conn:
            conn.execute("DELETE FROM finetune_events WHERE run_id = ?", (run,))
            conn.execute("DELETE FROM finetune_runs WHERE id = ?", (run,))

    def made(self, run: str, adapter: str) -> None:
        """Note the adapter that a run made."""
        with self._store.write() as conn:
            conn.execute("UPDATE finetune_runs SET adapter = ? WHERE id = ?", (adapter, run))

    def events(self, run: str, *kinds: str) -> builtins.list[dict[str, Any]]:
        """The events of a run of some kinds, in order; of all if none are named."""
        marks = ", ".join("?" * len(kinds))
        only = f"AND kind IN ({marks}) " if kinds else ""
        rows = self._store.rows(
            f"SELECT event FROM finetune_events WHERE run_id = ? {only}ORDER BY seq", (run, *kinds)
        )
        return [json.loads(row[0]) for row in rows]

    def _row(self, run: str) -> sqlite3.Row:
        row = self._store.row("SELECT * FROM finetune_runs WHERE id = ?", (run,))
        assert row is not None
        return row

    def _load(self, run: str, *, curves: bool = True) -> Run:
        self.sync(run)
        row = self._row(run)
        folder = Path(row["folder"])
        if row["status"] == RUNNING and job.process_of(folder) is None:
            # It may have come to its end since its events were read.
            self.sync(run)
            row = self._row(run)
        untold = Events(folder).since(row["read_bytes"])[0] if self._store.read_only else []
        status, message = ending(untold) or (row["status"], row["message"])
        if status == RUNNING and job.process_of(folder) is None and not job.is_starting(folder):
            status = INTERRUPTED
        with self._lock:
            told = self._whole(run, status) if curves else self._short(run)
            if untold:
                told = told.copy()  # what is kept goes on from what the store has
        for event in untold:
            told.add(event)
        return _made(row, status, message, folder, told)

    def _whole(self, run: str, status: str) -> Told:
        """All that a run has told: what was read before and what is new since."""
        told = self._told.get(run) or Told()
        for row in self._store.rows(
            "SELECT event FROM finetune_events WHERE run_id = ? AND seq >= ? ORDER BY seq",
            (run, told.seq),
        ):
            told.add(json.loads(row[0]))
        if status == RUNNING:
            self._told[run] = told
        else:
            self._told.pop(run, None)
        return told

    def _short(self, run: str) -> Told:
        """What a list shows of a run: no curve."""
        told = Told()
        kinds = ("facts", "phase", "base", "served", "adapter", "eval")
        for event in (*self.events(run, *kinds), *self._last_step(run)):
            told.add(event)
        return told

    def _last_step(self, run: str) -> builtins.list[dict[str, Any]]:
        row = self._store.row(
            "SELECT event FROM finetune_events WHERE run_id = ? AND kind = 'step' "
            "ORDER BY seq DESC LIMIT 1",
            (run,),
        )
        return [json.loads(row[0])] if row else []


def _made(row: sqlite3.Row, status: str, message: str, folder: Path, told: Told) -> Run:
    last = told.last
    samples = [
        SampleAnswer(
            given[0],
            given[1],
            given[2],
            before=told.said.get(("before", i), ""),
            after=told.said.get(("after", i), ""),
        )
        for i, given in enumerate(json.loads(row["samples"]))
    ]
    return Run(
        id=row["id"],
        name=row["name"],
        status=status,
        model=row["model"],
        model_sha256=row["model_sha256"],
        data=row["data"],
        eval_data=row["eval_data"],
        recipe=Recipe.from_kept(json.loads(row["recipe"])),
        plan=json.loads(row["plan"]),
        folder=folder,
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        message=message,
        adapter=row["adapter"],
        phase=told.phase,
        losses=tuple(told.steps[i] for i in sorted(told.steps) if i <= last["step"]),
        evals=tuple(told.evals[i] for i in sorted(told.evals) if i <= last["step"]),
        samples=tuple(samples),
        facts=dict(told.facts),
        step=int(last["step"]),
        steps=int(last["steps"]),
        seconds=float(last["seconds"]),
        tokens=int(last["tokens"]),
    )
