"""What clients do wrong, and what goes wrong on the server's side: named errors, and the server lives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading

import httpx
import pytest
from serving_fakes import Writer, deployment, served

from llmops_jupyter.deploy.serving import interface
from llmops_jupyter.deploy.serving.keys import Keys
from llmops_jupyter.deploy.serving.limits import Limits
from llmops_jupyter.deploy.serving.serving import _hosts
from llmops_jupyter.errors import DeployError, OptionError, StoreFullError

ASKED = {"model": "support", "messages": [{"role": "user", "content": "day"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    with deployment(tmp_path_factory.mktemp("served") / "home") as found:
        yield found


@pytest.fixture(scope="module")
def service(ws):
    with served(ws) as found:
        yield found


def answers(service):
    return httpx.post(f"{service.url}{CHAT}", json=ASKED).status_code == 200


def chat(**more):
    return {**ASKED, **more}


def nested(levels):
    schema = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "maxLength": 1_000_000},
        {"type": "array", "minItems": 1e9},
        {"type": "string", "pattern": "^((a{1000}){1000}){1000}$"},
        {"type": "string", "pattern": "a" * 501},
        {"type": "string", "pattern": "a{99999999999999999999}"},
        {"enum": [str(n) for n in range(3_000)]},
        nested(150),
    ],
)
def test_schemas_of_which_no_grammar_can_be_made_without_harm_are_refused(service, schema):
    shaped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    for body in (chat(response_format=shaped), chat(tools=[tool])):
        answer = httpx.post(f"{service.url}{CHAT}", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_schema"


@pytest.mark.parametrize(
    ("body", "status", "param", "said"),
    [
        (b"{", 400, None, "not JSON"),
        (b"[1]", 400, None, "object"),
        (b"\xff\xfe", 400, None, "UTF-8"),
        (b'{"model": "support", "messages": NaN}', 400, None, "no number"),
        (b"[" * 100_000, 400, None, "not JSON"),
        (
            b'{"model": "support", "messages": [{"role": "user", "content": "\\ud800"}]}',
            400,
            None,
            "surrogate",
        ),
        ({"messages": []}, 400, "model", "required"),
        (chat(messages=[]), 400, "messages", "empty"),
        (chat(messages="x"), 400, "messages", "array"),
        (chat(messages=[{"role": "king", "content": "x"}]), 400, "messages[0].role", "king"),
        (chat(messages=[{"role": "user"}]), 400, "messages[0].content", "content"),
        (
            chat(messages=[{"role": "tool", "tool_call_id": "x", "content": "y"}]),
            400,
            "messages[0].tool_call_id",
            "follows",
        ),
        (
            chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
            400,
            "messages[0].content",
            "no images",
        ),
        (chat(temperature=9), 400, "temperature", "maximum"),
        (chat(max_tokens=0), 400, "max_tokens", "minimum"),
        (chat(tempeature=1), 400, "tempeature", "Did you mean 'temperature'"),
        (chat(variables={"x": 1}), 400, "variables.x", "no variable"),
        (chat(variables={}), 400, None, "q"),
        (chat(stream_options={}), 400, "stream_options", "stream"),
        (chat(top_logprobs=2), 400, "top_logprobs", "logprobs"),
        (chat(tool_choice="required"), 400, "tool_choice", "tools"),
        (
            chat(response_format={"type": "json_schema"}),
            400,
            "response_format.json_schema",
            "json_schema",
        ),
        (
            chat(response_format={"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}),
            400,
            "response_format.json_schema.schema",
            "valid",
        ),
        (chat(n=99), 400, "n", "maximum"),
        (chat(model="gpt-9"), 404, "model", "no model"),
    ],
)
def test_what_cannot_be_used_gets_an_error_that_names_it(service, body, status, param, said):
    content = body if isinstance(body, bytes) else json.dumps(body)
    answer = httpx.post(
        f"{service.url}{CHAT}", content=content, headers={"Content-Type": "application/json"}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert error["type"] in ("invalid_request_error", "not_found_error")
    assert said in error["message"]


def test_unknown_paths_and_methods_get_error_objects(service):
    for method, path, status in (("GET", "/v2", 404), ("GET", CHAT, 405), ("POST", CHAT, 415)):
        answer = httpx.request(method, service.url + path)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


def test_a_body_of_100_megabytes_is_refused_and_not_kept(service):
    def parts():
        for _ in range(100):
            yield b" " * (1 << 20)

    for headers in ({}, {"Content-Length": str(100 << 20)}):
        answer = httpx.post(
            f"{service.url}{CHAT}",
            content=parts(),
            headers={"Content-Type": "application/json", **headers},
            timeout=60,
        )
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"
    assert answers(service)


def test_bytes_that_are_no_http_and_headers_without_end_leave_the_server_alone(service):
    for content in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000):
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as raw:
            try:
                raw.sendall(content)
                assert b" 400 " in raw.recv(4096)
            except ConnectionError:
                pass  # closed while it was still being sent
    assert answers(service)


def test_a_connection_without_a_request_is_closed(ws):
    with served(ws, limits=Limits(header_s=0.2, notice_s=0)) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as raw:
            raw.sendall(b"POST /v1")
            assert raw.recv(10) == b""
        assert answers(service)


def test_a_body_that_does_not_come_is_told_so(ws):
    with served(ws, limits=Limits(body_s=0.2, notice_s=0)) as service:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as raw:
            raw.sendall(head.encode())
            assert b" 408 " in raw.recv(4096)


def test_a_body_that_comes_drop_by_drop_has_the_same_time(ws):
    with served(ws, limits=Limits(body_s=0.6, notice_s=0)) as service:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as raw:
            raw.sendall(head.encode())
            raw.settimeout(0.1)
            said = b""
            for _ in range(100):
                raw.sendall(b" ")
                with contextlib.suppress(TimeoutError):
                    said = raw.recv(4096)
                if said:
                    break
        assert b" 408 " in said


def test_a_connection_whose_next_request_does_not_come_whole_is_closed(ws):
    with served(ws, limits=Limits(header_s=0.2, keep_alive_s=0.2, notice_s=0)) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as raw:
            raw.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            said = b""
            while not said.endswith(b'{"status":"ok"}'):
                said += raw.recv(4096)
            raw.sendall(b"POST /v1")
            assert raw.recv(10) == b""
        assert answers(service)


def test_a_connection_that_is_used_again_stays(ws):
    writer = Writer(lambda text: "a b c d", wait=0.2)
    with (
        served(ws, writer, limits=Limits(header_s=0.1, keep_alive_s=0.2, notice_s=0)) as service,
        httpx.Client() as client,
    ):
        for _ in range(2):
            answer = client.post(f"{service.url}{CHAT}", json=ASKED, timeout=30)
            assert answer.status_code == 200


def test_while_a_large_body_is_read_others_are_answered(ws, monkeypatch):
    reading, over, real = threading.Event(), threading.Event(), interface.read

    def slowly(name, content):
        reading.set()
        assert over.wait(30)
        return real(name, content)

    monkeypatch.setattr(interface, "read", slowly)
    with served(ws) as service:
        body = chat(messages=[{"role": "user", "content": "x" * 100_000}])
        found = []
        thread = threading.Thread(
            target=lambda: found.append(httpx.post(f"{service.url}{CHAT}", json=body, timeout=60))
        )
        thread.start()
        try:
            assert reading.wait(30)
            assert httpx.get(f"{service.url}/health").status_code == 200
            assert httpx.get(f"{service.url}/ready").status_code == 200
        finally:
            over.set()
            thread.join()
    assert found[0].status_code == 200


def test_keys_are_asked_for_hashed_and_taken_back(ws, tmp_path):
    keys = Keys(tmp_path / "keys.json")
    key, text = keys.add("ann")
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    assert text not in (tmp_path / "keys.json").read_text()
    with served(ws, keys=keys) as service:
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": text}):
            answer = httpx.post(f"{service.url}{CHAT}", json=ASKED, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        headers = {"Authorization": f"Bearer {text}"}
        assert httpx.get(f"{service.url}/v1/models", headers=headers).status_code == 200
        assert httpx.get(f"{service.url}/health").status_code == 200
        Keys(tmp_path / "keys.json").revoke("ann")
        assert httpx.get(f"{service.url}/v1/models", headers=headers).status_code == 401
        assert key.id in service.log.getvalue()
        assert text not in service.log.getvalue()


def test_keys_that_others_can_read_are_not_trusted(tmp_path):
    keys = Keys(tmp_path / "keys.json")
    keys.add("ann")
    (tmp_path / "keys.json").chmod(0o644)
    with pytest.raises(DeployError, match="not trusted"):
        Keys(tmp_path / "keys.json").all()
    with pytest.raises(OptionError, match="no name"):
        Keys(tmp_path / "other.json").add("A b")


def test_a_key_has_its_requests_a_minute(ws, tmp_path):
    keys = Keys(tmp_path / "keys.json")
    _, text = keys.add("ann", per_minute=2)
    with served(ws, keys=keys) as service:
        headers = {"Authorization": f"Bearer {text}"}
        found = [httpx.get(f"{service.url}/v1/models", headers=headers) for _ in range(3)]
    assert [one.status_code for one in found] == [200, 200, 429]
    assert int(found[-1].headers["retry-after"]) >= 1


def test_without_keys_only_its_own_name_is_answered(ws):
    with served(ws) as service:
        service.hosts = _hosts("127.0.0.5")
        assert answers(service)
        for own in ("127.0.0.5", "LOCALHOST.:80", "[::1]:80"):
            answer = httpx.get(f"{service.url}/v1/models", headers={"Host": own})
            assert answer.status_code == 200
        answer = httpx.get(f"{service.url}/v1/models", headers={"Host": "evil.example:80"})
        assert answer.status_code == 421


def test_more_than_it_can_take_gets_status_429_and_when_to_come_again(ws):
    writer = Writer(wait=0.2)
    with served(ws, writer, limits=Limits(running=1, waiting=1, notice_s=0)) as service:

        async def many():
            async with httpx.AsyncClient(timeout=30) as client:
                return await asyncio.gather(
                    *(client.post(f"{service.url}{CHAT}", json=ASKED) for _ in range(6))
                )

        found = asyncio.run(many())
    assert sorted(one.status_code for one in found) == [200, 200, 429, 429, 429, 429]
    full = next(one for one in found if one.status_code == 429)
    assert full.json()["error"]["code"] == "server_busy"
    assert int(full.headers["retry-after"]) >= 1


def test_300_connections_at_once_are_all_answered(ws):
    with served(ws, limits=Limits(waiting=400, notice_s=0)) as service:

        async def many():
            limits = httpx.Limits(max_connections=300, max_keepalive_connections=300)
            async with httpx.AsyncClient(timeout=60, limits=limits) as client:
                return await asyncio.gather(
                    *(client.post(f"{service.url}{CHAT}", json=ASKED) for _ in range(300))
                )

        assert {one.status_code for one in asyncio.run(many())} == {200}


def test_an_error_that_nobody_foresaw_is_told_without_its_insides(service):
    service.engine.fault = RuntimeError("secret")
    try:
        answer = httpx.post(f"{service.url}{CHAT}", json=ASKED)
    finally:
        service.engine.fault = None
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answers(service)


@pytest.mark.filterwarnings("ignore::llmops_jupyter.tracing.spans.TraceNotSavedWarning")
def test_on_a_full_disk_answers_go_on_and_readiness_goes_down(ws, monkeypatch):
    with served(ws) as service:
        assert httpx.get(f"{service.url}/ready").status_code == 200

        def full(connection):
            raise StoreFullError("The disk is full. Make room.")

        with monkeypatch.context() as patched:
            patched.setattr(ws.store, "begin", full)
            assert answers(service)
            service._probed = (0.0, "")
            ready = httpx.get(f"{service.url}/ready")
            assert ready.status_code == 503
            assert "disk is full" in ready.json()["problems"][0]
        service._probed = (0.0, "")
        assert httpx.get(f"{service.url}/ready").status_code == 200
        assert service.traces.lost >= 1
