"""What all parts of the stage share: the workspace's store and engines, runs, metrics, rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation import listing, runs
from llmops_jupyter.evaluation import rows as evaluation_rows
from llmops_jupyter.evaluation.answering import Tell, Work
from llmops_jupyter.evaluation.metrics.metric import Engines, Metric
from llmops_jupyter.evaluation.rows import EvaluationRows
from llmops_jupyter.evaluation.running import Runner
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.variant import as_variant
from llmops_jupyter.tracing import Tracer

if TYPE_CHECKING:
    from llmops_jupyter.data import Datasets
    from llmops_jupyter.evaluation.summary import Summary
    from llmops_jupyter.prompts import Content, Prompts


class Runs:
    """Runs of a workspace: made, found again, scored."""

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
        on: str | None = None,
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
            on: a Ray cluster whose machines answer, as in `prompts.map`; metrics are computed here.
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
            on=on,
            cluster=cluster or "",
            variables=variables,
        )
        return self._runner().run(work, self.metrics(metrics), progress)

    def get(self, run: int, *, cluster: str | None = None) -> EvaluationRun:
        """A run that was made earlier."""
        return runs.load(self.store, run, cluster=cluster or "")

    def kept(self, before: int | None = None, limit: int = 20) -> Sequence[listing.Kept]:
        """Runs as a list shows them, newest first: those before a number, or the latest."""
        return listing.kept(self.store, before, limit)

    def figures(self, run: int) -> Sequence[Summary]:
        """Each metric's value over a kept run with its interval; the answers' texts are not read.

        Raises:
            UnknownNameError: there is no such run.
            DataError: its rows are no longer in the store.
        """
        return runs.load(self.store, run, answers=False).summary()

    def list(self, limit: int = 50) -> Sequence[Mapping[str, Any]]:
        """The latest runs, newest first."""
        return listing.listed(self.store, limit)

    def score(
        self, run: EvaluationRun | int, metrics: Any, *, progress: Tell | None = None
    ) -> EvaluationRun:
        """The run with further metrics."""
        found = self.get(run) if isinstance(run, int) else run
        return self._runner().add_metrics(found, self.metrics(metrics), progress)

    def scratch(self, template: str) -> Content:
        """Content of a prompt that is not kept."""
        return self.prompts.scratch(template)

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
        return Runner(self.prompts, self.tracer, self.engines)

    def forget(self, run: int) -> int:
        """Delete a run's answers, scores, labels and rows where nothing else has them; see `runs.forget`.

        Traces have copies of their own; `traces.prune` deletes those.
        """
        return runs.forget(self.store, run)

    @property
    def prompts(self) -> Prompts:
        """The workspace's prompts."""
        return self._prompts()

    def found(self, run: EvaluationRun | int) -> EvaluationRun:
        """A run, or the one with this number."""
        return self.get(run) if isinstance(run, int) else run
