"""The part of the stage for people: labelling, agreement, correction of judges."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.evaluation.base import Runs
from llmops_jupyter.evaluation.runs import EvaluationRun

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.judges import Calibration
    from llmops_jupyter.evaluation.labels import Label, Queue
    from llmops_jupyter.evaluation.people import Agreement, CorrectedRun


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
        """
        from llmops_jupyter.evaluation.labels import queue

        given = runs if isinstance(runs, list | tuple) else [runs]
        found = [self.found(one) for one in given]
        return queue(
            self.tracer,
            found,
            name=name,
            labels=labels,
            by=by or getpass.getuser(),
            order=order,
            seed=seed,
            limit=limit,
        )

    def labels(self, run: EvaluationRun | int, name: str) -> Sequence[Label]:
        """The labels of a run's answers."""
        from llmops_jupyter.evaluation.labels import given

        return given(self.store, self.found(run), name)

    def agreement(self, run: EvaluationRun | int, name: str, judge: str | None = None) -> Agreement:
        """How far annotators agree, and a judge of the run with them; see `people.agreement`."""
        from llmops_jupyter.evaluation import people

        found = self.found(run)
        return people.agreement(self.store, found, name, judge)

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
