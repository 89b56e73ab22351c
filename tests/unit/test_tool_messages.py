"""Messages with calls of tools, in the store and in redaction."""

from __future__ import annotations

import llmops_jupyter as lo
from llmops_jupyter.records import Message, ToolCall

CALL = ToolCall("call-1", "find_order", {"order": 7, "mail": "ann@example.org", "odd": "\ud800"})
TURNS = (
    Message("user", "Where is order 7?"),
    Message("assistant", "", (CALL,)),
    Message("tool", '{"state": "sent"}', tool_call_id="call-1"),
)


def traced(ws):
    with ws.tracer.span("chat", op="chat", messages=TURNS) as span:
        span.output((Message("assistant", "I look again.", (CALL,)),))
    return ws.traces.get(span.trace_id).root


def test_calls_and_their_results_are_kept_as_they_were():
    with lo.open(":memory:") as ws:
        root = traced(ws)
        (call,) = root.input[1].tool_calls
        assert (call.id, call.name, call.arguments["order"]) == ("call-1", "find_order", 7)
        assert root.input[2] == TURNS[2]
        assert root.output[0].content == "I look again."
        assert root.output[0].tool_calls[0].name == "find_order"


def test_arguments_are_redacted_too():
    with lo.open(":memory:") as ws:
        ws.redact("email")
        root = traced(ws)
        kept = root.input[1].tool_calls[0].arguments
        assert "ann@example.org" not in str(kept)
        assert kept["order"] == 7


def test_a_message_comes_back_from_its_json_form():
    for message in TURNS:
        assert Message.from_dict(message.as_dict()) == message
    assert TURNS[0].as_dict() == {"role": "user", "content": "Where is order 7?"}
