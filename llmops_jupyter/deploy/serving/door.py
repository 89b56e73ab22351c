"""What every request passes: its id, its key, and its line in the log."""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime, timezone
from typing import Any, TextIO

from llmops_jupyter.deploy.serving.faults import INVALID, REQUEST, Refusal, refusal_of
from llmops_jupyter.deploy.serving.service import Service

OPEN = ("/health", "/ready", "/metrics")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SHOWN = re.compile(r"[^\x20-\x7e]")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Door:
    """The outermost layer of the application.

    Args:
        app: the endpoints.
        service: what they share.
        log: gets a line of JSON for each request, without content; None for standard error.
    """

    def __init__(self, app: Any, service: Service, log: TextIO | None = None) -> None:
        self._app, self._service = app, service
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, headers = time.perf_counter(), _headers(scope)
        given = headers.get("x-request-id", "")
        entry: dict[str, Any] = {"id": given if _ID.fullmatch(given) else secrets.token_hex(12)}
        scope["llmops"] = entry
        REQUEST.set(entry["id"])
        entry["begun"] = False

        async def told(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                entry["begun"], entry["status"] = True, message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", entry["id"].encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            try:
                self._check(scope, headers, entry)
                await self._app(scope, receive, told)
            except Exception as e:
                found = refusal_of(e)
                if entry["begun"]:
                    raise
                self.note(entry, found)
                await _send(found, told)
        finally:
            self._write(scope, entry, time.perf_counter() - began)

    def note(self, entry: dict[str, Any], refusal: Refusal) -> None:
        """Have the log and the figures say that a request was refused."""
        entry["error"] = refusal.code or refusal.kind
        self._service.metrics.refused(refusal.status, refusal.code)

    def _check(self, scope: Scope, headers: dict[str, str], entry: dict[str, Any]) -> None:
        hosts = self._service.hosts
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if hosts and host.strip("[]").rstrip(".").lower() not in hosts:
            raise Refusal(
                421, "This server answers without a key, and only to its own name.", INVALID, "host"
            )
        if scope["path"] in OPEN:
            return
        key = self._service.key_of(headers.get("authorization"))
        if key is not None:
            entry["key"] = key.id
            limit = key.per_minute or self._service.limits.per_minute
            self._service.rates.take(key.id, limit)
        else:
            self._service.rates.take("", self._service.limits.per_minute)

    def _write(self, scope: Scope, entry: dict[str, Any], seconds: float) -> None:
        client = scope.get("client") or ("",)
        line = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "request": entry.pop("id"),
            "client": client[0],
            "method": scope["method"],
            "path": _SHOWN.sub("?", scope["path"])[:200],
            "seconds": round(seconds, 4),
            **{k: v for k, v in entry.items() if k != "begun"},
        }
        try:
            print(json.dumps(line), file=self._log or sys.stderr, flush=True)
        except (OSError, ValueError):
            return  # the log is full or closed, and requests go on


def _headers(scope: Scope) -> dict[str, str]:
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}


async def _send(refusal: Refusal, send: Send) -> None:
    from starlette.responses import JSONResponse

    response = JSONResponse(refusal.as_dict(), refusal.status, refusal.headers)

    async def nothing() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    await response({"type": "http"}, nothing, send)
