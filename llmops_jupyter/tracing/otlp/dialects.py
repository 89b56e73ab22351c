"""What attributes and events of instrumented programs mean: OpenTelemetry's conventions, now and before, and OpenInference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmops_jupyter.records import Message
from llmops_jupyter.tracing import names
from llmops_jupyter.tracing.otlp import messages
from llmops_jupyter.tracing.otlp.attributes import KINDS
from llmops_jupyter.tracing.otlp.encoding import EVALUATION
from llmops_jupyter.tracing.otlp.foreign import (
    ForeignScore,
    ForeignSpan,
    number,
    take_columns,
    text_of,
    whole,
)
from llmops_jupyter.tracing.records import iso
from llmops_jupyter.tracing.scores import SOURCES

REASONING = "llmops.reasoning"
DOCUMENTS = "gen_ai.retrieval.documents"
QUERY = "gen_ai.retrieval.query.text"
# Events of one message each, of the conventions before 1.38, with the role that they stand for.
MESSAGE_EVENTS = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
CHOICE = "gen_ai.choice"
PROMPT_EVENTS = {"gen_ai.content.prompt": "gen_ai.prompt"}
ANSWER_EVENTS = {"gen_ai.content.completion": "gen_ai.completion"}
DETAILS = "gen_ai.client.inference.operation.details"
FIRST_TOKEN = "First Token Stream Event"  # noqa: S105 - OpenInference's name
# Older names by their present ones.
OLDER = {
    "gen_ai.system": "gen_ai.provider.name",
    "gen_ai.usage.prompt_tokens": "gen_ai.usage.input_tokens",
    "gen_ai.usage.completion_tokens": "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read_input_tokens": "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.openai.request.seed": "gen_ai.request.seed",
}
OPERATIONS = {kind: op for op, kind in reversed(KINDS.items())} | {
    "LLM": "chat",
    "RERANKER": "rerank",
    "PROMPT": "prompt",
}
# Traceloop's kinds of spans.
ENTITIES = {
    "workflow": "invoke_workflow",
    "agent": "invoke_agent",
    "tool": "execute_tool",
    "task": "task",
}

Event = tuple[str, int, dict[str, Any]]


def understand(span: ForeignSpan, events: list[Event]) -> None:
    """Fill a span in from its attributes and events; what no dialect knows stays as it is."""
    given = span.attributes
    for old, new in OLDER.items():
        if old in given:
            given.setdefault(new, given.pop(old))
    left = [event for event in events if not _understood(span, event)]
    _operation(span)
    _genai_messages(span)
    _numbered_messages(span)
    _openinference(span)
    _first_token(span)
    take_columns(span)
    if left:
        kept = span.attributes.setdefault(names.EVENTS, [])
        kept += [{"name": name, "time_ns": at, **facts} for name, at, facts in left]


def _operation(span: ForeignSpan) -> None:
    given = span.attributes
    kind = text_of(given, "openinference.span.kind")
    entity = text_of(given, "traceloop.span.kind")
    named = given.pop("gen_ai.operation.name", None)
    if isinstance(named, str) and named:
        span.op = named[:100]
    elif kind is not None:
        span.op = OPERATIONS.get(kind.upper(), kind.lower()[:100])
    elif entity is not None:
        span.op = ENTITIES.get(entity, entity[:100])
    elif text_of(given, "llm.request.type") == "completion":
        span.op = "text_completion"
    elif any(k.startswith(("gen_ai.request.model", "gen_ai.prompt.0")) for k in given):
        span.op = "chat"


def _genai_messages(span: ForeignSpan) -> None:
    """Messages under the names of the conventions."""
    given = span.attributes
    before: list[Message] = []
    if "gen_ai.system_instructions" in given:
        before, _ = messages.messages_of(given.pop("gen_ai.system_instructions"), "system")
    if names.INPUT_MESSAGES in given:
        found, _ = messages.messages_of(given.pop(names.INPUT_MESSAGES), "user")
        span.input = (*before, *found)
    elif before:
        span.input = (*before, *span.input)
    if names.OUTPUT_MESSAGES in given:
        said = given.pop(names.OUTPUT_MESSAGES)
        found, thoughts = messages.messages_of(said, "assistant")
        span.output = tuple(found)
        if thoughts:
            given.setdefault(REASONING, thoughts)
        given.setdefault(names.FINISH_REASONS, _reasons(said))
        if not given[names.FINISH_REASONS]:
            del given[names.FINISH_REASONS]
    for key in (names.TOOL_ARGUMENTS, names.TOOL_RESULT, names.TOOL_DEFINITIONS, DOCUMENTS):
        if key in given:
            given[key] = messages.decoded(given[key])


def _reasons(said: Any) -> list[str]:
    value = messages.decoded(said)
    items = value if isinstance(value, list) else []
    found = [m.get("finish_reason") for m in items if isinstance(m, Mapping)]
    return [reason for reason in found if isinstance(reason, str)]


def _numbered_messages(span: ForeignSpan) -> None:
    """Messages in attributes such as ``gen_ai.prompt.0.content``, as OpenLLMetry wrote them."""
    asked = messages.nested(span.attributes, "gen_ai.prompt")
    said = messages.nested(span.attributes, "gen_ai.completion")
    if asked and not span.input:
        span.input = tuple(messages.messages_of(_with_calls(asked), "user")[0])
    if said and not span.output:
        span.output = tuple(messages.messages_of(_with_calls(said), "assistant")[0])


def _with_calls(items: list[Any]) -> list[Any]:
    """Messages whose calls are lists already, with JSON in their contents read."""
    made = []
    for item in items:
        if isinstance(item, Mapping) and messages.decoded(item.get("content")) is not None:
            made.append({**item, "content": _content(item.get("content"))})
        else:
            made.append(item)
    return made


def _content(value: Any) -> Any:
    """A content that is a list of parts as JSON text; JSON that a user wrote stays text."""
    found = messages.decoded(value)
    is_parts = isinstance(found, list) and found and all(_typed(part) for part in found)
    return found if is_parts else value


def _typed(part: Any) -> bool:
    return isinstance(part, Mapping) and "type" in part


def _openinference(span: ForeignSpan) -> None:
    given = span.attributes
    kind = text_of(given, "openinference.span.kind")
    asked = messages.nested(given, "llm.input_messages")
    said = messages.nested(given, "llm.output_messages")
    if asked and not span.input:
        span.input = tuple(_inference(asked, "user"))
    if said and not span.output:
        span.output = tuple(_inference(said, "assistant"))
    if kind is None:
        return
    if kind == "LLM" and (asked or said):  # they say the same once more
        given.pop(names.INPUT_VALUE, None)
        given.pop(names.OUTPUT_VALUE, None)
    _of_model(span)
    documents = messages.nested(given, "retrieval.documents")
    if documents:
        given.setdefault(DOCUMENTS, [_document(one) for one in documents])
    if kind == "RETRIEVER" and isinstance(given.get(names.INPUT_VALUE), str):
        given.setdefault(QUERY, given.pop(names.INPUT_VALUE))
    if kind == "TOOL":
        _of_tool(span)
    given.pop("openinference.span.kind", None)


def _inference(items: list[Any], role: str) -> list[Message]:
    found: list[Message] = []
    for item in items:
        inner = item.get("message") if isinstance(item, Mapping) else None
        if not isinstance(inner, Mapping):
            continue
        parts = inner.get("contents")
        calls = inner.get("tool_calls")
        made: dict[str, Any] = {
            "role": inner.get("role"),
            "content": inner.get("content"),
            "tool_call_id": inner.get("tool_call_id"),
            "tool_calls": [c.get("tool_call") for c in calls if isinstance(c, Mapping)]
            if isinstance(calls, list)
            else [],
        }
        if isinstance(parts, list):
            made["content"] = [
                p["message_content"]
                for p in parts
                if isinstance(p, Mapping) and "message_content" in p
            ]
        found += messages.messages_of([made], role)[0]
    return found


def _of_model(span: ForeignSpan) -> None:
    given, columns = span.attributes, span.columns
    for column, *keys in (
        ("model", "llm.model_name", "embedding.model_name", "reranker.model_name"),
        ("provider", "llm.provider", "llm.system"),
        ("session", "session.id"),
        ("input_tokens", "llm.token_count.prompt"),
        ("output_tokens", "llm.token_count.completion"),
        ("cached_tokens", "llm.token_count.prompt_details.cache_read"),
        ("cost", "llm.cost.total"),
        ("prompt_name", "llm.prompt_template.name"),
    ):
        for key in keys:
            if key in given:
                columns.setdefault(column, given.pop(key))
    given.pop("llm.token_count.total", None)
    thought = whole(given.pop("llm.token_count.completion_details.reasoning", None))
    if thought:
        given.setdefault(names.REASONING_TOKENS, thought)
    settings = messages.decoded(given.get("llm.invocation_parameters"))
    if isinstance(settings, Mapping):
        for name in ("temperature", "top_p", "top_k", "max_tokens", "seed"):
            if name in settings:
                given.setdefault(f"gen_ai.request.{name}", settings[name])


def _document(one: Any) -> Any:
    found = one.get("document") if isinstance(one, Mapping) else None
    if not isinstance(found, Mapping):
        return one
    made = dict(found)
    about = messages.decoded(made.pop("metadata", None))
    if isinstance(about, Mapping):
        source = text_of(about, "source", "file_path", "url")
        made |= {"source": source or "", "metadata": dict(about)}
    return made


def _of_tool(span: ForeignSpan) -> None:
    given = span.attributes
    name = text_of(given, "tool.name", "tool_call.function.name") or span.name
    given.setdefault(names.TOOL_NAME, name)
    if names.INPUT_VALUE in given:
        value = given.pop(names.INPUT_VALUE)
        given.setdefault(names.TOOL_ARGUMENTS, messages.arguments_of(value))
    if names.OUTPUT_VALUE in given:
        given.setdefault(names.TOOL_RESULT, given.pop(names.OUTPUT_VALUE))


def _first_token(span: ForeignSpan) -> None:
    seconds = number(span.attributes.get(names.TIME_TO_FIRST_CHUNK))
    if seconds is not None and 0 <= seconds < 86_400:
        span.first_token_ns = span.start_ns + int(seconds * 1e9)
        del span.attributes[names.TIME_TO_FIRST_CHUNK]


def _understood(span: ForeignSpan, event: Event) -> bool:
    """Whether an event said what has a place of its own."""
    name, at_ns, facts = event
    if name == "exception":
        span.error_type = span.error_type or text_of(facts, "exception.type")
        span.error_message = span.error_message or text_of(facts, "exception.message")
        return set(facts) <= {"exception.type", "exception.message", "exception.escaped"}
    if name == FIRST_TOKEN:
        span.first_token_ns = at_ns
        return True
    reader = _READERS.get(name)
    return reader(span, event) if reader is not None else False


def _message_event(span: ForeignSpan, event: Event) -> bool:
    name, _, facts = event
    found, _ = messages.messages_of([_body(facts)], MESSAGE_EVENTS[name])
    span.input = (*span.input, *found)
    return True


def _choice_event(span: ForeignSpan, event: Event) -> bool:
    body = _body(event[2])
    said = messages.decoded(body.get("message"))
    found, thoughts = messages.messages_of([said if said is not None else body], "assistant")
    span.output = (*span.output, *found)
    if thoughts:
        span.attributes.setdefault(REASONING, thoughts)
    reason = body.get("finish_reason")
    if isinstance(reason, str):
        span.attributes.setdefault(names.FINISH_REASONS, [reason])
    return True


def _body(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What an event says: its attributes, or the JSON text in one of them."""
    for key in ("gen_ai.event.content", "event.body", "body"):
        found = messages.decoded(facts.get(key))
        if isinstance(found, Mapping):
            return {**facts, **found}
    return dict(facts)


