"""A span for each place that a policy guards, with the verdicts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from llmops_jupyter.guard.check import About
from llmops_jupyter.guard.report import Report, merged, worst
from llmops_jupyter.guard.running import Pipeline
from llmops_jupyter.records import Place
from llmops_jupyter.tracing import Span, Tracer, current_span

OPERATION = "run_guardrail"
POLICY, MODE, PLACE = "llmops.guard.policy", "llmops.guard.mode", "llmops.guard.place"
DECISION, ACTION = "llmops.guard.decision", "llmops.guard.action"
VERDICTS, TEXTS = "llmops.guard.verdicts", "llmops.guard.texts"
_ACTIONS = ("none", "noted", "replaced", "blocked")
# Verdicts of one span; more texts than anyone looks through are counted only.
MOST = 200


def guarded(
    pipeline: Pipeline,
    texts: Sequence[str],
    place: Place,
    about: About,
    tracer: Tracer,
    parent: Span | None = None,
    parts: Collection[int] = (),
) -> list[Report]:
    """A report on each text of one place, in one span below `parent`, else below the current one.

    `parts` are the numbers of those that are parts of a message only.
    """
    attributes: dict[str, Any] = {
        POLICY: pipeline.ref,
        MODE: pipeline.policy.mode,
        PLACE: place,
        TEXTS: len(texts),
    }
    span = tracer.span(f"guard {place} {pipeline.ref}", op=OPERATION, attributes=attributes).begin(
        parent or current_span()
    )
    error: BaseException | None = None
    try:
        reports = [
            pipeline.check(text, place, about, part=i in parts) for i, text in enumerate(texts)
        ]
        verdicts = merged(reports)
        span.set(DECISION, worst(verdicts))
        span.set(ACTION, max((v.action for v in verdicts), key=_ACTIONS.index, default="none"))
        span.set(VERDICTS, [v.as_dict() for v in verdicts[:MOST]])
    except BaseException as e:
        error = e
        raise
    finally:
        span.finish(error)
    return reports
