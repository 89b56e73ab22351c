"""One connection to a worker, seen from the worker: while it lasts, its calls run."""

from __future__ import annotations

import contextlib
import threading
import time
from multiprocessing import AuthenticationError
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.worker import calls, wire
from llmops_jupyter.engine.worker.calls import METHODS, Generation
from llmops_jupyter.engine.worker.link import (
    BROKEN,
    PROTOCOL,
    Link,
    authenticate_client,
    hang_up,
    limited,
)
from llmops_jupyter.engine.worker.spec import VERSION
from llmops_jupyter.engine.worker.wire import WireError
from llmops_jupyter.errors import EngineError

if TYPE_CHECKING:
    from llmops_jupyter.engine.worker.link import Connection
    from llmops_jupyter.engine.worker.server import Server

MOST_CALLS = 256


class Lease:
    """Serves one client. One that only looks does not keep the worker alive."""

    def __init__(self, server: Server, conn: Connection) -> None:
        self.server = server
        self.user: dict[str, Any] = {}
        self._conn = conn
        self._looks = False
        self._calls: dict[int, Generation | None] = {}
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Until the client hangs up or says something that cannot be understood."""
        try:
            with limited(self._conn):
                self._let_in()
            self._link = Link(self._conn, "llmops-lease")
        except (*BROKEN, AuthenticationError, AssertionError):
            hang_up(self._conn)
            self._conn.close()
            self.server.left(self)
            return
        try:
            self._welcome()
            while True:
                for message in self._link.receive():
                    self._take(message)
        except BROKEN:
            pass
        finally:
            for generation in list(self._calls.values()):
                if generation is not None:
                    generation.cancel()
            self._link.finish()
            self.server.left(self)

    def post(self, message: dict[str, Any]) -> None:
        """Send the client a message."""
        self._link.put(message)

    def _let_in(self) -> None:
        """Authenticate the client and hear who it is; a client with other settings is turned away."""
        if self.server.authkey is not None:
            authenticate_client(self._conn, self.server.authkey)
        hello = wire.mapping(wire.decode(self._conn.recv_bytes(wire.MAX_MESSAGE)), "hello")
        self._looks = hello.get("looks") is True
        same = hello.get("protocol") == PROTOCOL and hello.get("version") == VERSION
        if not same or not (self._looks or hello.get("key") == self.server.key):
            self._conn.send_bytes(wire.encode([{"refused": f"it is of version {VERSION}"}]))
            raise WireError("another version or other settings")
        self.user = {
            "pid": wire.whole(hello.get("pid"), "pid"),
            "name": wire.text(hello.get("name"), "name"),
            "since": time.time(),
        }

    def _welcome(self) -> None:
        # The client counts as soon as it reads this.
        if not self._looks:
            self.server.joined(self)
        self.post({"welcome": PROTOCOL, **self.server.facts()})
        if not self._looks:
            self.server.tell_loaded(self)

    def _take(self, message: dict[str, Any]) -> None:
        op = message.get("op")
        if op == "bye":
            raise EOFError
        if op == "release":
            self.post({"released": self.server.release()})
            return
        call = wire.whole(message.get("id"), "id")
        if op == "call":
            method = wire.text(message.get("method"), "method")
            self._begin(call, method, wire.mapping(message.get("args", {}), "args"))
            return
        generation = self._calls.get(call)
        if generation is None:
            return  # It has ended in the meantime, or cannot be cancelled.
        if op == "request":
            generation.feed(wire.mapping(message.get("request"), "request"))
        elif op == "end":
            generation.end()
        elif op == "cancel":
            generation.cancel()
        else:
            raise WireError("unknown message")

    def _begin(self, call: int, method: str, args: dict[str, Any]) -> None:
        if method == "status":
            self.post({"id": call, "result": self.server.status()})
            return
        if self._looks or (method not in METHODS and method != "generate"):
            raise WireError("unknown method")
        engine = self.server.engine
        if engine is None:
            error = EngineError("The model is still being loaded. Try again in a moment.")
            self.post({"id": call, "error": wire.error_value(error)})
            return
        if call in self._calls or len(self._calls) >= MOST_CALLS:
            raise WireError("too many calls")
        generation = None
        if method == "generate":
            generation = Generation(engine, lambda message: self.post({"id": call, **message}))
        self._calls[call] = generation
        # Each call has a thread, as it has in a client that runs its engine itself.
        work = (call, method, args, generation)
        threading.Thread(target=self._run, args=work, name=f"llmops-{method}", daemon=True).start()

    def _run(
        self, call: int, method: str, args: dict[str, Any], generation: Generation | None
    ) -> None:
        engine = self.server.engine
        assert engine is not None
        try:
            if generation is not None:
                generation.run()
                self.post({"id": call, "done": True})
            else:
                self.post({"id": call, "result": calls.answer(engine, method, args)})
        except BaseException as e:  # noqa: BLE001 - the client gets it
            with contextlib.suppress(Exception):
                self.post({"id": call, "error": wire.error_value(e)})
        finally:
            self._calls.pop(call, None)
