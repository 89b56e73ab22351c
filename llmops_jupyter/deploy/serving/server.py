"""The server process: a socket, uvicorn over the application, and its end when it is asked to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from llmops_jupyter.deploy.serving.application import application
from llmops_jupyter.deploy.serving.faults import REQUEST
from llmops_jupyter.deploy.serving.service import Service

if TYPE_CHECKING:
    import uvicorn

LOG = logging.getLogger(__name__)
WATCH_S = 1.0
# The store, the worker, libraries, and what is opened for a moment.
OTHER_FILES = 512
# Beyond the time of the drain, for telling those that still wait that it is over.
SPARE_S = 5
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def make(service: Service, began: Callable[[], None], log: TextIO | None = None) -> uvicorn.Server:
    """A server that is not running yet; `began` is called once it accepts requests, `log` see `Door`."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    limits = service.limits

    class Protocol(H11Protocol):
        """Closes a connection on which no request comes, be it the first one or a later one."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._late = self.loop.call_later(limits.header_s, self._expected, None)

        def on_response_complete(self) -> None:
            last = self.cycle
            super().on_response_complete()  # where the next request may begin already
            self._late.cancel()
            seconds = limits.keep_alive_s + limits.header_s
            self._late = self.loop.call_later(seconds, self._expected, last)

        def _expected(self, last: Any) -> None:
            if self.cycle is last and not self.transport.is_closing():
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._late.cancel()
            super().connection_lost(exc)

    class Server(uvicorn.Server):
        """Ends in two steps: readiness goes down, then requests are accepted no more and those that run end."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self._loop = asyncio.get_running_loop()
            if self.started:
                began()

        def drain(self) -> None:
            """End; may be called from any thread, and once more to end at once."""
            if service.draining:
                self.force_exit = self.should_exit = True
                return
            service.draining = True
            LOG.warning("ending: running requests have %g s", limits.drain_s)
            loop = getattr(self, "_loop", None)
            if loop is None:
                self.should_exit = True
            else:
                loop.call_soon_threadsafe(loop.call_later, limits.notice_s, self._end)

        def _end(self) -> None:
            self.should_exit = True
            self._loop.call_later(limits.drain_s, service.cut.set)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {s: signal.signal(s, lambda *_: self.drain()) for s in SIGNALS}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        application(service, log),
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        limit_concurrency=limits.connections,
        h11_max_incomplete_event_size=limits.header_bytes,
        timeout_keep_alive=math.ceil(limits.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(limits.drain_s) + SPARE_S,
    )
    return Server(config)


def run(
    service: Service,
    sock: socket.socket,
    began: Callable[[], None],
    parent: tuple[int, float] | None = None,
) -> None:
    """Serve until SIGTERM or an interrupt, or until the process `parent` (id and when it was started) has ended."""
    server = make(service, began)
    if parent is not None:
        threading.Thread(target=_watch, args=(server, parent), daemon=True).start()
    try:
        server.run(sockets=[sock])
    finally:
        sock.close()
        service.close()


def have_files(connections: int) -> None:
    """Have this process be allowed so many connections beside its other files, as far as it may decide that itself."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        most = soft
    if most < wanted:
        LOG.warning(
            "this process may have %d files open, too few for %d connections; raise it with ulimit -n, or lower "
            "--max-connections",
            *(most, connections),
        )


def log_to_stderr() -> None:
    """Have what the server has to say stand in its log, as lines of JSON like those of requests."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    for name in ("llmops_jupyter", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").handlers = [handler]


class _Lines(logging.Formatter):
    """Lines of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        import json

        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if REQUEST.get():
            line["request"] = REQUEST.get()
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _watch(server: Any, parent: tuple[int, float]) -> None:
    """End the server when the process that wanted it has ended."""
    import time

    while is_running(*parent):
        time.sleep(WATCH_S)
    server.drain()


def is_running(pid: int, created: float) -> bool:
    """Whether a process is the one that was started then, and has not ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def own_mark() -> tuple[int, float]:
    """This process by its id and when it was started."""
    import psutil

    return os.getpid(), psutil.Process().create_time()


def default_store(name: str) -> Path:
    """Where the traces of a bundle are that belongs to no project."""
    from llmops_jupyter.deploy.serving.places import serving_folder

    return serving_folder() / name / "llmops.db"
