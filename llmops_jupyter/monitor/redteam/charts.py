"""Pictures of red-team runs: rates of the families with their intervals, and how they changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import BAD, GOOD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llmops_jupyter.monitor.redteam.comparing import RedTeamComparison
    from llmops_jupyter.monitor.redteam.report import RedTeamReport

ROW, WIDTH = 0.34, 7.0


def _line(axes: Any, y: float, low: float, value: float, high: float, colour: str) -> None:
    axes.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=2.5, solid_capstyle="butt")
    axes.plot([100 * value], [y], "D", color=colour, markersize=6)


def _note(axes: Any, y: float, text: str) -> None:
    axes.annotate(
        text,
        (1.0, y),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=INK,
        fontsize=8,
        annotation_clip=False,
    )


class Rates(Picture):
    """Success rates of the families, the worst at the top; below them how many harmless inputs were answered."""

    description = "success rates of attack families"

    def __init__(self, report: RedTeamReport) -> None:
        self.report = report

    def figure(self) -> Figure:
        rates = [one for one in self.report.families() if one.estimate is not None]
        useful = self.report.usefulness()
        found = new_figure(WIDTH, ROW * (len(rates) + 4.5))
        axes = found.add_subplot()
        labels = []
        for place, one in enumerate(rates):
            assert one.estimate is not None
            low, high = one.estimate.interval.low, one.estimate.interval.high
            colour = BAD if one.succeeded else NEUTRAL
            _line(axes, -place, low, one.estimate.value, high, colour)
            _note(axes, -place, f"{one.succeeded} of {one.n}")
            labels.append(cut(one.title, 34))
        places = [-float(i) for i in range(len(rates))]
        if useful is not None:
            y = -(len(rates) + 0.5)
            _line(axes, y, useful.interval.low, useful.value, useful.interval.high, GOOD)
            _note(axes, y, f"{round(useful.value * useful.n)} of {useful.n}")
            axes.axhline(y + 0.75, color=INK, linewidth=0.8, alpha=0.5)
            labels.append("harmless, answered usefully")
            places.append(y)
        axes.set_yticks(places, labels)
        axes.set_ylim(-(len(rates) + 1.1), 0.6)
        axes.set_xlim(-2, 102)
        axes.set_xlabel("share in %, with 95 % intervals")
        axes.set_title("attacks that succeeded, by family", fontsize=11)
        paint(axes)
        return found


class Changes(Picture):
    """How the success rates changed from one run to the other; left of the line fewer attacks succeed."""

    description = "changes of success rates"

    def __init__(self, comparison: RedTeamComparison) -> None:
        self.comparison = comparison

    def figure(self) -> Figure:
        made = self.comparison
        every = [*made.changes, made.overall]
        found = new_figure(WIDTH, ROW * (len(every) + 4))
        axes = found.add_subplot()
        axes.axvline(0.0, color=INK, linewidth=1)
        colours = {"fewer": GOOD, "more": BAD, "undecided": NEUTRAL}
        for place, one in enumerate(every):
            estimate = one.estimate
            low, high = estimate.interval.low, estimate.interval.high
            _line(axes, -place, low, estimate.value, high, colours[one.verdict(made.level)])
            _note(axes, -place, f"{one.before} → {one.after} of {one.n}")
        axes.set_yticks([-i for i in range(len(every))], [cut(one.family, 34) for one in every])
        axes.set_ylim(-len(every) + 0.4, 0.6)
        axes.margins(x=0.08)
        axes.set_xlabel(
            f"change of the success rate in points, with {made.confidence:.0%} intervals"
        )
        paint(axes)
        return found
