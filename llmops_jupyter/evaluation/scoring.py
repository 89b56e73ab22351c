"""Scores of the answers of a run: taken from the store where they are, computed and kept where not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llmops_jupyter.data.values import canonical
from llmops_jupyter.errors import DataError
from llmops_jupyter.evaluation.metrics.metric import Case, Engines, Metric, Scored
from llmops_jupyter.store import Store

# SQLite before 3.32 takes 999 values in one statement.
STEP = 900
# Answers that are scored between two looks at the clock and the keyboard.
CHUNK, CHUNK_AT_ONCE = 256, 64


@dataclass(frozen=True)
class Item:
    """An answer of a run: `output_id` is its place in the store, None if there is no answer."""

    position: int
    repetition: int
    case: Case
    row_hash: str
    output_id: int | None
    error: str = ""

    @property
    def trace_id(self) -> str:
        return self.case.completion.trace_id if self.case.completion is not None else ""

    @property
    def asked(self) -> str:
        """What makes the row one of its kind: its values without its id, if it puts a question at all."""
        if not self.case.input:
            return str(self.position)
        values = canonical({k: v for k, v in self.case.row.items() if k != "id"})
        return f"{self.case.input}\n{values}"


@dataclass(frozen=True)
class ScoredMetric:
    """A metric with its scores of a run's answers, in their order.

    `identifier` is that of all that decides a score beside the answer and its row.
    """

    name: str
    identifier: str
    scores: tuple[Scored, ...]
    bounds: tuple[float, float] | None = None
    higher_is_better: bool = True
    source: str = "code"
    unit: str = ""
    yes_no: bool | None = None

    @property
    def is_yes_no(self) -> bool:
        """Whether it says yes or no; if the metric does not tell, whether every score there is does."""
        if self.yes_no is not None:
            return self.yes_no
        said = [s for s in self.scores if s.value is not None]
        return bool(said) and all(s.value in (0.0, 1.0) for s in said)

    def as_dict(self) -> dict[str, object]:
        """What is kept of it with the run; the scores have their own table."""
        return {
            "name": self.name,
            "identifier": self.identifier,
            "bounds": self.bounds,
            "higher_is_better": self.higher_is_better,
            "source": self.source,
            "unit": self.unit,
            "yes_no": self.yes_no,
        }


def identifier_of(metric: Metric, engines: Engines) -> str:
    """The hash of what decides a metric's scores; of one that asks a model, that model's too."""
    model = ""
    if "model" in metric.facts:
        model = engines.engine(metric.facts["model"]).model_digest
    return hashlib.sha256(f"{metric.digest}\n{model}".encode()).hexdigest()[:16]


def scope_of(row_hash: str, expected: str) -> str:
    """What a score depends on beside the answer: the row, and which column has the expected answer."""
    return hashlib.sha256(f"{row_hash}\n{expected}".encode()).hexdigest()[:16]


def score(
    store: Store,
    metric: Metric,
    items: Sequence[Item],
    engines: Engines,
    expected: str,
    progress: Callable[[str], None] | None = None,
) -> ScoredMetric:
    """Scores of all answers of a run; what was scored before is read.

    An answer that is missing counts as wrong for metrics that say yes or no, so that a variant does not
    gain by failing; for others it has no score.

    Raises:
        DataError: the metric needs expected answers and there is no such column.
        LLMOpsError: nothing can be scored, for instance because the judge's model is not there.
    """
    if metric.needs_expected and not expected:
        raise DataError(
            f"The metric {metric.name!r} compares with an expected answer, and the rows have no column "
            "'expected'. Name the column that has it: --expected COLUMN (expected=… in Python)."
        )
    identifier = identifier_of(metric, engines)
    scopes = [scope_of(item.row_hash, expected) for item in items]
    known = _recorded(store, metric, identifier, items)
    found: list[Scored | None] = [
        known.get((item.output_id, scope)) for item, scope in zip(items, scopes, strict=True)
    ]
    todo = [i for i, item in enumerate(items) if found[i] is None and item.output_id is not None]
    size = CHUNK if metric.batch is None else CHUNK_AT_ONCE
    for begin in range(0, len(todo), size):
        places = todo[begin : begin + size]
        made: list[Scored] = []
        try:
            made.extend(_scored(metric, [items[i].case for i in places], engines))
        finally:  # what was computed before an interrupt is kept
            done = list(zip(places, made, strict=False))
            _write(store, metric, identifier, [(items[i], scopes[i], s) for i, s in done])
        for place, one in done:
            found[place] = one
        if progress is not None and (metric.batch is not None or len(todo) > size):
            progress(
                f"{metric.name}: {min(begin + size, len(todo)):,}/{len(todo):,} answers scored"
            )
    return _whole(metric, identifier, items, found)


def _scored(metric: Metric, cases: Sequence[Case], engines: Engines) -> Iterator[Scored]:
    """One after the other where the metric scores them so, else all at once."""
    if metric.batch is None:
        for case in cases:
            yield _needing(metric, case, metric.score([case], engines)[0])
        return
    for case, scored in zip(cases, metric.score(cases, engines), strict=True):
        yield _needing(metric, case, scored)


def _needing(metric: Metric, case: Case, scored: Scored) -> Scored:
    if metric.needs_expected and case.expected is None:
        return Scored(None, error="the row has no expected answer")
    return scored


def _whole(
    metric: Metric, identifier: str, items: Sequence[Item], found: Sequence[Scored | None]
) -> ScoredMetric:
    """With the answers that are missing."""
    said = [s for s in found if s is not None and s.value is not None]
    says_yes_no = metric.yes_no
    if says_yes_no is None and metric.source == "code":
        says_yes_no = bool(said) and all(s.value in (0.0, 1.0) and s.label for s in said)
    wrong = Scored(0.0, "false") if metric.higher_is_better else Scored(1.0, "true")
    missing = wrong if says_yes_no else Scored(None)
    scores = tuple(
        s if s is not None else replace(missing, explanation=f"no answer: {item.error}")
        for s, item in zip(found, items, strict=True)
    )
    bounds = metric.bounds or ((0.0, 1.0) if says_yes_no else None)
    return ScoredMetric(
        metric.name,
        identifier,
        scores,
        bounds=bounds,
        higher_is_better=metric.higher_is_better,
        source=metric.source,
        unit=metric.unit,
        yes_no=metric.yes_no,
    )


def recorded(
    store: Store, facts: Mapping[str, object], items: Sequence[Item], expected: str
) -> ScoredMetric:
    """A metric of an earlier run with the scores that are in the store."""
    bounds = facts.get("bounds")
    metric = Metric(
        str(facts["name"]),
        each=lambda _: None,
        bounds=(bounds[0], bounds[1]) if isinstance(bounds, list | tuple) else None,
        higher_is_better=bool(facts["higher_is_better"]),
        source=str(facts["source"]),  # type: ignore[arg-type]
        unit=str(facts["unit"]),
        yes_no=facts.get("yes_no"),  # type: ignore[arg-type]
        digest=str(facts["identifier"]),
    )
    identifier = str(facts["identifier"])
    known = _recorded(store, metric, identifier, items)
    found = [
        known.get((i.output_id, scope_of(i.row_hash, expected)))
        or (Scored(None, error="not scored: run it again") if i.output_id is not None else None)
        for i in items
    ]
    return _whole(metric, identifier, items, found)


def _recorded(
    store: Store, metric: Metric, identifier: str, items: Sequence[Item]
) -> dict[tuple[int | None, str], Scored]:
    """Scores of the metric by answer and scope."""
    ids = sorted({item.output_id for item in items if item.output_id is not None})
    found: dict[tuple[int | None, str], Scored] = {}
    for begin in range(0, len(ids), STEP):
        some = ids[begin : begin + STEP]
        for row in store.rows(
            "SELECT output_id, scope, value, label, explanation FROM scores "
            f"WHERE output_id IN ({','.join('?' * len(some))}) AND name = ? AND source = ? "
            "AND identifier = ? AND valid ORDER BY id",
            (*some, metric.name, metric.source, identifier),
        ):
            found[row[0], row[1]] = Scored(row[2], row[3], row[4] or "")
    return found


def _write(
    store: Store, metric: Metric, identifier: str, made: Sequence[tuple[Item, str, Scored]]
) -> None:
    """Keep scores; what went wrong is tried again by the next run."""
    now = store.now()
    rows = [
        (
            *(item.trace_id, metric.name, s.value, s.label, s.explanation, metric.source),
            *(identifier, now, item.output_id, scope),
        )
        for item, scope, s in made
        if not s.error
    ]
    with store.write() as conn:
        conn.executemany(
            "INSERT INTO scores(trace_id, name, value, label, explanation, source, identifier, at, "
            "output_id, scope) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
