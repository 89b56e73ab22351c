"""Spans and scores of the store as spans of the OpenTelemetry SDK."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmops_jupyter.privacy import redact_json
from llmops_jupyter.tracing import names
from llmops_jupyter.tracing.messages import clean
from llmops_jupyter.tracing.otlp.attributes import KINDS, attributes_of, events_of, value_of
from llmops_jupyter.tracing.otlp.endpoints import Endpoint
from llmops_jupyter.tracing.query import nanoseconds
from llmops_jupyter.tracing.records import SpanRecord
from llmops_jupyter.tracing.rows import span_of

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

EVALUATION, EVALUATE = "gen_ai.evaluation.result", "evaluate"
SCOPE, SERVICE = "llmops_jupyter", "llmops-jupyter"
# Bytes that a span takes beside its texts, roughly.
SPAN_BYTES = 300
_TRACE, _SPAN = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Encoded:
    """A span that is ready to go, with its size in bytes, roughly."""

    span: ReadableSpan
    size: int


class Encoder:
    """Makes the SDK's spans for one endpoint.

    Args:
        endpoint: what goes along, and under which names.
        redact: the second rule of redaction; None for none.
    """

    def __init__(self, endpoint: Endpoint, redact: Callable[[str], str] | None) -> None:
        from opentelemetry.sdk.resources import Resource

        self.endpoint = endpoint
        self._redact = redact
        self._version: str = sys.modules["llmops_jupyter"].__version__
        service = endpoint.service or os.environ.get("OTEL_SERVICE_NAME") or SERVICE
        facts: dict[str, Any] = {"service.name": service}
        if endpoint.deployment:
            facts["deployment.environment.name"] = endpoint.deployment
        self._resource: Resource = Resource.create(facts)

    def span(self, conn: sqlite3.Connection, row: sqlite3.Row, dead: set[str]) -> Encoded:
        """A span of the store; one that its process left open ends with the last thing known of it."""
        record = self._redacted(span_of(conn, row, dead))
        content = self.endpoint.content
        attributes: dict[str, Any] = dict(
            attributes_of(record, content=content, openinference=self.endpoint.openinference)
        )
        if not _TRACE.fullmatch(record.trace_id):
            attributes["llmops.trace_id"] = clean(record.trace_id)
        events = events_of(record, content=content)
        message = record.error_message if content else None
        end_ns = record.end_ns or record.first_token_ns or record.start_ns
        return self._made(
            record.name,
            _context(record.trace_id, record.span_id),
            None if record.parent_id is None else _context(record.trace_id, record.parent_id),
            (record.start_ns, max(end_ns, record.start_ns)),
            attributes,
            events,
            failed=record.status != "ok",
            message=message or record.error_type,
            kind=record.kind,
            schema_url=record.schema_url,
        )

    def score(self, row: sqlite3.Row) -> Encoded:
        """A score as a span of its own without length beneath what it judges, with the event of the conventions.

        What judges a span comes mostly after it went, and a span that went cannot be added to.
        """
        at_ns = nanoseconds(datetime.fromisoformat(row["at"]))
        facts: dict[str, Any] = {
            "gen_ai.evaluation.name": row["name"],
            "gen_ai.evaluation.score.value": row["value"],
            "gen_ai.evaluation.score.label": row["label"],
            "gen_ai.evaluation.explanation": row["explanation"] if self.endpoint.content else None,
            "llmops.score.source": row["source"],
            "llmops.score.identifier": row["identifier"] or None,
        }
        if self._redact is not None:
            facts = redact_json(facts, self._redact)
        made = {k: v for k, given in facts.items() if (v := value_of(given)) not in (None, "")}
        kind = {"openinference.span.kind": KINDS[EVALUATE]} if self.endpoint.openinference else {}
        own = "\n".join(str(row[k]) for k in ("trace_id", "name", "source", "identifier", "at"))
        digest = hashlib.blake2b(clean(own).encode(), digest_size=8).hexdigest()
        return self._made(
            f"evaluation {facts['gen_ai.evaluation.name']}",
            _context(row["trace_id"], digest),
            _context(row["trace_id"], row["judged"]),
            (at_ns, at_ns),
            {"gen_ai.operation.name": EVALUATE, **kind, **made},
            [(EVALUATION, at_ns, made)],
            schema_url=names.SCHEMA_URL,
        )

    def _redacted(self, span: SpanRecord) -> SpanRecord:
        rule = self._redact
        if rule is None:
            return span
        return replace(
            span,
            name=rule(span.name),
            error_message=None if span.error_message is None else rule(span.error_message),
            session=None if span.session is None else rule(span.session),
            input=tuple(_said(m, rule) for m in span.input),
            output=tuple(_said(m, rule) for m in span.output),
            attributes=redact_json(dict(span.attributes), rule),
        )

    def _made(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        attributes: dict[str, Any],
        events: list[Any],
        *,
        schema_url: str,
        failed: bool = False,
        message: str | None = None,
        kind: str = "INTERNAL",
    ) -> Encoded:
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanKind, Status, StatusCode

        status = Status(StatusCode.ERROR, clean(message or "")) if failed else Status(StatusCode.OK)
        span = ReadableSpan(
            clean(name),
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            events=[Event(what, facts, at) for what, at, facts in events],
            kind=SpanKind[kind] if kind in SpanKind.__members__ else SpanKind.INTERNAL,
            status=status,
            start_time=times[0],
            end_time=times[1],
            instrumentation_scope=InstrumentationScope(SCOPE, self._version, schema_url),
        )
        texts = (*attributes.items(), *(pair for event in events for pair in event[2].items()))
        size = SPAN_BYTES + sum(len(k) + _weight(v) for k, v in texts)
        return Encoded(span, size)


def _weight(value: Any) -> int:
    """Bytes of a value, roughly; letters beyond ASCII may take up to four."""
    if isinstance(value, str):
        return len(value) if value.isascii() else 3 * len(value)
    return sum(_weight(v) for v in value) if isinstance(value, list) else 10


def _said(message: Any, rule: Callable[[str], str]) -> Any:
    calls = tuple(
        replace(c, arguments=redact_json(dict(c.arguments), rule)) for c in message.tool_calls
    )
    return replace(message, content=rule(message.content), tool_calls=calls)


def _context(trace_id: str, span_id: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(
        _number(trace_id, _TRACE, 16),
        _number(span_id, _SPAN, 8),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _number(given: str, form: re.Pattern[str], size: int) -> int:
    """An id as a number; one of another form, such as a caller's own, is hashed, always to the same."""
    if form.fullmatch(given) and int(given, 16):
        return int(given, 16)
    return int.from_bytes(hashlib.blake2b(given.encode(), digest_size=size).digest(), "big")
