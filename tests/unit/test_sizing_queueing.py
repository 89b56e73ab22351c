"""The simulated queue against what theory says of it."""

from __future__ import annotations

import math
import random

import pytest

from llmops_jupyter.deploy.sizing.queueing import (
    Service,
    Work,
    drawn,
    simulate_closed,
    simulate_open,
)
from llmops_jupyter.errors import OptionError


def exponential(source: random.Random) -> Work:
    return Work(0.0, source.expovariate(1.0))


def mean_time(trace):
    kept = trace.done[len(trace.done) // 10 :]
    return sum(d.ended - d.arrived for d in kept) / len(kept)


def mean_wait(trace):
    kept = trace.done[len(trace.done) // 10 :]
    return sum(d.first - d.arrived for d in kept) / len(kept)


def erlang_c(c, offered):
    """Probability that an arrival waits in M/M/c."""
    top = offered**c / math.factorial(c) / (1 - offered / c)
    return top / (sum(offered**k / math.factorial(k) for k in range(c)) + top)


# Neighbours in a queue wait alike, so the mean of a run varies; these are four of its standard deviations.
@pytest.mark.parametrize(
    ("load", "requests", "within"), [(0.3, 40_000, 0.05), (0.6, 40_000, 0.11), (0.8, 160_000, 0.14)]
)
def test_one_slot_is_the_queue_m_m_1(load, requests, within):
    trace = simulate_open(Service((1.0,)), load, exponential, requests=requests, seed=1)
    assert mean_time(trace) == pytest.approx(1 / (1 - load), rel=within)
    assert mean_wait(trace) == pytest.approx(load / (1 - load), rel=2 * within)
    assert trace.utilisation == pytest.approx(load, abs=0.02)


@pytest.mark.parametrize(("c", "rate"), [(2, 1.4), (4, 3.0)])
def test_rows_that_do_not_slow_each_other_are_the_queue_m_m_c(c, rate):
    service = Service(tuple(float(n) for n in range(1, c + 1)))
    trace = simulate_open(service, rate, exponential, requests=40_000, seed=2)
    assert mean_wait(trace) == pytest.approx(erlang_c(c, rate) / (c - rate), rel=0.1)


@pytest.mark.parametrize(
    "draw",
    [
        exponential,
        lambda source: Work(0.0, 1.0),
        lambda source: Work(0.0, 0.1 if source.random() < 0.9 else 9.1),
    ],
)
def test_rows_that_share_a_fixed_rate_take_as_long_whatever_their_lengths_vary(draw):
    # Processor sharing is insensitive: the mean depends on the load alone.
    trace = simulate_open(Service((1.0,) * 400), 0.6, draw, requests=40_000, seed=3)
    assert mean_time(trace) == pytest.approx(1 / (1 - 0.6), rel=0.1)


def test_requests_of_fixed_length_wait_half_as_long_in_line():
    # Pollaczek and Khinchine: W = ρ/(2(1-ρ)) for M/D/1.
    trace = simulate_open(Service((1.0,)), 0.7, lambda _: Work(1.0, 0.0), requests=40_000, seed=4)
    waits = [d.first - 1.0 - d.arrived for d in trace.done]
    assert sum(waits) / len(waits) == pytest.approx(0.7 / (2 * 0.3), rel=0.08)


def test_what_is_inside_is_the_rate_times_the_time():
    service = Service((1.0, 1.6, 2.0))
    trace = simulate_open(service, 1.2, exponential, requests=30_000, seed=5)
    every = sum(d.ended - d.arrived for d in trace.done)
    assert trace.inside == pytest.approx(every / trace.lasted, rel=1e-6)


def test_reading_stops_the_rows_and_a_delay_does_not():
    works = iter([Work(0.0, 10.0), Work(2.0, 10.0)])
    stopped = simulate_closed(Service((1.0, 2.0)), 2, lambda _: next(works), requests=2)
    assert [d.ended for d in stopped.done] == [12.0, 12.0]
    works = iter([Work(0.0, 10.0), Work(0.0, 10.0, 2.0)])
    beside = simulate_closed(Service((1.0, 2.0)), 2, lambda _: next(works), requests=2)
    assert [d.ended for d in beside.done] == [10.0, 12.0]
    assert [d.first for d in beside.done] == [0.0, 2.0]


def test_a_slot_is_held_from_the_reading_to_the_last_token():
    trace = simulate_closed(Service((1.0,)), 3, lambda _: Work(0.5, 1.0, 0.5), requests=3)
    assert [d.ended for d in trace.done] == [2.0, 4.0, 6.0]


@pytest.mark.parametrize("route", ["least", "random", "round"])
def test_more_replicas_wait_less_and_are_less_busy(route):
    one, four = (
        simulate_open(
            Service((1.0,)), 0.8, exponential, replicas=n, requests=8_000, route=route, seed=6
        )
        for n in (1, 4)
    )
    assert mean_wait(four) < mean_wait(one)
    assert four.utilisation == pytest.approx(0.2, abs=0.03)


def test_the_shortest_queue_is_better_than_chance():
    waits = {
        route: mean_wait(
            simulate_open(
                Service((1.0,)), 3.2, exponential, replicas=4, requests=20_000, route=route
            )
        )
        for route in ("least", "random")
    }
    assert waits["least"] < waits["random"] / 2


def test_the_same_seed_is_the_same_run():
    def run(seed):
        return simulate_open(Service((1.0, 1.5)), 1.0, exponential, requests=500, seed=seed).done

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_replica_answers_no_more_than_its_capacity_says():
    service, works = Service((10.0, 16.0)), [Work(0.1, 20.0), Work(0.3, 40.0)]
    trace = simulate_closed(service, 2, drawn(works), requests=4_000)
    assert len(trace.done) / trace.lasted == pytest.approx(service.capacity(works), rel=0.05)


@pytest.mark.parametrize(
    "given", [{"rate": 0.0}, {"rate": float("inf")}, {"replicas": 0}, {"route": "nearest"}]
)
def test_a_load_that_is_none_is_refused(given):
    values = {"rate": 1.0, **given}
    with pytest.raises(OptionError):
        simulate_open(Service((1.0,)), values.pop("rate"), exponential, **values)
