"""Rows, a judge and annotators for the tests of labels."""

from __future__ import annotations

from llmops_jupyter.evaluation import Metric, Scored

ROWS = [
    {
        "id": f"r{n:02}",
        "question": f"q{n}",
        "a": f"answer {n}",
        "b": f"{'other' if n % 2 else 'answer'} {n}",
        "expected": str(n),
    }
    for n in range(30)
]


def probable(case):
    """A judge that is sure of some answers and less of others."""
    n = int(case.row["expected"])
    share = 0.5 + (n % 10) / 20
    return Scored(1.0, "yes", f"yes {share:.2f}, no {1 - share:.2f}")


judge = Metric("judge", each=probable, digest="judge", bounds=(0.0, 1.0), source="judge")


def all_of(queue, decide):
    """Label everything; the inputs in the order in which they were shown."""
    seen = []
    while (shown := queue.current) is not None:
        seen.append(shown.input)
        queue.label(decide(shown))
    return seen
