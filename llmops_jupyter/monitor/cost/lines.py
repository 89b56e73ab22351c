"""One line of a report of costs: what the calls of a group took, and how far each figure can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.evaluation.statistics.estimate import Interval
from llmops_jupyter.models.prices import Assumptions, assumptions_of
from llmops_jupyter.monitor.cost.pricing import carbon_of, dollars_of, energy_of
from llmops_jupyter.records import Certainty, Figure, Resources
from llmops_jupyter.records.resources import weakest
from llmops_jupyter.render.quantities import quantity
from llmops_jupyter.tracing.names import MAP_ROWS_SQL

SECONDS = "(s.end_ns - s.start_ns) / 1e9"
# Of a call of its own; rows that were asked together mostly wait for each other.
ALONE = f"CASE WHEN {MAP_ROWS_SQL} = 1 THEN {SECONDS} END"
# What it kept a model from others at most, where nothing says how long that computed.
SHARE = f"({SECONDS} / {MAP_ROWS_SQL})"
# What is summed, with its squares where a mean gets an interval.
SUMS: Mapping[str, str] = {
    "input_tokens": "s.input_tokens",
    "output_tokens": "s.output_tokens",
    "cached_tokens": "s.cached_tokens",
    "seconds": ALONE,
    "busy_s": "s.busy_s",
    "cpu_s": "s.cpu_s",
    "energy_j": "s.energy_j",
    "cost": "s.cost",
}
MEANS = ("input_tokens", "output_tokens", "seconds", "cpu_s", "cost")


@dataclass(frozen=True)
class Mean:
    """The mean of a figure over calls, with the interval that it lies in for calls that are like these.

    `interval` is None for fewer than two calls. Calls are taken as independent of each other.
    """

    value: float
    n: int
    interval: Interval | None


@dataclass(frozen=True)
class CostLine:
    """What the calls of one group took.

    Args:
        name: of the group; "" for all calls together.
        calls: how many there were; `failed` of them ended in an error.
        figures: totals by name: input, output and cached tokens, seconds (of calls of their own), busy and cpu seconds,
            memory (the most that was seen), energy, carbon, dollars. What is not known is missing.
        means: means of a call by column; that of seconds is over calls of their own.
        uncosted: calls of which nothing says what they cost.
        waiting: calls that were rows of a map of several, which wait for each other; they are not in `seconds`.
    """

    name: str
    calls: int
    failed: int
    figures: Mapping[str, Figure]
    means: Mapping[str, Mean]
    uncosted: int
    waiting: int = 0

    def row(self, label: str) -> dict[str, Any]:
        """A line of a table, as text."""
        found: dict[str, Any] = {label: self.name, "calls": f"{self.calls:,}"}
        for name, figure in self.figures.items():
            mark = {"measured": "", "estimated": " ≈", "assumed": " ?"}[figure.source]
            found[name] = f"{quantity(figure.value, figure.unit)}{mark}"
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "calls": self.calls,
            "failed": self.failed,
            "uncosted": self.uncosted,
            "waiting": self.waiting,
            "figures": {k: vars(f) for k, f in self.figures.items()},
            "means": {
                k: {
                    "value": m.value,
                    "n": m.n,
                    "low": None if m.interval is None else m.interval.low,
                    "high": None if m.interval is None else m.interval.high,
                }
                for k, m in self.means.items()
            },
        }


def line_of(name: str, rows: Sequence[Any], confidence: float) -> CostLine:
    """The line of a group, of which there is a row for each model."""

    def total(column: str) -> float:
        return float(sum(row[column] for row in rows))

    def known(column: str) -> int:
        return int(sum(row[f"n_{column}"] for row in rows))

    figures: dict[str, Figure] = {}
    for label, column in (
        ("input", "input_tokens"),
        ("output", "output_tokens"),
        ("cached", "cached_tokens"),
    ):
        if known(column):
            figures[label] = Figure(total(column), "", "measured", "tokens")
    if known("seconds"):
        figures["seconds"] = Figure(total("seconds"), "s", "measured", "from the call to its end")
    shared = any(row["shared"] for row in rows)
    if known("busy_s") or known("cpu_s"):
        peak = max((row["peak"] for row in rows if row["peak"] is not None), default=None)
        taken = Resources(total("busy_s"), total("cpu_s"), peak, shared=shared)
        figures.update(taken.figures())
    money, uncosted = [], 0
    energies, carbon = [], []
    for row in rows:
        energy, parts, missing = _priced(row)
        money += parts
        uncosted += missing
        if energy is not None:
            energies.append(energy)
            grams = carbon_of(energy, _assumed(row))
            carbon += [] if grams is None else [grams]
    for label, parts in (("energy", energies), ("carbon", carbon), ("dollars", money)):
        if parts:
            figures[label] = _sum(parts)
    means = {c: _mean(rows, c, confidence) for c in MEANS if known(c)}
    calls = int(sum(row["calls"] for row in rows))
    waiting = int(total("waiting"))
    return CostLine(name, calls, int(total("failed")), figures, means, uncosted, waiting)


def _priced(row: Any) -> tuple[Figure | None, list[Figure], int]:
    """Energy and dollars of the calls of one model, and how many have no price."""
    assumed = _assumed(row)
    here = int(row["here"])
    seconds = row["busy_s"] + row["unmetered_s"]
    energies = []
    if row["n_energy_j"]:
        source: Certainty = "estimated" if row["guessed"] else "measured"
        taken = Resources(
            energy_j=row["energy_j"], shared=bool(row["shared"]), energy_source=source
        )
        energies.append(taken.figures()["energy"])
    left = row["uncounted_s"] + row["unmetered_s"]
    if left and (guess := energy_of(left, None, assumed)) is not None:
        energies.append(guess)
    energy = _sum(energies) if energies else None
    money = []
    if row["n_cost"]:
        note = "tokens by the table of prices"
        money.append(Figure(row["cost"], "$", "estimated", note))
    uncosted = int(row["calls"] - row["n_cost"])
    if here and (dollars := dollars_of(seconds, energy, assumed)) is not None:
        money.append(dollars)
        uncosted -= here
    return energy, money, max(0, uncosted)


def _assumed(row: Any) -> Assumptions | None:
    return assumptions_of(row["model"] or "") if row["here"] else None


def _sum(parts: Sequence[Figure]) -> Figure:
    notes = "; ".join(dict.fromkeys(part.note for part in parts if part.note))
    source = weakest([part.source for part in parts])
    return Figure(sum(part.value for part in parts), parts[0].unit, source, notes)


def _mean(rows: Sequence[Any], column: str, confidence: float) -> Mean:
    """The mean with Student's interval, from sums and sums of squares."""
    from scipy.stats import t

    n = int(sum(row[f"n_{column}"] for row in rows))
    total = float(sum(row[column] for row in rows))
    squares = float(sum(row[f"q_{column}"] for row in rows))
    value = total / n
    if n < 2:
        return Mean(value, n, None)
    variance = max(0.0, squares - n * value * value) / (n - 1)
    half = float(t.ppf(0.5 + confidence / 2, n - 1)) * math.sqrt(variance / n)
    return Mean(value, n, Interval(max(0.0, value - half), value + half, confidence, "t"))
