"""What calls cost in dollars, joules and carbon dioxide, and how far each figure can be trusted.

Dollars of an endpoint follow from its tokens and a dated table of prices: estimated, since the bill is the
provider's. On this machine they follow from what the user says of watts and prices: assumed. Joules are measured where
a counter was read, and else assumed: the seconds that the model computed times the watts that the user gives.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmops_jupyter.engine.energy import readable
from llmops_jupyter.engine.protocol import Engine, Finished
from llmops_jupyter.engine.replay import live_engine
from llmops_jupyter.models.prices import (
    KILOWATT_HOUR_J,
    Assumptions,
    Price,
    assumptions_of,
    price_of,
)
from llmops_jupyter.records import Figure, Resources


@dataclass(frozen=True)
class Rates:
    """What is known of a model's cost.

    Args:
        price: of an endpoint's tokens.
        assumed: what the user says of a model on this machine.
        counted: whether energy is counted here.
    """

    price: Price | None = None
    assumed: Assumptions | None = None
    counted: bool = False

    @property
    def watts(self) -> float | None:
        return None if self.assumed is None else self.assumed.watts

    @property
    def dollars_a_second(self) -> float | None:
        return None if self.assumed is None else self.assumed.dollars_a_second()

    def joules(self, finished: Finished) -> float | None:
        """Energy of a call: as counted, else as assumed."""
        figure = energy_of(seconds_of(finished), finished.resources, self.assumed)
        return None if figure is None else figure.value

    def dollars(self, finished: Finished) -> float | None:
        """Cost of a call: as priced, else as assumed."""
        if finished.cost is not None:
            return finished.cost
        energy = energy_of(seconds_of(finished), finished.resources, self.assumed)
        figure = dollars_of(seconds_of(finished), energy, self.assumed)
        return None if figure is None else figure.value


def rates_of(engine: Engine) -> Rates:
    """What is known of the cost of an engine's model; a replayed one costs what it did."""
    endpoint = getattr(live_engine(engine), "endpoint", None)
    if endpoint is not None:
        return Rates(price=price_of(endpoint))
    return Rates(assumed=assumptions_of(engine.model_name), counted=readable())


def seconds_of(finished: Finished) -> float:
    """Seconds that the model computed for a call; its whole time where that is not known."""
    taken = finished.resources
    return finished.timing.total_s if taken is None or taken.busy_s is None else taken.busy_s


def energy_of(
    seconds: float, taken: Resources | None, assumed: Assumptions | None
) -> Figure | None:
    """The energy of calls that computed so long; None where nothing says."""
    if taken is not None and taken.energy_j is not None:
        return taken.figures()["energy"]
    if assumed is None or assumed.watts is None:
        return None
    return Figure(seconds * assumed.watts, "J", "assumed", f"seconds computed × {assumed.note()}")


def dollars_of(seconds: float, energy: Figure | None, assumed: Assumptions | None) -> Figure | None:
    """What calls on this machine cost that computed so long; None where nothing says."""
    if assumed is None:
        return None
    parts = []
    if assumed.dollars_per_hour is not None:
        parts.append(seconds / 3600 * assumed.dollars_per_hour)
    if energy is not None and assumed.dollars_per_kwh is not None:
        parts.append(energy.value / KILOWATT_HOUR_J * assumed.dollars_per_kwh)
    return Figure(sum(parts), "$", "assumed", assumed.note()) if parts else None


def carbon_of(energy: Figure | None, assumed: Assumptions | None) -> Figure | None:
    """Carbon dioxide of energy, by the grid that the user gives; in grams."""
    if energy is None or assumed is None or assumed.grams_per_kwh is None:
        return None
    grams = energy.value / KILOWATT_HOUR_J * assumed.grams_per_kwh
    return Figure(grams, "g", "assumed", assumed.note())
