"""The search: successive halving over candidates on training rows, then one comparison on held-out ones."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError
from llmops_jupyter.evaluation.comparing import Question, compare_runs
from llmops_jupyter.evaluation.metrics.metric import Scored
from llmops_jupyter.evaluation.optimizing import instructions, shots
from llmops_jupyter.evaluation.optimizing.plan import LEAST_ROWS, Plan
from llmops_jupyter.evaluation.optimizing.proposing import propose
from llmops_jupyter.evaluation.optimizing.record import Optimization, Tried
from llmops_jupyter.evaluation.rows import EvaluationRows
from llmops_jupyter.evaluation.summary import by_row
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.prompts.content import Content, with_template

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.comparison import Comparison
    from llmops_jupyter.evaluation.runs import EvaluationRun
    from llmops_jupyter.evaluation.scoring import Item, ScoredMetric
    from llmops_jupyter.evaluation.stage import Evaluation

PROPOSALS = 4
ORIGINAL = "original"
# A candidate may have so many more answers without a score than the original, as a share.
MORE_MISSING = 0.05


@dataclass
class Search:
    """A search that runs."""

    evaluation: Evaluation
    plan: Plan
    tell: Callable[[str], None] | None = None
    computed: int = 0
    recorded: int = 0
    tried: dict[str, Tried] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    yes_no: bool = False
    _runs: dict[str, EvaluationRun] = field(default_factory=dict, repr=False)
    _worst: float | None = None

    def run(self) -> Optimization:
        """The best candidate, compared with the original on held-out rows.

        Raises:
            KeyboardInterrupt: what was computed is kept; the same call goes on from there.
        """
        began = time.monotonic()
        plan = self.plan
        for tried in self._candidates():
            self.tried.setdefault(_digest(tried.content), tried)
        self._fit_to_budget()
        self._halve()
        ranked = sorted(self.tried.values(), key=self._rank)
        best = ranked[0]
        comparison: Comparison | None = None
        if best.name != ORIGINAL:
            sides = self._complete([self._held_out(t) for t in (self._original(), best)])
            names = [plan.metric.name]
            store = self.evaluation.store
            comparison = compare_runs(store, sides[0], sides[1], names, Question())[0]
        return Optimization(
            prompt=plan.prompt,
            metric=plan.metric.name,
            best=best,
            tried=tuple(ranked),
            comparison=comparison,
            computed=self.computed,
            recorded=self.recorded,
            budget=plan.budget,
            train=len(plan.train),
            held_out=len(plan.held_out.rows),
            seconds=time.monotonic() - began,
            original=plan.content,
            notes=tuple(self.notes),
            yes_no=self.yes_no,
            settings=plan.options,
            _prompts=self.evaluation.prompts,
        )

    def _candidates(self) -> list[Tried]:
        """The original, its edits, and both with few-shot sets."""
        plan = self.plan
        template = plan.content.template
        expected = [
            r.values[plan.expected] for r in plan.train if r.values.get(plan.expected) is not None
        ]
        named = [(ORIGINAL, plan.content)]
        instruction = instructions.instruction_of(template)
        for name, text in instructions.edits(instruction, expected):
            changed = instructions.with_instruction(template, text)
            if not instructions.can_stand(template, changed):
                named.append((name, with_template(plan.content, changed)))
        if plan.think and plan.content.schema is None and not plan.content.cot:
            named.append(("think first", replace(plan.content, cot=True)))
        found = [Tried(name, content) for name, content in named]
        for size in plan.sizes:
            for place, (name, content) in enumerate(named[:3]):
                examples = shots.draw(
                    plan.pool, plan.expected, size, f"{plan.seed}\0{size}\0{place}"
                )
                if examples is not None:
                    label = f"{size} examples" if name == ORIGINAL else f"{name}, {size} examples"
                    found.append(Tried(label, replace(content, examples=examples)))
        return found

    def _fit_to_budget(self) -> None:
        """Drop candidates for which the budget has no rows, the last ones first."""
        left = self._left()
        most = max(2, left // (LEAST_ROWS * 2))
        names = list(self.tried)
        if len(names) > most:
            self.notes.append(
                f"{len(names) - most} candidates were not tried: the budget of {self.plan.budget} answers has "
                "no rows for them"
            )
            for key in names[most:]:
                del self.tried[key]

    def _halve(self) -> None:
        """Rounds: score, keep the better half, take twice as many rows."""
        alive = list(self.tried)
        rounds = max(1, math.ceil(math.log2(len(alive))))
        per_round = max(1, self._left() // rounds)
        rows = max(LEAST_ROWS, per_round // len(alive))
        proposed = self.plan.proposer is None
        while True:
            rows = min(rows, len(self.plan.train))
            done = [key for key in alive if self._score(key, rows)]
            alive = [key for key in alive if key in done]
            if len(alive) < 2 or self._left() < LEAST_ROWS:
                return
            alive.sort(key=lambda key: self._rank(self.tried[key]))
            if not proposed:
                proposed = True
                alive = [*alive[: max(1, len(alive) // 2)], *self._propose(alive[0])]
            else:
                alive = alive[: max(1, len(alive) // 2)]
            if len(alive) == 1 and rows >= len(self.plan.train):
                return
            if len(alive) == 1:
                rows = len(self.plan.train)
                self._score(alive[0], rows)
                return
            rows = 2 * rows

    def _score(self, key: str, rows: int) -> bool:
        """Score a candidate on so many rows, if the budget allows; whether it did."""
        tried = self.tried[key]
        known = tried.rounds[-1][0] if tried.rounds else 0
        before = self._runs.get(key)
        again = len(before.failures) if before is not None else 0
        if rows - known + again > self._left():
            return False
        run = self.evaluation.run(
            self._variant(tried),
            EvaluationRows(self.plan.train[:rows]),
            self.plan.metric,
            **self._how(),
        )
        self._runs[key] = run
        self._count(run, known - again)
        metric = run.metrics[self.plan.metric.name]
        self.yes_no = metric.is_yes_no
        values, _ = by_row(metric, run.items)
        worst = self._worst_of(metric, values)
        if worst is None:
            raise DataError(
                f"{metric.name} scored no answer of {tried.name!r}: {_why_none(run, metric)}."
            )
        missing = len(run.items) - len(values)
        mean = (sum(values) + missing * worst) / len(run.items)
        self.tried[key] = replace(tried, rounds=(*tried.rounds, (rows, mean)))
        return True

    def _worst_of(self, metric: ScoredMetric, values: Sequence[float]) -> float | None:
        """What an answer without a score counts as: the worst there can be, else the worst that was seen."""
        worst = min if metric.higher_is_better else max
        if metric.bounds is not None:
            return worst(metric.bounds)
        seen = [v for v in (self._worst, *values) if v is not None]
        self._worst = worst(seen) if seen else None
        return self._worst

    def _complete(self, runs: Sequence[EvaluationRun]) -> list[EvaluationRun]:
        """Runs in which an answer without a score counts as the worst: who fails is not to win by it."""
        name = self.plan.metric.name
        known = [[s.value for s in r.metrics[name].scores if s.value is not None] for r in runs]
        worst = self._worst_of(runs[0].metrics[name], [v for values in known for v in values])
        missing = sum(len(r.items) - len(values) for r, values in zip(runs, known, strict=True))
        if not missing or worst is None:
            return list(runs)
        self.notes.append(
            f"{missing} answers to held-out rows have no score: they count as the worst ({worst:g})"
        )
        made = []
        for run in runs:
            metric = run.metrics[name]
            scores = tuple(s if s.value is not None else Scored(worst) for s in metric.scores)
            made.append(replace(run, metrics={**run.metrics, name: replace(metric, scores=scores)}))
        return made

    def _propose(self, key: str) -> list[str]:
        """New candidates around the best one so far."""
        plan, best = self.plan, self.tried[key]
        count = min(PROPOSALS, self._left() // (2 * LEAST_ROWS))
        if count < 1 or plan.proposer is None:
            return []
        wrong = self._wrong_of(self._runs[key])
        if not wrong:
            return []
        template = best.content.template
        texts, dropped, computed = propose(
            self.evaluation,
            template,
            instructions.instruction_of(template),
            wrong,
            model=plan.proposer,
            count=count,
        )
        self.computed += computed
        self.recorded += count - computed
        for why, n in dropped.items():
            self.notes.append(f"{n} proposals were dropped: {why}")
        made = []
        for number, text in enumerate(texts, 1):
            changed = instructions.with_instruction(template, text)
            content = with_template(best.content, changed)
            digest = _digest(content)
            if digest not in self.tried:
                self.tried[digest] = Tried(f"proposal {number}", content)
                made.append(digest)
        return made

    def _wrong_of(self, run: EvaluationRun) -> list[Item]:
        """Answers of a run that score lowest."""
        metric = run.metrics[self.plan.metric.name]
        sign = 1.0 if metric.higher_is_better else -1.0
        pairs = [
            (sign * s.value, i)
            for i, s in enumerate(metric.scores)
            if s.value is not None and run.items[i].case.expected is not None
        ]
        if not pairs or min(pairs)[0] == max(pairs)[0] == sign:
            return []
        pairs.sort()
        most = max(pairs)[0]
        return [run.items[i] for value, i in pairs if value < most] or [
            run.items[i] for _, i in pairs
        ]

    def _rank(self, tried: Tried) -> tuple[float, float, int]:
        """Candidates that were seen on more rows before others; then by mean; the original wins a tie."""
        if not tried.rounds:
            return (math.inf, 0.0, 0)
        rows, mean = tried.rounds[-1]
        if self._says_less(tried):
            return (0.0, 0.0, 0)
        sign = -1.0 if self.plan.metric.higher_is_better else 1.0
        return (-rows, sign * mean, tried.name != ORIGINAL)

    def _says_less(self, tried: Tried) -> bool:
        """Whether it has more answers without a score than the original, by a metric that knows no worst."""
        if tried.name == ORIGINAL:
            return False
        name = self.plan.metric.name
        found = []
        for one in (tried, self._original()):
            run = self._runs.get(_digest(one.content))
            if run is None or run.metrics[name].bounds is not None:
                return False
            found.append(sum(s.value is None for s in run.metrics[name].scores) / len(run.items))
        return found[0] > found[1] + MORE_MISSING

    def _original(self) -> Tried:
        return next(t for t in self.tried.values() if t.name == ORIGINAL)

    def _variant(self, tried: Tried) -> Variant:
        name = self.plan.prompt if tried.name == ORIGINAL else tried.name
        return Variant(prompt=tried.content, options=self.plan.options, name=name)

    def _how(self) -> dict[str, Any]:
        return {"expected": self.plan.expected, "progress": self.tell}

    def _left(self) -> int:
        """Answers that the search may still compute; those of the comparison are kept aside."""
        return self.plan.budget - self.computed - 2 * len(self.plan.held_out.rows)

    def _count(self, run: EvaluationRun, known: int = 0) -> None:
        """Add up what a run computed, and what was recorded before this search."""
        self.computed += len(run.items) - run.resumed
        self.recorded += max(0, run.resumed - known)

    def _held_out(self, tried: Tried) -> EvaluationRun:
        """Its answers to the rows that the search did not see."""
        run = self.evaluation.run(
            self._variant(tried),
            self.plan.held_out,
            self.plan.metric,
            cluster=self.plan.cluster or None,
            **self._how(),
        )
        self._count(run)
        return run


def _why_none(run: EvaluationRun, metric: ScoredMetric) -> str:
    """Why no answer has a score: the engine's reason before the metric's."""
    reasons = [i.error for i in run.items if i.error] or [
        s.error or s.explanation for s in metric.scores if s.error or s.explanation
    ]
    return reasons[0].rstrip(".") if reasons else "it abstains"


def _digest(content: Content) -> str:
    return content.digest
