"""Spans of every interaction, kept in the store under OpenTelemetry's GenAI names."""

from llmops_jupyter.tracing.decorate import trace_calls
from llmops_jupyter.tracing.query import Traces
from llmops_jupyter.tracing.records import Score, SpanRecord, Trace, TraceSummary
from llmops_jupyter.tracing.spans import Span, current_span
from llmops_jupyter.tracing.tracer import Provenance, Tracer

__all__ = [
    "Provenance",
    "Score",
    "Span",
    "SpanRecord",
    "Trace",
    "TraceSummary",
    "Tracer",
    "Traces",
    "current_span",
    "trace_calls",
]