def _prompt_event(span: ForeignSpan, event: Event) -> bool:
    said = event[2].get(PROMPT_EVENTS[event[0]])
    if said is None:
        return False
    span.input = (*span.input, *messages.messages_of(said, "user")[0])
    return True


def _answer_event(span: ForeignSpan, event: Event) -> bool:
    said = event[2].get(ANSWER_EVENTS[event[0]])
    if said is None:
        return False
    span.output = (*span.output, *messages.messages_of(said, "assistant")[0])
    return True


def _details_event(span: ForeignSpan, event: Event) -> bool:
    for key, value in event[2].items():
        span.attributes.setdefault(key, value)
    return True


def _evaluation_event(span: ForeignSpan, event: Event) -> bool:
    """A judgement: of the span that has the event, or of the parent where the span is the judgement itself."""
    _, at_ns, facts = event
    name = text_of(facts, "gen_ai.evaluation.name")
    if name is None:
        return False
    source = text_of(facts, "llmops.score.source")
    label = text_of(facts, "gen_ai.evaluation.score.label")
    value = number(facts.get("gen_ai.evaluation.score.value"))
    if value is None and label is None:
        return False
    span.only_scores = span.attributes.get("llmops.score.source") is not None
    span.scores.append(
        ForeignScore(
            span.trace_id,
            span.parent_id if span.only_scores else span.span_id,
            name[:200],
            value,
            label,
            text_of(facts, "gen_ai.evaluation.explanation") or "",
            source if source in SOURCES else "code",
            text_of(facts, "llmops.score.identifier") or "",
            iso(at_ns),
        )
    )
    return True


_READERS: dict[str, Callable[[ForeignSpan, Event], bool]] = {
    **dict.fromkeys(MESSAGE_EVENTS, _message_event),
    **dict.fromkeys(PROMPT_EVENTS, _prompt_event),
    **dict.fromkeys(ANSWER_EVENTS, _answer_event),
    CHOICE: _choice_event,
    DETAILS: _details_event,
    EVALUATION: _evaluation_event,
}
