"""What one replica can do, from the closed loops that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmops_jupyter.deploy.sizing.figures import LevelResult
from llmops_jupyter.deploy.sizing.queueing import Draw, Service, Work, drawn, simulate_closed
from llmops_jupyter.deploy.sizing.result import LoadResult
from llmops_jupyter.errors import DeployError, OptionError

ROUNDS, REQUESTS = 8, 600
# A closed loop whose clients wait for slots shows how many there are.
CROWDED = 1.5
# Reading is not let take more of the time than this: read alone, prompts take longer than in a batch.
MOST_READING = 0.9
MOST_SLOTS = 4096


@dataclass(frozen=True)
class Capacity:
    """A replica as it was measured.

    Args:
        service: reading and writing.
        works: requests as they were seen.
        input_tokens: of a prompt, on average; None if not known.
        output_tokens: of an answer, on average.
        points: clients, tokens a second as measured, and as the simulation has them.
        notes: what to know of it.
    """

    service: Service
    works: tuple[Work, ...]
    input_tokens: float | None
    output_tokens: float
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
    both, so nothing is counted twice.

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
    read_s, read_token_s = _reading(levels[0])
    mean_input = _mean_input(levels)
    most = max(one.request_rate * (read_s + read_token_s * (mean_input or 0.0)) for one in levels)
    if most > MOST_READING:
        read_s, read_token_s = (x * MOST_READING / most for x in (read_s, read_token_s))
        notes.append(
            "prompts are read faster together than alone, so their reading was taken as shorter"
        )
    works = tuple(
        Work(read_s + read_token_s * (i if i is not None else (mean_input or 0.0)), max(0, o - 1))
        for one in levels
        for i, o, _, _ in one.answers
    )
    found = slots or _slots(levels, works, notes)
    service, points = _fitted(levels, works, found, Service((1.0,), read_s, read_token_s))
    if levels[0].level.value > 1:
        notes.append(
            "no loop of one client was measured, so reading holds waits for others as well"
        )
    output = sum(o for one in levels for _, o, _, _ in one.answers) / len(works)
    return Capacity(service, works, mean_input, output, points, tuple(notes))


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


def _fitted(
    levels: Sequence[LevelResult], works: tuple[Work, ...], slots: int, begun: Service
) -> tuple[Service, tuple[tuple[float, float, float], ...]]:
    """Rates with which simulated loops give the measured tokens a second, by repeated proportion."""
    groups: dict[int, list[LevelResult]] = {}
    for one in levels:
        groups.setdefault(min(int(one.level.value), slots), []).append(one)
    rates = {n: max(one.token_rate for one in group) for n, group in groups.items()}
    wanted = {n: sum(one.token_rate for one in group) / len(group) for n, group in groups.items()}
    simulated: dict[int, float] = {}
    for _ in range(ROUNDS):
        service = replace(begun, rates=_table(rates, slots))
        for n, group in groups.items():
            simulated[n] = _throughput(service, int(group[-1].level.value), works)
            rates[n] = min(rates[n] * wanted[n] / simulated[n], 50 * wanted[n])
    service = replace(begun, rates=_table(rates, slots))
    points = tuple(
        (
            one.level.value,
            one.token_rate,
            _throughput(service, int(one.level.value), works),
        )
        for one in levels
    )
    return service, points


def _table(rates: dict[int, float], slots: int) -> tuple[float, ...]:
    """Rates at every number of rows: straight lines between the measured ones."""
    import numpy as np

    known = sorted(rates)
    every = np.arange(1, slots + 1)
    found = np.interp(every, known, [rates[n] for n in known])
    # Fewer rows than were measured share no more than their part.
    few = every < known[0]
    found[few] *= every[few] / known[0]
    return tuple(float(x) for x in found)


def _throughput(service: Service, clients: int, works: tuple[Work, ...]) -> float:
    """Tokens a second of a simulated closed loop, after its first fifth."""
    requests = max(REQUESTS, 6 * clients)
    trace = simulate_closed(service, clients, drawn(works), requests=requests)
    ends = [d.ended for d in trace.done]
    # While all clients ask: from the first fifth to where some have nothing left to ask.
    low, high = len(ends) // 5, len(ends) - clients
    tokens = sum(d.tokens + 1 for d in trace.done[low + 1 : high + 1])
    return tokens / max(ends[min(high, len(ends) - 1)] - ends[low], 1e-12)
