"""All that the endpoints of one server share."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from llmops_jupyter.deploy.serving.admission import Gate, Rates
from llmops_jupyter.deploy.serving.faults import KEY, MISSING, Refusal
from llmops_jupyter.deploy.serving.fleet import Fixed, Fleet
from llmops_jupyter.deploy.serving.keys import Key, Keys
from llmops_jupyter.deploy.serving.limits import Limits
from llmops_jupyter.deploy.serving.metrics import Metrics
from llmops_jupyter.deploy.serving.running import Traces
from llmops_jupyter.errors import did_you_mean

PROBE = "serving.probe"
PROBED_S = 2.0
# Threads beside those that write answers: they read large bodies and prepare runs.
BESIDE = 4
_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,200})?")


@dataclass
class Service:
    """A bundle or a deployment in service.

    Args:
        fleet: the releases.
        traces: where runs are traced.
        keys: that are accepted; None accepts everybody.
        limits: of the server.
        aliases: further names under which requests are answered.
        hosts: names by which it may be called; () for any. Without keys it is called by its own, so that no page of
            another site reaches it.
    """

    fleet: Fleet | Fixed
    traces: Traces
    keys: Keys | None = None
    limits: Limits = field(default_factory=Limits)
    aliases: Sequence[str] = ()
    hosts: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.started = int(time.time())
        self.draining = False
        self.cut = asyncio.Event()  # set in the loop when nothing is waited for any more
        self.gate, self.rates = Gate(self.limits), Rates()
        self.metrics = Metrics(self.fleet.name, self.gate, self.traces)
        self.writers = ThreadPoolExecutor(self.limits.running, "answer")
        self.beside = ThreadPoolExecutor(BESIDE, "beside")
        self.probes = ThreadPoolExecutor(
            1, "probe"
        )  # which are answered also while a model is loaded
        self._probed = (0.0, "")

    @property
    def names(self) -> list[str]:
        """The names under which requests are answered."""
        return [self.fleet.name, *self.aliases]

    def pinned(self, model: str) -> str:
        """The release that a name asks for; '' leaves it to the shares.

        Raises:
            Refusal: it is no name of this server.
        """
        refs = list(self.fleet.refs().values())
        if model in self.names:
            return ""
        if model in refs:
            return model
        known = [*self.names, *refs]
        raise Refusal(
            404,
            f"There is no model {model!r:.100}.{did_you_mean(model[:100], known)} Models: {', '.join(known)}.",
            MISSING,
            "model_not_found",
            "model",
        )

    def key_of(self, header: str | None) -> Key | None:
        """The key of a request; None where everybody is accepted.

        Raises:
            Refusal: it has none that is accepted.
        """
        if self.keys is None:
            return None
        scheme, _, text = (header or "").partition(" ")
        found = self.keys.find(text.strip()) if scheme.lower() == "bearer" and text else None
        if found is None:
            said = "is not accepted" if header else "is missing"
            raise Refusal(
                401,
                f"The API key {said}. Send it as 'Authorization: Bearer KEY'; llmops serve keys add makes one.",
                KEY,
                "invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return found

    def problems(self) -> list[str]:
        """Why requests cannot be answered as they should; empty when they can. Looks at the disk."""
        found = ["the server is ending"] if self.draining else []
        fault = self._store_fault()
        return [*found, f"traces cannot be written: {fault}"] if fault else found

    def _store_fault(self) -> str:
        """Why the store cannot be written; '' if it can. A write every other second says so."""
        at, fault = self._probed
        if time.monotonic() - at < PROBED_S:
            return fault
        store, fault = self.traces.tracer.store, ""
        try:
            with store.write() as conn:
                conn.execute(
                    "INSERT INTO settings(key, value) VALUES (?, ?) "
                    "ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                    (PROBE, store.now()),
                )
        except Exception as e:  # noqa: BLE001 - whatever it is, it cannot be written
            fault = " ".join(str(e).split()) or type(e).__name__
        self._probed = (time.monotonic(), fault)
        return fault

    def close(self) -> None:
        """End what runs beside, and close the releases."""
        self.fleet.close()
        for pool in (self.writers, self.beside, self.probes):
            pool.shutdown(wait=False, cancel_futures=True)


def parent_of(header: str | None) -> str:
    """The header traceparent, if it is one; else ''."""
    return header if header and _PARENT.fullmatch(header) else ""
