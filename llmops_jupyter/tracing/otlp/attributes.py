"""What a span says under OpenTelemetry's names, and under OpenInference's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_jupyter.records import Message
from llmops_jupyter.tracing import names
from llmops_jupyter.tracing.messages import clean, parts_of
from llmops_jupyter.tracing.records import SpanRecord

Value = str | bool | int | float | list[str] | list[int] | list[float] | list[bool]
STATUS = "llmops.status"
# Of an attribute these are figures and names; without content nothing else goes along, whoever set it.
NO_CONTENT = (
    *(
        f"gen_ai.request.{name}"
        for name in (
            *("temperature", "top_p", "top_k", "max_tokens", "frequency_penalty"),
            *("presence_penalty", "choice.count", "stream", "encoding_formats"),
        )
    ),
    *("gen_ai.output.type", "gen_ai.data_source.id", "gen_ai.embeddings.dimension.count"),
    *(names.FINISH_REASONS, names.REASONING_TOKENS, names.TOOL_NAME, names.TOOL_CALL_ID),
    *("gen_ai.tool.type", "gen_ai.response.id", "gen_ai.response.model", "gen_ai.agent.name"),
    *("server.address", "server.port", "llmops.deployment", names.MAP_ROWS),
    *("llmops.guard.policy", "llmops.guard.place", "llmops.guard.mode", "llmops.guard.decision"),
    *("llmops.guard.action", "llmops.split.id", "llmops.split.arm", "llmops.mean_logprob"),
    *("llmops.rag.supported", "llmops.rag.answered", "llmops.rag.seconds", "llmops.rag.embedder"),
)
# OpenInference's kinds of spans, by our operations.
KINDS = {
    "chat": "LLM",
    "text_completion": "LLM",
    "generate_content": "LLM",
    "invoke_workflow": "CHAIN",
    "invoke_agent": "AGENT",
    "execute_tool": "TOOL",
    "retrieval": "RETRIEVER",
    "embeddings": "EMBEDDING",
    "run_guardrail": "GUARDRAIL",
    "evaluate": "EVALUATOR",
}
LARGEST = 2**63


def attributes_of(span: SpanRecord, *, content: bool, openinference: bool) -> dict[str, Value]:
    """A span's attributes as OTLP takes them: columns, messages and what was set, by the names of the conventions.

    What has parts is JSON text, as the conventions have it for attributes of spans.
    """
    found: dict[str, Any] = {
        names.COLUMN_NAMES[column]: getattr(span, column)
        for column in names.COLUMN_NAMES
        if hasattr(span, column)
    }
    if span.usage is not None:
        found[names.COLUMN_NAMES["input_tokens"]] = span.usage.input_tokens
        found[names.COLUMN_NAMES["output_tokens"]] = span.usage.output_tokens
        found[names.COLUMN_NAMES["cached_tokens"]] = span.usage.cached_tokens or None
    if span.resources is not None:
        for column in ("energy_j", "busy_s", "cpu_s", "peak_bytes"):
            found[names.COLUMN_NAMES[column]] = getattr(span.resources, column)
        found[names.COLUMN_NAMES["shared"]] = span.resources.shared or None
        if span.resources.energy_j is not None:
            found[names.COLUMN_NAMES["energy_source"]] = span.resources.energy_source
    if span.first_token_ns is not None:
        found[names.TIME_TO_FIRST_CHUNK] = (span.first_token_ns - span.start_ns) / 1e9
    if span.status != "ok":
        found[STATUS] = span.status
    given = {k: v for k, v in span.attributes.items() if k != names.EVENTS}
    found.update(given if content else {k: given[k] for k in NO_CONTENT if k in given})
    if content:
        found.update(_messages(span))
    if openinference:
        found.update(openinference_of(span, content=content))
    return {clean(key): made for key, v in found.items() if (made := value_of(v)) is not None}


def value_of(value: Any) -> Value | None:
    """A value as an attribute can hold it; JSON text for what has parts; None for nothing."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int):
        return value if -LARGEST <= value < LARGEST else str(value)
    if isinstance(value, list) and value:
        kind = type(value[0])
        if kind in (str, bool, float) and all(type(v) is kind for v in value):
            return [clean(v) if kind is str else v for v in value]
        if kind is int and all(type(v) is int and -LARGEST <= v < LARGEST for v in value):
            return value
    return clean(json.dumps(value, ensure_ascii=False, default=str))


