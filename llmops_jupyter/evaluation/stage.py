"""The stage a workspace hands out: run variants, compare them, plan, look at runs again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation import rows as evaluation_rows
from llmops_jupyter.evaluation import runs
from llmops_jupyter.evaluation.answering import Tell, Work
from llmops_jupyter.evaluation.metrics.metric import Engines, Metric
from llmops_jupyter.evaluation.rows import EvaluationRows
from llmops_jupyter.evaluation.running import Runner
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.variant import as_variant
from llmops_jupyter.tracing import Tracer

if TYPE_CHECKING:
    from llmops_jupyter.data import Datasets
    from llmops_jupyter.evaluation.comparison import Comparison, Comparisons
    from llmops_jupyter.evaluation.judges import PairJudge
    from llmops_jupyter.evaluation.live import LiveComparison
    from llmops_jupyter.evaluation.models import ModelComparison
    from llmops_jupyter.evaluation.outcomes import GateReport
    from llmops_jupyter.evaluation.planning import Planned
    from llmops_jupyter.evaluation.suites import Suite
    from llmops_jupyter.prompts import Content, Prompts


class Evaluation:
    """Evaluation of a workspace.

    A variant is a prompt reference with settings (``"support@3:model=qwen,temperature=0"``), a `Variant`, a
    function of a row, or ``"column=answer"`` for answers that the rows have already. A metric is a name as in
    ``"exact"``, a `Metric`, a judge, or a function.
    """

    def __init__(
        self,
        prompts: Callable[[], Prompts],
        tracer: Tracer,
        engines: Engines,
        datasets: Callable[[], Datasets],
        memory_of: Callable[[str], int | None],
    ) -> None:
        self._prompts = prompts
        self.tracer = tracer
        self.store = tracer.store
        self.engines = engines
        self._datasets = datasets
        self._memory_of = memory_of

    def run(
        self,
        variant: Any,
        data: Any,
        metrics: Any = (),
        *,
        expected: str | None = None,
        repeat: int = 1,
        cluster: str | None = None,
        fresh: bool = False,
        variables: Mapping[str, Any] | None = None,
        progress: Tell | None = None,
        **options: Any,
    ) -> EvaluationRun:
        """Answers of a variant to rows, with their scores.

        What was computed before for the same variant and rows is taken from the store; a call that was
        broken off goes on where it stopped.

        Args:
            variant: what to run.
            data: a data set, its reference, a list of mappings or a DataFrame.
            metrics: one or several.
            expected: the column of expected answers; 'expected' if there is one.
            repeat: answers for each row, where answers are drawn.
            cluster: the column that says which rows belong together, for instance 'document'.
            fresh: compute answers that were recorded before anew.
            variables: values that the template takes beside the row's columns.
            progress: told how far it is.
            options: settings of the variant: model, adapters, temperature and the like.

        Raises:
            DataError: there are no rows, an id is there twice, or a column is missing.
            OptionError: a variant, a metric or an option cannot be used; nothing was run.
        """
        found = self.rows(data)
        work = Work(
            variant=as_variant(variant).with_options(**options),
            rows=found,
            expected=found.expected_column(expected),
            repeats=repeat,
            fresh=fresh,
            cluster=cluster or "",
            variables=variables,
        )
        return self._runner().run(work, self.metrics(metrics), progress)

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
        from llmops_jupyter.evaluation.preferences import prefer

        question = Question(confidence, margin, detect, slices or "", final, common, correction)
        others = list(b) if isinstance(b, list | tuple) else [b]
        several = isinstance(b, list | tuple) or isinstance(metric, list | tuple)
        single, judges = self._split(metric)
        first, rest, names = self._compared(a, others, data, single, judges, run)
        if slices:
            for made in (first, *rest):
                _check_column(made, slices)
        pairs = [(first, other, name) for other in rest for name in names]
        notes: list[Sequence[str]] = [()] * len(pairs)
        for other in rest:
            for judge in judges:
                one, two, said = prefer(
                    self.store,
                    judge,
                    first,
                    other,
                    self.engines,
                    common=common,
                    tell=run.get("progress"),
                )
                pairs.append((one, two, judge.name))
                notes.append(said)
        if not pairs:
            raise OptionError(
                "There is nothing to compare by. Name a metric: metric='exact' or --metric."
            )
        found = with_notes(compare_all(self.store, pairs, question), notes)
        return found if several else found[0]

    def get(self, run: int, *, cluster: str | None = None) -> EvaluationRun:
        """A run that was made earlier."""
        return runs.load(self.store, run, cluster=cluster or "")

    def list(self, limit: int = 50) -> Sequence[Mapping[str, Any]]:
        """The latest runs, newest first."""
        return runs.listed(self.store, limit)

    def score(
        self, run: EvaluationRun | int, metrics: Any, *, progress: Tell | None = None
    ) -> EvaluationRun:
        """The run with further metrics."""
        found = self.get(run) if isinstance(run, int) else run
        return self._runner().add_metrics(found, self.metrics(metrics), progress)

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

    def gate(self, suite: Any, *, progress: Tell | None = None) -> GateReport:
        """Run a suite and decide its gates.

        Args:
            suite: the path of a YAML file, its text, a `Suite`, or the name of a kept one.
            progress: told how far it is.

        Raises:
            DataError: the suite cannot be read.
        """
        from llmops_jupyter.evaluation.gates import run_suite

        def difference(before: str, after: str) -> str:
            return str(self._prompts().diff(before, after))

        return run_suite(self, self.suite(suite), prompt_difference=difference, progress=progress)

    def suite(self, given: Any) -> Suite:
        """A suite from the path of a file, its text, or the name of a kept one."""
        from llmops_jupyter.evaluation import suites

        if isinstance(given, suites.Suite):
            return given
        text = str(given)
        is_file = (
            "\n" in text or text.endswith((".yaml", ".yml")) or Path(text).expanduser().is_file()
        )
        return suites.read_suite(given) if is_file else suites.get(self.store, text)

    def save_suite(self, name: str, suite: str | Path) -> Suite:
        """Keep a suite, a file or its text, as a version of `name`; it is exported with the prompts."""
        from llmops_jupyter.evaluation import suites

        return suites.save(self.store, name, suite)

    def suites(self) -> Sequence[Mapping[str, Any]]:
        """The kept suites."""
        from llmops_jupyter.evaluation import suites

        return suites.saved(self.store)

    def export_suites(self, folder: Path) -> Sequence[Path]:
        """Write the kept suites as YAML files."""
        from llmops_jupyter.evaluation import suites

        return suites.export(self.store, folder)

    def import_suites(self, read: Sequence[tuple[str, str]]) -> int:
        """Keep suites that `suites.read_folder` read; how many were new."""
        from llmops_jupyter.evaluation import suites

        return suites.import_all(self.store, read)

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
        found = self._prompts().splits.get(name, alias or PRODUCTION)
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

    def scratch(self, template: str) -> Content:
        """Content of a prompt that is not kept."""
        return self._prompts().scratch(template)

    def rows(self, data: Any) -> EvaluationRows:
        """Rows as they are evaluated."""
        return evaluation_rows.read(data, self._datasets(), self.tracer.clean)

    def metrics(self, given: Any) -> Sequence[Metric]:
        """Metrics from a name, a `Metric`, a function, or a list of these."""
        every = list(given) if isinstance(given, list | tuple) else [given]
        return [self.metric(one) for one in every if one is not None]

    def metric(self, given: Any) -> Metric:
        """A metric from its name, such as ``"contains=Paris"`` or ``"judge:relevance"``, or from a function."""
        if isinstance(given, Metric):
            return given
        if isinstance(given, str) and given.startswith("judge:"):
            from llmops_jupyter.evaluation.judges import parse_judge

            judge = parse_judge(given, self.store)
            if isinstance(judge, Metric):
                return judge
            raise OptionError(
                "judge:pairwise compares two variants: it goes with compare, not with single runs."
            )
        from llmops_jupyter.evaluation.metrics import as_metric

        return as_metric(given)

    def _runner(self) -> Runner:
        return Runner(self._prompts(), self.tracer, self.engines)

    def _split(self, given: Any) -> tuple[Sequence[Metric], Sequence[PairJudge]]:
        """Metrics of single answers, and judges of pairs."""
        from llmops_jupyter.evaluation.judges import PairJudge, parse_judge

        single: list[Metric] = []
        judges: list[PairJudge] = []
        for one in given if isinstance(given, list | tuple) else [given]:
            judge = (
                parse_judge(one, self.store)
                if isinstance(one, str) and one.startswith("judge:")
                else one
            )
            if isinstance(judge, PairJudge):
                judges.append(judge)
            elif judge is not None:
                single.append(self.metric(judge))
        return single, judges

    def _compared(
        self,
        a: Any,
        others: Sequence[Any],
        data: Any,
        wanted: Sequence[Metric],
        judges: Sequence[PairJudge],
        run: Mapping[str, Any],
    ) -> tuple[EvaluationRun, Sequence[EvaluationRun], Sequence[str]]:
        """The runs of both sides, and the names of the metrics."""
        made: list[EvaluationRun] = []
        for side in (a, *others):
            if isinstance(side, int) and not isinstance(side, bool):
                made.append(self.get(side, cluster=run.get("cluster")))
            elif isinstance(side, EvaluationRun):
                made.append(side)
            elif data is None:
                raise OptionError("Say on which rows to compare: data='NAME' (--data NAME).")
            else:
                made.append(self.run(side, data, wanted, **run))
        names = [m.name for m in wanted]
        if not names and not judges:
            names = [n for n in made[0].metrics if all(n in other.metrics for other in made[1:])]
        missing = [[m for m in wanted if m.name not in one.metrics] for one in made]
        made = [
            self._runner().add_metrics(one, more) if more else one
            for one, more in zip(made, missing, strict=True)
        ]
        return made[0], made[1:], names


def _check_column(run: EvaluationRun, column: str) -> None:
    columns = dict.fromkeys(name for item in run.items for name in item.case.row)
    evaluation_rows.check_column(column, tuple(columns), "slices")
