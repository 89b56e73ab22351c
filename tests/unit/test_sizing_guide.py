"""How many replicas: capacities that are found again, forecasts, costs."""

from __future__ import annotations

import random

import pytest

from llmops_jupyter.deploy.sizing.calling import Call
from llmops_jupyter.deploy.sizing.capacity import capacity_of
from llmops_jupyter.deploy.sizing.figures import figures
from llmops_jupyter.deploy.sizing.guide import guide
from llmops_jupyter.deploy.sizing.load import Level, Limits, Load
from llmops_jupyter.deploy.sizing.measuring import Raw
from llmops_jupyter.deploy.sizing.queueing import Service, Work
from llmops_jupyter.deploy.sizing.result import LoadResult
from llmops_jupyter.errors import DeployError, OptionError
from llmops_jupyter.models.prices import Assumptions

BATCHING = Service((20.0, 36.0, 48.0, 56.0))
SERIAL = Service((40.0,))


def work(share):
    """Requests of 100 to 200 tokens read in 1 ms each, and some 20 written; `share` of the reading stops others."""

    def draw(source: random.Random) -> Work:
        read = 0.05 + 0.001 * source.randrange(100, 200)
        return Work(read * share, source.randrange(10, 30), read * (1 - share))

    return draw


def token_by_token(service, draw, arrivals, again, until):
    """A server with continuous batching that is counted through token by token: calls as a generator would see them."""
    source = random.Random(9)
    coming, rows, pending, calls, now = sorted(arrivals), [], [], [], 0.0
    while now < until and (coming or rows or pending):
        if coming and coming[0] <= now and len(rows) + len(pending) < service.slots:
            due, asked = coming.pop(0), draw(source)
            now += asked.read_s
            pending.append((now + asked.delay_s, due, asked.tokens))
        for one in [p for p in pending if p[0] <= now]:
            pending.remove(one)
            rows.append([one[1], one[2], [max(now, one[0]) - one[1]]])
        if not rows:
            now = min([p[0] for p in pending] + coming[:1] * (not pending) + [until])
            continue
        now += len(rows) / service.rates[len(rows) - 1]
        for row in list(rows):
            row[2].append(now - row[0])
            row[1] -= 1
            if row[1] == 0:
                rows.remove(row)
                due, _, pieces = row
                calls.append(
                    Call(due, due, pieces[0], pieces[-1], pieces, len(pieces), counted=True)
                )
                if again:
                    coming.append(now)
    return calls


def measured(service, share, clients=(1, 2, 4, 8), rates=(), seconds=300.0):
    """What a generator would have seen of such a server."""
    levels = [Level("closed", n) for n in clients] + [Level("open", r) for r in rates]
    load = Load(tuple(levels), duration_s=seconds, warmup_s=10.0)
    found, end = [], seconds + 10
    for level in levels:
        arrivals, at = [0.0] * int(level.value), 0.0
        if level.kind == "open":
            source, arrivals = random.Random(9), []
            while (at := at + source.expovariate(level.value)) < end:
                arrivals.append(at)
        closed = level.kind == "closed"
        calls = token_by_token(
            service, work(share), arrivals, closed, end if closed else float("inf")
        )
        found.append(figures(level, Raw(calls, lasted=end), load))
    return LoadResult("fake", "http://localhost/v1", "fake", load, found, "ok", "2026-01-01", {})


def test_the_rates_of_a_server_that_batches_are_found_again():
    capacity = capacity_of(measured(BATCHING, 1.0))
    assert capacity.service.slots == 4
    assert capacity.service.rates == pytest.approx(BATCHING.rates, rel=0.2)
    assert capacity.alone == pytest.approx(1.0, abs=0.25)
    for _, seen, simulated in capacity.points:
        assert simulated == pytest.approx(seen, rel=0.1)


