"""Records of traces, in whatever form they came, as spans on their way in."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import missing_dependency
from llmops_jupyter.records import Message
from llmops_jupyter.tracing import names
from llmops_jupyter.tracing.arrivals import SERVICE
from llmops_jupyter.tracing.messages import clean
from llmops_jupyter.tracing.otlp import messages
from llmops_jupyter.tracing.otlp.attributes import STATUS
from llmops_jupyter.tracing.otlp.dialects import Event, understand
from llmops_jupyter.tracing.otlp.foreign import (
    FORMAT,
    LIBRARY,
    PARENT,
    RESOURCE,
    ForeignScore,
    ForeignSpan,
    UnreadableError,
    checked,
    is_id,
    number,
)
from llmops_jupyter.tracing.scores import SOURCES

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

PURPOSE = "Importing traces"
PACKAGE = "opentelemetry-proto"
OURS, MARKS, LINKS = "llmops", "llmops.import.", "llmops.links"
# Of the resource these say where something ran; the rest is about the SDK.
OF_RESOURCE = (
    *("deployment.environment.name", "deployment.environment", "service.version"),
    *("service.namespace", "service.instance.id", "host.name", "openinference.project.name"),
)
KINDS = ("INTERNAL", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
ERROR = 2
IDS = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")
# Other signals in the same file are no fault.
OTHERS = ("resourceLogs", "resourceMetrics", "resource_logs", "resource_metrics")

Found = ForeignSpan | UnreadableError


def spans_of(record: Any) -> Iterator[Found]:
    """The spans of a record, and why one of them is none.

    Args:
        record: an ExportTraceServiceRequest as bytes, as a message, or as JSON values; spans alone as JSON values; or a trace as
            `Traces.export` writes it.

    Raises:
        UnreadableError: the record as a whole is none of these.
        MissingDependencyError: the extra `otel` is not installed.
    """
    if isinstance(record, Mapping) and "trace_id" in record and "spans" in record:
        yield from _of_ours(record)
    elif isinstance(record, Mapping):
        if any(key in record for key in ("resourceSpans", "resource_spans")):
            yield from _of_request(_from_json(record), "otlp-json")
        elif any(key in record for key in ("scopeSpans", "scope_spans")):
            yield from _of_request(_from_json({"resourceSpans": [record]}), "otlp-json")
        elif (bare := _bare(record)) is not None:
            whole = {"resourceSpans": [{"scopeSpans": [{"spans": bare}]}]}
            yield from _of_request(_from_json(whole), "otlp-json")
        elif not any(key in record for key in OTHERS):
            raise UnreadableError("it has neither resourceSpans nor a trace_id with spans")
    elif isinstance(record, bytes | bytearray | memoryview):
        yield from _of_request(_from_bytes(bytes(record)), "otlp-protobuf")
    elif hasattr(record, "resource_spans"):
        yield from _of_request(record, "otlp-protobuf")
    else:
        raise UnreadableError(f"a {type(record).__name__} is no record of traces")


def _bare(record: Mapping[str, Any]) -> list[Any] | None:
    """Spans without a resource around them: one, or a page of them as Phoenix gives out."""
    page = record.get("data")
    items = page if isinstance(page, list) else [record]
    named = ("spanId", "span_id")
    if all(isinstance(i, Mapping) and any(k in i for k in named) for i in items):
        return items
    return None


def _request() -> Any:
    try:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )
    except ImportError as e:
        raise missing_dependency(PACKAGE, PURPOSE, "otel") from e
    return ExportTraceServiceRequest


def _from_bytes(data: bytes) -> Any:
    kind = _request()
    from google.protobuf.message import DecodeError

    try:
        found = kind.FromString(data)
    except DecodeError as e:
        raise UnreadableError("it is no ExportTraceServiceRequest") from e
    if data and not found.resource_spans:
        raise UnreadableError("it has no spans that can be read")
    return found


def _from_json(record: Mapping[str, Any]) -> Any:
    kind = _request()
    from google.protobuf.json_format import ParseDict, ParseError

    try:
        return ParseDict(_with_base64(record, 0), kind(), ignore_unknown_fields=True)
    except (ParseError, RecursionError, TypeError, ValueError, AttributeError) as e:
        said = " ".join(str(e).split())[:200]
        raise UnreadableError(f"it is no ExportTraceServiceRequest ({said})") from e


def _with_base64(value: Any, depth: int) -> Any:
    """A copy with ids in base64, as JSON of protobuf has bytes; OTLP has them in hexadecimal digits.

    Half characters, of which protobuf can hold none, become their escapes.
    """
    if depth > 100:
        raise UnreadableError("it is too deep")
    if isinstance(value, list):
        return [_with_base64(v, depth + 1) for v in value]
    if isinstance(value, str):
        return clean(value)
    if not isinstance(value, Mapping):
        return value
    made = {clean(str(k)): _with_base64(v, depth + 1) for k, v in value.items()}
    for key in IDS:
        given = made.get(key)
        if isinstance(given, str) and len(given) in (16, 32):
            try:
                made[key] = base64.b64encode(binascii.unhexlify(given)).decode()
            except (binascii.Error, ValueError):
                continue
    return made


def _of_request(request: Any, form: str) -> Iterator[Found]:
    for group in request.resource_spans:
        about = _mapping(group.resource.attributes)
        for scope in group.scope_spans:
            schema = scope.schema_url or group.schema_url
            for span in scope.spans:
                try:
                    yield _read(span, about, scope.scope.name, schema, form)
                except UnreadableError as e:  # noqa: PERF203 - one bad span leaves the others
                    yield e
                except (ValueError, TypeError, OverflowError, RecursionError) as e:
                    yield UnreadableError(f"it cannot be understood ({type(e).__name__})")


def _read(
    span: Span, about: Mapping[str, Any], library: str, schema: str, form: str
) -> ForeignSpan:
    made = ForeignSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        name=span.name[:500] or "span",
        start_ns=int(span.start_time_unix_nano),
        end_ns=int(span.end_time_unix_nano) or None,
        kind=KINDS[span.kind] if span.kind < len(KINDS) else KINDS[0],
        attributes=_mapping(span.attributes),
        schema_url=schema[:200],
    )
    if made.parent_id is not None and not made.parent_id.strip("0"):
        made.parent_id = None
    if span.status.code == ERROR:
        made.status = "error"
        made.error_message = span.status.message or None
    events: list[Event] = [
        (e.name[:500], int(e.time_unix_nano), _mapping(e.attributes)) for e in span.events
    ]
    if span.links:
        made.attributes[LINKS] = [_link(link) for link in span.links]
    # Ids and times are looked at before what stands on them.
    checked(made)
    understand(made, events)
    given = made.attributes
    if given.pop(STATUS, None) == "interrupted":
        made.status = "interrupted"
    if made.status != "ok":
        made.error_type = made.error_type or _text(given.pop("error.type", None)) or "Error"
        if made.error_message == made.error_type:
            made.error_message = None
    _mark(made, about, library, form)
    return checked(made)


def _link(link: Any) -> dict[str, Any]:
    """Another span that a span has to do with; nothing here follows it."""
    return {
        "trace_id": link.trace_id.hex(),
        "span_id": link.span_id.hex(),
        **_mapping(link.attributes),
    }


def _mark(span: ForeignSpan, about: Mapping[str, Any], library: str, form: str) -> None:
    """Say where a span came from; what it says of that itself does not count."""
    given = span.attributes = {k: v for k, v in span.attributes.items() if k[:14] != MARKS}
    given[FORMAT] = form
    if about.get("service.name"):
        given[SERVICE] = str(about["service.name"])[:200]
    if library:
        given[LIBRARY] = library[:200]
    kept = {k: about[k] for k in OF_RESOURCE if k in about}
    if kept:
        given[RESOURCE] = kept


def _mapping(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    """What an AnyValue of OTLP holds."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "array_value":
        return [_value(v) for v in found.values]
    if kind == "kvlist_value":
        return _mapping(found.values)
    return base64.b64encode(found).decode() if kind == "bytes_value" else found


