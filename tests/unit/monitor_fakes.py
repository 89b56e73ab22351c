"""Traces with what a test wants of them, a clock that a test sets, and a stage with fakes for its other parts."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

from llmops_jupyter.monitor.alerts.alerts import Alerts
from llmops_jupyter.records import Verdict
from llmops_jupyter.tracing import names

S = 1_000_000_000
COLUMNS = (
    *(
        "trace_id",
        "span_id",
        "parent_id",
        "name",
        "op",
        "kind",
        "start_ns",
        "end_ns",
        "first_token_ns",
    ),
    *(
        "status",
        "error_type",
        "provider",
        "model",
        "prompt_name",
        "prompt_version",
        "session",
        "notebook",
    ),
    *(
        "input_tokens",
        "output_tokens",
        "cost",
        "busy_s",
        "process_id",
        "partial",
        "attributes",
        "schema_url",
    ),
)


class Clock:
    """A wall clock that stands still until a test moves it."""

    def __init__(self):
        self.ns = time.time_ns()

    def __call__(self):
        return self.ns

    def move(self, seconds):
        self.ns += int(seconds * S)


class Traffic:
    """Writes traces straight into a store, at the time of a clock."""

    def __init__(self, ws, clock=None):
        self.ws = ws
        self.clock = clock or Clock()
        self.count = 0
        with ws.store.write() as conn:
            self.process = ws.tracer.register_process(conn)

    def add(self, n=1, *, every=0.0, **values):
        """So many traces that end now; returns their ids. Values are columns, `text`, `took`, `first` and `rows`.

        One with tokens or a cost has a call of a model below it, as runs of prompts have; with `within`, a function
        is around it.
        """
        ids = []
        with self.ws.store.write() as conn:
            for _ in range(n):
                ids.append(self._one(conn, dict(values)))
                self.clock.move(every)
        return ids

    def calls(self, conn, root, values):
        """The call of a model that a run of a prompt made."""
        self._insert(
            conn,
            {**values, "trace_id": root["trace_id"], "parent_id": root["span_id"], "op": "chat"},
        )

    def _one(self, conn, values):
        within = values.pop("within", None)
        if within is None:
            return self._insert(conn, values, calls=True)["trace_id"]
        notebook = {"notebook": values.pop("notebook", None)}
        outer = self._insert(conn, {"op": "function", "name": within, **notebook})
        for _ in range(values.pop("runs", 1)):
            inner = {"trace_id": outer["trace_id"], "parent_id": outer["span_id"]}
            self._insert(conn, {**dict(values), **inner}, calls=True)
        return outer["trace_id"]

    def _insert(self, conn, values, *, calls=False):
        self.count += 1
        given = dict(values)
        took, first = values.pop("took", 0.1), values.pop("first", 0.02)
        attributes = {names.FINISH_REASONS: [values.pop("finish", "stop")]}
        if "rows" in values:
            attributes[names.MAP_ROWS] = values.pop("rows")
        row = {
            "trace_id": f"{self.count:032x}",
            "span_id": f"{self.count:016x}",
            "name": "prompt",
            "op": "invoke_workflow",
            "kind": "INTERNAL",
            "end_ns": self.clock.ns,
            "start_ns": self.clock.ns - int(took * S),
            "status": "ok",
            "process_id": self.process,
            "partial": values.pop("text", "fine") if "op" not in values else None,
            "attributes": json.dumps(attributes),
            "schema_url": names.SCHEMA_URL,
            **values,
        }
        row.setdefault("first_token_ns", row["start_ns"] + int(first * S))
        marks = ", ".join("?" * len(COLUMNS))
        conn.execute(
            f"INSERT INTO spans({', '.join(COLUMNS)}) VALUES ({marks})",
            [row.get(name) for name in COLUMNS],
        )
        if calls and any(
            given.get(k) is not None for k in ("input_tokens", "output_tokens", "cost")
        ):
            self.calls(conn, row, given)
        return row

    def guard(self, trace_id, *verdicts):
        """A guard's span in a trace; a verdict is a check with its decision."""
        made = [
            Verdict(
                check, "input", decision, "blocked" if decision == "deny" else "none", policy="p@1"
            )
            for check, decision in verdicts
        ]
        with self.ws.store.write() as conn:
            self.count += 1
            conn.execute(
                "INSERT INTO spans(trace_id, span_id, parent_id, name, op, kind, start_ns, end_ns, status, "
                "process_id, attributes, schema_url) VALUES (?, ?, 'root', 'guard', 'run_guardrail', 'INTERNAL', "
                "?, ?, 'ok', ?, ?, '')",
                (
                    *(trace_id, f"{self.count:016x}", self.clock.ns, self.clock.ns, self.process),
                    json.dumps({"llmops.guard.verdicts": [v.as_dict() for v in made]}),
                ),
            )


def alerts_of(ws, clock, **stage):
    """The alerts of a workspace at the time of a clock; `stage` has fakes of what the stage is asked for."""
    stage = {
        "get": lambda baseline: SimpleNamespace(ref=baseline, kind={}),
        **stage,
    }  # all baselines are there
    monitor = SimpleNamespace(store=ws.store, golden=ws.monitor.golden, **stage)
    return Alerts(ws.store, monitor, lambda: ws.prompts, ws.tracer, clock)


class DriftReport:
    """What a check of drift comes to."""

    def __init__(self, alarm, n=200):
        self.alarm, self.window, self.can_alarm = alarm, range(n), True

    def summary(self):
        return "more about refunds" if self.alarm else "no drift found"

    def traces(self, feature=None, limit=20):
        return [SimpleNamespace(trace_id="ab" * 16)][:limit]
