"""How many replicas a load needs, and what a million tokens cost then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.sizing.capacity import Capacity, capacity_of
from llmops_jupyter.deploy.sizing.forecast import Check, Forecast, checks, forecast
from llmops_jupyter.deploy.sizing.load import Limits
from llmops_jupyter.deploy.sizing.queueing import ROUTES
from llmops_jupyter.deploy.sizing.result import LoadResult
from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.models.prices import MILLION, Assumptions, Price, price_of
from llmops_jupyter.monitor.cost.pricing import dollars_of, energy_of
from llmops_jupyter.records import Figure
from llmops_jupyter.render.html import bundle, escaped, table_html, text_table

if TYPE_CHECKING:
    from llmops_jupyter.deploy.sizing.plots import GuidePlot

# Without limits, replicas are to do no more than this share of what they can.
CALM = 0.8
# Replicas that do less than this share of what they can and yet are not enough: more of them change nothing.
IDLE = 0.3
MOST_REPLICAS = 256
MORE = 2
SHARE = 0.95


# Percentiles in tables.
SHOWN = ("p50", "p95")


@dataclass(frozen=True)
class Option:
    """A number of replicas.

    Args:
        replicas: how many.
        forecast: of the load on them; None where it is more than they can do.
        enough: whether the limits are kept by 95% of the requests.
        cost: of a million tokens of answers; None where nothing says.
    """

    replicas: int
    forecast: Forecast | None
    enough: bool
    cost: Figure | None

    def row(self) -> dict[str, Any]:
        """For people."""
        row: dict[str, Any] = {"replicas": str(self.replicas)}
        if self.forecast is None:
            row.update({"load": "too much", "enough": "no"})
            return row
        row["load"] = f"{self.forecast.utilisation:.0%}"
        for name, values in (
            ("first token", self.forecast.ttft),
            ("latency", self.forecast.latency),
        ):
            row.update({f"{name} {s}": values[s].words() for s in SHOWN if s in values})
        if "p95" in self.forecast.tpot:
            row["token to token p95"] = self.forecast.tpot["p95"].words()
        if self.forecast.good is not None:
            row["good"] = f"{self.forecast.good:.1%}"
        row["enough"] = "yes" if self.enough else "no"
        if self.cost is not None:
            row["$ per million tokens"] = str(self.cost)
        return row


@dataclass(frozen=True)
class Guide:
    """What a load needs.

    Args:
        result: that it rests on.
        capacity: of a replica, fitted to it.
        rate: requests a second.
        limits: that 95% of the requests are to keep.
        options: numbers of replicas.
        checks: forecasts beside what was measured.
        alone: what a million tokens cost on one replica that is always full.
        route: how requests find a replica.
    """

    result: LoadResult
    capacity: Capacity
    rate: float
    limits: Limits
    options: Sequence[Option]
    checks: Sequence[Check]
    alone: Figure | None
    route: str = "least"

    @property
    def needed(self) -> int | None:
        """The fewest replicas that are enough; None if none of those looked at are."""
        return next((one.replicas for one in self.options if one.enough), None)

    @property
    def plot(self) -> GuidePlot:
        """Time to the first token and how busy replicas are, by their number."""
        from llmops_jupyter.deploy.sizing.plots import GuidePlot

        return GuidePlot(self)

    @property
    def error(self) -> float | None:
        """The middle of the sizes of the forecasts' errors; None if no open loop was measured."""
        import statistics

        sizes = [abs(one.error) for one in self.checks if not math.isnan(one.error)]
        return statistics.median(sizes) if sizes else None

    def title(self) -> str:
        """The answer on one line."""
        what = f"{self.rate:g} requests/s" + (
            f" with {said}" if (said := self.limits.words()) else ""
        )
        if self.needed is None:
            if _idle(self.options[-1]):
                return f"{what}: no number of replicas is enough, for one that is hardly busy keeps the limits as little"
            return f"{what}: no number of replicas that was looked at is enough"
        many = "replica is" if self.needed == 1 else "replicas are"
        return f"{what}: {self.needed} {many} enough (estimated)"

    def figures(self) -> dict[str, Figure]:
        """What one replica does, each figure with what it stands on."""
        service = self.capacity.service
        measured = max(tokens for _, tokens, _ in self.capacity.points)
        found = {
            "tokens/s": Figure(measured, "tok/s", "measured", "the best closed loop"),
            "requests/s at most": Figure(
                self.capacity.request_rate, "", "estimated", "all slots in use"
            ),
            "slots": Figure(service.slots, "", "estimated", "requests that run at once"),
            "reading": Figure(
                self.capacity.reading[1] * 1e3, "ms a token", "estimated", "first token, one client"
            ),
        }
        if self.alone is not None:
            found["$ per million tokens, always full"] = self.alone
        return found

    def notes(self) -> list[str]:
        """What to know of it."""
        said = [
            (
                f"one replica: {self.capacity.request_rate:.2f} requests/s at most, {self.capacity.service.slots} at once, "
                f"answers of {self.capacity.output_tokens:.0f} tokens (estimated from the closed loops of {self.result.title()})"
            )
        ]
        if self.error is None:
            said.append(
                "not checked: no open loop was measured. %deploy bench ADDRESS --clients 1,4,16 --rate R measures one"
            )
        else:
            inside = sum(one.inside for one in self.checks)
            said.append(
                f"checked against the measured open loops: errors of {self.error:.0%} in the middle, {inside} of "
                f"{len(self.checks)} figures where 95% of simulated runs have them"
            )
        said += self.capacity.notes
        if self.limits == Limits():
            said.append(
                f"no limits were given: enough is where replicas do at most {CALM:.0%} of what they can"
            )
        if self.alone is None:
            said.append(
                "no cost: say --watts and --dollars-per-kwh, or --dollars-per-hour, or write them into prices.json"
            )
        return said

    def rows(self) -> list[dict[str, Any]]:
        """One row for each number of replicas."""
        return [one.row() for one in self.options]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "rate": self.rate,
            "limits": asdict(self.limits),
            "needed": self.needed,
            "route": self.route,
            "options": [asdict(one) for one in self.options],
            "checks": [{**asdict(c), "error": c.error, "within": c.inside} for c in self.checks],
            "figures": {name: asdict(figure) for name, figure in self.figures().items()},
            "notes": self.notes(),
        }

    def _tables(self) -> list[list[dict[str, Any]]]:
        return [rows for rows in (self.rows(), [c.row() for c in self.checks]) if rows]

    def __str__(self) -> str:
        tables = [text_table(rows, _columns(rows)) for rows in self._tables()]
        return "\n".join([self.title(), *tables, *self.notes()])

    def __repr__(self) -> str:
        return f"Guide({self.title()})"

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        tables = "".join(table_html(rows, _columns(rows)) for rows in self._tables())
        words = "".join(f"<p><small>{escaped(n)}</small></p>" for n in self.notes())
        shown = f"<p>{escaped(self.title())}</p>{tables}{words}"
        return bundle(str(self), shown)


