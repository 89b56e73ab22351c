"""Traces of other programs: every form of file, twice is once, pieces in any order, rubbish is said and skipped."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_records import (
    CHILD,
    CONVERSATION,
    GENAI,
    GRANDCHILD,
    NOW,
    ROOT,
    TRACE,
    one,
    proto,
    request,
    span,
)

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.records import Resources, Usage
from llmops_jupyter.tracing.otlp import files, imports


@pytest.mark.parametrize(
    "form", ["json", "lines", "document", "array", "proto", "prefixed", "gzip", "proto.gz"]
)
def test_every_form_of_file_is_read(ws, tmp_path, form):
    first, second = request(span(attributes=GENAI)), request(span("tool", CHILD, ROOT))
    path = tmp_path / f"traces.{form}"
    lines = f"{json.dumps(first)}\n\n{json.dumps(second)}\n".encode()
    both = proto(first) + proto(second)
    prefixed = b"".join(len(p).to_bytes(4, "big") + p for p in (proto(first), proto(second)))
    whole = {"resourceSpans": first["resourceSpans"] + second["resourceSpans"]}
    path.write_bytes(
        {
            "json": json.dumps(whole).encode(),
            "lines": lines,
            "document": json.dumps(whole, indent=2).encode(),
            "array": json.dumps([first, second], indent=1).encode(),
            "proto": both,
            "prefixed": prefixed,
            "gzip": gzip.compress(lines),
            "proto.gz": gzip.compress(both),
        }[form]
    )
    made = ws.traces.import_(path)
    assert (made.spans, made.traces, made.skipped) == (2, 1, 0)
    assert [s.name for s in ws.traces.get(TRACE).spans] == ["chat gpt-4o", "tool"]


def test_records_bytes_and_messages_are_read(ws):
    parsed = ExportTraceServiceRequest.FromString(proto(request(span("b", CHILD, ROOT))))
    made = ws.traces.import_(
        [request(span("a")), parsed, proto(request(span("c", GRANDCHILD, CHILD)))]
    )
    assert made.spans == 3
    assert ws.traces.import_(proto(request(span("a")))).known == 1
    with pytest.raises(DataError, match="not from int"):
        ws.traces.import_(3)


@pytest.mark.parametrize("form", ["document", "lines", "array", "gzip", "prefixed"])
def test_bytes_are_read_as_a_file_with_them_is(ws, form):
    first, second = request(span(attributes=GENAI)), request(span("tool", CHILD, ROOT))
    whole = {"resourceSpans": first["resourceSpans"] + second["resourceSpans"]}
    document = json.dumps(whole, indent=2).encode()
    data = {
        "document": document,
        "lines": f"{json.dumps(first)}\n{json.dumps(second)}\n".encode(),
        "array": json.dumps([first, second]).encode(),
        "gzip": gzip.compress(document),
        "prefixed": b"".join(len(p).to_bytes(4, "big") + p for p in map(proto, (first, second))),
    }[form]
    made = ws.traces.import_(data)
    assert (made.spans, made.skipped) == (2, 0)


def test_damaged_bytes_are_said(ws):
    data = gzip.compress(json.dumps(request(span())).encode() * 50)
    with pytest.raises(DataError, match="are damaged"):
        ws.traces.import_(data[: len(data) // 2])


def test_twice_is_once_and_what_is_there_is_left_alone(ws):
    record = request(span(attributes=GENAI), span("tool", CHILD, ROOT))
    assert ws.traces.import_(record).spans == 2
    again = ws.traces.import_(record)
    assert (again.spans, again.known) == (0, 2)
    changed = ws.traces.import_(request(span("another name")))
    assert (changed.known, ws.traces.get(TRACE).root.name) == (1, "chat gpt-4o")
    assert ws.store.rows("SELECT count(*) FROM spans")[0][0] == 2


def test_a_span_without_an_end_is_completed_by_a_later_one(ws):
    ws.traces.import_(request(span(endTimeUnixNano="0")))
    root = ws.traces.get(TRACE).root
    assert (root.status, root.error_type, root.end_ns) == ("interrupted", "NotEnded", None)
    assert ws.traces.import_(request(span(endTimeUnixNano="0"))).known == 1
    made = ws.traces.import_(request(span(attributes=GENAI)))
    assert (made.completed, made.spans) == (1, 0)
    root = ws.traces.get(TRACE).root
    assert (root.status, root.error_type, root.model) == ("ok", None, "gpt-4o")
    assert ws.traces.search("rains")[0].trace_id == TRACE
    assert ws.traces.import_(request(span(endTimeUnixNano="0"))).known == 1


def test_what_was_made_here_is_never_changed(ws):
    with ws.tracer.span("mine") as mine:
        mine.output("said here")
    theirs = span("forged", mine.span_id)
    theirs["traceId"] = mine.trace_id
    below = span("below", CHILD, mine.span_id)
    below["traceId"] = mine.trace_id
    made = ws.traces.import_(request(theirs, below))
    assert (made.spans, made.known) == (1, 1)
    trace = ws.traces.get(mine.trace_id)
    assert [(s.name, s.parent_id) for s in trace.spans] == [("mine", None), ("below", mine.span_id)]
    assert trace.text == "said here"


def test_pieces_of_a_trace_in_any_order_come_to_one_tree(ws):
    ws.traces.import_(request(span("leaf", GRANDCHILD, CHILD)))
    assert ws.traces.get(TRACE).root.name == "leaf"
    assert len(ws.traces.newest()) == 1
    ws.traces.import_(request(span("other", "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb")))
    assert len(ws.traces.newest()) == 1
    ws.traces.import_(request(span("middle", CHILD, ROOT)))
    ws.traces.import_(request(span("top", ROOT)))
    found = {s.name: s for s in ws.traces.get(TRACE).spans}
    assert found["top"].parent_id is None
    assert (found["middle"].parent_id, found["leaf"].parent_id) == (ROOT, CHILD)
    assert found["other"].parent_id == ROOT
    assert found["other"].attributes["llmops.import.parent"] == "bbbbbbbbbbbbbbbb"
    assert "llmops.import.parent" not in found["leaf"].attributes
    assert len(ws.traces.newest()) == 1


def test_spans_that_are_each_others_parents_make_a_tree_too(ws):
    ws.traces.import_(
        request(span("a", ROOT, CHILD), span("b", CHILD, GRANDCHILD), span("c", GRANDCHILD, ROOT))
    )
    trace = ws.traces.get(TRACE)
    assert sum(s.parent_id is None for s in trace.spans) == 1
    assert len(str(trace).splitlines()) == 4


def test_two_roots_of_one_trace_are_listed_once(ws):
    ws.traces.import_(request(span("a", ROOT), span("b", CHILD)))
    assert [t.name for t in ws.traces.newest()] == ["a"]


def test_what_export_wrote_comes_back_as_it_was(ws, tmp_path):
    with (
        ws.tracer.span("root", prompt_name="sky", prompt_version=2) as root,
        ws.tracer.span("chat m", op="chat", messages=CONVERSATION, model="m", seed=3) as chat,
    ):
        chat.output("It rains.")
        chat.usage(Usage(10, 3, 4))
        chat.cost(0.01)
        chat.set("nested", {"a": [1]})
    ws.traces.score(root.trace_id, "thumb", "up", explanation="right")
    path = tmp_path / "traces.jsonl"
    ws.traces.export(path)
    with lo.open(tmp_path / "other") as other:
        made = other.traces.import_(path)
        assert (made.spans, made.scores) == (2, 1)
        assert (other.traces.import_(path).known, other.traces.import_(path).scores) == (2, 0)
        before, after = ws.traces.get(root.trace_id), other.traces.get(root.trace_id)
        for mine, theirs in zip(before.spans, after.spans, strict=True):
            same = dict(vars(theirs))
            assert same.pop("attributes").pop("llmops.import.format") == "llmops"
            assert {**vars(mine), "attributes": None} == {**same, "attributes": None}
        assert after.scores == before.scores


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"traceId": "0" * 32}, "trace id"),
        ({"traceId": "abcd"}, "ExportTraceServiceRequest|trace id"),
        ({"spanId": ""}, "span id"),
        ({"startTimeUnixNano": "0"}, "before 1990"),
        ({"startTimeUnixNano": str(2**64 - 1)}, "after tomorrow"),
        ({"startTimeUnixNano": str(2**70)}, "ExportTraceServiceRequest"),
        ({"endTimeUnixNano": "1"}, "ended before it began"),
        ({"parentSpanId": ROOT}, "its own parent"),
        ({"attributes": [{"key": 3}]}, "ExportTraceServiceRequest"),
        ({"name": {"x": 1}}, "ExportTraceServiceRequest"),
    ],
)
def test_a_span_that_cannot_be_true_is_skipped_and_said(ws, tmp_path, change, why):
    path = tmp_path / "t.jsonl"
    bad = {**span(), **change}
    path.write_text(f"{json.dumps(request(bad))}\n{json.dumps(request(span('good', CHILD)))}\n")
    made = ws.traces.import_(path)
    assert (made.spans, made.skipped) == (1, 1)
    assert made.faults[0].where.startswith("line 1")
    assert re.search(why, made.faults[0].reason)
    with pytest.raises(DataError, match="line 1"):
        ws.traces.import_(path, strict=True)


def test_rubbish_between_records_is_said_with_its_line(ws, tmp_path):
    path = tmp_path / "t.jsonl"
    good = json.dumps(request(span()))
    deep = '{"resourceSpans": ' + "[" * 5_000 + "]" * 5_000 + "}"
    path.write_text(
        f'{good}\nnot json\n{{"a": 1}}\n[]\n3\n{deep}\n{{"resourceLogs": []}}\n{good[:80]}'
    )
    made = ws.traces.import_(path)
    assert made.spans == 1
    assert [f.where for f in made.faults] == ["line 2", "line 3", "line 5", "line 6", "line 8"]


def test_strict_writes_nothing_where_something_cannot_be_read(ws, tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(request(span())) + "\nnot json\n")
    with pytest.raises(DataError, match=r"nothing was imported.*line 2"):
        ws.traces.import_(path, strict=True)
    assert ws.traces.newest() == []
    path.write_text(json.dumps(request(span())) + "\n")
    assert ws.traces.import_(path, strict=True).spans == 1
    assert ws.traces.import_(iter([request(span("x", CHILD, ROOT))]), strict=True).spans == 1


@pytest.mark.parametrize(
    "data",
    [
        os.urandom(2000),
        b"\x1f\x8b rubbish",
        b"\x00\x00\x00\x05\x0a",
        b"\x0a\xff\xff\xff\xff\x0f\x01",
    ],
)
def test_bytes_that_are_nothing_are_said_and_write_nothing(ws, tmp_path, data):
    path = tmp_path / "rubbish"
    path.write_bytes(data)
    with suppress(DataError):
        assert ws.traces.import_(path).skipped >= 1
    assert ws.traces.newest() == []


def test_a_missing_or_empty_file_and_a_folder_are_said(ws, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        ws.traces.import_(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read"):
        ws.traces.import_(tmp_path)
    empty = tmp_path / "empty"
    empty.touch()
    assert ws.traces.import_(empty).spans == 0


def test_a_line_without_end_is_not_read_into_memory(ws, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_RECORD", 1000)
    path = tmp_path / "t.jsonl"
    small = json.dumps({"trace_id": TRACE, "spans": []})
    path.write_text(f"{small}\n{'x' * 5_000}\n{small}\n")
    made = ws.traces.import_(path)
    assert [f.where for f in made.faults] == ["line 2"]


def test_a_file_cut_off_in_a_message_keeps_those_before(ws, tmp_path):
    data = proto(request(span()))
    framed = len(data).to_bytes(4, "big") + data
    path = tmp_path / "t.bin"
    path.write_bytes(framed + framed[:50])
    made = ws.traces.import_(path)
    assert (made.spans, made.faults[0].where) == (1, "message 2")


def test_an_import_that_is_broken_off_goes_on_when_it_is_run_again(ws, monkeypatch):
    monkeypatch.setattr(imports, "MOST_SPANS", 10)
    spans = [span(f"n{i}", f"{i + 1:016x}", "" if i == 0 else f"{1:016x}") for i in range(50)]

    def interrupt(count):
        if count >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ws.traces.import_(request(*spans), progress=interrupt)
    made = ws.traces.import_(request(*spans))
    assert (made.known, made.spans) == (20, 30)
    assert len(ws.traces.get(TRACE).spans) == 50


def test_the_rule_of_redaction_holds_for_what_is_imported(ws):
    ws.redact("pii")
    given = {
        "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "I am ann@example.org"}]}]',
        "customer": "ann@example.org",
        "gen_ai.conversation.id": "ann@example.org",
    }
    one(
        ws,
        span(
            "for ann@example.org",
            attributes=given,
            status={"code": 2, "message": "ann@example.org"},
        ),
    )
    ws.store.close()
    assert b"ann@example.org" not in b"".join(
        p.read_bytes() for p in ws.path.parent.glob("llmops.db*")
    )


def test_traces_are_found_by_where_they_came_from(ws):
    with ws.tracer.span("mine"):
        pass
    ws.traces.import_(request(span()))
    assert [t.name for t in ws.traces.newest(source="here")] == ["mine"]
    assert [t.name for t in ws.traces.newest(source="imported")] == ["chat gpt-4o"]
    assert [t.name for t in ws.traces.newest(source="shop")] == ["chat gpt-4o"]
    assert ws.traces.newest(source="other") == []
    with pytest.raises(OptionError, match="source"):
        ws.traces.newest(origin="x")


def test_what_was_imported_is_not_sent_on(ws):
    from llmops_jupyter.tracing.otlp.sending import PLAIN_SPANS

    ws.traces.import_(request(span()))
    with ws.tracer.span("mine"):
        pass
    assert [row["name"] for row in ws.store.rows(PLAIN_SPANS)] == ["mine"]


def test_an_import_of_old_traces_does_not_hide_new_ones_from_the_monitor(ws):
    from llmops_jupyter.monitor.alerts.windows import first_id

    ids = []
    for i in range(3_000):
        with ws.tracer.span("mine"):
            pass
        if i == 1_400:
            since = time.time_ns()
        ids.append(ws.store.rows("SELECT max(id) FROM spans")[0][0])
        if i == 1_500:
            many = [
                span(f"n{k}", f"{k + 1:016x}", startTimeUnixNano=str(NOW - 10**15))
                for k in range(2_000)
            ]
            ws.traces.import_(request(*many))
    assert first_id(ws.store, since) <= ids[1_401]


def test_our_own_files_need_no_opentelemetry(ws, tmp_path, monkeypatch):
    with ws.tracer.span("a"):
        pass
    path = tmp_path / "t.jsonl"
    ws.traces.export(path)
    monkeypatch.setitem(
        sys.modules, "opentelemetry.proto.collector.trace.v1.trace_service_pb2", None
    )
    assert ws.traces.import_(path).known == 1
    with pytest.raises(lo.LLMOpsError, match=r"llmops-jupyter\[otel\]"):
        ws.traces.import_(request(span()))


@pytest.mark.parametrize("form", ["llmops", "otlp"])
def test_what_a_figure_stands_on_comes_along(ws, tmp_path, form, collector):
    taken = Resources(busy_s=2.0, energy_j=30.0, shared=True, energy_source="estimated")
    with ws.tracer.span("chat m", op="chat", model="m") as chat:
        chat.usage(Usage(10, 3))
        chat.resources(taken)
    if form == "llmops":
        source = tmp_path / "traces.jsonl"
        ws.traces.export(source)
    else:
        server = collector()
        ws.traces.send(server.url)
        source = server.requests[0]
    with lo.open(tmp_path / "other") as other:
        other.traces.import_(source)
        assert other.traces.get(chat.trace_id).root.resources == taken


def test_several_at_once_import_a_file_once(ws, tmp_path, monkeypatch):
    spans = [span(f"n{i}", f"{i + 1:016x}", "" if i == 0 else f"{1:016x}") for i in range(400)]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(request(s)) + "\n" for s in spans))
    code = (
        "import llmops_jupyter as lo\n"
        "from llmops_jupyter.tracing.otlp import imports\n"
        "imports.MOST_SPANS = 7\n"
        f"lo.open({str(ws.path)!r}).traces.import_({str(path)!r})\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    monkeypatch.setattr(imports, "MOST_SPANS", 7)
    threads = [threading.Thread(target=ws.traces.import_, args=(path,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait() for other in others] == [0, 0]
    assert len(ws.traces.get(TRACE).spans) == 400
    assert ws.store.rows("SELECT count(*), count(DISTINCT span_id) FROM spans")[0][:] == (400, 400)


def test_half_characters_and_times_that_are_none_do_no_harm(ws, tmp_path):
    root = one(ws, span("half \ud800", attributes={"a\udfff": "b\ud800"}))
    assert root.name == "half \\ud800"
    score = {"name": "a\ud800", "value": 1, "at": "2026-01-02T03:04:05Z", "source": "human"}
    record = {
        "trace_id": "ab" * 16,
        "spans": [{"span_id": "cd" * 8, "name": "x", "start_ns": NOW, "end_ns": NOW}],
        "scores": [score, {**score, "at": "yesterday"}, {**score, "value": None}, 3],
    }
    made = ws.traces.import_(record)
    assert (made.spans, made.scores) == (1, 1)
    assert ws.traces.scores("ab" * 16)[0].at == "2026-01-02T03:04:05.000+00:00"
