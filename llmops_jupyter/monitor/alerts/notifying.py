"""Telling the channels of a rule: a line in a log, a JSON body to a webhook, a function of Python.

Nothing leaves the machine unless a rule names a webhook. What is sent are figures, names and trace ids, no texts of
traces. Each address has a thread of its own, so that nobody waits for a webhook, and none for another one; what cannot be
delivered is kept and shown.
"""

from __future__ import annotations

import atexit
import json
import os
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from llmops_jupyter.errors import LLMOpsError, OptionError
from llmops_jupyter.monitor.alerts import outbox
from llmops_jupyter.monitor.alerts.channels import LOG_FILE, Channel
from llmops_jupyter.monitor.alerts.outbox import FAILED, SENT, Parcel
from llmops_jupyter.monitor.alerts.posting import post
from llmops_jupyter.store import Store

TRIES = 4
# Seconds before the second try; each later one waits four times as long.
FIRST_WAIT_S = 1.0
MOST_WAITING = 1_000
# Seconds that closing waits for webhooks: a little more than one try may take.
CLOSE_S, GRACE_S = 12.0, 0.5
ENDED = "the process ended before it was delivered"


class Notifier:
    """Tells channels, and keeps in the store how that went.

    Args:
        store: that keeps it.
        functions: what `python` channels call, by name.
    """

    def __init__(
        self, store: Store, functions: Mapping[str, Callable[[Mapping[str, Any]], Any]]
    ) -> None:
        self.store = store
        self.functions = functions
        self.first_wait_s = FIRST_WAIT_S
        self._changed = threading.Condition()
        # What waits by address, and what is on its way; an address has a thread as long as it is in here.
        self._lanes: dict[str, deque[Parcel]] = {}
        self._under_way: dict[str, Parcel] = {}
        self._stop = threading.Event()
        self._at_exit: Callable[[], None] | None = None

    def deliver(self, parcels: Sequence[Parcel]) -> None:
        """Deliver notices that are in the store; a webhook is told a little later."""
        for parcel in parcels:
            if parcel.channel.kind == "webhook":
                self._later(parcel)
                continue
            try:
                if parcel.channel.kind == "log":
                    append(self._log(parcel.channel), parcel.body)
                else:
                    self._call(parcel)
            except BaseException as e:  # whatever a function of the user raises
                self._settle(parcel, FAILED, 1, f"{type(e).__name__}: {e}")
                if not isinstance(e, Exception):
                    raise
                continue
            self._settle(parcel, SENT, 1)

    def adopt(self, process: str) -> None:
        """Deliver what processes that have ended had not delivered yet."""
        if outbox.left(self.store):
            self.deliver(outbox.adopt(self.store, process))

    def flush(self, timeout_s: float = 60.0) -> bool:
        """Wait until all webhooks were told or have failed; whether that was so in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lanes, timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Wait a little for webhooks; what is not delivered then is left to the next look of any process."""
        if self._at_exit is not None:
            atexit.unregister(self._at_exit)
            self._at_exit = None
        try:
            self.flush(timeout_s)
        finally:
            self._stop.set()
            self.flush(GRACE_S)
            with self._changed:
                left = [
                    *self._under_way.values(),
                    *(p for lane in self._lanes.values() for p in lane),
                ]
                for lane in self._lanes.values():
                    lane.clear()
            if left and not self.store.closed:
                with suppress(LLMOpsError, sqlite3.Error):
                    outbox.release(self.store, left, ENDED)

    def _log(self, channel: Channel) -> Path:
        if channel.target:
            return Path(channel.target)
        if self.store.path is None:
            raise OptionError("A store in memory has no folder for a log. Name a file: {log: FILE}")
        return self.store.path.with_name(LOG_FILE)

    def _call(self, parcel: Parcel) -> None:
        name = parcel.channel.target
        function = self.functions.get(name)
        if function is None:
            raise OptionError(
                f"No function was given for {name!r}: ws.monitor.alerts.on({name!r}, function)"
            )
        function(dict(parcel.body))

    def _later(self, parcel: Parcel) -> None:
        address = parcel.channel.target or f"${parcel.channel.url_env}"
        with self._changed:
            waiting = sum(len(lane) for lane in self._lanes.values())
            if waiting < MOST_WAITING:
                is_new = address not in self._lanes
                self._lanes.setdefault(address, deque()).append(parcel)
        if waiting >= MOST_WAITING:
            self._settle(parcel, FAILED, 0, "too many notices wait for webhooks")
            return
        if self._at_exit is None:
            self._at_exit = _closing(self)
        if is_new:
            threading.Thread(
                target=self._work, args=(address,), name="llmops-notify", daemon=True
            ).start()

    def _work(self, address: str) -> None:
        """Deliver what waits for an address, and end when there is nothing left."""
        while True:
            with self._changed:
                lane = self._lanes[address]
                if not lane or self._stop.is_set():
                    if not lane:
                        del self._lanes[address]
                    self._changed.notify_all()
                    return
                parcel = self._under_way[address] = lane.popleft()
            try:
                self._post(parcel)
            except Exception as e:  # noqa: BLE001 - a fault of ours must not keep others from being told
                self._settle(parcel, FAILED, 1, type(e).__name__)
            finally:
                with self._changed:
                    if not self._stop.is_set():
                        self._under_way.pop(address, None)

    def _post(self, parcel: Parcel) -> None:
        """Post a notice, again after a wait where that may help; what is broken off stays in the store."""
        wait_s = self.first_wait_s
        for number in range(1, TRIES + 1):
            error, may_help = post(parcel.channel, parcel.body)
            if not error:
                self._settle(parcel, SENT, number)
                return
            if not may_help or number == TRIES:
                self._settle(parcel, FAILED, number, error)
                return
            if self._stop.wait(wait_s):
                return
            wait_s *= 4

    def _settle(
        self, parcel: Parcel, outcome: Literal["sent", "failed"], tries: int, error: str = ""
    ) -> None:
        # The store was closed, or its disk is full.
        with suppress(LLMOpsError, sqlite3.Error):
            outbox.settle(self.store, parcel, outcome, tries, error)


def _closing(notifier: Notifier) -> Callable[[], None]:
    """Have a notifier wait for its webhooks when the process ends, if it lives until then."""
    known = weakref.ref(notifier)

    def close() -> None:
        found = known()
        if found is not None:
            found.close()

    atexit.register(close)
    return close


def append(path: Path, body: Mapping[str, Any]) -> None:
    """Append a line of JSON to a file that only its owner reads."""
    text = json.dumps(body, ensure_ascii=False, default=str) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8"
    ) as file:
        file.write(text)
