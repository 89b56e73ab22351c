"""What attributes and events of other programs become: OpenTelemetry's conventions, now and before, and OpenInference."""

from __future__ import annotations

import json

from otlp_records import (
    CHILD,
    CONVERSATION,
    GENAI,
    GRANDCHILD,
    NOW,
    ROOT,
    TRACE,
    one,
    request,
    span,
)

from llmops_jupyter.records import Message, ToolCall, Usage


def test_the_conventions_of_today_fill_the_columns(ws):
    root = one(ws, span(attributes=GENAI))
    assert (root.op, root.kind, root.provider, root.model) == ("chat", "CLIENT", "openai", "gpt-4o")
    assert root.usage == Usage(10, 3, 4)
    assert (root.seed, root.session) == (7, "c1")
    assert root.input == CONVERSATION
    assert root.output == (Message("assistant", "It rains."),)
    assert root.attributes["llmops.reasoning"] == "it rains"
    assert root.attributes["gen_ai.response.model"] == "gpt-4o-2024-08-06"
    assert root.first_token_ns == NOW + 25 * 10**7
    assert (root.start_ns, root.end_ns, root.status) == (NOW, NOW + 2 * 10**9, "ok")
    assert root.schema_url == "https://opentelemetry.io/schemas/1.37.0"
    assert root.attributes["llmops.import.service"] == "shop"
    assert root.attributes["llmops.import.format"] == "otlp-json"
    assert root.attributes["llmops.import.resource"] == {"host.name": "h1"}
    assert "gen_ai.input.messages" not in root.attributes


def test_messages_may_be_structured_values_too(ws):
    given = {k: json.loads(v) if "messages" in k or "instr" in k else v for k, v in GENAI.items()}
    assert one(ws, span(attributes=given)).input == CONVERSATION


def test_messages_in_the_event_of_details_count(ws):
    facts = {k: GENAI[k] for k in ("gen_ai.input.messages", "gen_ai.output.messages")}
    root = one(ws, span(events=[("gen_ai.client.inference.operation.details", facts)]))
    assert (len(root.input), root.output[0].content) == (3, "It rains.")


def test_the_older_messages_as_events_are_read(ws):
    call = {
        "id": "t1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
    }
    root = one(
        ws,
        span(
            attributes={
                "gen_ai.system": "openai",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.prompt_tokens": 5,
                "gen_ai.usage.completion_tokens": 2,
            },
            events=[
                ("gen_ai.system.message", {"content": "Be brief."}),
                (
                    "gen_ai.user.message",
                    {"gen_ai.event.content": json.dumps({"content": "Weather?"})},
                ),
                ("gen_ai.assistant.message", {"role": "assistant", "tool_calls": [call]}),
                ("gen_ai.tool.message", {"content": "rain", "id": "t1"}),
                (
                    "gen_ai.choice",
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": json.dumps({"content": "It rains."}),
                    },
                ),
            ],
        ),
    )
    assert root.input == CONVERSATION
    assert root.output == (Message("assistant", "It rains."),)
    assert (root.provider, root.usage, root.op) == ("openai", Usage(5, 2), "chat")
    assert root.attributes["gen_ai.response.finish_reasons"] == ["stop"]


def test_the_oldest_messages_as_two_events_are_read(ws):
    root = one(
        ws,
        span(
            events=[
                (
                    "gen_ai.content.prompt",
                    {"gen_ai.prompt": json.dumps([{"role": "user", "content": "Hi"}])},
                ),
                (
                    "gen_ai.content.completion",
                    {"gen_ai.completion": json.dumps([{"role": "assistant", "content": "Yo"}])},
                ),
            ]
        ),
    )
    assert (root.input, root.output) == ((Message("user", "Hi"),), (Message("assistant", "Yo"),))


