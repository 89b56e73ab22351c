"""Red-team runs in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmops_jupyter.errors import UnknownNameError
from llmops_jupyter.monitor.redteam.attempts import Attempt, HarmlessAttempt
from llmops_jupyter.monitor.redteam.report import Held, RedTeamReport
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Tracer

FORGOTTEN = "forgotten"


def keep(tracer: Tracer, report: RedTeamReport) -> RedTeamReport:
    """Keep a run; the same with its number. Texts are cleaned as those of traces are."""
    attempts = {
        "attacks": [a.as_dict() for a in report.attempts],
        "harmless": [h.as_dict() for h in report.harmless],
    }
    facts = {
        "titles": dict(report.titles),
        "variable": report.variable,
        "notes": list(report.notes),
        "held": tracer.clean(report.held.as_dict()),
        "succeeded": report.overall().succeeded,
        "attacks": report.overall().n,
    }
    store = tracer.store
    at = store.now()
    with store.write() as conn:
        cursor = conn.execute(
            "INSERT INTO redteam_runs(prompt, model, guard, seed, n, facts, attempts, runs, at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(report.prompt, report.model, report.guard, report.seed, report.n),
                json.dumps(facts, ensure_ascii=False),
                json.dumps(tracer.clean(attempts), ensure_ascii=True),
                *(json.dumps(list(report.runs)), at),
            ),
        )
    return replace(report, id=int(cursor.lastrowid or 0), at=at)


def load(store: Store, run: int) -> RedTeamReport:
    """A run that was kept.

    Raises:
        UnknownNameError: there is none with this number, or it was forgotten.
    """
    row = store.row("SELECT * FROM redteam_runs WHERE id = ?", (run,))
    if row is None or row["attempts"] == FORGOTTEN:
        known = [
            str(r[0])
            for r in store.rows(
                "SELECT id FROM redteam_runs WHERE attempts != ? ORDER BY id DESC LIMIT 5",
                (FORGOTTEN,),
            )
        ]
        why = "was forgotten" if row is not None else "is not there"
        raise UnknownNameError(
            f"The red-team run {run!r} {why}. The latest are: {', '.join(known) or 'none'}."
        )
    facts, attempts = json.loads(row["facts"]), json.loads(row["attempts"])
    held = facts["held"]
    return RedTeamReport(
        id=row["id"],
        prompt=row["prompt"],
        model=row["model"],
        guard=row["guard"],
        seed=row["seed"],
        n=row["n"],
        titles=facts["titles"],
        variable=facts["variable"],
        attempts=tuple(Attempt.from_dict(a) for a in attempts["attacks"]),
        harmless=tuple(HarmlessAttempt.from_dict(h) for h in attempts["harmless"]),
        runs=tuple(json.loads(row["runs"])),
        notes=tuple(facts["notes"]),
        at=row["at"],
        held=Held(**{**held, "texts": tuple(held["texts"]), "secrets": tuple(held["secrets"])}),
    )


def listed(store: Store, limit: int = 50) -> Sequence[Mapping[str, Any]]:
    """The latest runs, newest first, without their attempts."""
    rows = store.rows(
        "SELECT id, prompt, model, guard, seed, n, facts, at FROM redteam_runs "
        "WHERE attempts != ? ORDER BY id DESC LIMIT ?",
        (FORGOTTEN, limit),
    )
    found = []
    for row in rows:
        facts = json.loads(row["facts"])
        found.append(
            {
                "run": row["id"],
                "prompt": row["prompt"],
                "model": row["model"],
                "guard": row["guard"],
                "succeeded": f"{facts['succeeded']} of {facts['attacks']}",
                "families": len(facts["titles"]),
                "seed": row["seed"],
                "at": row["at"][:16].replace("T", " "),
            }
        )
    return found


def forget(store: Store, run: int) -> RedTeamReport:
    """Delete the texts of a run's attacks and answers; that it was there stays. Returns what it was."""
    found = load(store, run)
    with store.write() as conn:
        conn.execute("UPDATE redteam_runs SET attempts = ? WHERE id = ?", (FORGOTTEN, run))
    return found
