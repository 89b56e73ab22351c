"""Which of two answers is better, asked in both orders: who changes sides with the order has no opinion."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.judges import asking, checking, verdicts
from llmops_jupyter.evaluation.judges.checking import ABSTAINS, JudgeCheck
from llmops_jupyter.evaluation.judges.criteria import FOLDER, PAIRWISE
from llmops_jupyter.evaluation.judges.single import MARGIN, TOGETHER
from llmops_jupyter.evaluation.metrics.metric import Case, Engines
from llmops_jupyter.store import Store

LABELS = ("A", "B")
FIRST, SECOND, TIE = "first", "second", "tie"
KEPT = "; the same place in both orders: "
VALUES = {FIRST: -1.0, SECOND: 1.0, TIE: 0.0}


@dataclass(frozen=True)
class PairScored:
    """Which of two answers is better.

    Args:
        value: 1 the second, -1 the first, 0 a tie; None if the judge abstains.
        label: 'first', 'second', 'tie' or 'abstains'.
        explanation: the probabilities of both orders.
        error: what the case lacks.
    """

    value: float | None
    label: str
    explanation: str = ""
    error: str = ""

    @property
    def kept_place(self) -> str:
        """The place that it chose in both orders, whichever answer stood there: 'A' or 'B'; else ''."""
        _, found, place = self.explanation.partition(KEPT)
        return place[:1] if found else ""


@dataclass(frozen=True)
class PairJudge:
    """A judge of pairs.

    Args:
        question: what decides.
        model: reference of the model that judges; None is the default one.
        margin: it does not decide an order in which its choice is not by so much more likely than 0.5.
        force: judge even if the check says that the model cannot.
        store: where checks are kept.
    """

    question: str = ""
    model: str | None = None
    margin: float = MARGIN
    force: bool = False
    store: Store | None = field(default=None, compare=False, repr=False)
    _checks: dict[str, JudgeCheck] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 0.5:
            raise OptionError(
                f"A judge's margin is a share from 0, as in 0.1, not {self.margin!r}."
            )

    @property
    def name(self) -> str:
        """As it is written on a command line."""
        return f"judge:{PAIRWISE}" + (f"@{self.model}" if self.model else "")

    @property
    def asked(self) -> str:
        """The question; ours if none was given."""
        return self.question or str(_own()["question"])

    @property
    def digest(self) -> str:
        """Of all that decides a verdict beside the model."""
        parts = [self.asked, _own()["check"], self.margin, self.force]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def compare(self, pairs: Sequence[tuple[Case, Case]], engines: Engines) -> list[PairScored]:
        """A verdict for each pair; all abstain if the model cannot judge pairs."""
        engine = engines.engine(self.model)
        check = self.check(engine)
        if not check.is_reliable and not self.force:
            return [PairScored(None, ABSTAINS, check.sentence()) for _ in pairs]
        return self._compared(pairs, engine)

    def check(self, engine: Engine) -> JudgeCheck:
        """How the model does on pairs of which one is plainly better; made once for each model, and kept."""
        known = self._checks.get(engine.model_digest) or checking.kept(
            self.store, self.digest, engine.model_digest
        )
        if known is not None:
            return known
        items = _own()["check"]
        pairs = [
            (
                Case("", {}, item["first"], input=item["input"]),
                Case("", {}, item["second"], input=item["input"]),
            )
            for item in items
        ]
        given = [found.label for found in self._compared(pairs, engine)]
        made = checking.agreement(
            self.name, engine.model_name, [item["label"] for item in items], given
        )
        self._checks[engine.model_digest] = made
        checking.keep(self.store, self.digest, engine.model_digest, made)
        return made

    def _compared(self, pairs: Sequence[tuple[Case, Case]], engine: Engine) -> list[PairScored]:
        found: list[PairScored | None] = [None] * len(pairs)
        prompts: list[tuple[int, verdicts.Prompt, verdicts.Prompt, str]] = []
        for place, (a, b) in enumerate(pairs):
            if a.output == b.output:
                found[place] = PairScored(0.0, TIE, "the answers are the same")
                continue
            try:
                shown = asking.parts_of(a, ("input",))
                (one, cut), (other, _) = (
                    asking.fitted(
                        engine, self.asked, {**shown, "first": x.output, "second": y.output}, LABELS
                    )
                    for x, y in ((a, b), (b, a))
                )
            except DataError as e:
                found[place] = PairScored(None, "", error=str(e))
                continue
            prompts.append((place, one, other, "; cut to the model's context" if cut else ""))
        for begin in range(0, len(prompts), TOGETHER):
            some = prompts[begin : begin + TOGETHER]
            flat = [prompt for _, one, other, _ in some for prompt in (one, other)]
            asked = verdicts.ask(engine, flat, LABELS)
            chosen = "; the model was made to choose" if asked.chosen else ""
            for i, (place, _, _, note) in enumerate(some):
                one_a, other_a = (math.exp(asked.logprobs[2 * i + k][0]) for k in (0, 1))
                found[place] = self._decide(one_a, other_a, note + chosen)
        return [one for one in found if one is not None]

    def _decide(self, one: float, other: float, note: str = "") -> PairScored:
        """From the probability of A with the first answer at A, and with the second answer at A."""
        said = f"A {one:.2f}, with the places changed A {other:.2f}{note}"
        choice = self._choice(one), self._choice(other)
        if choice == ("", ""):
            return PairScored(None, ABSTAINS, said)
        if choice == ("A", "B"):
            return PairScored(-1.0, FIRST, said)
        if choice == ("B", "A"):
            return PairScored(1.0, SECOND, said)
        kept = f"{KEPT}{choice[0]}" if choice[0] == choice[1] else ""
        return PairScored(0.0, TIE, said + kept)

    def _choice(self, probability: float) -> str:
        if probability >= 0.5 + self.margin:
            return "A"
        return "B" if probability <= 0.5 - self.margin else ""


def pairwise(question: str = "", model: str | None = None, **settings: Any) -> PairJudge:
    """A judge of pairs; settings as for `PairJudge`."""
    return PairJudge(question, model, **settings)


@lru_cache
def _own() -> dict[str, Any]:
    value: dict[str, Any] = json.loads((FOLDER / f"{PAIRWISE}.json").read_text("utf-8"))
    return value