def events_of(span: SpanRecord, *, content: bool) -> list[tuple[str, int, dict[str, Value]]]:
    """What happened inside a span: name, time in nanoseconds, attributes; its error is one of them."""
    found = []
    kept = span.attributes.get(names.EVENTS)
    for event in kept if isinstance(kept, list) and content else ():
        if isinstance(event, Mapping) and isinstance(event.get("name"), str):
            at = event.get("time_ns")
            at_ns = at if isinstance(at, int) and 0 <= at < LARGEST else span.start_ns
            more = {k: value_of(v) for k, v in event.items() if k not in ("name", "time_ns")}
            found.append(
                (clean(event["name"]), at_ns, {k: v for k, v in more.items() if v is not None})
            )
    if span.error_type:
        facts: dict[str, Value] = {"exception.type": clean(span.error_type)}
        if content and span.error_message:
            facts["exception.message"] = clean(span.error_message)
        found.append(("exception", span.end_ns or span.start_ns, facts))
    return found


def _messages(span: SpanRecord) -> dict[str, str]:
    found = {}
    if span.input:
        found[names.INPUT_MESSAGES] = _json([_message(m) for m in span.input])
    if span.output:
        reasons = span.attributes.get(names.FINISH_REASONS)
        # The conventions want one.
        reason = "stop" if span.status == "ok" else "error"
        if isinstance(reasons, list) and reasons:
            reason = reasons[0]
        said = [{**_message(m), "finish_reason": reason} for m in span.output]
        found[names.OUTPUT_MESSAGES] = _json(said)
    return found


def _message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "parts": parts_of(message)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def openinference_of(span: SpanRecord, *, content: bool) -> dict[str, Any]:
    """The same under OpenInference's names, by which Phoenix shows messages and counts tokens."""
    kind = KINDS.get(span.op, "CHAIN")
    found: dict[str, Any] = {"openinference.span.kind": kind, "session.id": span.session}
    if kind == "LLM":
        found["llm.model_name"], found["llm.provider"] = span.model, span.provider
        if span.usage is not None:
            found["llm.token_count.prompt"] = span.usage.input_tokens
            found["llm.token_count.completion"] = span.usage.output_tokens
            found["llm.token_count.total"] = span.usage.input_tokens + span.usage.output_tokens
    if not content:
        return found
    if kind == "LLM":
        found.update(_indexed("llm.input_messages", span.input))
        found.update(_indexed("llm.output_messages", span.output))
    if span.input and names.INPUT_VALUE not in span.attributes:
        found[names.INPUT_VALUE] = span.input[-1].content
    if span.output and names.OUTPUT_VALUE not in span.attributes:
        last = span.output[-1]
        found[names.OUTPUT_VALUE] = last.content or _json([c.as_dict() for c in last.tool_calls])
    if kind == "TOOL":
        found["tool.name"] = span.attributes.get(names.TOOL_NAME)
        found.setdefault(names.INPUT_VALUE, span.attributes.get(names.TOOL_ARGUMENTS))
        found.setdefault(names.OUTPUT_VALUE, span.attributes.get(names.TOOL_RESULT))
    if kind == "RETRIEVER":
        found[names.INPUT_VALUE] = span.attributes.get("gen_ai.retrieval.query.text")
        found.update(_documents(span.attributes.get("gen_ai.retrieval.documents")))
    return found


def _indexed(prefix: str, messages: Sequence[Message]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i, message in enumerate(messages):
        at = f"{prefix}.{i}.message"
        found[f"{at}.role"], found[f"{at}.content"] = message.role, message.content
        if message.tool_call_id:
            found[f"{at}.tool_call_id"] = message.tool_call_id
        for k, call in enumerate(message.tool_calls):
            to = f"{at}.tool_calls.{k}.tool_call"
            found[f"{to}.id"], found[f"{to}.function.name"] = call.id, call.name
            found[f"{to}.function.arguments"] = _json(call.arguments)
    return found


def _documents(kept: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i, one in enumerate(kept if isinstance(kept, list) else ()):
        if isinstance(one, Mapping):
            at = f"retrieval.documents.{i}.document"
            found[f"{at}.id"], found[f"{at}.score"] = str(one.get("id", "")), one.get("score")
            found[f"{at}.content"] = one.get("content") or one.get("source")
    return found
