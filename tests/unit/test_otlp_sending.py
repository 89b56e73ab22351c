"""Traces to a collector: each arrives, whatever happens on the way; what is refused is kept apart."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from otlp_fakes import attributes, partly, until, work

import llmops_jupyter as lo
from llmops_jupyter.errors import SendError
from llmops_jupyter.records import Message, ToolCall, Usage
from llmops_jupyter.tracing.otlp import posting, sending

pytestmark = pytest.mark.usefixtures("soon")


def test_a_trace_arrives_with_its_own_ids_times_parents_and_names(ws, collector):
    server = collector()
    question = (Message("system", "Be brief."), Message("user", "Why is the sky blue?"))
    with (
        ws.tracer.span(
            "prompt sky@2", op="invoke_workflow", prompt_name="sky", prompt_version=2
        ) as root,
        ws.tracer.span(
            "chat m",
            op="chat",
            messages=question,
            model="m",
            provider="llama.cpp",
            seed=7,
            session="s1",
        ) as chat,
    ):
        chat.set("gen_ai.request.temperature", 0.5)
        chat.set("gen_ai.response.finish_reasons", ["stop"])
        chat.set("nested", {"a": [1, {"b": 2}]})
        chat.event("seen", what="x")
        chat.usage(Usage(10, 2, 4))
        chat.output((Message("assistant", "", (ToolCall("c1", "light", {"nm": 450}),)),))
    sent = ws.traces.send(server.url, service="shop", deployment="production")
    assert (sent.spans, sent.refused, sent.waiting) == (2, 0, False)
    assert server.paths == ["/v1/traces"]
    by_name = {span.name: span for span in server.spans}
    top, call = by_name["prompt sky@2"], by_name["chat m"]
    assert (top.trace_id.hex(), top.span_id.hex()) == (root.trace_id, root.span_id)
    assert (call.parent_span_id.hex(), top.parent_span_id) == (root.span_id, b"")
    kept = ws.traces.get(root.trace_id).spans[1]
    assert (call.start_time_unix_nano, call.end_time_unix_nano) == (kept.start_ns, kept.end_ns)
    facts = attributes(call)
    assert facts["gen_ai.operation.name"] == "chat"
    assert facts["gen_ai.request.model"] == "m"
    assert facts["gen_ai.usage.input_tokens"] == 10
    assert facts["gen_ai.usage.cache_read.input_tokens"] == 4
    assert facts["gen_ai.conversation.id"] == "s1"
    assert json.loads(facts["nested"]) == {"a": [1, {"b": 2}]}
    assert attributes(top)["gen_ai.prompt.name"] == "sky"
    said = json.loads(facts["gen_ai.output.messages"])
    assert said == [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c1", "name": "light", "arguments": {"nm": 450}}],
            "finish_reason": "stop",
        }
    ]
    assert json.loads(facts["gen_ai.input.messages"])[0]["parts"][0]["content"] == "Be brief."
    assert [e.name for e in call.events] == ["seen"]
    resource = {
        a.key: a.value.string_value
        for a in server.requests[0].resource_spans[0].resource.attributes
    }
    assert (resource["service.name"], resource["deployment.environment.name"]) == (
        "shop",
        "production",
    )
    scope = server.requests[0].resource_spans[0].scope_spans[0]
    assert (scope.scope.name, scope.schema_url) == ("llmops_jupyter", kept.schema_url)


def test_sending_goes_on_where_it_ended_and_sends_nothing_twice(ws, collector):
    server = collector()
    first = work(ws, "a", "b")
    assert ws.traces.send(server.url).spans == 2
    assert ws.traces.send(server.url).spans == 0
    later = work(ws, "c")
    assert ws.traces.send(server.url).spans == 1
    assert server.ids == [*first, *later]


def test_since_goes_back_or_skips_history(ws, collector):
    server, other = collector(), collector()
    work(ws, "a", "b")
    assert ws.traces.send(server.url).spans == 2
    assert ws.traces.send(server.url, since="1h").spans == 2
    assert ws.traces.send(other.url, since="now").spans == 0
    work(ws, "c")
    ws.traces.send(other.url)
    assert other.names == ["c"]


def test_a_span_goes_once_it_has_ended_and_holds_up_no_other(ws, collector):
    server = collector()
    slow = ws.tracer.span("slow").begin()
    work(ws, "quick")
    assert ws.traces.send(server.url).spans == 1
    assert ws.traces.endpoints()[0].open == 1
    slow.finish()
    ws.traces.send(server.url)
    assert server.names == ["quick", "slow"]
    assert ws.traces.endpoints()[0].open == 0


def test_a_span_whose_process_died_goes_as_interrupted(ws, collector):
    server = collector()
    code = (
        "import os, signal, llmops_jupyter as lo\n"
        "ws = lo.open()\n"
        "ws.tracer.span('cut off').begin().partial('half an ans')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    ws.traces.send(server.url)
    (span,) = server.spans
    assert (span.name, span.status.code, span.start_time_unix_nano) == (
        *("cut off", 2, span.end_time_unix_nano),
    )
    assert attributes(span)["llmops.status"] == "interrupted"


def test_an_error_goes_with_its_kind_and_text(ws, collector):
    server = collector()
    with pytest.raises(ValueError, match="no"), ws.tracer.span("x"):
        raise ValueError("no such order")
    ws.traces.send(server.url)
    (span,) = server.spans
    assert (span.status.code, span.status.message) == (2, "no such order")
    assert attributes(span)["error.type"] == "ValueError"
    assert [e.name for e in span.events] == ["exception"]


def test_a_server_that_is_away_for_a_while_gets_everything_later(ws, collector):
    server = collector(503, 503, 502, 200)
    ids = work(ws, "a", "b")
    assert ws.traces.send(server.url).spans == 2
    assert server.ids == ids


def test_what_asks_for_time_gets_it(ws, collector, monkeypatch):
    waits = []
    monkeypatch.setattr(sending.Sender, "_waited", lambda self, s: waits.append(s) or True)
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90))
    server = collector(
        (429, {"Retry-After": "7"}),
        (503, {"Retry-After": date}),
        (429, {"Retry-After": "soon"}),
        200,
    )
    work(ws, "a")
    assert ws.traces.send(server.url, patience_s=None).spans == 1
    assert waits[0] == 7
    assert 80 < waits[1] <= 90
    assert waits[2] < 1


def test_waits_grow_and_differ():
    sender = sending.Sender.__new__(sending.Sender)
    sender.first_wait_s = 1.0
    waits = [[sender._wait_s(posting.Answer(503), n) for _ in range(20)] for n in range(12)]
    assert all(0.5 * 2**n <= w <= 1.5 * 2**n for n, row in enumerate(waits[:6]) for w in row)
    assert max(waits[11]) <= 1.5 * sending.LONGEST_WAIT_S
    assert len(set(waits[0])) > 1


def test_where_nobody_listens_the_rest_waits_in_the_store(ws, collector):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ids = work(ws, "a", "b")
    sent = ws.traces.send(f"http://127.0.0.1:{port}", patience_s=0.05)
    assert (sent.spans, sent.waiting) == (0, True)
    assert "nobody listens there" in sent.error
    status = ws.traces.endpoints()[0]
    assert (status.waiting, status.holder) == (2, "")
    assert "nobody listens" in status.error
    server = collector(port=port)
    assert ws.traces.send(server.url).spans == 2
    assert server.ids == ids
    assert ws.traces.endpoints()[0].error == ""


def test_one_span_that_is_refused_does_not_block_the_rest(ws, collector):
    server = collector(lambda names: (400, {}, b"bad attribute") if "bad" in names else 200)
    work(ws, "a", "bad", "b", "c", "d")
    sent = ws.traces.send(server.url)
    assert (sent.spans, sent.refused, sent.waiting) == (4, 1, False)
    assert server.names == ["a", "b", "c", "d"]
    status = ws.traces.endpoints()[0]
    assert (status.refused, status.reasons) == (1, (("it answered 400: bad attribute", 1),))
    server.answers = [200]
    assert ws.traces.send(server.url).spans == 0
    assert ws.traces.send(server.url, again=True).spans == 1
    assert server.names[-1] == "bad"
    assert ws.traces.endpoints()[0].refused == 0


def test_a_server_that_refuses_everything_marks_nothing_as_refused(ws, collector):
    server = collector(400)
    work(ws, *(f"n{i}" for i in range(40)))
    with pytest.raises(SendError, match="refuses whatever it is sent"):
        ws.traces.send(server.url)
    server.answers = [200]
    assert ws.traces.send(server.url).spans == 40


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "wants a key"), (404, "Check the address"), (307, "sends elsewhere"), (415, "Check")],
)
def test_a_wrong_address_or_key_is_said_at_once_and_loses_nothing(ws, collector, status, words):
    server = collector((status, {"Location": "http://127.0.0.1:9/"}))
    work(ws, "a")
    with pytest.raises(SendError, match=words):
        ws.traces.send(server.url)
    server.answers = [200]
    assert ws.traces.send(server.url).spans == 1


def test_what_a_server_takes_in_part_is_said(ws, collector):
    server = collector((200, {}, partly(1, "too old")))
    work(ws, "a", "b")
    sent = ws.traces.send(server.url)
    assert (sent.spans, sent.dropped, sent.refused) == (1, 1, 0)
    assert "all but 1 spans: too old" in sent.error
    assert "1 were not kept there" in sent.sentence()


def test_an_answer_that_is_no_protobuf_is_an_answer(ws, collector):
    server = collector((200, {}, b'{"ok": true}'))
    work(ws, "a")
    assert ws.traces.send(server.url).spans == 1


def test_a_slow_server_is_waited_for_and_then_left_for_later(ws, collector, monkeypatch):
    monkeypatch.setattr(posting, "TIMEOUT_S", 0.2)
    hold = threading.Event()
    server = collector(lambda _: (hold.wait(5), 200)[1], 200)
    ids = work(ws, "a")
    assert ws.traces.send(server.url, patience_s=5).spans == 1
    hold.set()
    until(lambda: len(server.ids) == 2)
    assert set(server.ids) == set(ids)


def test_large_traces_go_in_batches_by_count_and_by_bytes(ws, collector, monkeypatch):
    monkeypatch.setattr(sending, "MOST_SPANS", 10)
    server = collector()
    ids = work(ws, *(f"n{i}" for i in range(35)))
    ws.traces.send(server.url)
    assert [len(r.resource_spans[0].scope_spans[0].spans) for r in server.requests] == [
        10,
        10,
        10,
        5,
    ]
    assert server.ids == ids
    monkeypatch.setattr(sending, "MOST_SPANS", 512)
    monkeypatch.setattr(sending, "MOST_BYTES", 10_000)
    for _ in range(6):
        with ws.tracer.span("large") as span:
            span.output("x" * 6_000)
    ws.traces.send(server.url)
    assert len(server.requests) == 4 + 3
    assert len(server.spans) == 41


def test_a_process_killed_in_the_middle_loses_nothing(own_home, collector):
    seen = threading.Event()

    def slowly(names):
        if len(server.spans) >= 100:
            seen.set()
            time.sleep(0.3)
        return 200

    server = collector(slowly)
    with lo.open() as ws:
        ids = work(ws, *(f"n{i}" for i in range(300)))
    code = (
        "import llmops_jupyter as lo\n"
        "from llmops_jupyter.tracing.otlp import sending\n"
        "sending.MOST_SPANS = 20\n"
        f"lo.open().traces.send({server.url!r})\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    assert seen.wait(60)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with lo.open() as ws:
        before = len(set(server.ids))
        assert before < 300
        ws.traces.send(server.url)
        assert set(server.ids) == set(ids)
        assert len(server.ids) - 300 <= 40, "no more than what was under way is sent twice"


def test_an_interrupt_keeps_the_place(ws, collector, monkeypatch):
    monkeypatch.setattr(sending, "MOST_SPANS", 5)
    server = collector()
    work(ws, *(f"n{i}" for i in range(20)))

    def interrupt(count):
        if count >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ws.traces.send(server.url, progress=interrupt)
    assert ws.traces.endpoints()[0].waiting == 10
    assert ws.traces.send(server.url).spans == 10
    assert len(set(server.ids)) == len(server.ids) == 20


def test_ids_that_are_given_again_after_pruning_are_sent(ws, collector):
    server = collector()
    work(ws, *(f"old{i}" for i in range(10)))
    ws.traces.send(server.url)
    slow = ws.tracer.span("slow").begin()
    ws.traces.send(server.url)
    slow.finish()
    ws.traces.prune(older_than="0s")
    assert ws.store.rows("SELECT count(*) FROM spans")[0][0] == 0
    assert ws.traces.endpoints()[0].open == 0
    work(ws, "new")
    ws.traces.send(server.url)
    assert server.names[-1] == "new"


def test_ids_of_a_callers_own_form_are_hashed_to_the_same_each_time(ws, collector):
    server = collector()
    with ws.tracer.span("a", trace_id="order 17"):
        pass
    ws.traces.send(server.url)
    ws.traces.send(server.url, since="all")
    first, again = server.spans
    assert first.trace_id == again.trace_id
    assert attributes(first)["llmops.trace_id"] == "order 17"


def test_odd_values_do_not_keep_a_span_from_going(ws, collector):
    server = collector()
    with ws.tracer.span("odd \ud800") as span:
        for name, value in {
            "big": 2**90,
            "nan": float("nan"),
            "mixed": [1, "a", None],
            "empty": [],
            "surrogate": "\udfff",
            "deep": [[[[1]]]],
            "none": None,
        }.items():
            span.set(name, value)
    ws.traces.send(server.url)
    facts = attributes(server.spans[0])
    assert {"big", "nan", "mixed", "deep", "surrogate"} <= set(facts)
    assert "none" not in facts


def test_what_nothing_can_be_made_of_is_kept_apart(ws, collector):
    server = collector()
    work(ws, "a", "b")
    ws.traces.score(ws.traces.last().trace_id, "thumb", "up")
    with ws.store.write() as conn:
        conn.execute("UPDATE scores SET at = 'yesterday'")
    sent = ws.traces.send(server.url)
    assert (sent.spans, sent.refused) == (2, 1)
    assert "could not be encoded" in ws.traces.endpoints()[0].reasons[0][0]
