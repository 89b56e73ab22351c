"""Telling the channels of a rule: a line in a log, a JSON body to a webhook, a function of Python.

Nothing leaves the machine unless a rule names a webhook. What is sent are figures, names and trace ids, no texts of
traces. Webhooks are told by a thread of their own, so that nobody waits for them; what fails is kept and shown.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DataError, LLMOpsError, OptionError
from llmops_jupyter.monitor.alerts import ledger
from llmops_jupyter.monitor.alerts.channels import LOG_FILE, Channel, check_address, host_of
from llmops_jupyter.store import Store

TRIES = 4
# Seconds before the second try; each later one waits four times as long.
FIRST_WAIT_S = 1.0
CONNECT_S, WHOLE_S = 5.0, 10.0
AGAIN = (408, 425, 429, 500, 502, 503, 504)
MOST_WAITING = 1_000
SENT = "sent"


@dataclass(frozen=True)
class Notice:
    """What a channel is told: the rule and the change it is about, and the body that it gets."""

    rule: str
    change_id: int
    kind: str
    body: Mapping[str, Any]


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
        self._queue: queue.Queue[tuple[Channel, Notice]] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def tell(self, channel: Channel, notice: Notice) -> None:
        """Tell a channel; a webhook is told a little later."""
        if channel.kind == "webhook":
            self._later(channel, notice)
            return
        try:
            if channel.kind == "log":
                append(self._log(channel), notice.body)
            else:
                self._call(channel, notice)
        except Exception as e:  # noqa: BLE001 - whatever a function of the user raises
            self._note(channel, notice, ledger.FAILED, 1, f"{type(e).__name__}: {e}")
            return
        self._note(channel, notice, SENT, 1)

    def flush(self, timeout_s: float = 60.0) -> bool:
        """Wait until all webhooks were told or have failed; whether that was so in time."""
        done = threading.Event()

        def wait() -> None:
            self._queue.join()
            done.set()

        threading.Thread(target=wait, daemon=True).start()
        return done.wait(timeout_s)

    def close(self) -> None:
        """Try nothing again that has failed once; what waits is kept as failed."""
        self._stop.set()

    def _log(self, channel: Channel) -> Path:
        if channel.target:
            return Path(channel.target)
        if self.store.path is None:
            raise OptionError("A store in memory has no folder for a log. Name a file: {log: FILE}")
        return self.store.path.with_name(LOG_FILE)

    def _call(self, channel: Channel, notice: Notice) -> None:
        function = self.functions.get(channel.target)
        if function is None:
            raise OptionError(
                f"No function was given for {channel.target!r}: ws.monitor.alerts.on({channel.target!r}, function)"
            )
        function(dict(notice.body))

    def _later(self, channel: Channel, notice: Notice) -> None:
        try:
            self._queue.put_nowait((channel, notice))
        except queue.Full:
            self._note(channel, notice, ledger.FAILED, 0, "too many notices wait for webhooks")
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, name="llmops-notify", daemon=True
                )
                self._thread.start()

    def _work(self) -> None:
        while True:
            channel, notice = self._queue.get()
            try:
                tries, error = self._post(channel, notice)
                self._note(channel, notice, ledger.FAILED if error else SENT, tries, error)
            finally:
                self._queue.task_done()

    def _post(self, channel: Channel, notice: Notice) -> tuple[int, str]:
        """Post a notice, again after a wait where that may help; how many tries it took, and what went wrong."""
        wait_s, error = self.first_wait_s, ""
        for number in range(1, TRIES + 1):
            error, may_help = post(channel, notice.body)
            if not error or not may_help or number == TRIES:
                return number, error
            if self._stop.wait(wait_s):
                return number, error
            wait_s *= 4
        return TRIES, error

    def _note(
        self, channel: Channel, notice: Notice, outcome: str, tries: int, error: str = ""
    ) -> None:
        try:
            ledger.add_notice(
                self.store,
                notice.rule,
                notice.change_id,
                channel.words(),
                notice.kind,
                outcome=outcome,
                tries=tries,
                error=error,
            )
        except LLMOpsError:  # the store was closed, or its disk is full
            return


def append(path: Path, body: Mapping[str, Any]) -> None:
    """Append a line of JSON to a file that only its owner reads."""
    text = json.dumps(body, ensure_ascii=False, default=str) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8"
    ) as file:
        file.write(text)


def post(channel: Channel, body: Mapping[str, Any]) -> tuple[str, bool]:
    """Post a body as JSON once: what went wrong ('' if nothing), and whether another try may help.

    Redirects are not followed, since they would carry the secret elsewhere.
    """
    import httpx

    address, error = _address(channel)
    if error:
        return error, False
    headers = {"User-Agent": "llmops-jupyter"}
    if channel.secret_env:
        secret = os.environ.get(channel.secret_env)
        if not secret:
            return f"the variable {channel.secret_env} is not set, which holds the secret", False
        headers[channel.header] = secret
    try:
        answer = httpx.post(
            address,
            content=json.dumps(body, ensure_ascii=False, default=str).encode(),
            headers={**headers, "Content-Type": "application/json"},
            timeout=httpx.Timeout(WHOLE_S, connect=CONNECT_S),
            follow_redirects=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as e:
        # Its text may hold the address, and that a secret.
        return f"{host_of(address)} did not answer: {type(e).__name__}", True
    if answer.is_success:
        return "", False
    return f"{host_of(address)} answered {answer.status_code}", answer.status_code in AGAIN


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
