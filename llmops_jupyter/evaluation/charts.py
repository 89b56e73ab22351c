"""Pictures of evaluations: forest plots, quality against speed, what a number of rows can show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import BAD, GOOD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llmops_jupyter.evaluation.comparison import Comparison
    from llmops_jupyter.evaluation.statistics import Estimate

ROW, WIDTH = 0.42, 7.0
COLOURS = {"better": GOOD, "not worse": GOOD, "worse": BAD, "undecided": NEUTRAL}


@dataclass(frozen=True)
class _Line:
    label: str
    value: float
    low: float
    high: float
    n: int
    colour: str
    bold: bool


class Forest(Picture):
    """Differences with their intervals, one under the other; the line at 0 is no difference."""

    description = "forest plot of the differences"

    def __init__(self, comparisons: Sequence[Comparison]) -> None:
        self.comparisons = tuple(comparisons)

    def figure(self) -> Figure:
        """One panel for each unit, since points and seconds do not share an axis."""
        groups: dict[tuple[bool, str], list[Comparison]] = {}
        for one in self.comparisons:
            groups.setdefault((one.yes_no, one.unit), []).append(one)
        panels = [[line for c in group for line in self._lines(c)] for group in groups.values()]
        heights = [len(lines) + 1.6 for lines in panels]
        found = new_figure(WIDTH, max(1.6, ROW * sum(heights)))
        axes = found.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, lines, ((yes_no, unit), group) in zip(axes, panels, groups.items(), strict=True):
            _draw(axis, lines, yes_no=yes_no, unit=unit, comparison=group[0])
        return found

    def _lines(self, one: Comparison) -> list[_Line]:
        scale = 100.0 if one.yes_no else 1.0
        several = len({c.b for c in self.comparisons}) > 1
        label = f"{one.metric} · {one.b}" if several else one.metric
        lines = [
            _line(
                label, one.difference, one.interval, one.n, scale, COLOURS[one.verdict], bold=True
            )
        ]
        for part in one.slices:
            name = f"{one.slice_column}={part.name}"
            lines.append(
                _line(name, part.difference, part.interval, part.n, scale, INK, bold=False)
            )
        return lines


def _line(
    label: str, value: float, interval: Any, n: int, scale: float, colour: str, *, bold: bool
) -> _Line:
    return _Line(
        cut(label, 34), scale * value, scale * interval.low, scale * interval.high, n, colour, bold
    )


def _draw(
    axes: Any, lines: Sequence[_Line], *, yes_no: bool, unit: str, comparison: Comparison
) -> None:
    axes.axvline(0.0, color=INK, linewidth=1)
    if comparison.margin:
        scale = 100.0 if yes_no else 1.0
        sign = -1.0 if comparison.higher_is_better else 1.0
        axes.axvline(sign * scale * comparison.margin, color=INK, linestyle="--", linewidth=1)
    for place, line in enumerate(lines):
        y = -place
        if math.isfinite(line.low) and math.isfinite(line.high):
            axes.plot(
                [line.low, line.high], [y, y], color=line.colour, linewidth=3 if line.bold else 1.5
            )
        marker = "D" if line.bold else "o"
        axes.plot([line.value], [y], marker, color=line.colour, markersize=8 if line.bold else 5)
        axes.annotate(
            f"n = {line.n}",
            (1.0, y),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=8,
            annotation_clip=False,
        )
    axes.set_yticks([-i for i in range(len(lines))], [line.label for line in lines])
    axes.set_ylim(-len(lines) + 0.4, 0.6)
    axes.margins(x=0.12)
    better = "higher" if comparison.higher_is_better else "lower"
    shown = "points" if yes_no else unit or "score"
    against = cut(comparison.a, 40)
    axes.set_xlabel(
        f"difference to {against} in {shown} ({better} is better), {comparison.confidence:.0%} intervals"
    )
    axes.xaxis.label.set_fontsize(8)
    paint(axes)


@dataclass(frozen=True)
class Place:
    """A model in the picture of quality and speed; `memory` in bytes, None if it is not known."""

    name: str
    speed: float
    value: float
    low: float
    high: float
    memory: int | None


class TradeOff(Picture):
    """Quality with its interval over speed; the size of a point is the memory."""

    description = "quality against speed"

    def __init__(self, places: Sequence[Place], metric: str, *, yes_no: bool) -> None:
        self.places, self.metric, self.yes_no = tuple(places), metric, yes_no

    def figure(self) -> Figure:
        found = new_figure(WIDTH, 3.8)
        axes = found.add_subplot()
        scale = 100.0 if self.yes_no else 1.0
        most = max((p.memory or 0 for p in self.places), default=0) or 1
        for place in self.places:
            ends = [[scale * (place.value - place.low)], [scale * (place.high - place.value)]]
            if all(math.isfinite(e[0]) for e in ends):
                axes.errorbar(
                    [place.speed],
                    [scale * place.value],
                    yerr=ends,
                    color=NEUTRAL,
                    capsize=3,
                    linewidth=1.2,
                )
            size = 60 + 240 * (place.memory or 0) / most
            axes.scatter([place.speed], [scale * place.value], s=size, color=NEUTRAL, alpha=0.7)
            axes.annotate(
                cut(place.name, 40),
                (place.speed, scale * place.value),
                xytext=(9, 6),
                textcoords="offset points",
                color=INK,
                fontsize=9,
            )
        axes.set_xlabel("output tokens per second (whole run)")
        axes.set_ylabel(f"{cut(self.metric, 40)}{', %' if self.yes_no else ''}, with 95 % interval")
        axes.set_title("quality, speed, memory (size of the point)", fontsize=11)
        axes.set_xlim(left=0)
        axes.margins(0.18)
        paint(axes)
        return found


class Intervals(Picture):
    """Values with their intervals, one under the other; the last one is what matters."""

    description = "values with their intervals"

    def __init__(self, named: Mapping[str, Estimate], title: str) -> None:
        self.named, self.title = dict(named), title

    def figure(self) -> Figure:
        found = new_figure(WIDTH, ROW * (len(self.named) + 1.8))
        axes = found.add_subplot()
        for place, (name, estimate) in enumerate(self.named.items()):
            last = place == len(self.named) - 1
            colour = GOOD if last else NEUTRAL
            low, high = estimate.interval.low, estimate.interval.high
            if math.isfinite(low) and math.isfinite(high):
                axes.plot([low, high], [-place, -place], color=colour, linewidth=3)
            axes.plot([estimate.value], [-place], "D" if last else "o", color=colour, markersize=7)
            axes.annotate(
                cut(name, 40),
                (estimate.value, -place),
                xytext=(0, 7),
                textcoords="offset points",
                ha="center",
                color=INK,
                fontsize=8,
            )
        axes.set_yticks([])
        axes.set_ylim(-len(self.named) + 0.4, 0.9)
        axes.margins(x=0.12)
        axes.set_xlabel(cut(self.title, 90))
        paint(axes)
        return found


class Rounds(Picture):
    """Means of candidates over the rounds of a search; the one that was chosen stands out."""

    description = "scores of the candidates over the rounds"

    def __init__(
        self, lines: Mapping[str, Sequence[tuple[int, float]]], chosen: str, metric: str
    ) -> None:
        self.lines, self.chosen, self.metric = dict(lines), chosen, metric

    def figure(self) -> Figure:
        found = new_figure(WIDTH, 3.4)
        axes = found.add_subplot()
        for name, rounds in self.lines.items():
            best = name == self.chosen
            rows, means = [n for n, _ in rounds], [mean for _, mean in rounds]
            colour = GOOD if best else NEUTRAL if name == "original" else INK
            width = 2.5 if best or name == "original" else 1.0
            axes.plot(rows, means, "o-", color=colour, linewidth=width, markersize=4, alpha=0.9)
            if best or name == "original":
                axes.annotate(
                    cut(name, 40),
                    (rows[-1], means[-1]),
                    xytext=(-4, 6),
                    textcoords="offset points",
                    ha="right",
                    color=colour,
                    fontsize=9,
                )
        axes.set_xlabel("training rows")
        axes.set_ylabel(f"mean of {cut(self.metric, 40)}")
        axes.margins(x=0.2)
        paint(axes)
        return found


class Power(Picture):
    """The least difference that a comparison finds, over the number of rows."""

    description = "detectable difference by rows"

    def __init__(
        self, rows: Sequence[int], found: Sequence[float], now: int | None, power: float
    ) -> None:
        self.rows, self.found, self.now, self.power = tuple(rows), tuple(found), now, power

    def figure(self) -> Figure:
        made = new_figure(WIDTH, 3.0)
        axes = made.add_subplot()
        axes.plot(self.rows, self.found, color=NEUTRAL, linewidth=2)
        if self.now is not None:
            axes.axvline(self.now, color=GOOD, linestyle="--", linewidth=1)
            axes.annotate(
                f"these {self.now} rows",
                (self.now, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(4, -10),
                textcoords="offset points",
                color=GOOD,
                fontsize=9,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("rows")
        axes.set_ylabel(f"difference found ({self.power:.0%} power)")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            set_formatter(lambda value, _: f"{value:g}")
        paint(axes)
        return made
