"""The endpoints that traces of a workspace are sent to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from llmops_jupyter.errors import UnknownNameError, did_you_mean
from llmops_jupyter.tracing.otlp import ledger as ledgers
from llmops_jupyter.tracing.otlp.endpoints import checked_address, named_endpoint, settled
from llmops_jupyter.tracing.otlp.following import Follower
from llmops_jupyter.tracing.otlp.ledger import EndpointStatus, Ledger
from llmops_jupyter.tracing.otlp.sending import Sender, Sent
from llmops_jupyter.tracing.query import parse_when
from llmops_jupyter.tracing.tracer import Tracer

ALL = "all"
Rule = str | Callable[[str], str] | None


class Exports:
    """Sends traces, and knows who does."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._store = tracer.store
        self._followers: dict[str, Follower] = {}
        self._foreground: set[str] = set()

    def send(
        self,
        endpoint: str,
        *,
        since: str | datetime | timedelta | None,
        again: bool,
        patience_s: float | None,
        progress: Callable[[int], None] | None,
        redact: Rule,
        settings: Mapping[str, Any],
    ) -> Sent:
        """Send what waits, and come back; see `Traces.send`."""
        sender = self._sender(endpoint, since, redact, settings, again=again, patience_s=patience_s)
        began = time.monotonic()
        self._foreground.add(sender.ledger.owner)
        try:
            through = sender.all(progress)
        finally:
            self._foreground.discard(sender.ledger.owner)
            sender.close()
            if not self._store.closed:
                sender.ledger.release()
        return Sent(
            *(sender.endpoint.url, sender.spans, sender.refused, sender.dropped, not through),
            time.monotonic() - began,
            sender.error,
        )

    def follow(
        self,
        endpoint: str,
        *,
        since: str | datetime | timedelta | None,
        again: bool,
        redact: Rule,
        settings: Mapping[str, Any],
    ) -> EndpointStatus:
        """Send what waits and what comes, in the background; see `Traces.follow`."""
        url = checked_address(named_endpoint(endpoint))
        self._ended()
        old = self._followers.pop(url, None)
        if old is not None:  # with other settings from now on
            old.close(0.0)
        stop = threading.Event()
        sender = self._sender(endpoint, since, redact, settings, again=again, stop=stop)
        self._followers[url] = Follower(sender, stop)
        return self.status(url)

    def statuses(self) -> list[EndpointStatus]:
        """How all endpoints stand."""
        self._ended()
        owners = {f.owner for f in self._followers.values()} | self._foreground
        return ledgers.statuses(self._store, owners)

    def status(self, endpoint: str) -> EndpointStatus:
        """How one stands.

        Raises:
            UnknownNameError: nothing was ever sent there.
        """
        url = checked_address(endpoint)
        found = self.statuses()
        for one in found:
            if one.endpoint.url == url:
                return one
        known = [one.endpoint.url for one in found]
        raise UnknownNameError(
            f"Nothing was ever sent to {url}.{did_you_mean(url, known)} Begin: %trace send {url}"
        )

    def stop(self, endpoint: str = "") -> list[str]:
        """End sending in the background, to one endpoint or to all; which ones."""
        self._ended()
        urls = [checked_address(endpoint)] if endpoint else list(self._followers)
        for url in urls:
            follower = self._followers.pop(url, None)
            if follower is None:
                known = ", ".join(self._followers) or "none"
                raise UnknownNameError(
                    f"Nothing is sent to {url} in the background of this process. Endpoints that are: {known}."
                )
            follower.close()
        return urls

    def forget(self, endpoint: str) -> None:
        """Forget an endpoint and its place; see `Traces.forget_endpoint`."""
        url = self.status(endpoint).endpoint.url
        if url in self._followers:
            self.stop(url)
        ledgers.forget(self._store, url)

    def close(self) -> None:
        """End with the workspace."""
        for follower in self._followers.values():
            follower.close()
        self._followers.clear()

    def _ended(self) -> None:
        self._followers = {url: f for url, f in self._followers.items() if f.runs}

    def _sender(
        self,
        given: str,
        since: str | datetime | timedelta | None,
        redact: Rule,
        settings: Mapping[str, Any],
        *,
        again: bool,
        stop: threading.Event | None = None,
        patience_s: float | None = None,
    ) -> Sender:
        """A sender that has taken its endpoint; all that can be wrong is found before anything is written."""
        url = checked_address(named_endpoint(given))
        ledger = Ledger(self._tracer, url)
        endpoint, rule = settled(ledger.known(), url, redact, dict(settings))
        endpoint.values_of_headers()
        since_ns = 0 if since == ALL else parse_when("0s" if since == "now" else since)
        sender = Sender(ledger, endpoint, rule, stop=stop, patience_s=patience_s)
        try:
            ledger.take(endpoint, since_ns)
            if again:
                ledger.offer_again()
        except BaseException:
            sender.close()
            raise
        return sender
