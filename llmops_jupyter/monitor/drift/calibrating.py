"""How often a check of this size alarms on the baseline's own rows, and how often it finds changes that were planted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.evaluation.statistics import rate
from llmops_jupyter.monitor.drift.comparing import Feature, alone, blocks
from llmops_jupyter.monitor.drift.report import NUMBER, TEXT, Measured
from llmops_jupyter.monitor.drift.sample import Sample
from llmops_jupyter.monitor.drift.statistics.clouds import cloud_from, squared_distances
from llmops_jupyter.monitor.drift.statistics.clusters import clusters_of
from llmops_jupyter.monitor.drift.statistics.counting import count_statistics, number_bins
from llmops_jupyter.monitor.drift.statistics.units import Units, p_value
from llmops_jupyter.monitor.drift.vectors import weighted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOWS, TRIALS = 200, 30
SHARES, SHIFTS = (0.1, 0.2, 0.4), (0.25, 0.5, 1.0)
TOPICS, MOST_UNITS = 8, 1_000


@dataclass(frozen=True)
class Calibration:
    """What was measured on a baseline for windows of a size.

    Args:
        false_alarms: of windows that were drawn from it.
        consecutive: alarms of its windows in their order.
        power: how often planted changes were found.
        tried: the windows, in words: '100 rows', '20 sessions'.
        instead: why they are smaller than the one that was checked; '' if they are not.
    """

    false_alarms: Measured
    consecutive: Measured
    power: tuple[Measured, ...]
    tried: str = ""
    instead: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "false_alarms": vars(self.false_alarms),
            "consecutive": vars(self.consecutive),
            "power": [vars(one) for one in self.power],
            "tried": self.tried,
            "instead": self.instead,
        }

    @classmethod
    def of(cls, kept: Any) -> Calibration:
        """What `as_dict` made."""
        power = tuple(Measured(**one) for one in kept["power"])
        alarms, runs = Measured(**kept["false_alarms"]), Measured(**kept["consecutive"])
        return cls(alarms, runs, power, kept["tried"], kept["instead"])


def measured(what: str, outcomes: Sequence[bool]) -> Measured:
    """A rate with its exact interval."""
    if not outcomes:
        return Measured(what, 0, 0, 0.0, 1.0)
    found = rate([int(one) for one in outcomes], method="clopper-pearson")
    return Measured(what, sum(outcomes), len(outcomes), found.interval.low, found.interval.high)


def calibrate(
    sample: Sample, features: Sequence[Feature], size: int, level: float, permutations: int
) -> Calibration:
    """Draw windows from a baseline, and check each against the rest.

    Args:
        sample: the baseline's rows.
        features: that are compared.
        size: units (sessions, or rows without one) of a window.
        level: of the report.
        permutations: that each p-value rests on.
    """
    import numpy as np

    rng = np.random.default_rng(20_260_129)
    units = sample.n_sessions
    taken = min(size, units // 2)
    noun = "sessions" if units < len(sample) else "rows"
    rows = f"{taken:,} {noun}"
    if units < len(sample):
        rows += f" (about {round(taken * len(sample) / units):,} rows)"
    instead = f"since the baseline has only {units:,} {noun}" if taken < size else ""
    if taken < 2:
        nothing = measured("false alarms", ())
        return Calibration(nothing, nothing, ())
    why = f", {instead}" if instead else ""
    alarms, runs = _own_windows(sample, features, taken, level, permutations, rng)
    return Calibration(
        measured(
            f"false alarms among windows of {rows} drawn from the baseline itself{why}", alarms
        ),
        measured(f"alarms among the baseline's consecutive windows of {rows}", runs),
        (
            *_topics(sample, features, taken, level, rng),
            *_shifts(sample, features, taken, level, rng),
        ),
        rows,
        instead,
    )


def _own_windows(
    sample: Sample,
    features: Sequence[Feature],
    size: int,
    level: float,
    permutations: int,
    rng: np.random.Generator,
) -> tuple[list[bool], list[bool]]:
    """Which drawn windows alarm against the rest of the baseline, and which consecutive ones do."""
    import numpy as np

    pool = alone(sample, features)
    count = len(pool.units.window)
    own = np.zeros(count, bool)
    own[:size] = True
    units = Units(pool.units.of_row, own)
    drawn = units.labels(permutations + WINDOWS, rng)[:, 1:]
    runs = blocks(np.arange(count), size)
    ordered = np.zeros((count, len(runs)), np.float32)
    for place, members in enumerate(runs):
        ordered[members, place] = 1
    found = pool.statistics(np.concatenate([drawn, ordered], axis=1))
    known, tried = found[:, :permutations], found[:, permutations:]
    alarms = []
    for column in tried.T:
        p_values = [
            p_value(np.concatenate([[own_value], row]))
            for own_value, row in zip(column, known, strict=True)
        ]
        alarms.append(min(p_values) * len(p_values) <= level)
    return alarms[:WINDOWS], alarms[WINDOWS:]


def _topics(
    sample: Sample,
    features: Sequence[Feature],
    size: int,
    level: float,
    rng: np.random.Generator,
) -> list[Measured]:
    """How often texts of a topic that the rest of the baseline lacks are found, by their share of the window."""
    name = next((f.name for f in features if f.kind == TEXT), None)
    if name is None:
        return []
    tests = _tests(features)
    found = []
    planted = _Topics(sample, name, rng)
    for share in SHARES:
        outcomes = [
            outcome
            for _ in range(TRIALS)
            if (outcome := planted.trial(size, share, level / tests)) is not None
        ]
        found.append(measured(f"finds {share:.0%} of {name}s on a topic that is new", outcomes))
    return [one for one in found if one.trials]


class _Topics:
    """The baseline's topics, one of which is held out in each trial."""

    def __init__(self, sample: Sample, name: str, rng: np.random.Generator) -> None:
        import numpy as np

        self.rng = rng
        vectors = sample.vectors[name]
        _, self.values = weighted(vectors, vectors)
        pool = alone(sample, [])
        self.squared = squared_distances(self.values)
        self.unit = pool.units.of_row[vectors.rows]
        labels = clusters_of(self.values, max(2, min(TOPICS, len(self.values) // 25))).labels
        units, first = np.unique(self.unit, return_index=True)
        self.units, self.topic = units, labels[first]

    def trial(self, size: int, share: float, level: float) -> bool | None:
        """Whether one planted topic is found; None where the baseline has too few rows of any."""
        import numpy as np

        new = max(1, round(share * size))
        sizes = np.bincount(self.topic)
        fitting = np.flatnonzero(sizes >= new)
        if not len(fitting):
            return None
        topic = self.rng.choice(fitting)
        rest = self.rng.permutation(self.units[self.topic != topic])[: MOST_UNITS + size]
        old = size - new
        if len(rest) < old + size // 2 + 2:
            return None
        planted = self.rng.choice(self.units[self.topic == topic], new, replace=False)
        window = np.concatenate([rest[:old], planted])
        reference = rest[old:]
        order = {int(u): i for i, u in enumerate(np.concatenate([reference, window]))}
        rows = [i for i, unit in enumerate(self.unit) if int(unit) in order]
        of_row = np.asarray([order[int(self.unit[i])] for i in rows])
        squared = self.squared[np.ix_(rows, rows)]
        cloud = cloud_from("", np.arange(len(rows)), squared, of_row)
        inside = np.arange(len(order)) >= len(reference)
        labels = Units(of_row, inside).labels(_enough(level), self.rng)
        return min(p_value(row) for row in cloud.statistics(labels)) <= level


def _shifts(
    sample: Sample,
    features: Sequence[Feature],
    size: int,
    level: float,
    rng: np.random.Generator,
) -> list[Measured]:
    """How often a number that has moved by a part of its standard deviation is found."""
    import numpy as np

    numeric = {
        f.name: spread
        for f in features
        if f.kind == NUMBER and (spread := _spread(sample.numbers[f.name])) is not None
    }
    if not numeric:
        return []
    # Of values that repeat, any part of a step would show.
    name = max(numeric, key=lambda n: len(np.unique(sample.numbers[n])))
    values, spread = sample.numbers[name], numeric[name]
    of_row = alone(sample, []).units.of_row
    count = int(of_row.max()) + 1
    limit = level / _tests(features)
    found = []
    for shift in SHIFTS:
        outcomes = []
        for _ in range(TRIALS):
            inside = np.zeros(count, bool)
            inside[rng.choice(count, size, replace=False)] = True
            moved = values + _step(values, shift * spread) * inside[of_row]
            units = Units(of_row, inside)
            labels = units.labels(_enough(limit), rng)
            row = count_statistics([number_bins(name, moved)], units, labels)[0]
            outcomes.append(p_value(row) <= limit)
        found.append(measured(f"finds {name} moved by {shift:g} standard deviations", outcomes))
    return found


def _spread(values: NDArray[np.float64]) -> float | None:
    """The standard deviation; None where that, or a value that moved by it, is beyond what numbers can be."""
    import numpy as np

    there = values[np.isfinite(values)]
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(np.std(there))
        moved = float(np.abs(there).max(initial=0.0)) + spread * max(SHIFTS)
    return spread if math.isfinite(moved) else None


def _step(values: NDArray[np.float64], wanted: float) -> float:
    """A shift as values can have it: whole where they all are."""
    import numpy as np

    there = values[np.isfinite(values)]
    return max(1.0, round(wanted)) if (there == np.round(there)).all() else wanted


def _tests(features: Sequence[Feature]) -> int:
    return sum(2 if f.kind == TEXT else 1 for f in features)


def _enough(level: float) -> int:
    """Permutations for a test at a level: two of them may be as large."""
    return round(2 / level) - 1


def power_words(measured_on: Calibration) -> str:
    """The smallest changes that are found with 80 % power, by windows of the size that was tried."""
    found: dict[str, str] = {}
    for one in measured_on.power:
        kind = "topic" if "topic" in one.what else "shift"
        if one.rate >= 0.8 and kind not in found:
            found[kind] = one.what.removeprefix("finds ")
    window = f"a window of {measured_on.tried}"
    said = (
        f"{window} finds with 80 % power: {'; '.join(found.values())}"
        if found
        else f"{window} finds none of the planted changes with 80 % power"
    )
    if measured_on.instead:
        return f"{said}; measured on windows of {measured_on.tried}, {measured_on.instead}"
    return said if found else f"{said}: make it larger"
