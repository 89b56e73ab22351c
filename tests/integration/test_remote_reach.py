"""Servers that cannot be reached as the address says, and pieces that are not as they should be."""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager

import pytest
from remote_calls import only
from remote_fakes import Server, piece

from llmops_jupyter.errors import EngineError

pytestmark = pytest.mark.usefixtures("impatient")


@contextmanager
def web_server(context=None):
    """The port of a server of files, which speaks TLS if there is a context."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Silent)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def own_certificate(tmp_path):
    """A TLS context with a certificate that nobody else trusts."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_a_host_that_does_not_exist_is_told_at_once(opened, monkeypatch):
    def unknown(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    engine = opened("http://no-such-host.invalid/v1")
    end = only(engine)
    assert isinstance(end.error, EngineError)
    assert "There is no host 'no-such-host.invalid'" in str(end.error)
    assert "Correct the address" in str(end.error)
    assert engine.status()["retries"] == 0


def test_a_look_up_that_failed_for_the_moment_is_tried_again(opened, monkeypatch):
    def busy(*_args, **_options):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", busy)
    end = only(opened("http://some-host.invalid/v1"))
    assert "Check the address, the network and the proxy" in str(end.error)
    assert "tried 2 times" in str(end.error)


def test_a_server_without_tls_is_told(opened):
    with web_server() as port:
        engine = opened(f"https://127.0.0.1:{port}/v1")
        end = only(engine)
    assert isinstance(end.error, EngineError)
    assert "does not speak TLS" in str(end.error)
    assert "http://" in str(end.error)
    assert engine.status()["retries"] == 0


def test_a_certificate_that_is_not_trusted_is_told(opened, own_certificate):
    with web_server(own_certificate) as port:
        end = only(opened(f"https://localhost:{port}/v1"))
    assert isinstance(end.error, EngineError)
    assert "certificate of localhost is not trusted" in str(end.error)
    assert "SSL_CERT_FILE" in str(end.error)


def test_certificates_that_a_variable_names_are_trusted(
    opened,
    own_certificate,
    tmp_path,
    monkeypatch,
):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with web_server(own_certificate) as port:
        end = only(opened(f"https://localhost:{port}/v1"))
    # This server knows no calls, but it was heard.
    assert "answered 501" in str(end.error)


def test_a_server_with_tls_that_is_asked_without_is_told(opened, own_certificate):
    with web_server(own_certificate) as port:
        end = only(opened(f"http://127.0.0.1:{port}/v1", tries=2))
    assert isinstance(end.error, EngineError)
    assert "broke the connection off" in str(end.error)


def test_a_refusal_without_words_says_where_to_look(opened):
    async def answer(asked, out):
        await out.reply("<html>bad</html>", 400, kind="text/html")

    with Server(answer) as server:
        end = only(opened(server))
    assert "Check the address" in str(end.error)


def test_a_server_that_was_met_is_waited_for_longer(opened):
    async def answer(asked, out):
        await out.tell("fine")

    with Server(answer) as server:
        engine = opened(server, tries=4)
        assert only(engine).text == "fine"
    end = only(engine)
    assert "tried 4 times" in str(end.error)


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_line_ends_of_unicode_end_no_piece(opened, mark):
    async def answer(asked, out):
        await out.head()
        text = f'{{"choices":[{{"index":0,"delta":{{"content":"a{mark}b"}}}}]}}'
        if mark < " ":
            text = text.replace(mark, f"\\u{ord(mark):04x}")
        await out.raw(f"data: {text}\n\n".encode())
        await out.end()

    with Server(answer) as server:
        assert only(opened(server)).text == f"a{mark}b"


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": [{"index": 0, "delta": "text"}]},
        {"choices": [{"index": 0, "delta": {"content": 5}}]},
        {"choices": [{"index": 0, "delta": ["x"]}]},
        {"choices": [None]},
        {"choices": {"0": {}}},
        {"choices": [{"delta": {"tool_calls": [{"function": "f"}]}}]},
        {"choices": [{"delta": {"tool_calls": {"a": 1}}}]},
        {"choices": [{"delta": {}, "logprobs": {"content": [{"token": None, "logprob": "x"}]}}]},
        {"choices": [], "usage": {"prompt_tokens": "many", "completion_tokens": 2}},
        {"choices": [], "usage": {"prompt_tokens": 3, "prompt_tokens_details": [1]}},
    ],
    ids=repr,
)
def test_odd_pieces_between_good_ones_end_in_the_text_or_a_clear_error(opened, odd):
    async def answer(asked, out):
        await out.head()
        await out.say("one ")
        await out.event(odd)
        await out.event(piece("stop", content="two"))
        await out.event("[DONE]")

    with Server(answer) as server:
        end = only(opened(server, tries=2))
    if end.error is None:
        assert end.text == "one two"
    else:
        assert isinstance(end.error, EngineError)
        assert end.text.startswith("one")
        assert "of another form than an answer" in str(end.error)