def test_rates_between_those_that_were_measured_bend_as_steps_do():
    # A step that takes 20 ms and 5 more for each row, seen with few clients only.
    steps = Service(tuple(n / (0.02 + 0.005 * n) for n in range(1, 17)))
    capacity = capacity_of(measured(steps, 0.0, clients=(1, 4, 16)))
    assert capacity.service.rates == pytest.approx(steps.rates, rel=0.06)


def test_reading_beside_the_rows_is_told_from_reading_that_stops_them():
    assert capacity_of(measured(BATCHING, 0.0)).alone <= 0.25


def test_a_server_that_takes_one_at_a_time_is_seen_to():
    assert capacity_of(measured(SERIAL, 1.0)).service.slots == 1


def test_forecasts_of_the_measured_loads_are_near_them():
    made = guide(measured(BATCHING, 1.0, rates=(0.8, 1.2)), 1.0, Limits(1.0))
    assert len(made.checks) == 8
    assert made.error < 0.15
    assert "errors of" in " ".join(made.notes())


def test_more_load_needs_more_replicas_and_limits_are_kept():
    result = measured(BATCHING, 1.0)
    needed = [guide(result, rate, Limits(0.6)).needed for rate in (0.5, 3.0, 8.0)]
    assert needed == sorted(needed)
    assert needed[0] == 1
    assert needed[-1] >= 4
    made = guide(result, 3.0, Limits(0.6))
    best = next(one for one in made.options if one.enough)
    assert best.forecast.good >= 0.95
    assert [one.replicas for one in made.options if one.forecast is None]
    assert "too much" in str(made)


def test_limits_that_an_idle_replica_misses_need_no_number():
    made = guide(measured(BATCHING, 1.0), 0.5, Limits(0.01))
    assert made.needed is None
    assert "hardly busy" in made.title()


def test_without_limits_replicas_are_to_be_calm():
    made = guide(measured(BATCHING, 1.0), 1.5, Limits())
    best = next(one for one in made.options if one.enough)
    assert best.forecast.utilisation <= 0.8
    assert "no limits were given" in str(made)


def test_a_million_tokens_cost_what_the_machines_cost_meanwhile():
    result = measured(BATCHING, 1.0)
    hourly = Assumptions(dollars_per_hour=0.36)
    made = guide(result, 1.0, Limits(), assumed=hourly, replicas=2)
    tokens = 1.0 * made.capacity.output_tokens
    assert made.options[0].cost.value == pytest.approx(2 * 0.0001 / tokens * 1e6)
    assert made.options[0].cost.source == "assumed"
    power = Assumptions(watts=100, dollars_per_kwh=0.36)
    made = guide(result, 1.0, Limits(), assumed=power, replicas=2)
    busy = made.options[0].forecast.busy
    dollars = 2 * busy * 100 / 3.6e6 * 0.36
    assert made.options[0].cost.value == pytest.approx(dollars / tokens * 1e6)
    assert "no cost" in str(guide(result, 1.0, Limits(), replicas=1))
    assert made.figures()["tokens/s"].source == "measured"
    assert made.figures()["slots"].source == "estimated"


def test_the_guide_shows_itself():
    made = guide(measured(BATCHING, 1.0), 1.0, Limits(1.0))
    assert "<table" in made._repr_mimebundle_()["text/html"]
    assert made.plot._repr_png_().startswith(b"\x89PNG")
    assert made.as_dict()["needed"] == made.needed


@pytest.mark.parametrize(
    "given",
    [{"rate": 0}, {"rate": 1e9}, {"replicas": 0}, {"route": "nearest"}, {"slots": 0}],
)
def test_a_size_that_cannot_be_asked_for_is_refused(given):
    values = {"rate": 1.0, **given}
    with pytest.raises(OptionError):
        guide(measured(BATCHING, 1.0, clients=(1,)), values.pop("rate"), Limits(), **values)


def test_without_closed_loops_nothing_is_said():
    with pytest.raises(DeployError, match="--clients"):
        guide(measured(BATCHING, 1.0, clients=(), rates=(1.0,)), 1.0, Limits())