def test_numbered_messages_of_openllmetry_are_read(ws):
    root = one(
        ws,
        span(
            attributes={
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": json.dumps([{"type": "text", "text": "Weather?"}]),
                "gen_ai.completion.0.role": "assistant",
                "gen_ai.completion.0.content": '{"answer": 1}',
                "gen_ai.completion.0.tool_calls.0.id": "t1",
                "gen_ai.completion.0.tool_calls.0.name": "weather",
                "gen_ai.completion.0.tool_calls.0.arguments": '{"city": "Rome"}',
                "gen_ai.request.model": "m",
            }
        ),
    )
    assert root.input == (Message("user", "Weather?"),)
    assert root.output == (
        Message("assistant", '{"answer": 1}', (ToolCall("t1", "weather", {"city": "Rome"}),)),
    )
    assert not [k for k in root.attributes if k.startswith(("gen_ai.prompt", "gen_ai.completion"))]


OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o",
    "llm.provider": "openai",
    "llm.token_count.prompt": 10,
    "llm.token_count.completion": 3,
    "llm.token_count.total": 13,
    "llm.token_count.prompt_details.cache_read": 4,
    "llm.invocation_parameters": '{"temperature": 0.1, "seed": 7}',
    "session.id": "c1",
    "input.value": '{"messages": []}',
    "output.value": "It rains.",
    "llm.input_messages.0.message.role": "system",
    "llm.input_messages.0.message.content": "Be brief.",
    "llm.input_messages.1.message.role": "user",
    "llm.input_messages.1.message.contents.0.message_content.type": "text",
    "llm.input_messages.1.message.contents.0.message_content.text": "Weather?",
    "llm.input_messages.2.message.role": "assistant",
    "llm.input_messages.2.message.tool_calls.0.tool_call.id": "t1",
    "llm.input_messages.2.message.tool_calls.0.tool_call.function.name": "weather",
    "llm.input_messages.2.message.tool_calls.0.tool_call.function.arguments": '{"city": "Rome"}',
    "llm.input_messages.3.message.role": "tool",
    "llm.input_messages.3.message.content": "rain",
    "llm.input_messages.3.message.tool_call_id": "t1",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "It rains.",
}


def test_openinference_fills_the_same_columns(ws):
    root = one(ws, span(attributes=OPENINFERENCE))
    assert (root.op, root.model, root.provider, root.session) == ("chat", "gpt-4o", "openai", "c1")
    assert root.usage == Usage(10, 3, 4)
    assert root.input == CONVERSATION
    assert root.output == (Message("assistant", "It rains."),)
    assert (root.seed, root.attributes["gen_ai.request.temperature"]) == (7, 0.1)
    assert "input.value" not in root.attributes


def test_more_than_ten_messages_keep_their_order(ws):
    given = {"openinference.span.kind": "LLM"}
    for i in range(12):
        given[f"llm.input_messages.{i}.message.role"] = "user"
        given[f"llm.input_messages.{i}.message.content"] = f"m{i}"
    root = one(ws, span(attributes=dict(sorted(given.items()))))
    assert [m.content for m in root.input] == [f"m{i}" for i in range(12)]


def test_retrieval_and_tools_of_openinference_have_their_places(ws):
    found = {
        "openinference.span.kind": "RETRIEVER",
        "input.value": "returns?",
        "retrieval.documents.0.document.id": "d1",
        "retrieval.documents.0.document.content": "Within 30 days.",
        "retrieval.documents.0.document.score": 0.9,
        "retrieval.documents.0.document.metadata": '{"source": "faq.md"}',
    }
    called = {
        "openinference.span.kind": "TOOL",
        "tool.name": "weather",
        "input.value": '{"city": "Rome"}',
        "output.value": "rain",
    }
    one(
        ws,
        span(
            "chain",
            attributes={
                "openinference.span.kind": "CHAIN",
                "input.value": "q",
                "output.value": "a",
            },
        ),
        span("retrieve", CHILD, ROOT, found),
        span("weather", GRANDCHILD, ROOT, called),
    )
    root, retrieval, tool = ws.traces.get(TRACE).spans
    assert (root.op, root.attributes["input.value"]) == ("invoke_workflow", "q")
    assert (retrieval.op, retrieval.attributes["gen_ai.retrieval.query.text"]) == (
        "retrieval",
        "returns?",
    )
    (document,) = retrieval.attributes["gen_ai.retrieval.documents"]
    assert (document["id"], document["score"], document["source"]) == ("d1", 0.9, "faq.md")
    assert (tool.op, tool.attributes["gen_ai.tool.name"]) == ("execute_tool", "weather")
    assert tool.attributes["gen_ai.tool.call.arguments"] == {"city": "Rome"}
    assert tool.attributes["gen_ai.tool.call.result"] == "rain"
    assert [t.trace_id for t in ws.traces.search("rain")] == [TRACE]


