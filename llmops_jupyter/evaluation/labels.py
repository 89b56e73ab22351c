"""People's labels of answers: a queue that is blind, keeps each label at once and resumes."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.evaluation.labelled import STEP
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.tasks import (
    RANDOM,
    Place,
    Task,
    drawn_among,
    pick,
    population_of,
    populations,
)
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Tracer

LEFT, RIGHT, TIE = "left", "right", "tie"
SIDES = {LEFT: -1.0, RIGHT: 1.0, TIE: 0.0}
# What a label of a pair is kept as: sides are shuffled, runs are not.
SIDED = {-1.0: "first", 1.0: "second", 0.0: "tie"}
# Letters with a meaning of their own: skip, undo, note, expected answer, quit.
RESERVED = "suneq"


@dataclass(frozen=True)
class Shown:
    """What an annotator sees: nothing tells which variant, model or judge said what.

    Args:
        number: of the task, from 1.
        total: tasks in all.
        input: what was asked.
        outputs: the answer, or the two answers, left before right.
        expected: the expected answer; None without one.
        context: what the answer was to rest on: passages that were retrieved, or the row's column; ''.
        row: the row's columns; of a pair without those that hold its answers.
        given: the label that this annotator gave before; ''.
        note: the note that this annotator wrote before; ''.
    """

    number: int
    total: int
    input: str
    outputs: tuple[str, ...]
    expected: Any
    row: Mapping[str, Any]
    given: str = ""
    note: str = ""
    context: str = ""


@dataclass(frozen=True)
class Given:
    """A label as it is kept: of a pair by run and not by side."""

    label: str
    value: float
    note: str
    drawn: str


class Queue:
    """Answers to label one after the other. Each label is kept at once.

    A new queue of the same answers, name and annotator goes on where the last one stopped.

    Labels stand for all answers only if those that have one are a random draw. So an answer that the
    annotator labelled as uncertain before counts as drawn at random as soon as the random order comes past
    it, and one that was drawn at random stays so when it is labelled anew.

    Args:
        tracer: of the workspace; its redaction rule holds for notes.
        tasks: in the order in which they are shown.
        name: under which the labels are kept.
        labels: with their values.
        by: the annotator.
        drawn: how the answers were picked: 'random' or 'uncertain'.
        population: among which answers; see `tasks.population_of`.
    """

    def __init__(
        self,
        tracer: Tracer,
        tasks: Sequence[Task],
        *,
        name: str,
        labels: Mapping[str, float],
        by: str,
        drawn: str,
        population: str = "",
    ) -> None:
        self.tracer = tracer
        self.store: Store = tracer.store
        self.tasks = list(tasks)
        self.name, self.labels, self.by, self.drawn = name, dict(labels), by, drawn
        self.population = population
        self._given = self._known()
        self._trail: list[tuple[int, Given | None]] = []
        self._skipped: set[int] = set()
        self._at = self._next(0)
        self._come_past(0)

    @property
    def total(self) -> int:
        return len(self.tasks)

    @property
    def done(self) -> int:
        """Tasks that this annotator has labelled."""
        return sum(task.place in self._given for task in self.tasks)

    @property
    def remaining(self) -> int:
        return self.total - self.done

    @property
    def is_pairwise(self) -> bool:
        return bool(self.tasks) and self.tasks[0].other is not None

    @property
    def can_undo(self) -> bool:
        return bool(self._trail)

    @property
    def current(self) -> Shown | None:
        """What is to be labelled now; None at the end."""
        if self._at is None:
            return None
        task = self.tasks[self._at]
        case, given = task.item.case, self._given.get(task.place)
        return Shown(
            self._at + 1,
            self.total,
            case.input,
            task.outputs,
            case.expected,
            task.row,
            "" if given is None else self._as_shown(task, given),
            "" if given is None else given.note,
            task.context,
        )

    def label(self, label: str, note: str = "") -> None:
        """Label the current answer and go on to the next.

        Raises:
            OptionError: there is no such label, or nothing is left.
        """
        if label not in self.labels:
            raise OptionError(
                f"There is no label {label!r}.{did_you_mean(label, self.labels)} Labels: "
                f"{', '.join(self.labels)}."
            )
        if self._at is None:
            raise OptionError("Everything is labelled. Go back with undo() or go(n).")
        at = self._at
        task = self.tasks[at]
        earlier = self._given.get(task.place)
        before = "" if earlier is None else earlier.drawn
        if self.drawn == RANDOM:
            drawn = drawn_among(before, self.population)
        else:
            drawn = before if populations(before) else self.drawn
        value, kept = self._as_kept(task, label)
        self._set(task, Given(kept, value, self.tracer.clean_text(note), drawn))
        self._trail.append((at, earlier))
        self._skipped.discard(at)
        self._come_past(at)
        self._at = self._next(at + 1)

    def skip(self) -> None:
        """Leave the current answer for later."""
        if self._at is None:
            return
        self._trail.append((self._at, self._given.get(self.tasks[self._at].place)))
        self._skipped.add(self._at)
        self._at = self._next(self._at + 1, beside=self._at)

    def undo(self) -> None:
        """Back to the answer before, which is labelled as it was before that.

        Raises:
            OptionError: nothing was labelled or skipped in this queue.
        """
        if not self._trail:
            raise OptionError("There is nothing to take back.")
        self._at, earlier = self._trail.pop()
        self._skipped.discard(self._at)
        task = self.tasks[self._at]
        if self._given.get(task.place) != earlier:
            self._set(task, earlier)

    def go(self, number: int) -> None:
        """To a task by its number; its label may be changed.

        Raises:
            OptionError: there is no such task.
        """
        if not 1 <= number <= self.total:
            raise OptionError(f"There are tasks 1 to {self.total}, not {number}.")
        self._at = number - 1

    def keys(self) -> dict[str, str]:
        """The label of each key."""
        return keys_of(list(self.labels))

    def __repr__(self) -> str:
        return f"Queue({self.name!r} by {self.by!r}: {self.done} of {self.total} labelled)"

    def _next(self, start: int, beside: int | None = None) -> int | None:
        """The first task from there on without a label; from the beginning at the end."""
        order = [*range(start, self.total), *range(min(start, self.total))]
        free = [i for i in order if self.tasks[i].place not in self._given]
        return next((i for i in free if i != beside), free[0] if free else None)

    def _come_past(self, at: int) -> None:
        """Labels before this task, all of which the random order has shown, count as drawn at random."""
        if self.drawn != RANDOM:
            return
        changed: list[tuple[str, Place]] = []
        for i, task in enumerate(self.tasks[: at if self.remaining else self.total]):
            given = self._given.get(task.place)
            if given is None and i not in self._skipped:
                break
            if given is not None and self.population not in populations(given.drawn):
                drawn = drawn_among(given.drawn, self.population)
                changed.append((drawn, task.place))
                self._given[task.place] = replace(given, drawn=drawn)
        if changed:
            with self.store.write() as conn:
                conn.executemany(
                    "UPDATE scores SET drawn = ? WHERE valid AND output_id = ? AND scope = ? "
                    "AND name = ? AND source = 'human' AND identifier = ?",
                    [(drawn, *place, self.name, self.by) for drawn, place in changed],
                )

    def _as_kept(self, task: Task, label: str) -> tuple[float, str]:
        """Value and text of a label; of a pair by run and not by side."""
        value = self.labels[label]
        if task.other is None:
            return value, label
        value = -value if task.swapped and value else value
        return value, SIDED[value]

    def _as_shown(self, task: Task, given: Given) -> str:
        if task.other is None:
            return given.label
        value = -given.value if task.swapped and given.value else given.value
        return next(label for label, v in self.labels.items() if v == value)

    def _known(self) -> dict[Place, Given]:
        ids = [task.place[0] for task in self.tasks]
        found: dict[Place, Given] = {}
        for begin in range(0, len(ids), STEP):
            some = ids[begin : begin + STEP]
            for row in self.store.rows(
                "SELECT output_id, scope, label, value, explanation, drawn FROM scores WHERE valid "
                "AND source = 'human' AND name = ? AND identifier = ? "
                f"AND output_id IN ({','.join('?' * len(some))})",
                (self.name, self.by, *some),
            ):
                found[row[0], row[1]] = Given(row[2], row[3], row[4] or "", row[5])
        return found

    def _set(self, task: Task, given: Given | None) -> None:
        """Keep a label, or none; the earlier one is no longer valid."""
        output_id, scope = task.place
        with self.store.write() as conn:
            conn.execute(
                "UPDATE scores SET valid = 0 WHERE output_id = ? AND scope = ? AND name = ? "
                "AND source = 'human' AND identifier = ?",
                (output_id, scope, self.name, self.by),
            )
            if given is not None:
                conn.execute(
                    "INSERT INTO scores(trace_id, name, value, label, explanation, source, identifier, "
                    "at, output_id, scope, drawn) VALUES (?, ?, ?, ?, ?, 'human', ?, ?, ?, ?, ?)",
                    (
                        *(task.belongs.trace_id, self.name, given.value, given.label, given.note),
                        *(self.by, self.store.now(), output_id, scope, given.drawn),
                    ),
                )
        if given is None:
            self._given.pop(task.place, None)
        else:
            self._given[task.place] = given


def queue(
    tracer: Tracer,
    runs: Sequence[EvaluationRun],
    *,
    name: str,
    labels: Any = None,
    by: str,
    order: str = RANDOM,
    seed: int = 0,
    limit: int | None = None,
    overlap: float | None = None,
) -> Queue:
    """A queue over the answers of a run, or over pairs of answers of two runs.

    Args:
        tracer: of the workspace.
        runs: one, or two on the same rows.
        name: under which the labels are kept.
        labels: names, of two the first counts 1 and the second 0, numbers count as themselves; or a mapping of
            names to values. Pairs have left, right and tie.
        by: the annotator.
        order: 'random'; or 'uncertain': first where judges are nearest to undecided and metrics disagree.
            Only labels of answers in random order may correct a judge.
        seed: of the order, and of the sides of pairs.
        limit: how many answers at most.
        overlap: the share of the answers that all annotators get, before others of their own. Left out, the
            order is the same for all, so that the first answers have everybody's labels.

    Raises:
        OptionError: an option cannot be used.
        DataError: there is nothing to label, or the runs are on different rows.
    """
    if not name or not by:
        raise OptionError("Labels need a name and an annotator: name='correct', by='ann'.")
    if len(runs) not in (1, 2):
        raise OptionError("Label the answers of one run, or pairs of answers of two.")
    if len(runs) == 2 and labels is not None:
        raise OptionError("Pairs have the labels left, right and tie; leave labels out.")
    values = SIDES if len(runs) == 2 else values_of(labels)
    tasks = pick(runs, name=name, by=by, order=order, seed=seed, limit=limit, overlap=overlap)
    among = population_of(runs[0])
    return Queue(tracer, tasks, name=name, labels=values, by=by, drawn=order, population=among)


def values_of(labels: Any) -> dict[str, float]:
    """Labels with their values; see `queue`.

    Raises:
        OptionError: there are fewer than two, one is there twice or empty, or a value is no finite number.
    """
    if labels is None:
        labels = ("good", "bad")
    if isinstance(labels, str):
        labels = [part.strip() for part in labels.split(",") if part.strip()]
    names = [str(label) for label in labels]
    if len(set(names)) != len(names) or not all(name.strip() for name in names):
        raise OptionError(f"Each label must be there once, and none be empty: {', '.join(names)}.")
    if len(names) < 2:
        raise OptionError("There must be two labels or more, for instance labels=('good', 'bad').")
    if isinstance(labels, Mapping):
        numbers = [_number(value) for value in labels.values()]
        if None in numbers:
            raise OptionError(
                "The value of each label must be a number: labels={'good': 1, 'bad': 0}."
            )
    else:
        numbers = [_number(name) for name in names]
        if None in numbers:
            numbers = [float(len(names) - 1 - i) for i in range(len(names))]
    return {name: value for name, value in zip(names, numbers, strict=True) if value is not None}


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def keys_of(labels: Sequence[str]) -> dict[str, str]:
    """The label of each key, in the order of the labels.

    A label of one character is its own key; others have their place from 1 to 9, unless a label is a number,
    for which a place would be mistaken; and a letter, their own if it is free.
    """
    found: dict[str, str] = {}
    for label in labels:
        if len(label) == 1 and label.lower() not in RESERVED:
            found.setdefault(label.lower(), label)
    if not any(_number(label) is not None for label in labels):
        for place, label in enumerate(labels[:9], 1):
            found.setdefault(str(place), label)
    for label in labels:
        if label in found.values() and len(label) == 1:
            continue
        wanted = (
            c for c in f"{label.lower()}{string.ascii_lowercase}" if c in string.ascii_lowercase
        )
        letter = next((c for c in wanted if c not in RESERVED and c not in found), None)
        if letter is not None:
            found[letter] = label
    return found
