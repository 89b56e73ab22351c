"""A server with continuous batching as a queue, simulated event by event.

A replica has so many slots. A request waits until one is free, is read (prefill: one part of it stops the replica's other
rows, another runs beside them), and then written token by token together with the other rows: `n` rows share `rate(n)` tokens a second
equally, which is processor sharing with a rate that depends on the state. Between two events all rows advance alike, so
that one number (`_Replica.progress`) stands for all of them and an event takes a logarithm of the rows (the virtual time of
Parekh and Gallager, "A Generalized Processor Sharing Approach to Flow Control", 1993). Percentiles are of independent
replications whose beginning is deleted (Law, "Simulation Modeling and Analysis", ch. 9).
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.errors import OptionError

NEVER = float("inf")
ROUTES = ("least", "random", "round")
# Smaller differences of progress are rounding.
TINY = 1e-9


@dataclass(frozen=True)
class Service:
    """What one replica can do.

    Args:
        rates: tokens a second of all rows together when 1, 2, … of them are written; as many as there are slots.
    """

    rates: tuple[float, ...]

    @property
    def slots(self) -> int:
        """Requests that run at once."""
        return len(self.rates)

    def capacity(self, works: Sequence[Work]) -> float:
        """Requests a second that a replica can answer at most, with all its slots in use."""
        read = sum(w.read_s for w in works) / len(works)
        tokens = sum(w.tokens for w in works) / len(works)
        beside = sum(w.delay_s for w in works) / len(works)
        # With n requests inside, of which those that are delayed write nothing.
        times = (
            max(read + tokens / rate, (read + beside + tokens * n / rate) / self.slots)
            for n, rate in enumerate(self.rates, 1)
        )
        return 1.0 / max(min(times), 1e-12)


@dataclass(frozen=True)
class Work:
    """What a request asks for.

    Args:
        read_s: seconds of reading in which nothing else is read or written.
        tokens: to be written after the first; they need not be whole.
        delay_s: seconds before the first token in which others go on.
    """

    read_s: float
    tokens: float
    delay_s: float = 0.0


@dataclass(frozen=True)
class Done:
    """When a request arrived, had its first token and its last, in simulated seconds; and its tokens after the first."""

    arrived: float
    first: float
    ended: float
    tokens: float


@dataclass(frozen=True)
class Trace:
    """What a simulation came to.

    Args:
        done: requests in the order in which they ended.
        lasted: simulated seconds.
        utilisation: share of the time in which a replica had work, on average over replicas.
        waiting: requests that waited for a slot, on average over time, of all replicas together.
        inside: requests in the system, on average over time.
    """

    done: Sequence[Done]
    lasted: float
    utilisation: float
    waiting: float
    inside: float


class _Replica:
    """One server. `progress` counts the tokens that a row got which was there all the time."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.clock = self.progress = 0.0
        self.busy = self.waited = self.present = 0.0
        self.queue: deque[int] = deque()
        self.rows: list[tuple[float, int]] = []
        self.delayed: list[tuple[float, int]] = []
        self.reading: int | None = None
        self.until = NEVER

    @property
    def load(self) -> int:
        return len(self.queue) + self.inside

    @property
    def inside(self) -> int:
        """Slots in use."""
        return len(self.rows) + len(self.delayed) + (self.reading is not None)

    def next(self) -> float:
        """When something happens here next."""
        return min(self._read_at(), self._delayed_at(), self._written_at())

    def _read_at(self) -> float:
        return NEVER if self.reading is None else self.until

    def _delayed_at(self) -> float:
        return self.delayed[0][0] if self.delayed else NEVER

    def _written_at(self) -> float:
        if self.reading is not None or not self.rows:
            return NEVER
        n = len(self.rows)
        left = max(0.0, self.rows[0][0] - self.progress)
        return self.clock + left * n / self.service.rates[n - 1]

    def advance(self, now: float) -> None:
        """Let time pass in which nothing happens."""
        passed = now - self.clock
        if self.load:
            self.busy += passed
            self.waited += passed * len(self.queue)
            self.present += passed * self.load
        if self.rows and self.reading is None:
            n = len(self.rows)
            self.progress += passed * self.service.rates[n - 1] / n
        self.clock = now

    def admit(self, works: Sequence[Work]) -> None:
        """Begin to read the next request if a slot is free and none is read."""
        if self.reading is None and self.queue and self.inside < self.service.slots:
            self.reading = self.queue.popleft()
            self.until = self.clock + works[self.reading].read_s

    def step(self, works: Sequence[Work], first: list[float]) -> int | None:
        """Do what is due now; the request that has ended by it."""
        ended = None
        read, delayed, written = self._read_at(), self._delayed_at(), self._written_at()
        if read <= min(delayed, written):
            number, self.reading, self.until = self.reading, None, NEVER
            assert number is not None
            heapq.heappush(self.delayed, (self.clock + works[number].delay_s, number))
        elif delayed <= written:
            _, number = heapq.heappop(self.delayed)
            first[number] = self.clock
            if works[number].tokens > TINY:
                heapq.heappush(self.rows, (self.progress + works[number].tokens, number))
            else:
                ended = number
        else:
            self.progress, ended = heapq.heappop(self.rows)
        self.admit(works)
        return ended


