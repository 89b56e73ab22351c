"""The picture of a bias probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import BAD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llmops_jupyter.monitor.bias.report import BiasReport

ROW, HEAD, WIDTH, MOST = 0.3, 0.9, 7.0, 12


class Differences(Picture):
    """Differences with their intervals, a panel a measure; grey is what harmless changes give."""

    description = "differences between groups"

    def __init__(self, report: BiasReport) -> None:
        self.report = report

    def figure(self) -> Figure:
        measures = dict.fromkeys(d.measure for d in self.report.differences)
        panels = [
            (m, [d for d in self.report.differences if d.measure == m][:MOST]) for m in measures
        ]
        if not panels:
            return new_figure(WIDTH, 1.0)
        heights = [ROW * len(lines) + HEAD for _, lines in panels]
        found = new_figure(WIDTH, sum(heights))
        every = found.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (measure, lines) in zip(every, panels, strict=True):
            axes.axvline(0.0, color=INK, linewidth=1)
            scale = 100.0 if lines[0].share else 1.0
            for place, one in enumerate(lines):
                colour = BAD if one.found(self.report.confidence) else NEUTRAL
                floor = scale * one.floor
                axes.barh(-place, 2 * floor, left=-floor, height=0.6, color=INK, alpha=0.25)
                if one.interval is not None:
                    ends = [scale * one.interval.low, scale * one.interval.high]
                    axes.plot(ends, [-place, -place], color=colour, linewidth=2)
                axes.plot([scale * one.estimate.value], [-place], "D", color=colour, markersize=5)
            labels = [cut(f"{one.attribute}: {one.group}", 34) for one in lines]
            axes.set_yticks([-i for i in range(len(lines))], labels)
            axes.set_ylim(-len(lines) + 0.4, 0.6)
            axes.use_sticky_edges = False
            axes.margins(x=0.05)
            axes.set_xlabel(f"{cut(measure, 60)}{', points' if lines[0].share else ''}", fontsize=9)
            paint(axes)
        return found
