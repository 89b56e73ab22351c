"""Looks on a schedule, in the background of a kernel or in a terminal."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.monitor.alerts.ages import spoken
from llmops_jupyter.monitor.alerts.lease import BEAT_S, Holder, Lease, holder_of
from llmops_jupyter.monitor.alerts.ledger import parse
from llmops_jupyter.render.clock import local

if TYPE_CHECKING:
    from llmops_jupyter.monitor.alerts.alerts import Alerts
    from llmops_jupyter.tracing import Tracer

State = Literal["watching", "standing by", "stopped"]
# Between pieces of work others go first: so many seconds of rest.
REST_S = 0.002
# How much lower the priority of the thread is, where the system knows that of a single thread.
NICE = 10
STOP_S = 5.0


@dataclass(frozen=True)
class WatchStatus:
    """How a watcher is.

    Args:
        state: 'watching', 'standing by' while another process watches the store, or 'stopped'.
        every_s: seconds between looks.
        looks: that were done.
        skipped: looks that were due while one was under way.
        looked_ns: when the last look ended; 0 for none.
        took_s: how long it took.
        error: why the last look failed as a whole; '' if it did not.
        holder: who watches the store.
    """

    state: State
    every_s: float = 0.0
    looks: int = 0
    skipped: int = 0
    looked_ns: int = 0
    took_s: float = 0.0
    error: str = ""
    holder: Holder | None = None

    def sentence(self) -> str:
        """How it is, on one line."""
        if self.state == "stopped":
            if self.holder is None:
                return "nobody watches. %monitor watch start begins"
            said = f"watched by process {self.holder.pid} on {self.holder.host}, every {spoken(self.holder.every_s)}"
            return f"{said}{silence(self.holder)}"
        parts = [f"{self.state}, every {spoken(self.every_s)}"]
        if self.state == "standing by" and self.holder is not None:
            said = f"process {self.holder.pid} on {self.holder.host} watches this store"
            parts.append(f"{said}{silence(self.holder)}")
        if self.looked_ns:
            parts.append(
                f"{self.looks} {'look' if self.looks == 1 else 'looks'}, the last at {local(self.looked_ns)} in "
                f"{self.took_s:.1f} s"
            )
        if self.skipped:
            parts.append(f"{self.skipped} skipped while one was under way")
        if self.error:
            parts.append(f"the last look failed: {self.error}")
        return " · ".join(parts)

    def as_dict(self) -> dict[str, object]:
        """As JSON values."""
        made = {name: value for name, value in vars(self).items() if name != "holder"}
        return {**made, "holder": vars(self.holder) if self.holder else None}

    def __str__(self) -> str:
        return self.sentence()


def silence(holder: Holder) -> str:
    """What is to be said of a watcher that is not heard of any more; '' of one that is."""
    if not holder.is_silent(time.time_ns()):
        return ""
    if holder.looked_at:
        return f", which has not looked since {local(parse(holder.looked_at))}"
    return f", which has not looked since it began at {local(parse(holder.since))}"


class Watcher:
    """Looks at all rules every so often, from a thread that ends with the process.

    One thread keeps time and the lease; each look has one of its own, so that a long one keeps neither waiting. It
    survives whatever a look raises, and ends when the store is closed.

    Args:
        alerts: whose rules are looked at.
        tracer: of the workspace.
        every_s: seconds from the beginning of one look to that of the next.
    """

    def __init__(self, alerts: Alerts, tracer: Tracer, every_s: float) -> None:
        self._alerts = alerts
        self._store = tracer.store
        self._lease = Lease(tracer, every_s)
        self._every_s = every_s
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._look: threading.Thread | None = None
        self._mine = False
        self._looks, self._skipped, self._looked_ns = 0, 0, 0
        self._took_s, self._error = 0.0, ""

    @property
    def runs(self) -> bool:
        """Whether it watches or stands by."""
        return self._thread is not None and self._thread.is_alive() and not self._stop.is_set()

    def start(self) -> Watcher:
        """Begin; the first look is at once.

        Raises:
            StoreError: the store cannot be written.
        """
        if not self.runs:
            self._stop.clear()
            self._mine = self._lease.hold()
            self._thread = threading.Thread(
                target=self._keep_time, name="llmops-watch", daemon=True
            )
            self._thread.start()
        return self

    def every(self, seconds: float) -> None:
        """Look every so many seconds from now on."""
        self._every_s = self._lease.every_s = seconds
        self._wake.set()

    def stop(self) -> None:
        """End; a look that is under way ends after the piece of work that it does."""
        self._stop.set()
        self._wake.set()
        for thread in (self._thread, self._look):
            if thread is not None and thread is not threading.current_thread():
                thread.join(STOP_S)
        if self._mine and not self._store.closed:
            with suppress(LLMOpsError, sqlite3.Error):
                self._lease.release()
        self._mine = False

    def status(self) -> WatchStatus:
        """How it is."""
        holder = None if self._store.closed else holder_of(self._store)
        if not self.runs:
            return WatchStatus("stopped", holder=holder)
        state: State = "watching" if self._mine else "standing by"
        return WatchStatus(
            *(state, self._every_s, self._looks, self._skipped, self._looked_ns),
            *(self._took_s, self._error, holder),
        )

    def _keep_time(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            if self._store.closed:
                return
            now = time.monotonic()
            if self._mine and now >= due:
                missed = int((now - due) // self._every_s)
                due += self._every_s * (missed + 1)
                self._begin_look()
            self._wake.wait(max(0.0, min(BEAT_S, due - now if self._mine else BEAT_S)))
            if self._wake.is_set():
                self._wake.clear()
                due = min(due, time.monotonic() + self._every_s)
            was = self._mine
            self._beat()
            if self._mine and not was:
                due = time.monotonic()

    def _beat(self) -> None:
        if self._stop.is_set() or self._store.closed:
            return
        try:
            self._mine = self._lease.hold()
        except (
            LLMOpsError,
            sqlite3.Error,
        ) as e:  # a full disk, say: it may be better the next time
            self._error = str(e)

    def _begin_look(self) -> None:
        if self._look is not None and self._look.is_alive():
            self._skipped += 1
            return
        self._look = threading.Thread(target=self._look_once, name="llmops-look", daemon=True)
        self._look.start()

    def _look_once(self) -> None:
        _step_back()
        began = time.monotonic()
        try:
            if self._alerts.rules():
                looked = self._alerts.look(
                    tell=lambda _: self._rest(), pause=self._rest, wait=False
                )
                if looked.skipped:
                    self._skipped += 1
                    return
            self._lease.looked()
            self._error = ""
        except _Stopped:
            return
        except Exception as e:  # noqa: BLE001 - it must live on, and says what happened
            self._error = f"{type(e).__name__}: {' '.join(str(e).split())}"
        self._looks += 1
        self._looked_ns, self._took_s = time.time_ns(), time.monotonic() - began

    def _rest(self) -> None:
        if self._stop.is_set():
            raise _Stopped
        time.sleep(REST_S)


class _Stopped(BaseException):
    """A look is broken off: not an `Exception`, so that no rule takes it for a fault of its own."""


def _step_back() -> None:
    """Give this thread a lower priority where that is possible: on Linux a thread has one of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
