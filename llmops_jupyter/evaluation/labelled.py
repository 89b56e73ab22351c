"""Labels that people gave: read from the store, and what most said."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmops_jupyter.errors import DataError, unknown_name
from llmops_jupyter.evaluation.preferences import pairs_of
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import Item
from llmops_jupyter.evaluation.tasks import AMONG, Place, place_of, populations
from llmops_jupyter.store import Store

# SQLite before 3.32 takes 999 values in one statement.
STEP = 900


@dataclass(frozen=True)
class Label:
    """A label that was given: by whom, to which answer, how that was picked.

    Of a pair, `label` is first, second or tie, and the answer is the second run's. `among` tells among which
    answers it was drawn at random.
    """

    row_id: str
    position: int
    repetition: int
    by: str
    label: str
    value: float
    note: str
    drawn: str
    output_id: int = field(default=0, compare=False)
    among: tuple[str, ...] = field(default=(), compare=False)


def given(store: Store, runs: Sequence[EvaluationRun], name: str) -> list[Label]:
    """The labels of a run's answers, or of the pairs of two runs, in the order of the rows."""
    places = _places(runs)
    ids = sorted({output_id for output_id, _ in places if output_id is not None})
    found = []
    for begin in range(0, len(ids), STEP):
        some = ids[begin : begin + STEP]
        for row in store.rows(
            "SELECT output_id, scope, identifier, label, value, explanation, drawn FROM scores "
            f"WHERE valid AND source = 'human' AND name = ? AND output_id IN ({','.join('?' * len(some))})",
            (name, *some),
        ):
            output_id, scope, by, label, value, note, drawn = row
            found += [
                Label(
                    *(item.case.row_id, item.position, item.repetition),
                    *(by, label, value, note or "", drawn.partition(AMONG)[0], output_id),
                    populations(drawn),
                )
                for item in places.get((output_id, scope), ())
            ]
    return sorted(found, key=lambda label: (label.position, label.repetition, label.by))


def _places(runs: Sequence[EvaluationRun]) -> dict[Place, list[Item]]:
    """Equal answers to equal rows share their labels."""
    found: dict[Place, list[Item]] = {}
    if len(runs) == 1:
        for item in runs[0].items:
            if item.output_id is not None:
                found.setdefault(place_of(item), []).append(item)
    else:
        for one, other in pairs_of(*runs):
            found.setdefault(place_of(one, other), []).append(other)
    return found


def preferences(
    store: Store, a: EvaluationRun, b: EvaluationRun, name: str
) -> dict[tuple[int, int], dict[str, float]]:
    """Labels of pairs by the second run's place and annotator: 1 the second is better, -1 the first."""
    found: dict[tuple[int, int], dict[str, float]] = {}
    # Pairs that were labelled with the runs the other way round: their labels are with the first run's answer.
    mirrored = {(x.position, x.repetition): (y.position, y.repetition) for x, y in pairs_of(a, b)}
    for label in given(store, (b, a), name):
        place = mirrored[label.position, label.repetition]
        found.setdefault(place, {})[label.by] = -label.value
    for label in given(store, (a, b), name):
        found.setdefault((label.position, label.repetition), {})[label.by] = label.value
    return found


def majority(labels: Sequence[Label]) -> tuple[str, float] | None:
    """The label that most gave, with its value; None if none leads."""
    counts = Counter(label.label for label in labels).most_common(2)
    if not counts or (len(counts) > 1 and counts[0][1] == counts[1][1]):
        return None
    chosen = counts[0][0]
    return chosen, next(label.value for label in labels if label.label == chosen)


def known_names(store: Store) -> list[str]:
    """Names under which there are labels of answers."""
    rows = store.rows(
        "SELECT DISTINCT name FROM scores WHERE source = 'human' AND valid AND output_id IS NOT NULL"
    )
    return [row[0] for row in rows]


def names_digest(name: str) -> str:
    """What stands for a metric's identifier where people scored."""
    return hashlib.sha256(json.dumps(["human", name]).encode()).hexdigest()[:16]


def labels_of(store: Store, runs: Sequence[EvaluationRun], name: str) -> list[Label]:
    """As `given`, where there must be some.

    Raises:
        DataError: there are none of these answers.
        UnknownNameError: there are none of this name at all.
    """
    found = given(store, runs, name)
    if found:
        return found
    known = known_names(store)
    if name not in known:
        raise unknown_name("label", name, known, "%evaluate label RUN --name NAME makes some.")
    numbers = " ".join(str(run.id) for run in runs)
    what = f"answer of run {numbers}" if len(runs) == 1 else f"pair of the runs {numbers}"
    raise DataError(
        f"No {what} has a label {name!r}. Label it: %evaluate label {numbers} --name {name}"
    )
