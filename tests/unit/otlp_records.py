"""Traces of other programs as OTLP has them in JSON."""

from __future__ import annotations

import json
import math
import time

from llmops_jupyter.records import Message, ToolCall

NOW = time.time_ns() - 10**12
TRACE = "5b8efff798038103d269b633813fc60c"
ROOT, CHILD, GRANDCHILD = "eee19b7ec3c1b174", "eee19b7ec3c1b175", "eee19b7ec3c1b176"
GENAI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.seed": 7,
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 3,
    "gen_ai.usage.cache_read.input_tokens": 4,
    "gen_ai.conversation.id": "c1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.response.time_to_first_chunk": 0.25,
    "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
    "gen_ai.input.messages": json.dumps(
        [
            {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]},
            {
                "role": "assistant",
                "parts": [
                    {
                        "type": "tool_call",
                        "id": "t1",
                        "name": "weather",
                        "arguments": {"city": "Rome"},
                    }
                ],
            },
            {
                "role": "tool",
                "parts": [{"type": "tool_call_response", "id": "t1", "response": "rain"}],
            },
        ]
    ),
    "gen_ai.output.messages": json.dumps(
        [
            {
                "role": "assistant",
                "parts": [
                    {"type": "reasoning", "content": "it rains"},
                    {"type": "text", "content": "It rains."},
                ],
                "finish_reason": "stop",
            }
        ]
    ),
}
CONVERSATION = (
    Message("system", "Be brief."),
    Message("user", "Weather?"),
    Message("assistant", "", (ToolCall("t1", "weather", {"city": "Rome"}),)),
    Message("tool", "rain", (), "t1"),
)


def value(given):
    if isinstance(given, bool):
        return {"boolValue": given}
    if isinstance(given, int):
        return {"intValue": str(given)}
    if isinstance(given, float):
        return {"doubleValue": given if math.isfinite(given) else "Infinity"}
    if isinstance(given, list):
        return {"arrayValue": {"values": [value(v) for v in given]}}
    if isinstance(given, dict):
        return {"kvlistValue": {"values": pairs(given)}}
    return {"stringValue": given}


def pairs(given):
    return [{"key": k, "value": value(v)} for k, v in given.items()]


def span(name="chat gpt-4o", span_id=ROOT, parent="", attributes=(), events=(), **more):
    """A span as JSON of OTLP."""
    return {
        "traceId": TRACE,
        "spanId": span_id,
        "parentSpanId": parent,
        "name": name,
        "kind": 3,
        "startTimeUnixNano": str(NOW),
        "endTimeUnixNano": str(NOW + 2 * 10**9),
        "attributes": pairs(dict(attributes)),
        "events": [
            {"name": n, "timeUnixNano": str(NOW + 10**8), "attributes": pairs(facts)}
            for n, facts in events
        ],
        **more,
    }


def request(*spans, service="shop"):
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": pairs({"service.name": service, "host.name": "h1"})},
                "scopeSpans": [
                    {
                        "scope": {"name": "opentelemetry.instrumentation.openai_v2"},
                        "schemaUrl": "https://opentelemetry.io/schemas/1.37.0",
                        "spans": list(spans),
                    }
                ],
            }
        ]
    }


def proto(record):
    from llmops_jupyter.tracing.otlp.reading import _from_json

    return _from_json(record).SerializeToString()


def one(ws, *spans):
    made = ws.traces.import_(request(*spans))
    assert made.skipped == 0, made.faults
    return ws.traces.get(TRACE).root
