"""What waits for an endpoint goes in batches; what does not go stays in the store and goes later."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from llmops_jupyter.errors import PrivacyError, SendError
from llmops_jupyter.tracing.arrivals import imported
from llmops_jupyter.tracing.otlp.encoding import Encoded, Encoder
from llmops_jupyter.tracing.otlp.endpoints import Endpoint
from llmops_jupyter.tracing.otlp.ledger import BEAT_S, Kind, Ledger, Place, Step
from llmops_jupyter.tracing.otlp.posting import Answer, Poster
from llmops_jupyter.tracing.rows import dead_owners, status_of

# Of one request; collectors take some MB.
MOST_SPANS, MOST_BYTES = 512, 2_000_000
ROWS = 64
# Seconds before the second try; each later one waits twice as long, and a random part of it.
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 120.0
# What the endpoint asks for is kept up to so many seconds.
LONGEST_ASKED_S = 3600.0
# So many refusals and nothing taken: the fault is not in the spans.
ALL_REFUSED = 20
PLAIN_SPANS = f"SELECT s.* FROM spans s WHERE NOT {imported('s')}"
SCORES = (
    "SELECT c.*, coalesce(c.span_id, r.span_id) AS judged, r.id AS root_id FROM scores c JOIN spans r "
    "ON r.trace_id = c.trace_id AND r.parent_id IS NULL WHERE c.valid AND c.output_id IS NULL "
    f"AND NOT {imported('r')}"
)


@dataclass(frozen=True)
class Sent:
    """What came of sending.

    Args:
        endpoint: its address.
        spans: that it took, those of scores among them.
        refused: spans that it did not take; they are kept apart with the reason.
        dropped: spans of requests that it took which it says it has not kept, without saying which; they are not sent again.
        waiting: whether something is left that did not go.
        seconds: that it took.
        error: why something is left, or what the endpoint said; ''.
    """

    endpoint: str
    spans: int
    refused: int
    dropped: int
    waiting: bool
    seconds: float
    error: str = ""

    def sentence(self) -> str:
        """How it went, on one line."""
        said = [f"{self.spans:,} spans sent to {self.endpoint} in {self.seconds:.1f} s"]
        if self.refused:
            said.append(f"{self.refused:,} were refused and are kept apart: %trace send --status")
        if self.dropped:
            said.append(f"{self.dropped:,} were not kept there, and are not sent again")
        if self.waiting:
            said.append("the rest waits in the store and goes the next time")
        if self.error:
            said.append(self.error)
        return " · ".join(said)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dict(vars(self))

    def __str__(self) -> str:
        return self.sentence()


@dataclass
class _Batch:
    """What goes together, and what the store notes when it has gone."""

    position: int
    scored: int
    parts: list[tuple[Kind, int, Encoded]] = field(default_factory=list)
    size: int = 0
    opened: list[int] = field(default_factory=list)
    settled: list[tuple[Kind, int]] = field(default_factory=list)
    unfit: list[tuple[Kind, int, str]] = field(default_factory=list)
    moved: bool = False

    @property
    def full(self) -> bool:
        return len(self.parts) >= MOST_SPANS or self.size >= MOST_BYTES

    def add(self, kind: Kind, row_id: int, made: Callable[[], Encoded]) -> None:
        """Put a span or a score in; one that nothing can be made of does not hold up the rest."""
        self.moved = True
        try:
            part = made()
        except PrivacyError:
            raise
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as e:
            self.unfit.append((kind, row_id, f"it could not be encoded ({type(e).__name__})"))
            return
        self.parts.append((kind, row_id, part))
        self.size += part.size


class Sender:
    """Sends what waits for one endpoint, in the order of ids; one thread uses it.

    Args:
        ledger: of the endpoint, which this sender has taken.
        endpoint: its settings.
        redact: the second rule of redaction.
        stop: set to end soon.
        patience_s: seconds without success after which it gives up for now; None never does.
    """

    def __init__(
        self,
        ledger: Ledger,
        endpoint: Endpoint,
        redact: Callable[[str], str] | None,
        *,
        stop: threading.Event | None = None,
        patience_s: float | None = None,
    ) -> None:
        self.ledger = ledger
        self.endpoint = endpoint
        self.patience_s = patience_s
        self.first_wait_s = FIRST_WAIT_S
        self.spans = self.refused = self.dropped = 0
        self.error = ""
        self.pause: Callable[[], None] = lambda: None
        self._store = ledger.store
        self._poster = Poster(endpoint)
        self._encoder = Encoder(endpoint, redact)
        self._stop = stop or threading.Event()

    def all(self, tell: Callable[[int], None] | None = None) -> bool:
        """Send until nothing waits; whether that was reached.

        Raises:
            SendError: the endpoint cannot be sent to as it is set; nothing is lost.
        """
        self._held = self.ledger.held(self.ledger.place())
        while not self._stop.is_set():
            place = self.ledger.place()
            batch = self._collected(place)
            if not batch.moved:
                return True
            if not self._deliver(place, batch):
                return False
            if tell is not None:
                tell(self.spans)
        return False

    def close(self) -> None:
        """Close the connection."""
        self._poster.close()

    def _collected(self, place: Place) -> _Batch:
        batch = _Batch(place.position, place.scored)
        for source in (self._from_held, self._new_spans, self._new_scores):
            for _ in source(place, batch):
                self.pause()
                if batch.full or self._stop.is_set():
                    return batch
        return batch

    def _from_held(self, place: Place, batch: _Batch) -> Iterator[None]:
        """What was open or refused before; each is looked at once in a round."""
        del place
        while self._held:
            kind, row_id = self._held.pop(0)
            what = PLAIN_SPANS + " AND s.id = ?" if kind == "span" else SCORES + " AND c.id = ?"
            row = self._store.row(what, (row_id,))
            if row is None:
                batch.settled.append((kind, row_id))
                batch.moved = True
            elif kind == "score":
                batch.add(kind, row_id, partial(self._encoder.score, row))
            else:
                self._add(batch, row, dead_owners(self._store, [row]))
            yield

    def _new_spans(self, place: Place, batch: _Batch) -> Iterator[None]:
        del place
        while True:
            last = self._last("spans")
            rows = self._store.rows(
                f"{PLAIN_SPANS} AND s.id > ? ORDER BY s.id LIMIT ?", (batch.position, ROWS)
            )
            dead = dead_owners(self._store, rows)
            for row in rows:
                batch.position, batch.moved = row["id"], True
                if not self._add(batch, row, dead):
                    batch.opened.append(row["id"])
                yield
            if len(rows) < ROWS:
                # What was imported, and lies behind, need not be looked at again.
                batch.moved |= last > batch.position
                batch.position = max(batch.position, last)
                return

    def _new_scores(self, place: Place, batch: _Batch) -> Iterator[None]:
        last = self._last("scores")
        rows = self._store.rows(
            f"{SCORES} AND c.id > ? ORDER BY c.id LIMIT ?", (batch.scored, MOST_SPANS)
        )
        for row in rows:
            batch.scored, batch.moved = row["id"], True
            if row["root_id"] > place.floor:
                batch.add("score", row["id"], partial(self._encoder.score, row))
            yield
        if len(rows) < MOST_SPANS:
            batch.moved |= last > batch.scored
            batch.scored = max(batch.scored, last)

    def _last(self, table: str) -> int:
        return int(self._store.rows(f"SELECT coalesce(max(id), 0) FROM {table}")[0][0])

    def _add(self, batch: _Batch, row: sqlite3.Row, dead: set[str]) -> bool:
        """Put a span into the batch, if it has ended."""
        if status_of(row, dead) == "open":
            return False
        made = partial(self._encoder.span, self._store.read(), row, dead)
        batch.add("span", row["id"], made)
        return True

    def _deliver(self, place: Place, batch: _Batch) -> bool:
        """Post a batch and note what came of it; whether it is settled."""
        refused: list[tuple[Kind, int, str]] = []
        took = [0]  # what is counted on the way
        notes: list[str] = []
        if not self._post(batch.parts, refused, took, notes):
            return False
        gone = [(kind, row) for kind, row, _ in batch.parts]
        note = notes[-1] if notes else ""
        self.ledger.note(
            place,
            Step(
                *(batch.position, batch.scored, took[0], batch.opened, [*refused, *batch.unfit]),
                [*batch.settled, *gone],
                note,
            ),
        )
        self.spans += took[0]
        self.refused += len(refused) + len(batch.unfit)
        self.error = note
        return True

    def _post(
        self,
        parts: Sequence[tuple[Kind, int, Encoded]],
        refused: list[tuple[Kind, int, str]],
        took: list[int],
        notes: list[str],
    ) -> bool:
        """Post parts; where they are refused, halves of them, down to the one that is to blame."""
        if not parts:
            return True
        answer = self._patiently(parts)
        if answer is None:
            return False
        if answer.taken:
            dropped = min(answer.rejected, len(parts))
            took[0] += len(parts) - dropped
            self.dropped += dropped
            if answer.error:
                notes.append(answer.error)
            return True
        if len(parts) > 1:
            middle = len(parts) // 2
            return all(
                self._post(half, refused, took, notes) for half in (parts[:middle], parts[middle:])
            )
        kind, row, _ = parts[0]
        refused.append((kind, row, answer.error))
        if len(refused) >= ALL_REFUSED and not took[0] and not self.spans:
            raise SendError(
                f"{self.endpoint.url} refuses whatever it is sent: {answer.error}. Nothing is lost. See that the address is "
                "that of an OTLP/HTTP collector."
            )
        return True

    def _patiently(self, parts: Sequence[tuple[Kind, int, Encoded]]) -> Answer | None:
        """The endpoint's word on these spans, asked for until there is one; None if patience or time is up."""
        began, tries = time.monotonic(), 0
        spans = [part.span for _, _, part in parts]
        while True:
            answer = self._poster.post(spans)
            if answer.taken or answer.refused:
                return answer
            if not answer.later:
                raise SendError(
                    f"{self.endpoint.url} cannot be sent to: {answer.error}. {_advice(answer, self.endpoint)} Nothing is "
                    "lost."
                )
            wait = self._wait_s(answer, tries)
            self.error = f"{self.endpoint.host}: {answer.error}"
            tries += 1
            spent = time.monotonic() - began
            if self.patience_s is not None and spent + wait > self.patience_s:
                self.ledger.failed(self.error)
                return None
            if tries == 1 or wait > BEAT_S:
                self.ledger.failed(self.error)
            if not self._waited(wait):
                return None

    def _wait_s(self, answer: Answer, tries: int) -> float:
        """Twice as long after each try, and by chance up to half as long more or less, so that many do not come at once."""
        wait: float = min(LONGEST_WAIT_S, self.first_wait_s * 2 ** min(tries, 20))
        wait *= random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        if answer.retry_after_s is None:
            return wait
        return max(wait, min(answer.retry_after_s, LONGEST_ASKED_S))

    def _waited(self, seconds: float) -> bool:
        """Wait, with signs of life; False if it is to end."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stop.wait(min(left, BEAT_S)):
                return False
            self.ledger.beat()
        return not self._stop.is_set()


def _advice(answer: Answer, endpoint: Endpoint) -> str:
    if answer.status in (401, 403):
        if endpoint.headers:
            named = ", ".join(source.rpartition(" ")[2] for source in endpoint.headers.values())
            return f"Check the key in the variable {named}."
        return "It wants a key: --header Authorization=NAME_OF_VARIABLE"
    if 300 <= answer.status < 400:
        return "It sends elsewhere; name that address."
    return "Check the address and its path."
