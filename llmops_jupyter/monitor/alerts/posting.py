"""One POST to a webhook, of which only the status is read, and which is over after a while whatever the other side does."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from llmops_jupyter.errors import DataError
from llmops_jupyter.monitor.alerts.channels import Channel, check_address, host_of

CONNECT_S, WHOLE_S = 5.0, 10.0
AGAIN = (408, 425, 429, 500, 502, 503, 504)


def post(channel: Channel, body: Mapping[str, Any]) -> tuple[str, bool]:
    """Post a body as JSON once: what went wrong ('' if nothing), and whether another try may help.

    Redirects are not followed, since they would carry the secret elsewhere.
    """
    import httpx

    address, error = _address(channel)
    if error:
        return error, False
    headers = {"User-Agent": "llmops-jupyter", "Content-Type": "application/json"}
    if channel.secret_env:
        secret = os.environ.get(channel.secret_env)
        if not secret:
            return f"the variable {channel.secret_env} is not set, which holds the secret", False
        headers[channel.header] = secret
    content = json.dumps(body, ensure_ascii=False, default=str).encode("utf-8", "replace")
    try:
        with _Deadline(WHOLE_S) as deadline:
            status = _status(address, content, headers, deadline)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as e:
        # Its text may hold the address, and that a secret.
        why = f"not within {WHOLE_S:.0f} s" if deadline.passed else type(e).__name__
        return f"{host_of(address)} did not answer: {why}", True
    if 200 <= status < 300:
        return "", False
    return f"{host_of(address)} answered {status}", status in AGAIN


def _status(address: str, content: bytes, headers: Mapping[str, str], deadline: _Deadline) -> int:
    import httpx

    limits = httpx.Timeout(WHOLE_S, connect=CONNECT_S)
    with (
        httpx.Client(timeout=limits, follow_redirects=False) as client,
        client.stream(
            *("POST", address),
            content=content,
            headers=dict(headers),
            extensions={"trace": deadline.watch},
        ) as answer,
    ):
        return answer.status_code  # what else it says is not read


class _Deadline:
    """Ends a connection after so many seconds, however slowly the other side goes on sending."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the connection; httpx tells of each step of it."""
        del event
        found = getattr(info.get("return_value"), "get_extra_info", None)
        made = found("socket") if callable(found) else None
        if made is None:
            return
        with self._lock:
            self._socket = made
            passed = self.passed
        if passed:
            self._shut(made)

    def _end(self) -> None:
        with self._lock:
            self.passed, made = True, self._socket
        if made is not None:
            self._shut(made)

    @staticmethod
    def _shut(made: socket.socket) -> None:
        with suppress(OSError):
            # That of the plain socket: one with TLS would take itself apart while it is read from.
            socket.socket.shutdown(made, socket.SHUT_RDWR)

    def __enter__(self) -> _Deadline:
        with suppress(RuntimeError):  # the interpreter ends, and begins no threads any more
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _address(channel: Channel) -> tuple[str, str]:
    """The address of a webhook, or what is wrong with it."""
    if not channel.url_env:
        return channel.target, ""
    address = os.environ.get(channel.url_env, "")
    if not address:
        return "", f"the variable {channel.url_env} is not set, which holds the address"
    try:
        return check_address(address, f"The variable {channel.url_env}"), ""
    except DataError:
        return "", f"the variable {channel.url_env} holds no http:// or https:// address"
