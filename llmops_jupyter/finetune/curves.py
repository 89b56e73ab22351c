"""The picture of a run: loss over steps, and the looks at the eval examples."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import GOOD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llmops_jupyter.finetune.runs import Run


# Points of a curve that are sent to a browser at most.
MOST_POINTS = 400


def thinned(losses: Sequence[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """Fewer points: of several steps the last one, with the mean of their losses."""
    size = -(-len(losses) // MOST_POINTS) or 1
    groups = [losses[begin : begin + size] for begin in range(0, len(losses), size)]
    return [(g[-1][0], statistics.fmean(loss for _, loss, _ in g), g[-1][2]) for g in groups]


def thinned_evals(evals: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Fewer looks at the eval rows: the base, the best one after it and the last one are always among them."""
    if len(evals) <= MOST_POINTS:
        return list(evals)
    best = min(range(1, len(evals)), key=lambda place: evals[place][1])
    places = {best, len(evals) - 1, *range(0, len(evals), 1 + len(evals) // MOST_POINTS)}
    return [evals[place] for place in sorted(places)]


class Curves(Picture):
    """Training loss, its running mean, and the loss on the eval examples with the best look marked."""

    description = "loss over steps"

    def __init__(self, run: Run) -> None:
        self._run = run

    def figure(self) -> Figure:
        run = self._run
        made = new_figure(7.0, 2.8)
        axes = made.subplots()
        steps = [step for step, _, _ in run.losses]
        axes.plot(steps, [loss for _, loss, _ in run.losses], color=INK, alpha=0.35, linewidth=0.8)
        axes.plot(steps, [mean for _, _, mean in run.losses], color=NEUTRAL, label="training")
        if run.evals:
            places, losses = zip(*run.evals, strict=True)
            axes.plot(places, losses, color=GOOD, marker="o", markersize=4, label="eval")
        if run.best is not None:
            axes.plot(*run.best, marker="o", markersize=9, fillstyle="none", color=GOOD)
        axes.set_xlim(0, max(run.steps, 1))
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats for a token)")
        axes.set_title(cut(f"{run.name} · {run.id}", 60), fontsize="medium", loc="left", color=INK)
        axes.legend(frameon=False, labelcolor=INK, loc="upper right")
        paint(axes)
        return made
