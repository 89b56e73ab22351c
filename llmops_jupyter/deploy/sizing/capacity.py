"""What one replica can do, from the closed loops that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmops_jupyter.deploy.sizing.figures import LevelResult
from llmops_jupyter.deploy.sizing.queueing import Draw, Service, Work, drawn, simulate_closed
from llmops_jupyter.deploy.sizing.result import LoadResult
from llmops_jupyter.errors import DeployError, OptionError

ROUNDS, REQUESTS = 6, 600
# A closed loop whose clients wait for slots shows how many there are.
CROWDED = 1.5
# Reading that stops others may take so much of the time at most.
MOST_READING = 0.9
# Rates are not let grow beyond so many times what was measured, where reading alone explains it.
MOST_RATE = 50
MOST_SLOTS = 4096
# A level with fewer answers says little.
FEW = 20


@dataclass(frozen=True)
class Capacity:
    """A replica as it was measured.

    Args:
        service: reading and writing.
        works: requests as they were seen.
        input_tokens: of a prompt, on average; None if not known.
        output_tokens: of an answer, on average.
        reading: seconds to begin a request, and to read a token of its prompt.
        alone: share of the reading in which the replica does nothing else.
        points: clients, tokens a second as measured, and as the simulation has them.
        notes: what to know of it.
    """

    service: Service
    works: tuple[Work, ...]
    input_tokens: float | None
    output_tokens: float
    reading: tuple[float, float]
    alone: float
    points: tuple[tuple[float, float, float], ...]
    notes: tuple[str, ...]

    @property
    def draw(self) -> Draw:
        """Draws requests."""
        return drawn(self.works)

    @property
    def request_rate(self) -> float:
        """Requests a second that a replica answers at most."""
        return self.service.capacity(self.works)


def capacity_of(result: LoadResult, slots: int | None = None) -> Capacity:
    """Fit a replica to what was measured.

    Reading is fitted to the times to the first token of the level with the fewest clients. The rates of writing are
    those with which simulated closed loops have the tokens a second of the measured ones: the time that reading took is in
    both, so nothing is counted twice. How much of the reading stops the other rows shows in their long gaps
    between tokens (`_alone`).

    Args:
        result: of a load with closed loops.
        slots: requests that the server runs at once; found from the loops if left out.

    Raises:
        DeployError: there are no closed loops with answers.
        OptionError: slots cannot be used.
    """
    levels = [one for one in result.closed if one.answers and one.token_rate > 0]
    if not levels:
        raise DeployError(
            "The result has no closed loop with answers, from which a replica's rates follow. Measure some: "
            "%deploy bench ADDRESS --clients 1,4,16"
        )
    if slots is not None and (isinstance(slots, bool) or not 1 <= slots <= MOST_SLOTS):
        raise OptionError(f"--slots is a whole number from 1 to {MOST_SLOTS:,}, not {slots!r:.40}.")
    notes: list[str] = []
    reading = _reading(levels[0])
    seen = _seen(levels, reading)
    found = slots or _slots(levels, seen, notes)
    share = _alone(levels, sum(w.read_s for w in seen) / len(seen), found)
    works = tuple(replace(w, read_s=w.read_s * share, delay_s=w.read_s * (1 - share)) for w in seen)
    service = _fitted(levels, works, found)
    few = [one.level.words() for one in levels if one.answered < FEW]
    if few:
        notes.append(
            f"fewer than {FEW} answers for {', '.join(few)}, so that all of this is rough: measure with a longer --duration"
        )
    if levels[0].level.value > 1:
        notes.append(
            "no loop of one client was measured, so reading holds waits for others as well"
        )
    points = tuple((one.level.value, one.token_rate, _loop(service, one, works)) for one in levels)
    output = sum(o for one in levels for _, o, _, _ in one.answers) / len(works)
    return Capacity(
        service, works, _mean_input(levels), output, reading, share, points, tuple(notes)
    )


def _seen(levels: Sequence[LevelResult], reading: tuple[float, float]) -> tuple[Work, ...]:
    """The requests as they were, all of their reading in the part that stops others.

    Each is read as long as its prompt says, give or take what the times to the first token of the level with the fewest
    clients varied beside that, so that percentiles of forecasts vary as those of the server.
    """
    mean = _mean_input(levels) or 0.0

    def read(tokens: int | None) -> float:
        return reading[0] + reading[1] * (mean if tokens is None else tokens)

    apart = [first - read(tokens) for tokens, _, first, _ in levels[0].answers]
    every = [answer for one in levels for answer in one.answers]
    return tuple(
        Work(max(0.0, read(i) + apart[number % len(apart)]), max(0, o - 1))
        for number, (i, o, _, _) in enumerate(every)
    )


def _reading(level: LevelResult) -> tuple[float, float]:
    """Seconds to begin a request and to read a token, by least squares; without counts all is in the first."""
    import numpy as np
    from scipy.stats import linregress

    first = np.array([a[2] for a in level.answers])
    mean = float(first.mean())
    if any(a[0] is None for a in level.answers):
        return mean, 0.0
    tokens = np.array([float(a[0] or 0) for a in level.answers])
    if len(tokens) < 3 or tokens.min() == tokens.max():
        return mean, 0.0
    slope = max(0.0, float(linregress(tokens, first).slope))
    slope = min(slope, mean / float(tokens.mean()))
    return mean - slope * float(tokens.mean()), slope


def _mean_input(levels: Sequence[LevelResult]) -> float | None:
    known = [float(i) for one in levels for i, *_ in one.answers if i is not None]
    return sum(known) / len(known) if known else None


def _slots(levels: Sequence[LevelResult], works: Sequence[Work], notes: list[str]) -> int:
    """How many requests run at once: as many as were written and read where clients had to wait."""
    read = sum(w.read_s for w in works) / len(works)
    inside = [one.rows + one.request_rate * read for one in levels]
    most, last = max(inside), levels[-1].level.value
    if last > CROWDED * most:
        return max(1, round(most))
    notes.append(
        f"the server ran all {last:.0f} clients at once, so that it may have more slots: measure with more clients, or say --slots"
    )
    return max(1, int(last))


def _alone(levels: Sequence[LevelResult], read_s: float, slots: int) -> float:
    """The share of the reading that stops the other rows, from the long gaps between tokens.

    Of `n` rows that are written on average, the others stand still while one is read, so that the time in long gaps is
    X·share·R·(m-1) a second with X requests a second, R seconds of reading and m slots in use. What of long gaps one client
    sees is noise. Where nothing can be said the whole reading is taken to stop the others, which is the worse case.
    """
    noise = next((one.stalled for one in levels if one.level.value == 1), 0.0)
    seen = could = 0.0
    for one in levels:
        together = min(int(one.level.value), slots)
        if together > 1 and one.itl:
            seen += max(0.0, one.stalled - noise) * one.rows
            could += one.request_rate * read_s * (together - 1)
    most = MOST_READING / max(max(one.request_rate for one in levels) * read_s, 1e-12)
    return min(seen / could if could else 1.0, most, 1.0)


def _fitted(levels: Sequence[LevelResult], works: tuple[Work, ...], slots: int) -> Service:
    """Rates with which simulated loops give the measured tokens a second, by repeated proportion."""
    groups: dict[int, list[LevelResult]] = {}
    for one in levels:
        groups.setdefault(min(int(one.level.value), slots), []).append(one)
    wanted = {n: sum(one.token_rate for one in group) / len(group) for n, group in groups.items()}
    rates = dict(wanted)
    for _ in range(ROUNDS):
        service = Service(_table(rates, slots))
        for n, group in groups.items():
            simulated = _loop(service, group[-1], works)
            rates[n] = min(rates[n] * wanted[n] / simulated, MOST_RATE * wanted[n])
    return Service(_table(rates, slots))


def _table(rates: dict[int, float], slots: int) -> tuple[float, ...]:
    """Rates at every number of rows, with straight lines between the times of the measured steps.

    A step writes one token of each row: the weights are read once, whatever the rows, and each row adds its own part. So its
    time grows by the row, and the rate bends; straight lines between rates would have it too low between few and many.
    """
    import numpy as np

    known = sorted(rates)
    every = np.arange(1, slots + 1)
    # Fewer rows than were measured take the time of those; more have their rate.
    steps = np.interp(every, known, [n / rates[n] for n in known])
    found = np.minimum(every, known[-1]) / steps
    return tuple(float(x) for x in found)


def _loop(service: Service, level: LevelResult, works: tuple[Work, ...]) -> float:
    """Tokens a second of a simulated closed loop, in the time in which all clients ask."""
    clients = int(level.level.value)
    requests = max(REQUESTS, 6 * clients)
    done = simulate_closed(service, clients, drawn(works), requests=requests).done
    # From the first fifth to where some clients have nothing left to ask.
    low, high = len(done) // 5, len(done) - clients
    tokens = sum(d.tokens + 1 for d in done[low + 1 : high + 1])
    lasted = done[min(high, len(done) - 1)].ended - done[low].ended
    return tokens / max(lasted, 1e-12)
