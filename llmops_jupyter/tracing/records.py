"""What is read back from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from llmops_jupyter.records import Message, Resources, Usage


@dataclass(frozen=True)
class Score:
    """A judgement of a trace by code, a judge or a person."""

    trace_id: str
    name: str
    value: float | None
    label: str | None
    explanation: str
    source: str
    identifier: str
    at: str
    span_id: str | None = None


@dataclass(frozen=True)
class SpanRecord:
    """One step of a trace; times in nanoseconds since 1970. `end_ns` is None while it runs."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    op: str
    kind: str
    start_ns: int
    end_ns: int | None
    first_token_ns: int | None
    status: str
    error_type: str | None
    error_message: str | None
    provider: str | None
    model: str | None
    model_digest: str | None
    prompt_name: str | None
    prompt_version: int | None
    session: str | None
    seed: int | None
    usage: Usage | None
    cost: float | None
    notebook: str | None
    cell_id: str | None
    execution_count: int | None
    kernel_id: str | None
    input: tuple[Message, ...]
    output: tuple[Message, ...]
    attributes: Mapping[str, Any]
    schema_url: str
    resources: Resources | None = None

    @property
    def duration_s(self) -> float | None:
        return None if self.end_ns is None else (self.end_ns - self.start_ns) / 1e9

    @property
    def prompt(self) -> str:
        return prompt_reference(self.prompt_name, self.prompt_version)


def prompt_reference(name: str | None, version: int | None) -> str:
    """``name@version``; the name alone where a trace, such as one of another tool, has no version."""
    if not name or version is None:
        return name or ""
    return f"{name}@{version}"


def iso(ns: int) -> str:
    """A time in nanoseconds as UTC ISO 8601 with milliseconds."""
    return datetime.fromtimestamp(ns / 1e9, timezone.utc).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Trace:
    """A whole interaction: its spans in the order of their start, and its scores."""

    trace_id: str
    spans: tuple[SpanRecord, ...]
    scores: tuple[Score, ...]

    @property
    def root(self) -> SpanRecord:
        return next((s for s in self.spans if s.parent_id is None), self.spans[0])

    @property
    def status(self) -> str:
        return self.root.status

    @property
    def text(self) -> str:
        """What came out at the end."""
        return "\n".join(m.content for m in self.root.output)

    def row(self) -> dict[str, Any]:
        """The trace as a flat row for a data set: input, output, variables, scores."""
        root = self.root
        variables = root.attributes.get("llmops.prompt.variables")
        return {
            "trace_id": self.trace_id,
            "input": "\n\n".join(m.content for m in root.input if m.role == "user"),
            "output": self.text,
            "variables": dict(variables) if isinstance(variables, dict) else {},
            "scores": {s.name: s.label if s.label is not None else s.value for s in self.scores},
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, for the trace renderer and for export."""
        root = self.root
        return {
            "trace_id": self.trace_id,
            "started_at": iso(root.start_ns),
            "status": root.status,
            "notebook": root.notebook,
            "cell_id": root.cell_id,
            "execution_count": root.execution_count,
            "kernel_id": root.kernel_id,
            "spans": [_span_dict(s) for s in self.spans],
            "scores": [vars(s) for s in self.scores],
        }

    def __str__(self) -> str:
        from llmops_jupyter.render import trace_text

        return trace_text(self.as_dict())

    def __repr__(self) -> str:
        return f"Trace({self.trace_id[:8]!r}, {self.status}, {len(self.spans)} spans)"

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        from llmops_jupyter.render import trace_bundle

        return trace_bundle(self.as_dict())


def _span_dict(span: SpanRecord) -> dict[str, Any]:
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "op": span.op,
        "kind": span.kind,
        "start_ns": span.start_ns,
        "end_ns": span.end_ns,
        "first_token_ns": span.first_token_ns,
        "duration_s": span.duration_s,
        "status": span.status,
        "error_type": span.error_type,
        "error_message": span.error_message,
        "provider": span.provider,
        "model": span.model,
        "model_digest": span.model_digest,
        "prompt": span.prompt,
        "session": span.session,
        "seed": span.seed,
        "input_tokens": span.usage.input_tokens if span.usage else None,
        "output_tokens": span.usage.output_tokens if span.usage else None,
        "cached_tokens": span.usage.cached_tokens if span.usage else None,
        "cost": span.cost,
        "resources": None
        if span.resources is None
        else {name: vars(figure) for name, figure in span.resources.figures().items()},
        "input": [m.as_dict() for m in span.input],
        "output": [m.as_dict() for m in span.output],
        "attributes": dict(span.attributes),
        "schema_url": span.schema_url,
    }


@dataclass(frozen=True)
class TraceSummary:
    """One line of a list of traces."""

    trace_id: str
    name: str
    started_at: str
    duration_s: float | None
    status: str
    prompt: str
    model: str
    input_tokens: int | None
    output_tokens: int | None
    preview: str
    notebook: str
    session: str


@dataclass(frozen=True)
class Page:
    """A part of a list of traces; `next` leads to the following part, None at the end."""

    traces: tuple[TraceSummary, ...]
    next: str | None


@dataclass(frozen=True)
class Facets:
    """Values to filter by with how many of the newest traces have each, the most frequent first.

    `scores` are names, and ``NAME=LABEL`` for scores that are labels.
    """

    prompts: Mapping[str, int]
    models: Mapping[str, int]
    notebooks: Mapping[str, int]
    sessions: Mapping[str, int]
    scores: Mapping[str, int]
