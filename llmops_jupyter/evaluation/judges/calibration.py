"""A judge's probabilities brought in line with people's labels, and how far the two agree."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.errors import DataError
from llmops_jupyter.evaluation.judges.single import SURE, Judge
from llmops_jupyter.evaluation.metrics.metric import Case
from llmops_jupyter.evaluation.statistics import Estimate, cohens_kappa
from llmops_jupyter.store import Store

LEAST, FOLDS, BINS = 20, 5, 5


@dataclass(frozen=True)
class Calibration:
    """What calibration did, on labels that each fold had not seen.

    Args:
        judge: the calibrated judge.
        n: labels.
        kappa_before: agreement of the judge with people as it was.
        kappa_after: agreement with calibrated probabilities.
        brier_before: mean squared error of the probabilities; 0.25 is a coin's.
        brier_after: with calibrated ones.
        table: of bins of probability: mean probability, share that people said, labels.
    """

    judge: Judge
    n: int
    kappa_before: Estimate
    kappa_after: Estimate
    brier_before: float
    brier_after: float
    table: tuple[tuple[float, float, int], ...]

    def sentence(self) -> str:
        """What it did, on one line."""
        return (
            f"{self.judge.rubric.name}: on {self.n} labels, kappa {self.kappa_before.value:.2f} → "
            f"{self.kappa_after.value:.2f}, squared error {self.brier_before:.3f} → {self.brier_after:.3f} "
            "(cross-validated)"
        )


def calibrate(
    judge: Judge,
    cases: Sequence[Case],
    labels: Sequence[str],
    engine: Engine,
    *,
    output_ids: Sequence[int] = (),
    store: Store | None = None,
) -> Calibration:
    """Fit slope and intercept of the judge's logit to people's labels (Platt 1999).

    Args:
        judge: with two labels.
        cases: answers that people labelled.
        labels: one of the rubric's labels for each.
        engine: that judges.
        output_ids: of the answers; they are kept, so that these labels never correct this judge.
        store: where that is kept.

    Raises:
        DataError: there are fewer than 20 labels, or all are the same.
    """
    names = judge.rubric.names
    if len(cases) != len(labels):
        raise DataError(f"There are {len(cases)} answers and {len(labels)} labels; each needs one.")
    unknown = next((label for label in labels if label not in names), None)
    if unknown is not None:
        raise DataError(f"{unknown!r} is no label of the rubric: {', '.join(names)}.")
    found = judge.probabilities(cases, engine)
    pairs = [
        (p, label == names[0]) for p, label in zip(found, labels, strict=True) if p is not None
    ]
    truth = [t for _, t in pairs]
    if len(pairs) < LEAST or min(sum(truth), len(truth) - sum(truth)) < 2:
        raise DataError(
            f"Calibration needs {LEAST} labels, at least two of each kind; there are {len(pairs)}, of which "
            f"{sum(truth)} say {names[0]!r}. Label more answers."
        )
    logits = [_logit(p) for p, _ in pairs]
    slope, intercept = _fit(logits, truth)
    if slope <= 0:
        raise DataError(
            f"The labels say {names[0]!r} where {judge.name} says {names[1]!r}, or have nothing to do with "
            f"what it says, so it cannot be calibrated. Its first label is {names[0]!r}: do labels count 1 where "
            "that is right? For hallucination, 1 means that something is made up."
        )
    held_out = _cross_validated(logits, truth)
    before = [p for p, _ in pairs]
    made = Calibration(
        judge.calibrated(slope, intercept),
        len(pairs),
        cohens_kappa(truth, [p >= 0.5 for p in before]),
        cohens_kappa(truth, [p >= 0.5 for p in held_out]),
        _brier(before, truth),
        _brier(held_out, truth),
        tuple(_table(held_out, truth)),
    )
    if store is not None:
        _keep(store, made.judge, engine, made.sentence(), output_ids)
    return made


def tuned_on(store: Store, judge: str) -> set[int]:
    """The answers whose labels made a judge of this name what it is."""
    rows = store.rows("SELECT tuned_on FROM judge_calibrations WHERE judge = ?", (judge,))
    return {int(i) for row in rows for i in json.loads(row[0])}


def _keep(
    store: Store, judge: Judge, engine: Engine, result: str, output_ids: Sequence[int]
) -> None:
    with store.write() as conn:
        conn.execute(
            "INSERT INTO judge_calibrations(judge, model_digest, result, tuned_on, at) "
            "VALUES (?, ?, ?, ?, ?)",
            (judge.name, engine.model_digest, result, json.dumps(sorted(output_ids)), store.now()),
        )


def _fit(logits: Sequence[float], truth: Sequence[bool]) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10.0)
    model.fit([[x] for x in logits], [int(t) for t in truth])
    return float(model.coef_[0][0]), float(model.intercept_[0])


def _cross_validated(logits: Sequence[float], truth: Sequence[bool]) -> list[float]:
    """Probabilities of each label by the labels of other folds."""
    from sklearn.model_selection import StratifiedKFold

    folds = min(FOLDS, sum(truth), len(truth) - sum(truth))
    found = [0.5] * len(logits)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=0)
    for train, test in splitter.split([[x] for x in logits], [int(t) for t in truth]):
        slope, intercept = _fit([logits[i] for i in train], [truth[i] for i in train])
        for i in test:
            found[i] = 1 / (1 + math.exp(-(slope * logits[i] + intercept)))
    return found


def _brier(found: Sequence[float], truth: Sequence[bool]) -> float:
    return sum((p - t) ** 2 for p, t in zip(found, truth, strict=True)) / len(truth)


def _table(found: Sequence[float], truth: Sequence[bool]) -> list[tuple[float, float, int]]:
    order = sorted(zip(found, truth, strict=True))
    size = max(1, math.ceil(len(order) / BINS))
    bins = [order[i : i + size] for i in range(0, len(order), size)]
    return [(sum(p for p, _ in b) / len(b), sum(t for _, t in b) / len(b), len(b)) for b in bins]


def _logit(p: float) -> float:
    least = 1 / (1 + math.exp(SURE))
    p = min(1 - least, max(least, p))
    return math.log(p / (1 - p))
