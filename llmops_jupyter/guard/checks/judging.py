"""A question about the text that a model of this workspace answers with yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard.check import About, Finding, UndecidedError
from llmops_jupyter.records import Place

# Below so many examples a model's agreement with them means nothing.
FEWEST = 10
LABELS = ("yes", "no")


@dataclass(frozen=True)
class Judged:
    """Scores how likely the answer to a question is yes; a model that fails on the examples abstains, which warns."""

    question: str
    examples: tuple[tuple[str, str], ...]
    model: str | None = None
    name: str = "judge"
    places: tuple[Place, ...] = ("input", "context", "output")
    threshold: float = 0.5

    def find(self, text: str, about: About) -> Finding:
        """How likely yes is."""
        if about.judge is None:
            raise UndecidedError("no judge is plugged in")
        score, why = about.judge(self.question, self.examples, text, self.model)
        if score is None:
            raise UndecidedError(f"the judge abstains: {why}")
        return Finding(min(1.0, max(0.0, score)), False, f"{self.question} {why}".strip())


def make(
    question: str = "", examples: Sequence[Mapping[str, Any]] = (), model: str | None = None
) -> Judged:
    """The check 'judge'.

    Raises:
        GuardError: there is no question, or too few examples with an answer.
    """
    if not question.strip():
        raise GuardError(
            "The check judge has no question. Write question: Does the text ask for …?"
        )
    pairs = []
    for one in examples:
        text, label = str(one.get("text") or ""), one.get("label")
        label = {True: "yes", False: "no"}.get(label, label) if isinstance(label, bool) else label
        if not text.strip() or label not in LABELS:
            raise GuardError(
                "An example of the check judge has a text and a label, as in {text: Where is it?, label: 'no'}."
            )
        pairs.append((text, str(label)))
    if len(pairs) < FEWEST or len({label for _, label in pairs}) < 2:
        raise GuardError(
            f"The check judge needs {FEWEST} examples or more, with both answers, by which a model is checked before "
            "it may judge."
        )
    return Judged(question.strip(), tuple(pairs), model)
