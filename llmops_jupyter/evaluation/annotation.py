"""The part of the stage for people: labelling, agreement, correction of judges."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.evaluation.base import Runs
from llmops_jupyter.evaluation.runs import EvaluationRun

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.agreement import Agreement
    from llmops_jupyter.evaluation.judges import Calibration
    from llmops_jupyter.evaluation.labelled import Label
    from llmops_jupyter.evaluation.labels import Queue
    from llmops_jupyter.evaluation.people import CorrectedRun


class Annotation(Runs):
    """Labels of answers by people."""

    def label(
        self,
        runs: Any,
        *,
        name: str,
        by: str | None = None,
        labels: Any = None,
        order: str = "random",
        seed: int = 0,
        limit: int | None = None,
        overlap: float | None = None,
    ) -> Queue:
        """A queue of answers for a person to label; see `labels.queue`.

        Args:
            runs: a run, or two runs whose answers are to be compared; or their numbers.
            name: under which the labels are kept.
            by: the annotator; the user who is logged in if left out.
            labels: names of labels, or a mapping of names to values.
            order: 'random', or 'uncertain' for those first of which judges are least sure.
            seed: of the order.
            limit: how many answers at most.
            overlap: the share of answers that all annotators get first, before others of their own.
        """
        from llmops_jupyter.evaluation.labels import queue

        return queue(
            self.tracer,
            self._all_found(runs),
            name=name,
            labels=labels,
            by=by or getpass.getuser(),
            order=order,
            seed=seed,
            limit=limit,
            overlap=overlap,
        )

    def labels(self, runs: Any, name: str) -> Sequence[Label]:
        """The labels of a run's answers, or of the pairs of two runs."""
        from llmops_jupyter.evaluation.labelled import given

        return given(self.store, self._all_found(runs), name)

    def agreement(self, runs: Any, name: str, judge: str | None = None) -> Agreement:
        """How far annotators agree on a run's answers, and a judge of the run with them; or on pairs.

        Raises:
            DataError: there are no labels of this name.
            UnknownNameError: there never were, or the run has no such judge.
        """
        from llmops_jupyter.evaluation.agreement import agreement

        return agreement(self.store, self._all_found(runs), name, judge)

    def _all_found(self, runs: Any) -> list[EvaluationRun]:
        return [self.found(one) for one in (runs if isinstance(runs, list | tuple) else [runs])]

    def corrected(self, run: EvaluationRun | int, judge: str, name: str) -> CorrectedRun:
        """A judge's mean over a run, corrected by labels; see `people.corrected`."""
        from llmops_jupyter.evaluation import people

        found = self.found(run)
        return people.corrected(self.store, found, judge, name)

    def calibrate(self, run: EvaluationRun | int, judge: str, name: str) -> Calibration:
        """A judge brought in line with people's labels of a run's answers; see `judges.calibrate`.

        The labels that it uses never correct this judge afterwards; `calibration.judge.metric()` is used as
        any other metric.

        Args:
            run: whose answers have labels.
            judge: such as ``"judge:relevance@model"``.
            name: of the labels; those whose value is 0.5 or more stand for the rubric's label of 1.

        Raises:
            OptionError: it is no judge with two labels.
            DataError: there are fewer than 20 labels.
        """
        from llmops_jupyter.evaluation import people

        return people.calibrate_judge(
            self.store, self.found(run), self.metric(judge), name, self.engines
        )
