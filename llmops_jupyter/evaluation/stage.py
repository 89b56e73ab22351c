"""The stage a workspace hands out: run variants, compare them, plan, look at runs again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation import rows as evaluation_rows
from llmops_jupyter.evaluation.annotation import Annotation
from llmops_jupyter.evaluation.gatekeeping import Gatekeeping
from llmops_jupyter.evaluation.metrics.metric import Metric
from llmops_jupyter.evaluation.runs import EvaluationRun

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.answering import Tell
    from llmops_jupyter.evaluation.comparison import Comparison, Comparisons
    from llmops_jupyter.evaluation.live import LiveComparison
    from llmops_jupyter.evaluation.models import ModelComparison
    from llmops_jupyter.evaluation.optimizing.record import Optimization
    from llmops_jupyter.evaluation.planning import Planned


class Evaluation(Annotation, Gatekeeping):
    """Evaluation of a workspace.

    A variant is a prompt reference with settings (``"support@3:model=qwen,temperature=0"``), a `Variant`, a
    function of a row, or ``"column=answer"`` for answers that the rows have already. A metric is a name as in
    ``"exact"``, a `Metric`, a judge, or a function.
    """

    def compare(
        self,
        a: Any,
        b: Any,
        data: Any = None,
        metric: Any = None,
        *,
        confidence: float = 0.95,
        margin: float | None = None,
        detect: float | None = None,
        slices: str | None = None,
        final: bool = False,
        common: bool = False,
        correction: str = "holm",
        **run: Any,
    ) -> Comparison | Comparisons:
        """Whether b is better than a, by how much, and how sure that is; or how many more rows it takes.

        Args:
            a: the variant that is there; or a run.
            b: the one that may replace it, or several of them; or a run.
            data: rows, as for `run`; left out where a and b are runs.
            metric: one metric, or several.
            confidence: of all looks at this comparison together.
            margin: the loss that does not matter: b is then 'not worse' where it loses less.
            detect: the difference that is to be found; for the number of rows that are still needed.
            slices: a column whose values are looked at one by one.
            final: no rows will be added after this look. Else a part of the error is kept for later looks.
            common: compare the rows that both runs have.
            correction: 'holm', 'benjamini-hochberg' or 'none', where there are several comparisons.
            run: as for `run`.

        Returns:
            A `Comparison`, or `Comparisons` where there are several variants or metrics.

        Raises:
            DataError: the runs are on different rows.
        """
        from llmops_jupyter.evaluation.comparing import Question, compare_all, with_notes
        from llmops_jupyter.evaluation.pairing import criteria, pairs

        question = Question(confidence, margin, detect, slices or "", final, common, correction)
        others = list(b) if isinstance(b, list | tuple) else [b]
        several = isinstance(b, list | tuple) or isinstance(metric, list | tuple)
        if data is not None and all(map(_is_run, (a, *others))):
            raise OptionError(
                "All of these are runs, which have their rows: leave data (--data) out."
            )
        wanted = criteria(metric, self.store, self.metric)
        first, *rest = [self._side(side, data, wanted.metrics, run) for side in (a, *others)]
        if slices:
            for made in (first, *rest):
                _check_column(made, slices)
        tell = run.get("progress")
        found, notes = pairs(
            self.store, self.engines, first, rest, wanted, common=common, tell=tell
        )
        if not found:
            raise OptionError(
                "There is nothing to compare by. Name a metric: metric='exact' or --metric."
            )
        compared = with_notes(compare_all(self.store, found, question), notes)
        return compared if several else compared[0]

    def glance(self, a: int, b: int, metric: str, *, slices: str | None = None) -> Comparison:
        """Two kept runs compared without a look that counts; nothing is computed by a model, and nothing is kept.

        Args:
            a: number of the run of the variant that is there.
            b: of the one that may replace it.
            metric: by which both were scored.
            slices: a column whose values are looked at one by one.

        Raises:
            UnknownNameError: there is no such run, or it has no such metric.
            DataError: the runs are on different rows, or these are no longer in the store.
        """
        from llmops_jupyter.evaluation.comparing import Question, compare_runs

        first, second = self.get(a), self.get(b)
        if slices:
            for made in (first, second):
                _check_column(made, slices)
        question = Question(slices=slices or "", counted=False)
        return compare_runs(self.store, first, second, [metric], question)[0]

    def plan(
        self,
        data: Any,
        *,
        detect: float | None = None,
        changed: float | None = None,
        spread: float | None = None,
        pilot: Comparison | None = None,
        power: float = 0.8,
        confidence: float = 0.95,
    ) -> Planned:
        """What a comparison on these rows can show, before anything is run; see `planning.plan`."""
        from llmops_jupyter.evaluation.planning import plan

        rows = (
            data
            if isinstance(data, int) and not isinstance(data, bool)
            else len(self.rows(data).rows)
        )
        return plan(
            rows,
            detect=detect,
            changed=changed,
            spread=spread,
            pilot=pilot,
            power=power,
            confidence=confidence,
        )

    def split(
        self, reference: str, scores: Sequence[str] = (), *, planned: int | None = None
    ) -> LiveComparison:
        """What came so far of the split of ``name@alias``; look as often as you like.

        Args:
            reference: of the split alias; ``name`` alone means its production.
            scores: names of scores and of figures (latency, output tokens, cost, errors); left out, all.
            planned: units in all for which the intervals are narrowest; 600 if left out.

        Raises:
            UnknownNameError: the alias was never split.
        """
        from llmops_jupyter.evaluation.live import PLANNED, analyse
        from llmops_jupyter.prompts.splitting import PRODUCTION
        from llmops_jupyter.store import aliases

        name, alias = aliases.parse_reference(reference, "prompt")
        found = self.prompts.splits.get(name, alias or PRODUCTION)
        return analyse(self.store, found, scores, planned=planned or PLANNED)

    def compare_models(
        self,
        models: Sequence[str],
        data: Any,
        *,
        prompt: Any = None,
        metric: Any = None,
        **run: Any,
    ) -> ModelComparison:
        """Models side by side on the same rows: quality, speed, memory; see `models.compare_models`."""
        from llmops_jupyter.evaluation.models import compare_models

        return compare_models(
            self, models, data, memory_of=self._memory_of, prompt=prompt, metric=metric, **run
        )

    def optimize(
        self,
        prompt: Any,
        data: Any,
        metric: Any,
        *,
        held_out: Any = None,
        budget: int = 500,
        proposer: str | None = None,
        shots: Sequence[int] = (2, 4),
        seed: int = 0,
        expected: str | None = None,
        cluster: str | None = None,
        think: bool = False,
        progress: Tell | None = None,
        **options: Any,
    ) -> Optimization:
        """Search for a better instruction and few-shot set, and say how much better on rows it never saw.

        The method is told in `optimizing.record.METHOD`. Nothing is promoted: `save` keeps the result.

        Args:
            prompt: the original.
            data: training rows, with expected answers.
            metric: what is to become better.
            held_out: rows of the comparison; left out, 30 % of the rows by a hash of their ids.
            budget: answers that may be computed in all.
            proposer: a model that proposes instructions; left out, none does.
            shots: sizes of few-shot sets; () for none.
            seed: of all draws.
            expected: the column of expected answers; 'expected' if there is one.
            cluster: the column of what belongs together, so that a split does not divide it.
            think: whether a chain of thought is tried as well.
            progress: told how far it is.
            options: settings of the runs: model, temperature and the like.
        """
        from llmops_jupyter.evaluation.optimizing.plan import make_plan
        from llmops_jupyter.evaluation.optimizing.search import Search

        plan = make_plan(
            self,
            prompt,
            data,
            metric,
            held_out=held_out,
            budget=budget,
            proposer=proposer,
            sizes=shots,
            seed=seed,
            expected=expected,
            cluster=cluster,
            think=think,
            options=options,
        )
        return Search(self, plan, progress).run()

    def _side(
        self, side: Any, data: Any, wanted: Sequence[Metric], run: Mapping[str, Any]
    ) -> EvaluationRun:
        """The run of one side, with the metrics that are wanted."""
        if _is_run(side):
            side = _as_it_is(self.found(side), run)
            more = [m for m in wanted if m.name not in side.metrics]
            return self._runner().add_metrics(side, more) if more else side
        if data is None:
            raise OptionError("Say on which rows to compare: data='NAME' (--data NAME).")
        return self.run(side, data, wanted, **run)


def _is_run(side: Any) -> bool:
    return isinstance(side, EvaluationRun) or (isinstance(side, int) and not isinstance(side, bool))


def _as_it_is(run: EvaluationRun, options: Mapping[str, Any]) -> EvaluationRun:
    """A run with the clusters that are asked for, if no option asks for other answers.

    Raises:
        OptionError: an option cannot change what was run.
    """
    settled = {"expected": run.expected, "repeat": run.repeats}
    for name, value in options.items():
        if name in ("cluster", "progress", "variables") or value in (None, False, 1, ()):
            continue
        if settled.get(name) != value:
            raise OptionError(
                f"Run {run.id} has been made, so {name}={value!r} cannot change it. Name the variant instead "
                "of the run, or leave the option out."
            )
    cluster = options.get("cluster")
    if not cluster:
        return run
    _check_column(run, cluster, "cluster")
    return replace(run, cluster=cluster)


def _check_column(run: EvaluationRun, column: str, option: str = "slices") -> None:
    columns = dict.fromkeys(name for item in run.items for name in item.case.row)
    evaluation_rows.check_column(column, tuple(columns), option)