def _of_ours(record: Mapping[str, Any]) -> Iterator[Found]:
    """The spans of a trace as `Traces.export` writes it."""
    trace_id, spans = record["trace_id"], record["spans"]
    if not isinstance(spans, list):
        raise UnreadableError("its spans are no list")
    judged = record.get("scores")
    scores = [s for s in judged if isinstance(s, Mapping)] if isinstance(judged, list) else []
    for span in spans:
        try:
            yield _read_ours(record, span, hexadecimal(trace_id), scores)
        except UnreadableError as e:  # noqa: PERF203 - one bad span leaves the others
            yield e
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as e:
            yield UnreadableError(f"it cannot be understood ({type(e).__name__}: {str(e)[:80]})")


def hexadecimal(trace_id: Any) -> str:
    """A trace's id, made into one of 32 digits if a caller had given one of another form, always the same one."""
    text = str(trace_id)
    if is_id(text.lower(), 32):
        return text.lower()
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _read_ours(
    record: Mapping[str, Any], given: Any, trace_id: str, scores: list[Mapping[str, Any]]
) -> ForeignSpan:
    if not isinstance(given, Mapping):
        raise UnreadableError("it is no mapping")
    attributes = given.get("attributes")
    status = str(given.get("status", "ok"))
    made = ForeignSpan(
        trace_id=trace_id,
        span_id=str(given["span_id"]),
        parent_id=_text(given.get("parent_id")),
        name=str(given["name"])[:500],
        start_ns=int(given["start_ns"]),
        end_ns=None if given.get("end_ns") is None else int(given["end_ns"]),
        op=str(given.get("op") or "span")[:100],
        kind=str(given.get("kind") or KINDS[0])[:20],
        first_token_ns=given.get("first_token_ns")
        if isinstance(given.get("first_token_ns"), int)
        else None,
        status=status if status in ("ok", "error", "interrupted") else "ok",
        error_type=_text(given.get("error_type")),
        error_message=_text(given.get("error_message")),
        input=_messages(given.get("input"), "user"),
        output=_messages(given.get("output"), "assistant"),
        attributes=dict(attributes) if isinstance(attributes, Mapping) else {},
        schema_url=str(given.get("schema_url") or names.SCHEMA_URL)[:200],
    )
    made.columns = _columns(record, given, root=made.parent_id is None)
    marks = {k: v for k, v in made.attributes.items() if k[:14] == MARKS}
    if isinstance(marks.get(PARENT), str):  # it stood under another span until its parent came
        made.parent_id = marks[PARENT] or None
    _mark(made, {"service.name": marks.get(SERVICE)}, "", OURS)
    if made.parent_id is None:
        made.scores = [one for s in scores if (one := _score(trace_id, s)) is not None]
    return checked(made)