class _Simulation:
    """Replicas, and the requests that come to them."""

    def __init__(self, service: Service, replicas: int, route: str, seed: int) -> None:
        self.replicas = [_Replica(service) for _ in range(replicas)]
        self.random = random.Random(seed)  # noqa: S311 - a simulation
        self.route, self.turn = route, 0
        self.works: list[Work] = []
        self.arrived: list[float] = []
        self.first: list[float] = []
        self.done: list[Done] = []

    def run(
        self,
        arrivals: Iterable[tuple[float, Work]],
        again: Callable[[float], tuple[float, Work] | None] | None = None,
        until: float = NEVER,
    ) -> Trace:
        """All that arrives, and with `again` what follows an answer; until then, or until nothing is left."""
        coming = [(at, number, work) for number, (at, work) in enumerate(arrivals)]
        heapq.heapify(coming)
        events = [NEVER] * len(self.replicas)
        now, serial = 0.0, len(coming)
        while True:
            soonest = min(events)
            arrival = coming[0][0] if coming else NEVER
            now = min(soonest, arrival)
            if now >= until or now == NEVER:
                break
            if arrival <= soonest:
                at, _, work = heapq.heappop(coming)
                place = self._arrive(at, work)
            else:
                place = events.index(soonest)
                ended = self._step(place, now)
                follows = again(now) if ended and again is not None else None
                if follows is not None:
                    serial += 1
                    heapq.heappush(coming, (follows[0], serial, follows[1]))
            events[place] = self.replicas[place].next()
        return self._trace(until if now == NEVER and until != NEVER else min(now, until))

    def _arrive(self, at: float, work: Work) -> int:
        number, place = len(self.works), self._place()
        self.works.append(work)
        self.arrived.append(at)
        self.first.append(NEVER)
        replica = self.replicas[place]
        replica.advance(at)
        replica.queue.append(number)
        replica.admit(self.works)
        return place

    def _step(self, place: int, now: float) -> bool:
        replica = self.replicas[place]
        replica.advance(now)
        ended = replica.step(self.works, self.first)
        if ended is None:
            return False
        times = (self.arrived[ended], self.first[ended], now)
        self.done.append(Done(*times, self.works[ended].tokens))
        return True

    def _place(self) -> int:
        count = len(self.replicas)
        if self.route == "random":
            return self.random.randrange(count)
        self.turn = (self.turn + 1) % count
        if self.route == "round":
            return self.turn
        # Of those with equally few requests the next in turn.
        return min(range(count), key=lambda i: (self.replicas[i].load, (i - self.turn) % count))

    def _trace(self, now: float) -> Trace:
        if now == NEVER or not self.done:
            now = max([d.ended for d in self.done], default=0.0)
        for replica in self.replicas:
            replica.advance(max(now, replica.clock))
        lasted, n = max(now, 1e-12), len(self.replicas)
        return Trace(
            self.done,
            lasted,
            sum(r.busy for r in self.replicas) / (n * lasted),
            sum(r.waited for r in self.replicas) / lasted,
            sum(r.present for r in self.replicas) / lasted,
        )


Draw = Callable[[random.Random], Work]


def drawn(works: Sequence[Work]) -> Draw:
    """Requests drawn from those that were seen."""
    return lambda source: works[source.randrange(len(works))]


def simulate_open(
    service: Service,
    rate: float,
    draw: Draw,
    *,
    replicas: int = 1,
    requests: int = 2000,
    seconds: float | None = None,
    route: str = "least",
    seed: int = 0,
) -> Trace:
    """Poisson arrivals.

    Args:
        service: of each replica.
        rate: arrivals a second.
        draw: gives the work of a request.
        replicas: how many.
        requests: that arrive, unless `seconds` says for how long they do.
        seconds: in which requests arrive.
        route: 'least' (the replica with the fewest requests), 'random' or 'round'.
        seed: of arrivals, work and routes.

    Raises:
        OptionError: one of them cannot be used.
    """
    if route not in ROUTES:
        raise OptionError(f"There is no route {route!r:.40}. Choose one of {', '.join(ROUTES)}.")
    if not 0 < rate < NEVER or replicas < 1:
        raise OptionError("A load has a rate above 0 and at least one replica.")
    source = random.Random(seed)  # noqa: S311 - a simulation
    arrivals: list[tuple[float, Work]] = []
    at = source.expovariate(rate)
    while len(arrivals) < requests if seconds is None else at < seconds:
        arrivals.append((at, draw(source)))
        at += source.expovariate(rate)
    return _Simulation(service, replicas, route, seed).run(arrivals)


def simulate_closed(
    service: Service, clients: int, draw: Draw, *, requests: int = 400, seed: int = 0
) -> Trace:
    """So many clients on one replica, each of which asks again when it has its answer.

    Args:
        service: of the replica.
        clients: how many.
        draw: gives the work of a request.
        requests: that are asked in all.
        seed: of the work.
    """
    source = random.Random(seed)  # noqa: S311 - a simulation
    left = [max(0, requests - clients)]

    def again(now: float) -> tuple[float, Work] | None:
        if not left[0]:
            return None
        left[0] -= 1
        return now, draw(source)

    first: list[Any] = [(0.0, draw(source)) for _ in range(min(clients, requests))]
    return _Simulation(service, 1, "round", seed).run(first, again)
