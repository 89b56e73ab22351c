"""The search: successive halving over candidates on training rows, then one comparison on held-out ones."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.comparing import Question, compare_runs
from llmops_jupyter.evaluation.metrics.metric import Metric
from llmops_jupyter.evaluation.optimizing import instructions, shots
from llmops_jupyter.evaluation.optimizing.proposing import propose
from llmops_jupyter.evaluation.optimizing.record import Optimization, Tried
from llmops_jupyter.evaluation.rows import EvaluationRow, EvaluationRows
from llmops_jupyter.evaluation.summary import by_row
from llmops_jupyter.evaluation.variant import OPTIONS, Variant
from llmops_jupyter.prompts.content import Content, with_template
from llmops_jupyter.prompts.template import variables_of

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.comparison import Comparison
    from llmops_jupyter.evaluation.runs import EvaluationRun
    from llmops_jupyter.evaluation.scoring import Item
    from llmops_jupyter.evaluation.stage import Evaluation

LEAST_TRAIN, LEAST_HELD, LEAST_ROWS = 20, 10, 6
TRAIN_SHARE = 0.7
PROPOSALS = 4
ORIGINAL = "original"


@dataclass(frozen=True)
class Plan:
    """What is searched, on what, and how long.

    Args:
        prompt: the original's reference, for people.
        content: of the original.
        train: rows to score on, in order.
        pool: rows that examples are drawn from.
        held_out: rows of the comparison.
        expected: the column of expected answers.
        metric: what is optimised.
        budget: answers that may be computed.
        proposer: the model that proposes instructions; None for none.
        sizes: of few-shot sets.
        seed: of all draws.
        think: whether a chain of thought is tried as well.
        options: settings of the runs.
    """

    prompt: str
    content: Content
    train: tuple[EvaluationRow, ...]
    pool: tuple[EvaluationRow, ...]
    held_out: EvaluationRows
    expected: str
    metric: Metric
    budget: int
    proposer: str | None
    sizes: tuple[int, ...]
    seed: int
    think: bool
    options: Mapping[str, Any]


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
            sides = [self._held_out(tried) for tried in (self._original(), best)]
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
        if rows - known > self._left():
            return False
        run = self.evaluation.run(
            self._variant(tried),
            EvaluationRows(self.plan.train[:rows]),
            self.plan.metric,
            **self._how(),
        )
        self._count(run, known)
        metric = run.metrics[self.plan.metric.name]
        self.yes_no = metric.is_yes_no
        values, _ = by_row(metric, run.items)
        if not values:
            raise DataError(
                f"{metric.name} scored no answer of {tried.name!r}: {metric.scores[0].error or 'it abstains'}."
            )
        mean = sum(values) / len(values)
        self.tried[key] = replace(tried, rounds=(*tried.rounds, (rows, mean)))
        return True

    def _propose(self, key: str) -> list[str]:
        """New candidates around the best one so far."""
        plan, best = self.plan, self.tried[key]
        count = min(PROPOSALS, self._left() // (2 * LEAST_ROWS))
        if count < 1 or plan.proposer is None:
            return []
        rows = best.rounds[-1][0]
        run = self.evaluation.run(
            self._variant(best), EvaluationRows(plan.train[:rows]), plan.metric, **self._how()
        )
        wrong = self._wrong_of(run)
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
        sign = -1.0 if self.plan.metric.higher_is_better else 1.0
        return (-rows, sign * mean, tried.name != ORIGINAL)

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
            self._variant(tried), self.plan.held_out, self.plan.metric, **self._how()
        )
        self._count(run)
        return run


def make_plan(
    evaluation: Evaluation,
    prompt: Any,
    data: Any,
    metric: Any,
    *,
    held_out: Any,
    budget: int,
    proposer: str | None,
    sizes: Sequence[int],
    seed: int,
    expected: str | None,
    cluster: str | None,
    think: bool,
    options: Mapping[str, Any],
) -> Plan:
    """A plan that can be carried out.

    Raises:
        OptionError: the budget is too small, or an option cannot be used.
        DataError: there are too few rows, they lack something, or held-out rows are among the others.
    """
    reference, content, defaults = _prompt(evaluation, prompt)
    rows = evaluation.rows(data)
    column = rows.expected_column(expected)
    if not column:
        raise DataError(
            "The rows have no expected answers, which a search needs. Name their column: --expected COLUMN."
        )
    train, held = _divided(evaluation, rows, held_out, seed, cluster)
    _check_variables(content, rows)
    most = max(sizes, default=0)
    pool, scored = shots.reserve(train, most, seed)
    if len(scored) < LEAST_TRAIN or len(held.rows) < LEAST_HELD:
        raise DataError(
            f"A search needs {LEAST_TRAIN} rows to score on and {LEAST_HELD} held out; of {len(rows.rows)} rows "
            f"there are {len(scored)} and {len(held.rows)} ({len(pool)} are kept for examples). Add rows."
        )
    least = 2 * len(held.rows) + 4 * LEAST_ROWS
    if budget < least:
        raise OptionError(
            f"A budget of {budget} answers is too small: the comparison on {len(held.rows)} held-out rows takes "
            f"{2 * len(held.rows)}, and a search something as well. Give at least {least}, or fewer held-out "
            "rows."
        )
    return Plan(
        prompt=reference,
        content=content,
        train=tuple(scored),
        pool=tuple(pool),
        held_out=held,
        expected=column,
        metric=evaluation.metric(metric),
        budget=budget,
        proposer=proposer,
        sizes=tuple(s for s in sizes if s > 0),
        seed=seed,
        think=think,
        options={**defaults, **options},
    )


def _prompt(evaluation: Evaluation, prompt: Any) -> tuple[str, Content, dict[str, Any]]:
    """Reference, content, and the settings that it was run with last: those of all candidates."""
    if isinstance(prompt, Content):
        return "scratch", prompt, {}
    found = evaluation.prompts.get(prompt) if isinstance(prompt, str) else prompt
    known = {k: v for k, v in found.defaults.items() if k in OPTIONS and v is not None}
    return found.ref, found.content, known


def _divided(
    evaluation: Evaluation, rows: EvaluationRows, held_out: Any, seed: int, cluster: str | None
) -> tuple[list[EvaluationRow], EvaluationRows]:
    """Training and held-out rows, of which none is in both."""
    if held_out is not None:
        held = evaluation.rows(held_out)
    else:
        if cluster:
            rows.column(cluster, "cluster")

        def is_held(row: EvaluationRow) -> bool:
            key = str(row.values.get(cluster)) if cluster else row.row_id
            raw = hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8]
            return int.from_bytes(raw, "big") / 2**64 >= TRAIN_SHARE

        held = replace(rows, rows=tuple(r for r in rows.rows if is_held(r)))
        inside = {r.digest for r in held.rows}
        return [r for r in rows.rows if not is_held(r) and r.digest not in inside], held
    digests = {row.digest for row in held.rows}
    shared = [row.row_id for row in rows.rows if row.digest in digests]
    if shared:
        raise DataError(
            f"{len(shared)} held-out rows are among the training rows, for instance {shared[0]!r}: a "
            "comparison on them would say nothing. Split the data set: %data split NAME train=0.7 test=0.3"
        )
    return list(rows.rows), held


def _check_variables(content: Content, rows: EvaluationRows) -> None:
    missing = [name for name in variables_of(content.template) if name not in rows.columns]
    if missing:
        raise DataError(
            f"The prompt takes {', '.join(missing)}, and the rows have no such column. Columns: "
            f"{', '.join(rows.columns)}."
        )


def _digest(content: Content) -> str:
    return content.digest
