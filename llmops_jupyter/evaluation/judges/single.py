"""A judge: a rubric asked of a model, as a metric."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.judges import asking, checking, verdicts
from llmops_jupyter.evaluation.judges.checking import ABSTAINS, JudgeCheck
from llmops_jupyter.evaluation.judges.criteria import LEAST, Rubric
from llmops_jupyter.evaluation.metrics.metric import Case, Engines, Metric, Scored
from llmops_jupyter.store import Store

MARGIN = 0.1
# Cases that are asked at once.
TOGETHER = 64
# Logits further from 0 count as this: nothing is learnt of how right a judge is that is surer than that.
SURE = 13.8


@dataclass(frozen=True)
class Judge:
    """A rubric asked of a model.

    Args:
        rubric: what is asked.
        model: reference of the model that judges; None is the default one.
        margin: it abstains where its best label is not by so much more likely than by pure guessing.
        calibration: slope and intercept on the logit of the first label's probability, from people's labels.
        force: judge even if the check says that the model cannot.
        source: the file that the rubric is from, by which the judge is named; '' for one of ours.
        store: where checks are kept.
    """

    rubric: Rubric
    model: str | None = None
    margin: float = MARGIN
    calibration: tuple[float, float] | None = None
    force: bool = False
    source: str = ""
    store: Store | None = field(default=None, compare=False, repr=False)
    _checks: dict[str, JudgeCheck] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1 - 1 / len(self.rubric.labels):
            raise OptionError(
                f"A judge's margin is a share from 0, as in 0.1, not {self.margin!r}."
            )
        if self.calibration is not None and len(self.rubric.labels) != 2:
            raise OptionError("Only judges with two labels can be calibrated.")

    @property
    def name(self) -> str:
        """As it is written on a command line."""
        made = f"judge:{self.source or self.rubric.name}"
        if self.model:
            made += f"@{self.model}"
        return f"{made} (calibrated)" if self.calibration else made

    @property
    def digest(self) -> str:
        """Of all that decides a verdict beside the model."""
        parts = [self.rubric.digest, self.margin, self.calibration, self.force]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def metric(self) -> Metric:
        """The judge as a metric."""
        return Metric(
            self.name,
            batch=self.score,
            digest=self.digest,
            bounds=self.rubric.bounds,
            higher_is_better=self.rubric.higher_is_better,
            source="judge",
            needs_expected="expected" in self.rubric.needs,
            facts={"model": self.model, "judge": self},
        )

    def calibrated(self, slope: float, intercept: float) -> Judge:
        """The same judge with calibrated probabilities."""
        return replace(self, calibration=(slope, intercept), _checks={})

    def score(self, cases: Sequence[Case], engines: Engines) -> list[Scored]:
        """A verdict for each case; all abstain if the model cannot judge by this rubric."""
        engine = engines.engine(self.model)
        check = self.check(engine)
        if not check.is_reliable and not self.force:
            return [Scored(None, ABSTAINS, check.sentence()) for _ in cases]
        note = "" if check.is_reliable else "; forced, though it agrees no better than chance"
        return [
            found if isinstance(found, Scored) else self._decide(*found, note)
            for found in self._asked(cases, engine, check.bias)
        ]

    def check(self, engine: Engine) -> JudgeCheck:
        """How the model does on the rubric's examples; made once for each model, and kept.

        A rubric with fewer than ten examples cannot be checked, and no model passes.
        """
        known = self._checks.get(engine.model_digest) or checking.kept(
            self.store, self.digest, engine.model_digest
        )
        if known is not None:
            return known
        bias = self._bias(engine)
        items = self.rubric.check
        given = []
        for found in self._asked([item.case() for item in items], engine, bias):
            decided = found if isinstance(found, Scored) else self._decide(*found, "")
            given.append(decided.label or ABSTAINS)
        right = [item.label for item in items]
        if len(items) < LEAST:
            right, given = [], []
        made = checking.agreement(self.name, engine.model_name, right, given, bias)
        self._checks[engine.model_digest] = made
        checking.keep(self.store, self.digest, engine.model_digest, made)
        return made

    def probabilities(self, cases: Sequence[Case], engine: Engine) -> list[float | None]:
        """How likely the first label is, before any calibration; None where a case lacks a part."""
        bias = self.check(engine).bias
        return [
            None if isinstance(found, Scored) else math.exp(found[0][0])
            for found in self._asked(cases, engine, bias, calibrate=False)
        ]

    def _bias(self, engine: Engine) -> list[float]:
        """Of the labels, where there is nothing to judge."""
        prompts = [
            asking.messages_of(
                self.rubric.question, dict.fromkeys(self.rubric.needs, empty), self.rubric.names
            )
            for empty in asking.EMPTY
        ]
        asked = verdicts.ask(engine, prompts, self.rubric.names)
        if asked.chosen:  # it says nothing of how likely labels are
            return [-math.log(len(self.rubric.names))] * len(self.rubric.names)
        return verdicts.bias_of(asked.logprobs)

    def _asked(
        self,
        cases: Sequence[Case],
        engine: Engine,
        bias: Sequence[float],
        *,
        calibrate: bool = True,
    ) -> list[Scored | tuple[list[float], str]]:
        """For each case its labels' log-probabilities with a note, or what it lacks."""
        found: list[Scored | tuple[list[float], str] | None] = [None] * len(cases)
        prompts: list[tuple[int, verdicts.Prompt, bool]] = []
        for place, case in enumerate(cases):
            try:
                parts = asking.parts_of(case, self.rubric.needs)
                prompt, cut = asking.fitted(engine, self.rubric.question, parts, self.rubric.names)
            except DataError as e:
                found[place] = Scored(None, error=str(e))
                continue
            prompts.append((place, prompt, cut))
        for begin in range(0, len(prompts), TOGETHER):
            some = prompts[begin : begin + TOGETHER]
            asked = verdicts.ask(engine, [p for _, p, _ in some], self.rubric.names)
            for (place, _, cut), logprobs in zip(some, asked.logprobs, strict=True):
                note = "; cut to the model's context" if cut else ""
                if asked.chosen:
                    note += "; the model was made to choose"
                shifted = logprobs if asked.chosen else verdicts.normalised(logprobs, bias)
                found[place] = (self._calibrated(shifted) if calibrate else shifted, note)
        return [one for one in found if one is not None]

    def _calibrated(self, logprobs: list[float]) -> list[float]:
        if self.calibration is None:
            return logprobs
        slope, intercept = self.calibration
        logit = max(-SURE, min(SURE, logprobs[0] - logprobs[1]))
        return verdicts.normalised([slope * logit + intercept, 0.0])

    def _decide(self, logprobs: Sequence[float], note: str, more: str) -> Scored:
        """The verdict from the labels' log-probabilities."""
        shares = [math.exp(x) for x in logprobs]
        best = max(range(len(shares)), key=lambda i: shares[i])
        said = ", ".join(
            f"{name} {share:.2f}" for name, share in zip(self.rubric.names, shares, strict=True)
        )
        explanation = f"{said}{note}{more}"
        if shares[best] < 1 / len(shares) + self.margin:
            return Scored(None, ABSTAINS, explanation)
        label, value = self.rubric.labels[best]
        if not self.rubric.is_yes_no:
            value = sum(v * p for (_, v), p in zip(self.rubric.labels, shares, strict=True))
        return Scored(value, label, explanation)


def judge(given: Rubric | str, model: str | None = None, **settings: Any) -> Metric:
    """A judge as a metric, by a rubric or the name of one of ours; settings as for `Judge`."""
    from llmops_jupyter.evaluation.judges.criteria import rubric

    found = rubric(given) if isinstance(given, str) else given
    return Judge(found, model, **settings).metric()
