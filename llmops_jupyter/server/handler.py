"""The base of all routes: who may ask, where the work is done, how errors are answered."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from http.client import responses
from types import TracebackType
from typing import Any

import tornado.web
from jupyter_server.base.handlers import APIHandler

from llmops_jupyter.server import faults
from llmops_jupyter.server.arguments import Field, read_body, read_query
from llmops_jupyter.server.faults import Fault
from llmops_jupyter.server.handles import Handle
from llmops_jupyter.server.service import Service
from llmops_jupyter.workspace import Workspace

UNTOLD = "Something went wrong in the server; its log says what."


class Handler(APIHandler):
    """One route.

    Each verb is marked with `tornado.web.authenticated` and `authorized`. An origin that may not ask and a missing
    XSRF token are turned away by `APIHandler` before a verb is called; ETags are made and compared by tornado.
    """

    auth_resource = "llmops"
    # A panel that is left open asks once a second, and must not keep a server from being culled.
    _track_activity = False

    def initialize(self, service: Service) -> None:
        """Called by tornado with what the route was made with."""
        self.service = service
        self._gone = False

    def set_default_headers(self) -> None:
        """Answers may be kept by the browser of whoever asked, who asks again each time whether they hold."""
        super().set_default_headers()
        self.set_header("Cache-Control", "private, no-cache")

    def on_connection_close(self) -> None:
        """Nobody waits any more."""
        self._gone = True
        super().on_connection_close()

    def query(self, **fields: Field) -> dict[str, Any]:
        """The arguments of the address, checked."""
        given = {
            name: [self.decode_argument(value, name) for value in values]
            for name, values in self.request.query_arguments.items()
        }
        return read_query(given, fields)

    def body(self, **fields: Field) -> dict[str, Any]:
        """The members of the body, checked."""
        return read_body(self.request.body, fields)

    async def answer(self, work: Callable[[], Any]) -> None:
        """Have a thread do the work and write what it returns, which are JSON values."""
        text = await self._waited(lambda: encoded(work()))
        if text is not None:
            self.finish(text)

    async def read(self, workspace: str, work: Callable[[Handle], Any]) -> None:
        """As `answer`, with a workspace that is open for reading."""

        def done() -> Any:
            with self.service.handles.reading(self.service.workspaces.get(workspace)) as handle:
                return work(handle)

        await self.answer(done)

    async def change(self, workspace: str, work: Callable[[Workspace], Any]) -> None:
        """As `answer`, with a workspace that is open for writing."""

        def done() -> Any:
            with self.service.handles.writing(self.service.workspaces.get(workspace)) as opened:
                return work(opened)

        await self.answer(done)

    async def _waited(self, work: Callable[[], bytes]) -> bytes | None:
        """What a thread returns; None if whoever asked has hung up."""
        task = asyncio.ensure_future(self.service.run(work))
        try:
            made = await task
        except asyncio.CancelledError:
            if not self._gone:
                raise
            return None
        return None if self._gone else made

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with the status that the error has."""
        fault = faults.known(_error(kwargs))
        super().send_error(status_code if fault is None else fault.status, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors are JSON, ``{"error": {"kind": …, "message": …}}``."""
        fault = self._fault(status_code, _error(kwargs))
        if status_code == 503:
            self.set_header("Retry-After", str(faults.RETRY_S))
        self.finish(encoded(fault.body()))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """What whoever asked can act on is no trouble of the server."""
        fault = faults.known(value)
        if fault is None:
            super().log_exception(typ, value, tb)
        elif fault.status >= 500:
            self.log.warning("llmops: %s: %s", fault.kind, fault.message)

    def _fault(self, status: int, error: BaseException | None) -> Fault:
        found = faults.known(error)
        if found is not None:
            return found
        if isinstance(error, tornado.web.HTTPError):
            said = error.log_message or error.reason or responses.get(status, "")
            return Fault(status, "HTTPError", _sentence(said))
        kind = "Error" if error is None else type(error).__name__
        return Fault(status, kind, UNTOLD if status >= 500 else responses.get(status, ""))


def _error(given: Mapping[str, Any]) -> BaseException | None:
    info = given.get("exc_info")
    return info[1] if info else None


def _sentence(text: str) -> str:
    """A message of tornado's, whose place holders nobody has filled."""
    return " ".join(text.replace("%s", "").replace("%r", "").split())


def encoded(value: Any) -> bytes:
    """JSON for a browser: numbers that are none become null, halves of characters question marks."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