def _columns(record: Mapping[str, Any], given: Mapping[str, Any], *, root: bool) -> dict[str, Any]:
    same = ("provider", "model", "model_digest", "session", "seed", "cost")
    found = {name: given.get(name) for name in same}
    found |= {n: given.get(n) for n in ("input_tokens", "output_tokens", "cached_tokens")}
    name, _, version = str(given.get("prompt") or "").partition("@")
    found["prompt_name"], found["prompt_version"] = name, version
    taken = given.get("resources")
    for key, column in (
        *(("busy", "busy_s"), ("cpu", "cpu_s")),
        *(("memory", "peak_bytes"), ("energy", "energy_j")),
    ):
        figure = taken.get(key) if isinstance(taken, Mapping) else None
        if isinstance(figure, Mapping):
            found[column] = figure.get("value")
            if key == "energy":
                found["energy_source"] = figure.get("source")
            elif key != "memory" and figure.get("source") == "estimated":
                found["shared"] = True
    if root:
        for place in ("notebook", "cell_id", "execution_count", "kernel_id"):
            found[place] = record.get(place)
    return found


def _messages(value: Any, role: str) -> tuple[Message, ...]:
    return tuple(messages.messages_of(value, role)[0]) if isinstance(value, list) and value else ()


def _score(trace_id: str, given: Mapping[str, Any]) -> ForeignScore | None:
    name, at = _text(given.get("name")), _moment(given.get("at"))
    value, label = number(given.get("value")), _text(given.get("label"))
    if name is None or at is None or (value is None and label is None):
        return None
    source = str(given.get("source"))
    return ForeignScore(
        *(trace_id, _text(given.get("span_id")), name[:200], value, label),
        *(str(given.get("explanation") or ""), source if source in SOURCES else "code"),
        *(clean(str(given.get("identifier") or "")), at),
    )


def _moment(value: Any) -> str | None:
    """A time as scores have it; None if a value is none."""
    try:
        found = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        return found.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None


def _text(value: Any) -> str | None:
    return clean(value) if isinstance(value, str) and value else None
