"""What a stream watches: each feature as numbers or kinds that are ranked, with its martingale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.monitor.drift.collecting import hash_of
from llmops_jupyter.monitor.drift.sample import Sample, Vectors, unit_length
from llmops_jupyter.monitor.drift.statistics.clusters import clusters_of
from llmops_jupyter.monitor.drift.statistics.martingale import (
    KindRanks,
    Martingale,
    NumberRanks,
    coin,
)
from llmops_jupyter.monitor.drift.vectors import HASHED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Values that a baseline needs of a feature.
LEAST = 20
TOPICS = 8


@dataclass
class Watched:
    """One feature of a stream."""

    name: str
    ranks: NumberRanks | KindRanks
    martingale: Martingale

    def take(self, value: float | str, row: int, salt: str) -> None:
        """Take in the stream's next value of this feature, at a row of the stream."""
        tie = coin(salt, self.name, self.martingale.count)
        if isinstance(self.ranks, NumberRanks):
            p_value = self.ranks.p_value(float(value), tie)
        else:
            p_value = self.ranks.p_value(str(value), tie)
        self.martingale.bet(p_value, row)

    def as_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        kind = "numbers" if isinstance(self.ranks, NumberRanks) else "kinds"
        return {
            "name": self.name,
            kind: vars(self.ranks),
            "martingale": self.martingale.as_dict(),
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Watched:
        """What `as_dict` made."""
        ranks: NumberRanks | KindRanks
        if "numbers" in state:
            ranks = NumberRanks(**state["numbers"])
        else:
            ranks = KindRanks(**state["kinds"])
        return cls(state["name"], ranks, Martingale.of(state["martingale"]))


@dataclass(frozen=True)
class Reference:
    """How strange a text is: measured by one half of the baseline's sessions, ranked among the other half.

    What measures is not ranked, so that the ranked half and the stream are alike where nothing has changed.
    """

    weights: NDArray[np.float32] | None
    points: NDArray[np.float32]
    centres: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        values: NDArray[np.float32],
        digest: str,
        centres: NDArray[np.float32] | None = None,
    ) -> Reference:
        """From the vectors of the half that measures; with the centres of its topics, if they are known."""
        import numpy as np

        weights = None
        if digest == HASHED:
            having = (values > 0).sum(0)
            weights = (np.log((1 + len(values)) / (1 + having)) + 1).astype(np.float32)
            values = unit_length(values * weights)
        if centres is None:
            centres = clusters_of(values, min(TOPICS, len(values) // LEAST)).centres
        return cls(weights, values, centres)

    def novelty(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """The distance to the nearest point, a number a row."""
        import numpy as np

        nearest = (self._as_points(values) @ self.points.T).max(1)
        found: NDArray[np.float64] = np.sqrt(np.maximum(0.0, 2 - 2 * nearest))
        return found

    def topics(self, values: NDArray[np.float32]) -> list[str]:
        """The nearest centre of each."""
        points = self._as_points(values)
        gaps = (self.centres**2).sum(1) - 2 * points @ self.centres.T
        return [str(place) for place in gaps.argmin(1)]

    def _as_points(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values if self.weights is None else unit_length(values * self.weights)


def first_rows(sample: Sample) -> list[int]:
    """The first row of each session, and rows without one: what a stream takes in."""
    seen: set[str] = set()
    found = []
    for place, session in enumerate(sample.sessions):
        if session is None or session not in seen:
            found.append(place)
        if session is not None:
            seen.add(session)
    return found


def measuring(sample: Sample, vectors: Vectors) -> NDArray[np.bool_]:
    """Which of the vectors measure; whole sessions, by their hash."""
    import numpy as np

    names = (sample.unit(i) for i in vectors.rows)
    return np.asarray([hash_of(f"half {name}") % 2 == 0 for name in names], bool)


def references(
    sample: Sample, centres: Mapping[str, NDArray[np.float32]] | None = None
) -> dict[str, Reference]:
    """The half of a baseline that measures, for each text with vectors enough."""
    known = centres or {}
    found = {}
    for name, vectors in sample.vectors.items():
        half = vectors.values[measuring(sample, vectors)]
        if len(half) >= LEAST:
            found[name] = Reference.of(half, vectors.digest, known.get(name))
    return found


def values_of(
    sample: Sample, rows: list[int], measured: Mapping[str, Reference]
) -> dict[str, list[float | str | None]]:
    """The values of each feature of these rows, None where missing."""
    import numpy as np

    found: dict[str, list[float | str | None]] = {}
    for name, numbers in sample.numbers.items():
        found[name] = [float(v) if np.isfinite(v) else None for v in numbers[rows]]
    for name, kinds in sample.categories.items():
        found[name] = [kinds[i] for i in rows]
    for name, reference in measured.items():
        vectors = sample.vectors.get(name)
        novelty: list[float | str | None] = [None] * len(rows)
        topics: list[float | str | None] = [None] * len(rows)
        if vectors is not None and len(vectors.rows):
            place = {int(row): i for i, row in enumerate(vectors.rows)}
            there = [(at, place[row]) for at, row in enumerate(rows) if row in place]
            points = vectors.values[[i for _, i in there]]
            strange, nearest = reference.novelty(points), reference.topics(points)
            for (at, _), score, topic in zip(there, strange, nearest, strict=True):
                novelty[at], topics[at] = float(score), topic
        found[f"{name} novelty"], found[f"{name} topic"] = novelty, topics
    return found


def begin(sample: Sample, measured: Mapping[str, Reference]) -> list[Watched]:
    """What a stream against a baseline watches, with the baseline taken in."""
    rows = first_rows(sample)
    made = []
    ranked = {
        name: {int(row) for row in vectors.rows[~measuring(sample, vectors)]}
        for name, vectors in sample.vectors.items()
        if name in measured
    }
    for name, values in values_of(sample, rows, measured).items():
        text = name.rpartition(" ")[0]
        measured_by = ranked.get(text) if name.endswith((" novelty", " topic")) else None
        kept = [
            value
            for row, value in zip(rows, values, strict=True)
            if value is not None and (measured_by is None or row in measured_by)
        ]
        if len(kept) < LEAST:
            continue
        ranks = _ranks(kept)
        two_sided = isinstance(ranks, NumberRanks) and measured_by is None
        made.append(Watched(name, ranks, Martingale(two_sided)))
    return made


def _ranks(values: Sequence[float | str]) -> NumberRanks | KindRanks:
    """With the baseline's values taken in."""
    if isinstance(values[0], str):
        kinds = KindRanks()
        kinds.add_all([str(v) for v in values])
        return kinds
    numbers = NumberRanks()
    numbers.add_all([float(v) for v in values])
    return numbers
