"""Which of two variants' answers a judge of pairs prefers, row by row, as scores of both runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_jupyter.evaluation.aligning import check_same_rows
from llmops_jupyter.evaluation.metrics.metric import Engines, Scored
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import Item, ScoredMetric
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.judges.pairs import PairJudge, PairScored

Pairs = Sequence[tuple[Item, Item]]
CHUNK = 128


def prefer(
    store: Store,
    judge: PairJudge,
    a: EvaluationRun,
    b: EvaluationRun,
    engines: Engines,
    *,
    common: bool = False,
    tell: Callable[[str], None] | None = None,
) -> tuple[EvaluationRun, EvaluationRun, list[str]]:
    """Both runs with the judge's preferences as scores, and what is to be said of the judge.

    An answer that is preferred has 1, the other 0; a tie gives both 0.5. What was judged before is read.

    Raises:
        DataError: the runs are on different rows.
    """
    from llmops_jupyter.evaluation.judges.bias import pair_bias

    check_same_rows(a, b, common=common)
    pairs = pairs_of(a, b)
    engine = engines.engine(judge.model)
    identifier = hashlib.sha256(f"{judge.digest}\n{engine.model_digest}".encode()).hexdigest()[:16]
    results: list[PairScored] = []
    for begin in range(0, len(pairs), CHUNK):
        some = pairs[begin : begin + CHUNK]
        results += _judged(store, judge, identifier, some, engines)
        if tell is not None:
            tell(f"{judge.name}: {len(results):,}/{len(pairs):,} pairs judged")
    cases = [(one.case, other.case) for one, other in pairs]
    notes = pair_bias(cases, results).sentences()
    check = judge.check(engine)
    if not check.is_reliable:
        notes.insert(0, check.sentence())
    first = {(x.position, x.repetition): r for (x, _), r in zip(pairs, results, strict=True)}
    second = {(y.position, y.repetition): r for (_, y), r in zip(pairs, results, strict=True)}
    return (
        _with(a, judge, identifier, first, sign=-1.0),
        _with(b, judge, identifier, second, sign=1.0),
        notes,
    )


def pairs_of(a: EvaluationRun, b: EvaluationRun) -> Pairs:
    """Answers to the same row and of the same repetition, both there."""
    others = {(i.case.row_id, i.row_hash, i.repetition): i for i in b.items if i.output_id}
    found = []
    for item in a.items:
        other = others.get((item.case.row_id, item.row_hash, item.repetition))
        if other is not None and item.output_id is not None:
            found.append((item, other))
    return found


def _judged(
    store: Store, judge: PairJudge, identifier: str, pairs: Pairs, engines: Engines
) -> list[PairScored]:
    """Verdicts of pairs: those that are kept, and the others computed and kept."""
    from llmops_jupyter.evaluation.judges.pairs import PairScored

    known = {
        (row[0], row[1]): PairScored(row[2], row[3], row[4])
        for row in store.rows(
            "SELECT output_id, scope, value, label, explanation FROM scores WHERE name = ? "
            f"AND identifier = ? AND valid AND output_id IN ({','.join('?' * len(pairs))})",
            (judge.name, identifier, *(other.output_id for _, other in pairs)),
        )
    }
    keys = [(other.output_id, pair_scope(one, other)) for one, other in pairs]
    todo = [i for i, key in enumerate(keys) if key not in known]
    if todo:
        made = judge.compare([(pairs[i][0].case, pairs[i][1].case) for i in todo], engines)
        now = store.now()
        with store.write() as conn:
            conn.executemany(
                "INSERT INTO scores(trace_id, name, value, label, explanation, source, identifier, at, "
                "output_id, scope) VALUES (?, ?, ?, ?, ?, 'judge', ?, ?, ?, ?)",
                (
                    (
                        *(pairs[i][1].trace_id, judge.name, found.value, found.label),
                        *(found.explanation, identifier, now, *keys[i]),
                    )
                    for i, found in zip(todo, made, strict=True)
                    if not found.error
                ),
            )
        known.update({keys[i]: found for i, found in zip(todo, made, strict=True)})
    return [known[key] for key in keys]


def pair_scope(one: Item, other: Item) -> str:
    """Of the answer that another one was compared with, and the row."""
    return hashlib.sha256(f"pair\n{one.output_id}\n{other.row_hash}".encode()).hexdigest()[:16]


def _with(
    run: EvaluationRun,
    judge: PairJudge,
    identifier: str,
    results: dict[tuple[int, int], PairScored],
    *,
    sign: float,
) -> EvaluationRun:
    scores = []
    for item in run.items:
        found = results.get((item.position, item.repetition))
        if found is None:
            scores.append(Scored(None, error="there are not two answers"))
        elif found.value is None:
            scores.append(Scored(None, found.label or None, found.explanation, found.error))
        else:
            value = (1 + sign * found.value) / 2
            scores.append(Scored(value, found.label, found.explanation))
    metric = ScoredMetric(judge.name, identifier, tuple(scores), bounds=(0.0, 1.0), source="judge")
    return replace(run, metrics={**run.metrics, judge.name: metric})
