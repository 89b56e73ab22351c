"""People's labels of answers: a queue that is blind and resumes, and what was labelled."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter.errors import DataError, OptionError, did_you_mean
from llmops_jupyter.evaluation.comparing import check_same_rows
from llmops_jupyter.evaluation.preferences import pair_scope, pairs_of
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import Item, scope_of
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Tracer

ORDERS = ("random", "uncertain")
LEFT, RIGHT, TIE = "left", "right", "tie"
SIDES = {LEFT: -1.0, RIGHT: 1.0, TIE: 0.0}
# What a label of a pair is kept as: sides are shuffled, runs are not.
SIDED = {-1.0: "first", 1.0: "second", 0.0: "tie"}
# SQLite before 3.32 takes 999 values in one statement.
STEP = 900


@dataclass(frozen=True)
class Task:
    """One answer to label, or two of which one is to be chosen; `swapped`: the second run's stands left."""

    item: Item
    other: Item | None = None
    swapped: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The answers as they are shown, left before right."""
        if self.other is None:
            return (self.item.case.output,)
        shown = (self.item.case.output, self.other.case.output)
        return shown[::-1] if self.swapped else shown

    @property
    def place(self) -> tuple[int | None, str]:
        """Which answer the label belongs to, and what it depends on beside it."""
        if self.other is None:
            return self.item.output_id, scope_of(self.item.row_hash, "")
        return self.other.output_id, pair_scope(self.item, self.other)


@dataclass(frozen=True)
class Shown:
    """What an annotator sees: nothing tells which variant, model or judge said what.

    Args:
        number: of the task, from 1.
        total: tasks in all.
        input: what was asked.
        outputs: the answer, or the two answers, left before right.
        expected: the expected answer; None without one.
        row: the row's columns.
        given: the label that this annotator gave before; ''.
    """

    number: int
    total: int
    input: str
    outputs: tuple[str, ...]
    expected: Any
    row: Mapping[str, Any]
    given: str = ""


class Queue:
    """Answers to label one after the other. Each label is kept at once.

    A new queue of the same answers, name and annotator goes on where the last one stopped.

    Args:
        tracer: of the workspace; its redaction rule holds for notes.
        tasks: in the order in which they are shown.
        name: under which the labels are kept.
        labels: with their values.
        by: the annotator.
        drawn: how the answers were picked: 'random' or 'uncertain'.
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
    ) -> None:
        self.tracer = tracer
        self.store = tracer.store
        self.tasks = list(tasks)
        self.name, self.labels, self.by, self.drawn = name, dict(labels), by, drawn
        self._given = self._known()
        self._trail: list[int] = []
        self._at = self._next(0)

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
    def current(self) -> Shown | None:
        """What is to be labelled now; None at the end."""
        if self._at is None:
            return None
        task = self.tasks[self._at]
        case = task.item.case
        return Shown(
            self._at + 1,
            self.total,
            case.input,
            task.outputs,
            case.expected,
            case.row,
            self._as_shown(task, self._given.get(task.place, "")),
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
        task = self.tasks[self._at]
        value, kept = self._as_kept(task, label)
        self._write(task, kept, value, note)
        self._given[task.place] = kept
        self._trail.append(self._at)
        self._at = self._next(self._at + 1)

    def skip(self) -> None:
        """Leave the current answer for later."""
        if self._at is None:
            return
        self._trail.append(self._at)
        self._at = self._next(self._at + 1, beside=self._at)

    def undo(self) -> None:
        """Back to the answer before; its label is taken back."""
        if not self._trail:
            raise OptionError("There is nothing to take back.")
        self._at = self._trail.pop()
        task = self.tasks[self._at]
        if self._given.pop(task.place, None) is not None:
            self._withdraw(task)

    def go(self, number: int) -> None:
        """To a task by its number; its label may be changed."""
        if not 1 <= number <= self.total:
            raise OptionError(f"There are tasks 1 to {self.total}, not {number}.")
        self._at = number - 1

    def __repr__(self) -> str:
        return f"Queue({self.name!r} by {self.by!r}: {self.done} of {self.total} labelled)"

    def _next(self, start: int, beside: int | None = None) -> int | None:
        """The first task from there on without a label; from the beginning at the end."""
        order = [*range(start, self.total), *range(min(start, self.total))]
        free = [i for i in order if self.tasks[i].place not in self._given]
        return next((i for i in free if i != beside), free[0] if free else None)

    def _as_kept(self, task: Task, label: str) -> tuple[float, str]:
        """Value and text of a label; of a pair by run and not by side."""
        value = self.labels[label]
        if task.other is None:
            return value, label
        value = -value if task.swapped and value else value
        return value, SIDED[value]

    def _as_shown(self, task: Task, kept: str) -> str:
        if task.other is None or not kept:
            return kept
        value = next(v for v, word in SIDED.items() if word == kept)
        value = -value if task.swapped and value else value
        return next(label for label, v in self.labels.items() if v == value)

    def _known(self) -> dict[tuple[int | None, str], str]:
        ids = [task.place[0] for task in self.tasks]
        found: dict[tuple[int | None, str], str] = {}
        for begin in range(0, len(ids), STEP):
            some = ids[begin : begin + STEP]
            for row in self.store.rows(
                "SELECT output_id, scope, label FROM scores WHERE valid AND source = 'human' "
                f"AND name = ? AND identifier = ? AND output_id IN ({','.join('?' * len(some))})",
                (self.name, self.by, *some),
            ):
                found[row[0], row[1]] = row[2]
        return found

    def _write(self, task: Task, label: str, value: float, note: str) -> None:
        output_id, scope = task.place
        belongs = task.other or task.item
        with self.store.write() as conn:
            self._clear(conn, output_id, scope)
            conn.execute(
                "INSERT INTO scores(trace_id, name, value, label, explanation, source, identifier, at, "
                "output_id, scope, drawn) VALUES (?, ?, ?, ?, ?, 'human', ?, ?, ?, ?, ?)",
                (
                    *(belongs.trace_id, self.name, value, label, self.tracer.clean_text(note)),
                    *(self.by, self.store.now(), output_id, scope, self.drawn),
                ),
            )

    def _withdraw(self, task: Task) -> None:
        with self.store.write() as conn:
            self._clear(conn, *task.place)

    def _clear(self, conn: Any, output_id: int | None, scope: str) -> None:
        conn.execute(
            "UPDATE scores SET valid = 0 WHERE output_id = ? AND scope = ? AND name = ? "
            "AND source = 'human' AND identifier = ?",
            (output_id, scope, self.name, self.by),
        )


def queue(
    tracer: Tracer,
    runs: Sequence[EvaluationRun],
    *,
    name: str,
    labels: Any = None,
    by: str,
    order: str = "random",
    seed: int = 0,
    limit: int | None = None,
) -> Queue:
    """A queue over the answers of a run, or over pairs of answers of two runs.

    The order is the same for all annotators, so that the first answers have labels of all of them.

    Args:
        tracer: of the workspace.
        runs: one, or two on the same rows.
        name: under which the labels are kept.
        labels: names, of two the first counts 1 and the second 0; or a mapping of names to values. Pairs have
            left, right and tie.
        by: the annotator.
        order: 'random'; or 'uncertain': first where judges are nearest to undecided and metrics disagree.
            Only labels of answers in random order may correct a judge.
        seed: of the order, and of the sides of pairs.
        limit: how many answers at most.

    Raises:
        OptionError: an option cannot be used.
        DataError: there is nothing to label, or the runs are on different rows.
    """
    if order not in ORDERS:
        raise OptionError(f"order is one of {', '.join(ORDERS)}, not {order!r}.")
    if not name or not by:
        raise OptionError("Labels need a name and an annotator: name='correct', by='ann'.")
    if len(runs) not in (1, 2):
        raise OptionError("Label the answers of one run, or pairs of answers of two.")
    if limit is not None and limit < 1:
        raise OptionError(f"limit is a number from 1, not {limit}.")
    drawn = random.Random(f"{seed}\0{name}")  # noqa: S311 - an order, no secret
    tasks = _single(runs[0]) if len(runs) == 1 else _pairs(runs[0], runs[1], drawn)
    if not tasks:
        raise DataError("There are no answers to label: none came, or all are alike.")
    drawn.shuffle(tasks)
    if order == "uncertain":
        tasks.sort(key=_uncertainty(runs))
    values = SIDES if len(runs) == 2 else _values(labels)
    return Queue(tracer, tasks[:limit], name=name, labels=values, by=by, drawn=order)


def _single(run: EvaluationRun) -> list[Task]:
    return [Task(item) for item in run.items if item.output_id is not None]


def _pairs(a: EvaluationRun, b: EvaluationRun, drawn: random.Random) -> list[Task]:
    check_same_rows(a, b, common=True)
    return [
        Task(one, other, drawn.random() < 0.5)
        for one, other in pairs_of(a, b)
        if one.case.output != other.case.output
    ]


def _values(labels: Any) -> dict[str, float]:
    if labels is None:
        labels = ("good", "bad")
    if isinstance(labels, str):
        labels = [part.strip() for part in labels.split(",") if part.strip()]
    if isinstance(labels, Mapping):
        made = {str(k): float(v) for k, v in labels.items()}
    else:
        names = [str(label) for label in labels]
        if all(_is_number(n) for n in names):
            made = {n: float(n) for n in names}
        elif len(names) == 2:
            made = {names[0]: 1.0, names[1]: 0.0}
        else:
            made = {n: float(len(names) - 1 - i) for i, n in enumerate(names)}
    if len(made) < 2:
        raise OptionError("There must be two labels or more, for instance labels=('good', 'bad').")
    return made


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


def _uncertainty(runs: Sequence[EvaluationRun]) -> Any:
    """How sure the metrics are of a task; the least sure come first."""
    places = [{(i.position, i.repetition): n for n, i in enumerate(run.items)} for run in runs]

    def value(side: int, item: Item) -> list[float]:
        place = places[side][item.position, item.repetition]
        found = []
        for metric in runs[side].metrics.values():
            scored = metric.scores[place]
            if metric.bounds == (0.0, 1.0):
                found.append(_confident(scored.explanation, scored.value))
        return found

    def key(task: Task) -> float:
        ours = value(0, task.item)
        if task.other is None:
            if not ours:
                return 0.0
            middle = sum(ours) / len(ours)
            return abs(middle - 0.5)
        theirs = value(1, task.other)
        return abs(sum(ours) - sum(theirs))

    return key


def _confident(explanation: str, value: float | None) -> float:
    """A judge's probability of its first label, where it tells it; else the score, 0.5 if there is none."""
    first = explanation.split(",", maxsplit=1)[0].rpartition(" ")[2]
    try:
        share = float(first)
    except ValueError:
        share = -1.0
    if 0 <= share <= 1:
        return share
    return 0.5 if value is None else value


@dataclass(frozen=True)
class Label:
    """A label that was given: by whom, to which answer, how that was picked."""

    row_id: str
    position: int
    repetition: int
    by: str
    label: str
    value: float
    note: str
    drawn: str
    output_id: int = field(default=0, compare=False)


def given(store: Store, run: EvaluationRun, name: str) -> list[Label]:
    """The labels of a run's answers, in the order of the rows."""
    items = {i.output_id: i for i in run.items if i.output_id is not None}
    found = []
    ids = list(items)
    for begin in range(0, len(ids), STEP):
        some = ids[begin : begin + STEP]
        for row in store.rows(
            "SELECT output_id, scope, identifier, label, value, explanation, drawn FROM scores "
            f"WHERE valid AND source = 'human' AND name = ? AND output_id IN ({','.join('?' * len(some))})",
            (name, *some),
        ):
            item = items[row[0]]
            if row[1] != scope_of(item.row_hash, ""):
                continue
            found.append(
                Label(
                    item.case.row_id,
                    item.position,
                    item.repetition,
                    row[2],
                    row[3],
                    row[4],
                    row[5] or "",
                    row[6],
                    row[0],
                )
            )
    return sorted(found, key=lambda label: (label.position, label.repetition, label.by))


def preferences(
    store: Store, a: EvaluationRun, b: EvaluationRun, name: str
) -> dict[tuple[int, int], dict[str, float]]:
    """Labels of pairs by the second run's place and annotator: 1 the second is better, -1 the first."""
    pairs = {(other.output_id, pair_scope(one, other)): other for one, other in pairs_of(a, b)}
    ids = sorted({key[0] for key in pairs if key[0] is not None})
    found: dict[tuple[int, int], dict[str, float]] = {}
    for begin in range(0, len(ids), STEP):
        some = ids[begin : begin + STEP]
        for row in store.rows(
            "SELECT output_id, scope, identifier, value FROM scores WHERE valid "
            f"AND source = 'human' AND name = ? AND output_id IN ({','.join('?' * len(some))})",
            (name, *some),
        ):
            item = pairs.get((row[0], row[1]))
            if item is not None:
                found.setdefault((item.position, item.repetition), {})[row[2]] = row[3]
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
