"""One connection between a client and a worker: messages out without waiting, messages in, the handshake.

A message is a JSON object. Whatever is waiting goes out together, as one array, so that a fast stream of
tokens costs few system calls. A thread of its own sends: who puts a message never waits for the other
side, and an interrupt cannot cut a message in two.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import sys
import threading
from collections.abc import Iterator
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.worker import wire
from llmops_jupyter.engine.worker.folder import WINDOWS
from llmops_jupyter.engine.worker.wire import MAX_MESSAGE, WireError

if TYPE_CHECKING:
    Connection = connection.Connection[Any, Any]

PROTOCOL = 2
# Bytes that are sent together, and messages that may wait for a reader who does not read.
TOGETHER = 1 << 16
MOST_WAITING = 100_000
HANDSHAKE_S = 10.0
BROKEN = (EOFError, OSError, WireError, ValueError, TypeError)


class Link:
    """A connection past its authentication."""

    def __init__(self, conn: Connection, name: str) -> None:
        self._conn = conn
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # Reentrant, since the collector may hang up a forgotten engine at any point.
        self._lock = threading.RLock()
        self._sender = threading.Thread(target=self._send, name=f"{name}-send", daemon=True)
        self._sender.start()

    def put(self, message: Any) -> None:
        """Send a message when it can be sent; one to a broken connection is dropped.

        Raises:
            OptionError: it has no JSON form, or is too long.
        """
        self._out.put(wire.encode(message))
        if self._out.qsize() > MOST_WAITING:
            self.hang_up()

    def receive(self) -> list[dict[str, Any]]:
        """The next messages; one of BROKEN when there are none any more or they cannot be read."""
        found = wire.decode(self._conn.recv_bytes(MAX_MESSAGE + 2))
        return [wire.mapping(message, "a message") for message in wire.sequence(found, "a frame")]

    def hang_up(self) -> None:
        """End the connection from any thread; whoever receives or sends on it wakes up."""
        with self._lock:
            hang_up(self._conn)

    def finish(self) -> None:
        """Release the connection; for the receiving thread, as its last act."""
        self.hang_up()
        self._out.put(None)
        # The sender must be through before the descriptor's number can mean something else.
        self._sender.join()
        # It may be closed already, by a fork's child or at the interpreter's end.
        with self._lock, contextlib.suppress(OSError):
            self._conn.close()

    def drop(self) -> None:
        """Close this process' copy after a fork, and leave the connection itself alone."""
        self._conn.close()

    def _send(self) -> None:
        while True:
            part = self._out.get()
            parts = []
            size = 0
            while part is not None:
                parts.append(part)
                size += len(part)
                if size >= TOGETHER:
                    break
                try:
                    part = self._out.get_nowait()
                except queue.Empty:
                    break
            try:
                if parts:
                    self._conn.send_bytes(b"[" + b",".join(parts) + b"]")
            except (OSError, ValueError):
                return  # The receiving thread notices too, and tells.
            if part is None:
                return


def hang_up(conn: Connection) -> None:
    """Shut a connection down for both sides; a mere close would not wake a thread that reads from it.

    A Windows pipe has no such call: there the other side closes, which is why clients say 'bye'.
    """
    if WINDOWS or conn.closed:
        return
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(conn.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def limited(conn: Connection, seconds: float = HANDSHAKE_S) -> Iterator[None]:
    """Hang up if the block is not done in time, so that a silent peer holds nobody up."""
    timer = threading.Timer(seconds, hang_up, (conn,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def authenticate_client(conn: Connection, key: bytes) -> None:
    """Let a client in that knows the key, and show it that we do; raises if it does not."""
    connection.deliver_challenge(conn, key)
    connection.answer_challenge(conn, key)


def authenticate_server(conn: Connection, key: bytes) -> None:
    """The client's half."""
    connection.answer_challenge(conn, key)
    connection.deliver_challenge(conn, key)


def dial(address: str) -> Connection:
    """Connect to a worker's address.

    Raises:
        ConnectionRefusedError, FileNotFoundError: nobody listens.
        OSError: it does not answer.
    """
    if sys.platform == "win32":
        return connection.Client(address, family="AF_PIPE")
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(HANDSHAKE_S)
        made.connect(address)
        made.setblocking(True)
        return connection.Connection(made.detach())
