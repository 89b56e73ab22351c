"""The client's end of a connection: answers find the call that they belong to, whatever thread waits.

A daemon thread reads. A thread that waits does so on a queue of its own, so an interrupt is served at
once, and what arrives for a call that was given up is dropped.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.owner import CLOSED
from llmops_jupyter.engine.worker import wire
from llmops_jupyter.engine.worker.folder import WINDOWS
from llmops_jupyter.engine.worker.link import BROKEN, Link
from llmops_jupyter.errors import EngineError, LLMOpsError

if TYPE_CHECKING:
    from llmops_jupyter.engine.worker.link import Connection

FORKED = "An engine cannot be used after a fork. Open the workspace in the new process."
# Windows serves an interrupt only between two waits.
STEP_S = 0.1

Message = dict[str, Any]
_LOST: Message = {"lost": True}
_GIVEN_UP: Message = {"given up": True}


class Channel:
    """Many calls over one link.

    Args:
        conn: past its authentication, with the hello sent.
        explain: called once when the worker has gone; gives the sentence for the calls that are open.
    """

    def __init__(self, conn: Connection, explain: Callable[[], str]) -> None:
        self._link = Link(conn, "llmops-client")
        self._explain = explain
        self._pid = os.getpid()
        self._numbers = itertools.count(1)
        self._calls: dict[int, queue.SimpleQueue[Message]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._error: LLMOpsError | None = None
        # What concerns no call: whether we are let in, how the load ended.
        self.control: queue.SimpleQueue[Message] = queue.SimpleQueue()
        _open.add(self)
        threading.Thread(target=self._read, name="llmops-client-read", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._error is None and not self._closed and os.getpid() == self._pid

    @property
    def lost(self) -> bool:
        """Whether the worker has gone of itself."""
        return self._error is not None and not self._closed and os.getpid() == self._pid

    @property
    def error(self) -> LLMOpsError:
        """Why nothing can be asked any more; a fresh copy each time, as tracebacks stick to them."""
        if self._error is None or self._closed:
            return EngineError(CLOSED)
        return type(self._error)(str(self._error))

    def check(self) -> None:
        """Raise the EngineError that says why nothing can be asked, if so."""
        if os.getpid() != self._pid:
            raise EngineError(FORKED)
        if not self.alive:
            raise self.error

    def call(self, method: str, args: Message) -> Any:
        """Ask and wait for the result; an interrupt leaves the worker to finish for nobody.

        Raises:
            LLMOpsError: what the worker's engine raised, or that the worker has gone.
        """
        call = self.open(method, args)
        try:
            return call.result()
        finally:
            call.close()

    def open(self, method: str, args: Message) -> Call:
        """Begin a call."""
        self.check()
        inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        with self._lock:
            number = next(self._numbers)
            self._calls[number] = inbox
            lost = self._error is not None
        call = Call(self, number, inbox)
        if lost:
            inbox.put(_LOST)
        try:
            self.send({"op": "call", "id": number, "method": method, "args": args})
        except BaseException:
            self.forget(number)
            raise
        return call

    def send(self, message: Message) -> None:
        self._link.put(message)

    def forget(self, number: int) -> None:
        """Drop what still comes for a call."""
        with self._lock:
            self._calls.pop(number, None)

    def close(self) -> None:
        """Give the lease back; the worker cancels what runs for it."""
        if self._closed:
            return
        self._closed = True
        _open.discard(self)
        if os.getpid() != self._pid:
            return
        if self._error is None:
            self.send({"op": "bye"})
            self._link.hang_up()

    def hang_up(self) -> None:
        """The worker is known to be gone, whoever else may still hold its end of the connection."""
        self._link.hang_up()

    def drop_after_fork(self) -> None:
        """Without this, a child that outlives its parent would keep the parent's lease."""
        self._link.drop()

    def _read(self) -> None:
        try:
            while True:
                for message in self._link.receive():
                    self._route(message)
        except BROKEN:
            pass
        error = EngineError(CLOSED if self._closed else self._explain())
        with self._lock:
            self._error = error
            waiting = list(self._calls.values())
        for inbox in (*waiting, self.control):
            inbox.put(_LOST)
        self._link.finish()

    def _route(self, message: Message) -> None:
        number = message.get("id")
        if number is None:
            self.control.put(message)
            return
        with self._lock:
            inbox = self._calls.get(wire.whole(number, "id"))
        if inbox is not None:
            inbox.put(message)


class Call:
    """A call that runs in the worker."""

    def __init__(self, channel: Channel, number: int, inbox: queue.SimpleQueue[Message]) -> None:
        self.channel = channel
        self.number = number
        self._inbox = inbox
        self._ended = False
        self.given_up = False

    def receive(self) -> Message | None:
        """The next message; None once the worker has gone, or the call was given up. Waits as long as it takes."""
        message = wait(self._inbox)
        if message is _LOST or message is _GIVEN_UP:
            self._ended = message is _LOST
            return None
        self._ended = "result" in message or "done" in message or "error" in message
        return message

    def result(self) -> Any:
        """The result; raises the error that came instead."""
        message = self.receive()
        if message is None:
            raise self.channel.error
        if "error" in message:
            raise wire.read_error(message["error"])
        return message["result"]

    def send(self, op: str, **more: Any) -> None:
        """Tell the worker something about this call."""
        self.channel.send({"op": op, "id": self.number, **more})

    def give_up(self) -> None:
        """Have whoever waits for the next message go on at once; from any thread. `close` is still theirs to call."""
        self.given_up = True
        self._inbox.put(_GIVEN_UP)

    def close(self) -> None:
        """Cancel it, if it has not ended."""
        self.channel.forget(self.number)
        if not self._ended and self.channel.alive:
            self.send("cancel")


def wait(inbox: queue.SimpleQueue[Message], timeout: float | None = None) -> Message:
    """The next message of a queue, in a way that an interrupt ends; queue.Empty after `timeout`."""
    if not WINDOWS or timeout is not None:
        return inbox.get(timeout=timeout)
    while True:
        with contextlib.suppress(queue.Empty):
            return inbox.get(timeout=STEP_S)


_open: weakref.WeakSet[Channel] = weakref.WeakSet()


def _after_fork() -> None:
    for channel in list(_open):
        channel.drop_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
