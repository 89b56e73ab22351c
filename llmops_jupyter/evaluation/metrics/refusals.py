"""Whether an answer declines to answer: the guard's fitted check as a metric."""

from __future__ import annotations

from llmops_jupyter.evaluation.metrics.metric import Case, Metric
from llmops_jupyter.guard import classifier, refusing


def refusal() -> Metric:
    """The answer declines, by a small fitted model of its first 400 characters (`guard/refusing.py`).

    It goes by words and phrases in some fifteen languages and not by meaning: polite refusals in other words are missed.
    """

    def each(case: Case) -> bool:
        return refusing.refuses(case.output)

    weights = classifier.digest_of("refusal")
    return Metric(
        "refusal",
        each=each,
        digest=f"refusal\n{refusing.digest()}\n{weights}",
        bounds=(0.0, 1.0),
        higher_is_better=False,
        yes_no=True,
    )
