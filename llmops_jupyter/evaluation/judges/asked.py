"""A question of a guard policy as a judge: checked on the policy's examples before it may decide."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmops_jupyter.evaluation.judges.criteria import CheckItem, Rubric
from llmops_jupyter.evaluation.judges.single import Judge
from llmops_jupyter.evaluation.metrics.metric import Case, Engines
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from llmops_jupyter.guard.check import Judge as Ask


def asked_of(engines: Engines, store: Store) -> Ask:
    """What answers a question about a text with the probability of yes; None where the model may not judge."""
    made: dict[str, Judge] = {}

    def ask(
        question: str, examples: Sequence[tuple[str, str]], text: str, model: str | None
    ) -> tuple[float | None, str]:
        digest = hashlib.sha256(repr((question, examples, model)).encode()).hexdigest()
        if digest not in made:
            check = tuple(CheckItem(label, example) for example, label in examples)
            rubric = Rubric(f"guard-{digest[:12]}", question, needs=("output",), check=check)
            made[digest] = Judge(rubric, model, store=store)
        judge, engine = made[digest], engines.engine(model)
        reliable = judge.check(engine)
        if not reliable.is_reliable:
            return None, reliable.sentence()
        (chance,) = judge.probabilities([Case("", {}, text)], engine)
        if chance is None:
            return None, "the text cannot be judged"
        return chance, f"{engine.model_name} says yes with {chance:.2f}"

    return ask
