"""Pictures of what calls took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmops_jupyter.monitor.cost.costs import CostReport, moment
from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS = 8
WIDTH, HEIGHT = 8.0, 2.9


class CostPlot(Picture):
    """What calls took over time, and of each group; in dollars where they are known, else in seconds computed."""

    description = "what calls took over time and by group"

    def __init__(self, report: CostReport) -> None:
        self.report = report

    def figure(self) -> Figure:
        report = self.report
        found = new_figure(WIDTH, HEIGHT)
        if report.by == "day" or len(report.lines) < 2:
            left, right = found.subplots(), None
        else:
            left, right = found.subplots(1, 2, width_ratios=(3, 2))
        column, unit, name = self._measure()
        _timeline(left, report, column, unit)
        if right is not None:
            _bars(right, report, name, unit)
        return found

    def _measure(self) -> tuple[int, str, str]:
        """Which figure is shown: its place in `over_time`, its axis, its name in a line."""
        if "dollars" in self.report.total.figures:
            source = self.report.total.figures["dollars"].source
            return 4, f"dollars ({source})", "dollars"
        if "busy" in self.report.total.figures:
            return 3, "seconds computed", "busy"
        return 2, "tokens", "output"


def _timeline(axes: Any, report: CostReport, column: int, unit: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    times = [moment(point[0]) for point in report.over_time]
    values = [point[column] for point in report.over_time]
    axes.fill_between(times, values, step="post", color=NEUTRAL, alpha=0.25, linewidth=0)
    axes.plot(times, values, "o-", color=NEUTRAL, markersize=3, linewidth=1, drawstyle="steps-post")
    axes.set_ylim(bottom=0)
    locator = AutoDateLocator(minticks=3)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_title(unit, fontsize=9, loc="left", color=INK)
    axes.xaxis.get_offset_text().set_color(INK)
    paint(axes)


def _bars(axes: Any, report: CostReport, name: str, unit: str) -> None:
    lines = list(report.lines[:MOST_BARS])
    values = [line.figures[name].value if name in line.figures else 0.0 for line in lines]
    labels = [cut(line.name, 22) for line in lines]
    rest = report.lines[MOST_BARS:]
    if rest:
        values.append(sum(line.figures[name].value for line in rest if name in line.figures))
        labels.append(f"{len(rest)} others")
    places = range(len(values))
    axes.barh(places, values, color=NEUTRAL, height=0.6)
    axes.set_yticks(list(places), labels)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.set_title(
        f"{unit.partition(' (')[0]} by {cut(report.by, 30)}", fontsize=9, loc="left", color=INK
    )
    paint(axes)
