"""The worker's process: reachable first, then loading the model, then serving until nobody is left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing import connection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.engine.worker import wire
from llmops_jupyter.engine.worker.folder import WINDOWS, DoubtError, Place, lock
from llmops_jupyter.engine.worker.lease import Lease
from llmops_jupyter.engine.worker.spec import Spec

if TYPE_CHECKING:
    from llmops_jupyter.engine.worker.link import Connection

BACKLOG = 64
DEFAULT_ROWS = 8
# How long a worker whose model cannot be loaded waits for somebody to tell, and how long an engine may
# take to close.
FAILED_S = 10.0
CLOSE_S = 5.0
PARTING_S = 1.0
MOST_LOG = 1 << 20
TICK_S = 60.0


class Server:
    """A worker. `place` and `authkey` are those of a shared one; a private one has a connection."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.spec = Spec.read(config["spec"])
        self.key: str = config["key"]
        shared = config.get("shared")
        self.place = Place(Path(shared["folder"]), shared["name"]) if shared else None
        self.authkey = bytes.fromhex(shared["authkey"]) if shared else None
        self.idle_s: float = shared["idle_s"] if shared else 0.0
        self._handle: int | None = config.get("handle")
        self.engine: Engine | None = None
        self._failure: BaseException | None = None
        self._rows = DEFAULT_ROWS
        self._leases: list[Lease] = []
        self._changed = threading.Condition()
        self._began = self._idle_since = time.monotonic()
        self._hurry = self._told = self._parted = False
        self._leaving = threading.Lock()
        self._socket: tuple[int, int] | None = None

    def run(self) -> None:
        """Serve; never returns. An OSError says that the address cannot be bound."""
        if self.place is None:
            assert self._handle is not None
            lease = Lease(self, _adopt(self._handle))
            _say_ready()
            threading.Thread(target=lease.serve, daemon=True).start()
        else:
            listener = self._bind(self.place)
            _say_ready()
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        signal.signal(signal.SIGTERM, self._terminated)
        threading.Thread(target=self._load, name="llmops-load", daemon=True).start()
        self._watch()

    def _bind(self, place: Place) -> connection.Listener:
        family = "AF_PIPE" if WINDOWS else "AF_UNIX"
        # Without the key: each client is authenticated on its own thread, so that none holds up others.
        listener = connection.Listener(place.address, family, backlog=BACKLOG)
        if not WINDOWS:
            status = Path(place.address).stat()
            self._socket = (status.st_dev, status.st_ino)
        return listener

    def _accept(self, listener: connection.Listener) -> None:
        while True:
            try:
                conn = listener.accept()
            except OSError:
                time.sleep(0.1)  # For instance no descriptor is free; others may become so.
                continue
            threading.Thread(target=Lease(self, conn).serve, daemon=True).start()

    def _load(self) -> None:
        try:
            engine = self.spec.load()
            self._rows = _rows(engine)
        except BaseException as e:  # noqa: BLE001 - the clients get it
            self._failure = e
        with self._changed:
            if self._failure is None:
                self.engine = engine
            waiting = list(self._leases)
            self._changed.notify_all()
        for lease in waiting:
            self.tell_loaded(lease)

    def facts(self) -> dict[str, Any]:
        """What holds before the model is loaded."""
        failed = self._failure is not None
        return {"pid": os.getpid(), "shared": self.place is not None, "failed": failed}

    def tell_loaded(self, lease: Lease) -> None:
        """Tell a client how the load ended, if it has; it may be told twice."""
        if self._failure is not None:
            lease.post({"failed": wire.error_value(self._failure)})
            self._told = True
        elif self.engine is not None:
            facts = {
                "provider": self.engine.provider,
                "streams": self.engine.streams,
                "context_length": self.engine.context_length,
                "rows": self._rows,
            }
            lease.post({"loaded": facts})

    def joined(self, lease: Lease) -> None:
        with self._changed:
            self._leases.append(lease)
            self._hurry = False
            self._changed.notify_all()

    def left(self, lease: Lease) -> None:
        with self._changed:
            if lease in self._leases:
                self._leases.remove(lease)
                self._idle_since = time.monotonic()
            self._parted = True
            self._changed.notify_all()

    def release(self) -> bool:
        """Leave without waiting any longer, if nobody uses this worker."""
        with self._changed:
            # The last client may just have hung up, as when a kernel goes over to another model.
            self._hurry = self._changed.wait_for(lambda: not self._leases, PARTING_S)
            self._changed.notify_all()
            return self._hurry

    def status(self) -> dict[str, Any]:
        """Who uses this worker, its memory in bytes, and what its engine says."""
        import psutil

        engine = self.engine
        told = {} if engine is None else dict(engine.status())
        if "engine" in told:
            told["engine"] = str(told["engine"]).removesuffix(", in process")
        with self._changed:
            users = [lease.user for lease in self._leases]
        found = {
            "model": self.spec.model_name,
            "worker": "private" if self.place is None else "shared",
            "pid": os.getpid(),
            "state": "ready" if engine is not None else "failed" if self._failure else "loading",
            "users": users,
            "memory": psutil.Process().memory_info().rss,
        }
        made: dict[str, Any] = json.loads(json.dumps({**told, **found}, default=str))
        return made

    def _watch(self) -> None:
        """Wait until the worker is to end, and end it."""
        while True:
            with self._changed:
                while (left := self._time_left()) > 0:
                    self._changed.wait(min(left, TICK_S))
                    _trim_log()
            if self.place is None:
                self._leave()
            else:
                self._leave_if_unused(self.place.folder)

    def _leave_if_unused(self, folder: Path) -> None:
        try:
            # Nobody starts or joins a worker while this is held.
            with lock(folder):
                if self._time_left() <= 0:
                    self._leave()
        except DoubtError:
            time.sleep(1)

    def _time_left(self) -> float:
        """Seconds until this worker may end; a private one lives as long as its connection."""
        now = time.monotonic()
        if self.place is None:
            return 0.0 if self._parted else TICK_S
        if self._leases:
            return TICK_S
        if self._hurry or (self._failure is not None and self._told):
            return 0.0
        if self._failure is not None:
            return self._began + FAILED_S - now
        return self._idle_since + self.idle_s - now

    def _leave(self) -> None:
        """End this process, with its engine closed if that is quick and its files removed."""
        with self._leaving:
            self._clear()
            if self.engine is not None:
                # What it has allocated goes with this process; freeing it takes longer.
                close = getattr(self.engine, "leave", self.engine.close)
                closing = threading.Thread(target=close, daemon=True)
                closing.start()
                closing.join(CLOSE_S)
            # Native threads may still run: without this, the interpreter would take their library away.
            os._exit(0)

    def _clear(self) -> None:
        """Remove the socket, key and log, unless they are a successor's."""
        if self.place is None:
            return
        with contextlib.suppress(OSError):
            if self._socket is not None:
                status = Path(self.place.address).stat()
                if (status.st_dev, status.st_ino) != self._socket:
                    return
            self.place.clear()
            self.place.log.unlink(missing_ok=True)

    def _terminated(self, number: int, _: FrameType | None) -> None:
        self._clear()
        os._exit(128 + number)


def _adopt(handle: int) -> Connection:
    """The connection that the starting process left for us."""
    if sys.platform == "win32":
        return connection.PipeConnection(handle)
    os.set_inheritable(handle, False)
    return connection.Connection(handle)


def _rows(engine: Engine) -> int:
    """How many requests an engine runs at once, from a status such as ``rows: 2 of 8``."""
    numbers = re.findall(r"[0-9]+", str(engine.status().get("rows", "")))
    return max(1, int(numbers[-1])) if numbers else DEFAULT_ROWS


def _say_ready() -> None:
    """Tell the starting process that this one can be reached; output goes to the log from here on."""
    with contextlib.suppress(OSError):
        os.write(1, b"ready\n")
    sys.stdout.flush()
    os.dup2(2, 1)


def _trim_log() -> None:
    with contextlib.suppress(OSError):
        if os.fstat(2).st_size > MOST_LOG:
            os.ftruncate(2, 0)


__all__ = ["Server"]