def guide(
    result: LoadResult,
    rate: float,
    limits: Limits,
    *,
    assumed: Assumptions | None = None,
    slots: int | None = None,
    replicas: int | None = None,
    route: str = "least",
) -> Guide:
    """Find how many replicas a load needs.

    Args:
        result: of a load with closed loops; its open loops check the forecasts.
        rate: requests a second.
        limits: that 95% of the requests are to keep.
        assumed: what a replica's machine draws and costs.
        slots: requests that a replica runs at once; found from the loops if left out.
        replicas: only this many; the fewest that are enough, and some more, if left out.
        route: how requests find a replica: 'least', 'random' or 'round'.

    Raises:
        OptionError: one of them cannot be used.
        DeployError: there are no closed loops with answers.
    """
    if route not in ROUTES:
        raise OptionError(
            f"There is no route {route!r:.40}.{did_you_mean(str(route), ROUTES)} Choose one of {', '.join(ROUTES)}."
        )
    if not 0 < rate < math.inf:
        raise OptionError(f"--rate is a number of requests a second above 0, not {rate!r:.40}.")
    if replicas is not None and not 1 <= replicas <= MOST_REPLICAS:
        raise OptionError(f"--replicas is from 1 to {MOST_REPLICAS}, not {replicas!r:.40}.")
    capacity = capacity_of(result, slots)
    least = math.floor(rate / capacity.request_rate) + 1
    if replicas is None and least > MOST_REPLICAS:
        raise OptionError(
            f"{rate:g} requests/s need at least {least:,} replicas of {capacity.request_rate:.2g} requests/s; simulations go up to "
            f"{MOST_REPLICAS}. Give a lower --rate."
        )
    price = price_of(Endpoint(result.url, result.model))
    options: list[Option] = []
    count = replicas or max(1, least - 1)
    while len(options) < 12 and count <= MOST_REPLICAS:
        options.append(_option(capacity, rate, count, limits, route, assumed, price))
        enough = sum(one.enough for one in options)
        if replicas is not None or enough > MORE or (not enough and _idle(options[-1])):
            break
        # Limits that one more replica does not reach are looked for in larger steps.
        count += 1 if enough or len(options) < 4 else max(1, count // 3)
    checked = checks(capacity, result.open, result.load.warmup_s)
    alone = _alone(capacity, assumed, price)
    return Guide(result, capacity, rate, limits, options, checked, alone, route)


def _idle(option: Option) -> bool:
    return option.forecast is not None and option.forecast.utilisation < IDLE


def _option(
    capacity: Capacity,
    rate: float,
    count: int,
    limits: Limits,
    route: str,
    assumed: Assumptions | None,
    price: Price | None,
) -> Option:
    if rate >= count * capacity.request_rate:
        return Option(count, None, enough=False, cost=None)
    made = forecast(capacity, rate, count, limits, route=route)
    enough = made.utilisation <= CALM if made.good is None else made.good >= SHARE
    tokens = rate * capacity.output_tokens
    return Option(count, made, enough, _cost(capacity, assumed, price, tokens, count, made.busy))


def _alone(capacity: Capacity, assumed: Assumptions | None, price: Price | None) -> Figure | None:
    tokens = max(measured for _, measured, _ in capacity.points)
    return _cost(capacity, assumed, price, tokens, 1, 1.0)


def _cost(
    capacity: Capacity,
    assumed: Assumptions | None,
    price: Price | None,
    tokens_a_second: float,
    replicas: int,
    busy: float,
) -> Figure | None:
    """Dollars of a million tokens of answers: what machines cost in a second, by what they write in one.

    An hour of a machine is paid whether it is busy or not, electricity for the time in which it computes.
    """
    if price is not None:
        share = (capacity.input_tokens or 0.0) / max(capacity.output_tokens, 1e-9)
        dollars = price.output + share * price.input
        return Figure(dollars, "$", "estimated", f"prices of {price.date}, prompts included")
    if assumed is None:
        return None
    hourly = Assumptions(dollars_per_hour=assumed.dollars_per_hour)
    parts = [dollars_of(replicas, None, hourly)]
    power = Assumptions(
        watts=assumed.watts, dollars_per_kwh=assumed.dollars_per_kwh, date=assumed.date
    )
    parts.append(dollars_of(0.0, energy_of(replicas * busy, None, power), power))
    known = [part.value for part in parts if part is not None]
    if not known:
        return None
    return Figure(sum(known) / tokens_a_second * MILLION, "$", "assumed", assumed.note())


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    widest = max(rows, key=len)
    return list(dict.fromkeys(name for row in (widest, *rows) for name in row))