def test_an_error_keeps_its_kind_and_text(ws):
    failed = {
        "exception.type": "TimeoutError",
        "exception.message": "too late",
        "exception.stacktrace": "…",
    }
    root = one(ws, span(events=[("exception", failed)], status={"code": 2}))
    assert (root.status, root.error_type, root.error_message) == (
        "error",
        "TimeoutError",
        "too late",
    )
    assert root.attributes["llmops.events"][0]["exception.stacktrace"] == "…"


def test_evaluations_come_in_as_scores(ws):
    facts = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.7}
    made = ws.traces.import_(request(span(events=[("gen_ai.evaluation.result", facts)])))
    assert made.scores == 1
    (score,) = ws.traces.get(TRACE).scores
    assert (score.name, score.value, score.source) == ("relevance", 0.7, "code")


def test_spans_of_one_trace_have_each_their_own_score(ws):
    def judged(name, span_id, parent, value, at=NOW):
        facts = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": value}
        made = span(name, span_id, parent, events=[("gen_ai.evaluation.result", facts)])
        made["events"][0]["timeUnixNano"] = str(at)
        return made

    record = request(judged("root", ROOT, "", 0.9), judged("found", CHILD, ROOT, 0.1))
    assert ws.traces.import_(record).scores == 2
    assert ws.traces.import_(record).scores == 0
    later = request(judged("found", CHILD, ROOT, 0.2, at=NOW + 10**9))
    assert ws.traces.import_(later).scores == 1
    found = {score.span_id: score.value for score in ws.traces.scores(TRACE)}
    assert found == {ROOT: 0.9, CHILD: 0.2}


def test_a_score_of_a_trace_that_comes_back_by_its_root_is_the_same(ws, collector):
    with ws.tracer.span("a") as root:
        pass
    ws.traces.score(root.trace_id, "thumb", "up")
    server = collector()
    ws.traces.send(server.url)
    assert ws.traces.import_(server.requests[0]).scores == 0
    assert len(ws.traces.scores(root.trace_id)) == 1


def test_links_to_other_spans_are_kept(ws):
    link = {"traceId": "ab" * 16, "spanId": "cd" * 8, "attributes": []}
    root = one(ws, span(links=[link]))
    assert root.attributes["llmops.links"] == [{"trace_id": "ab" * 16, "span_id": "cd" * 8}]


def test_hostile_content_is_text_and_numbers_that_cannot_be_are_left_out(ws):
    given = {
        "gen_ai.operation.name": "x'); DROP TABLE spans;--",
        "gen_ai.request.model": "<script>alert(1)</script>",
        "gen_ai.usage.input_tokens": -5,
        "gen_ai.usage.output_tokens": "many",
        "llmops.cost": float("inf"),
        "llmops.notebook.execution_count": "3",
        "gen_ai.prompt.version": 2**62,
        "gen_ai.input.messages": '[{"role": "root", "parts": [{"type": "image"}, {"content": 3}, 7, null]}]',
        "gen_ai.output.messages": "{broken",
        "llm.input_messages.99999999.message.role": "user",
        "llm.input_messages.x.y": "z",
        **{f"k{i}": "v" * 1_000 for i in range(400)},
    }
    root = one(ws, span("\x1b[31mred\x00", attributes=given))
    assert root.usage is None
    assert (root.cost, root.prompt) == (None, "")
    assert [m.role for m in root.input] == ["user"]
    assert root.output == (Message("assistant", "{broken"),)
    html = root and ws.traces.get(TRACE)._repr_mimebundle_()[0]["text/html"]
    assert "<script>alert" not in html
    assert len(ws.store.rows("SELECT attributes FROM spans")[0][0]) <= 200_000
