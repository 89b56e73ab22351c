"""Whether a model can be a judge: its agreement with examples whose right label is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_jupyter.evaluation.statistics import Estimate, Interval, cohens_kappa, rate
from llmops_jupyter.store import Store

ABSTAINS = "abstains"


@dataclass(frozen=True)
class JudgeCheck:
    """How a model did on a rubric's examples.

    Args:
        judge: the judge's name.
        model: that judged.
        accuracy: share of examples with the right label; an abstention is none.
        kappa: agreement beyond chance.
        abstained: examples on which it did not decide.
        bias: log-probabilities of the labels where there was nothing to judge.
    """

    judge: str
    model: str
    accuracy: Estimate
    kappa: Estimate
    abstained: int
    bias: tuple[float, ...] = ()

    @property
    def is_reliable(self) -> bool:
        """Whether it agrees better than by chance, is right on most examples and decides at least half.

        Better than by chance: the interval of κ lies above 0.
        """
        n = max(1, self.accuracy.n)
        return self.kappa.interval.low > 0 and self.accuracy.value > 0.5 and self.abstained <= n / 2

    def sentence(self) -> str:
        """The check on one line."""
        low, high = self.kappa.interval.low, self.kappa.interval.high
        found = (
            f"{self.judge} on {self.model}: right on {self.accuracy.value:.0%} of {self.accuracy.n} examples, "
            f"kappa {self.kappa.value:.2f} ({low:.2f} to {high:.2f})"
        )
        if self.is_reliable:
            return found
        why = "no better than chance"
        if self.kappa.interval.low > 0:
            why = f"not enough, {self.abstained} of {self.accuracy.n} undecided"
        return f"{found}: {why}. Use a larger model as judge: judge:NAME@MODEL"

    def as_json(self) -> str:
        """The check as it is kept."""
        return json.dumps(
            {
                "judge": self.judge,
                "model": self.model,
                "accuracy": _kept(self.accuracy),
                "kappa": _kept(self.kappa),
                "abstained": self.abstained,
                "bias": list(self.bias),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> JudgeCheck:
        """The check that `as_json` wrote."""
        value = json.loads(text)
        return cls(
            value["judge"],
            value["model"],
            _estimate(value["accuracy"]),
            _estimate(value["kappa"]),
            value["abstained"],
            tuple(value["bias"]),
        )


def agreement(
    judge: str,
    model: str,
    right: Sequence[str],
    given: Sequence[str],
    bias: Sequence[float] = (),
) -> JudgeCheck:
    """The check from the labels that are right and those that were given, 'abstains' among them."""
    if not right:
        nothing = Estimate(0.0, Interval(-1.0, 1.0, method="no examples"), 0)
        return JudgeCheck(judge, model, nothing, nothing, 0, tuple(bias))
    return JudgeCheck(
        judge,
        model,
        rate([float(r == g) for r, g in zip(right, given, strict=True)]),
        cohens_kappa(list(right), list(given)),
        sum(g == ABSTAINS for g in given),
        tuple(bias),
    )


def kept(store: Store | None, digest: str, model_digest: str) -> JudgeCheck | None:
    """The check of a judge on a model, if it was made."""
    if store is None:
        return None
    row = store.row(
        "SELECT result FROM judge_checks WHERE judge = ? AND model_digest = ?",
        (digest, model_digest),
    )
    return None if row is None else JudgeCheck.from_json(row[0])


def keep(store: Store | None, digest: str, model_digest: str, check: JudgeCheck) -> None:
    """Keep a check."""
    if store is None or store.read_only:
        return
    with store.write() as conn:
        conn.execute(
            "INSERT OR REPLACE INTO judge_checks(judge, model_digest, result, at) VALUES (?, ?, ?, ?)",
            (digest, model_digest, check.as_json(), store.now()),
        )


def _kept(estimate: Estimate) -> list[float]:
    return [estimate.value, estimate.interval.low, estimate.interval.high, estimate.n]


def _estimate(values: Sequence[float]) -> Estimate:
    value, low, high, n = values
    return Estimate(value, Interval(low, high), int(n))
