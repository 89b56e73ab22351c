"""Where traces go and what goes along: addresses, keys, content, redaction, names, scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from otlp_fakes import attributes, work

import llmops_jupyter as lo
from llmops_jupyter.errors import OptionError, PrivacyError, SendError, UnknownNameError
from llmops_jupyter.records import Message, Usage
from llmops_jupyter.tracing.otlp.endpoints import Endpoint

pytestmark = pytest.mark.usefixtures("soon")


def test_scores_go_as_events_of_the_conventions_also_when_they_come_later(ws, collector):
    server = collector()
    (root,) = work(ws, "a")
    ws.traces.send(server.url)
    trace_id = ws.traces.last().trace_id
    ws.traces.score(trace_id, "thumb", "down", explanation="wrong city")
    ws.traces.score(trace_id, "relevance", 0.25, source="judge", identifier="m")
    assert ws.traces.send(server.url).spans == 2
    thumb, relevance = server.spans[1:]
    assert thumb.name == "evaluation thumb"
    assert thumb.parent_span_id.hex() == root
    assert thumb.trace_id.hex() == trace_id
    (event,) = thumb.events
    assert event.name == "gen_ai.evaluation.result"
    facts = attributes(event)
    assert facts["gen_ai.evaluation.score.label"] == "down"
    assert facts["gen_ai.evaluation.explanation"] == "wrong city"
    assert attributes(relevance)["gen_ai.evaluation.score.value"] == 0.25
    ws.traces.send(server.url, since="all")
    assert server.ids.count(thumb.span_id.hex()) == 2, "a score has the same id each time"


def test_without_content_no_text_leaves(ws, collector):
    server = collector()
    with (
        pytest.raises(ValueError, match="s3cret"),
        ws.tracer.span(
            "chat m", op="chat", messages=(Message("user", "s3cret question"),), model="m"
        ) as span,
    ):
        span.output("s3cret answer")
        span.usage(Usage(3, 4))
        span.set("customer", "s3cret name")
        span.set("gen_ai.tool.call.arguments", {"q": "s3cret"})
        span.set("gen_ai.request.temperature", 0.1)
        span.event("seen", text="s3cret")
        raise ValueError("s3cret")
    ws.traces.score(span.trace_id, "thumb", "down", explanation="s3cret")
    ws.traces.send(server.url, content=False, openinference=True)
    assert b"s3cret" not in b"".join(r.SerializeToString() for r in server.requests)
    facts = attributes(server.spans[0])
    assert (facts["gen_ai.usage.output_tokens"], facts["error.type"]) == (4, "ValueError")
    assert facts["gen_ai.request.temperature"] == 0.1


def test_a_second_rule_redacts_what_leaves_and_not_what_is_kept(ws, collector):
    server = collector()
    with ws.tracer.span(
        "chat ann@example.org", messages=(Message("user", "I am ann@example.org"),)
    ) as span:
        span.output("Hello ann@example.org")
        span.set("who", {"mail": "ann@example.org"})
    ws.traces.score(span.trace_id, "thumb", "up", explanation="ann@example.org said so")
    ws.traces.send(server.url, redact="pii")
    assert b"ann@example.org" not in b"".join(r.SerializeToString() for r in server.requests)
    assert "ann@example.org" in ws.traces.last().text
    work(ws, "b@example.org")
    ws.traces.send(server.url)
    assert "b@example.org" not in server.names, "the rule holds until it is changed"


def test_a_function_that_redacts_is_asked_for_again(ws, collector):
    server = collector()
    work(ws, "a")
    ws.traces.send(server.url, redact=lambda text: text.replace("answer", "…"))
    work(ws, "b")
    with pytest.raises(SendError, match="Give it again"):
        ws.traces.send(server.url)
    ws.traces.send(server.url, redact="")
    assert "the answer of b" in attributes(server.spans[1])["gen_ai.output.messages"]
    with pytest.raises(PrivacyError):
        ws.traces.send(server.url, redact="nonsense")


def test_a_redacting_function_that_fails_lets_nothing_out(ws, collector):
    server = collector()
    work(ws, "a")
    with pytest.raises(PrivacyError, match="nothing was written"):
        ws.traces.send(server.url, redact=lambda _: 1 / 0)
    assert server.spans == []
    assert ws.traces.send(server.url, redact="").spans == 1


def test_openinference_names_go_beside_the_others_where_asked(ws, collector):
    server = collector()
    with ws.tracer.span("chat m", op="chat", messages=(Message("user", "hi"),), model="m") as span:
        span.output("hello")
        span.usage(Usage(1, 2))
    ws.traces.send(server.url, openinference=True)
    facts = attributes(server.spans[0])
    assert facts["openinference.span.kind"] == "LLM"
    assert facts["llm.input_messages.0.message.content"] == "hi"
    assert facts["llm.output_messages.0.message.role"] == "assistant"
    assert facts["llm.token_count.total"] == 3
    assert facts["gen_ai.request.model"] == "m"


def test_a_key_comes_from_the_environment_and_is_nowhere_kept(ws, collector, monkeypatch):
    server = collector()
    work(ws, "a")
    headers = {"Authorization": "Bearer PHOENIX_KEY", "X-Team": "TEAM"}
    with pytest.raises(SendError, match=r"PHOENIX_KEY.*is not set"):
        ws.traces.send(server.url, headers=headers)
    assert ws.traces.endpoints() == [], "nothing was written"
    monkeypatch.setenv("PHOENIX_KEY", "t0psecret")
    monkeypatch.setenv("TEAM", "blue")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-other=f0reign")
    ws.traces.send(server.url, headers=headers)
    got = {name.title(): value for name, value in server.headers[0].items()}
    assert (got["Authorization"], got["X-Team"]) == ("Bearer t0psecret", "blue")
    assert got["Content-Type"] == "application/x-protobuf"
    assert "f0reign" not in str(got)
    assert b"t0psecret" not in ws.path.read_bytes()
    assert "t0psecret" not in json.dumps([e.as_dict() for e in ws.traces.endpoints()])
    monkeypatch.setenv("PHOENIX_KEY", "line\nbreak")
    work(ws, "b")
    with pytest.raises(SendError, match="no header has"):
        ws.traces.send(server.url)


def test_a_key_that_an_endpoint_repeats_is_not_kept(ws, collector, monkeypatch):
    monkeypatch.setenv("PHOENIX_KEY", "t0psecret")
    server = collector((400, {}, b"cannot take Authorization: Bearer t0psecret"))
    work(ws, "a")
    ws.traces.send(server.url, headers={"Authorization": "Bearer PHOENIX_KEY"})
    (found,) = ws.traces.endpoints()
    assert found.reasons == (("it answered 400: cannot take Authorization: …", 1),)
    assert b"t0psecret" not in ws.path.read_bytes()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:4318",
        "ftp://host",
        "http://",
        "http://u:p@host",
        "http://h/?key=abc",
        "http://h:x/",
        3,
        "http://a b",
    ],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(OptionError, match="address"):
        Endpoint(url)


def test_addresses_of_one_endpoint_are_one(ws, collector, monkeypatch):
    assert Endpoint("http://LocalHost:4318/").url == "http://localhost:4318/v1/traces"
    assert Endpoint("https://h/api/otel/v1/traces").url == "https://h/api/otel/v1/traces"
    server = collector()
    work(ws, "a")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    assert ws.traces.send().spans == 1
    assert ws.traces.send(server.url + "/v1/traces").spans == 0
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    with pytest.raises(OptionError, match="Name the endpoint"):
        ws.traces.send()


@pytest.mark.parametrize(
    "settings",
    [
        {"headers": {"Authorization": "sk-abc123"}},
        {"headers": {"Bad Name": "KEY"}},
        {"headers": {"Content-Type": "KEY"}},
        {"headers": "KEY"},
        {"service": "two\nlines"},
    ],
)
def test_a_setting_that_cannot_be_is_refused_without_showing_a_key(ws, settings):
    with pytest.raises(OptionError) as caught:
        ws.traces.send("http://127.0.0.1:9", **settings)
    assert "sk-abc123" not in str(caught.value)
    assert ws.traces.endpoints() == []


def test_a_forgotten_endpoint_begins_anew(ws, collector):
    server = collector()
    work(ws, "a")
    ws.traces.send(server.url)
    ws.traces.forget_endpoint(server.url)
    with pytest.raises(UnknownNameError, match="Nothing was ever sent"):
        ws.traces.forget_endpoint(server.url)
    assert ws.traces.send(server.url).spans == 1


def test_importing_the_package_loads_no_opentelemetry():
    code = (
        "import sys, llmops_jupyter as lo\n"
        "ws = lo.open(':memory:')\n"
        "ws.traces.endpoints()\n"
        "assert not any(m.startswith(('opentelemetry.sdk', 'google.protobuf', 'requests')) for m in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False)
    assert ran.returncode == 0


def test_without_the_extra_the_install_line_is_said(ws, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(lo.LLMOpsError, match=r"llmops-jupyter\[otel\]"):
        ws.traces.send("http://127.0.0.1:9")
