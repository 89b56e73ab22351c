"""Pictures of what was watched: a rule's value over its looks, a golden set's quality over its runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmops_jupyter.monitor.alerts.goldenruns import GoldenRun
from llmops_jupyter.monitor.alerts.ledger import parse
from llmops_jupyter.monitor.alerts.rules import Rule
from llmops_jupyter.monitor.alerts.states import ALERT, NO_DATA, WARNING, S
from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import BAD, GOOD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WARN = "#c98a1b"
COLOURS = {ALERT: BAD, WARNING: WARN, NO_DATA: INK}
# Points that can be told apart.
MOST_POINTS = 500


def thinned(looks: Sequence[Mapping[str, Any]], most: int = MOST_POINTS) -> list[Mapping[str, Any]]:
    """Fewer looks: of several, the worst one, so that no alarm is lost."""
    size = -(-len(looks) // most) or 1
    rank = {ALERT: 3, WARNING: 2, NO_DATA: 1}
    return [
        max(looks[begin : begin + size], key=lambda look: rank.get(look["state"], 0))
        for begin in range(0, len(looks), size)
    ]


def moments(times: Sequence[int]) -> list[datetime]:
    """Times as the axis takes them, by the clock of this place."""
    return [datetime.fromtimestamp(ns / S) for ns in times]  # noqa: DTZ006 - an axis has one clock


def _date(axes: Any) -> None:
    """Few moments on the axis, and what they share said once."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set_color(INK)


class Timeline(Picture):
    """A rule's value at each look, with its interval, the thresholds, and marks where it warned or alerted."""

    description = "a rule's value over its looks"

    def __init__(self, rule: Rule, looks: Sequence[Mapping[str, Any]]) -> None:
        self.rule, self.looks = rule, tuple(thinned(looks))

    def figure(self) -> Figure:
        rule, scale = self.rule, 100.0 if self.rule.measure.rate else 1.0
        found = new_figure(7.0, 2.8)
        axes: Any = found.add_subplot()
        seen = [look for look in self.looks if look["value"] is not None]
        times = moments([look["at_ns"] for look in seen])
        band = [(t, look) for t, look in zip(times, seen, strict=True) if look["low"] is not None]
        if band:
            axes.fill_between(
                [t for t, _ in band],
                [scale * look["low"] for _, look in band],
                [scale * look["high"] for _, look in band],
                color=NEUTRAL,
                alpha=0.2,
                linewidth=0,
                label="95 % interval of one look",
            )
        axes.plot(times, [scale * look["value"] for look in seen], color=NEUTRAL, linewidth=1.5)
        for state, limit in rule.thresholds().items():
            axes.axhline(
                scale * limit, color=COLOURS[state], linestyle="--", linewidth=1, label=state
            )
        self._mark(axes, scale)
        unit = "%" if rule.measure.rate else rule.measure.unit
        axes.set_ylabel(f"{cut(rule.metric, 30)}{f', {unit}' if unit else ''}")
        axes.set_title(cut(rule.name, 60), fontsize="medium", loc="left", color=INK)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, labelcolor=INK, fontsize=8, loc="upper right", ncols=3)
        axes.margins(y=0.25)
        _date(axes)
        if all((look["low"] if look["low"] is not None else look["value"]) >= 0 for look in seen):
            axes.set_ylim(bottom=0)
        paint(axes)
        return found

    def _mark(self, axes: Any, scale: float) -> None:
        for state in (WARNING, ALERT):
            marked = [look for look in self.looks if look["state"] == state]
            valued = [look for look in marked if look["value"] is not None]
            axes.plot(
                moments([look["at_ns"] for look in valued]),
                [scale * look["value"] for look in valued],
                "o" if state == ALERT else "s",
                color=COLOURS[state],
                markersize=5,
            )
            # What decides by a test of its own may have no value to show.
            for look in marked[:MOST_POINTS]:
                if look["value"] is None:
                    axes.axvline(*moments([look["at_ns"]]), color=COLOURS[state], alpha=0.6)


class QualityOverTime(Picture):
    """A metric of a golden set over its runs, with intervals that hold for all of them, and the reference."""

    description = "a golden set's quality over its runs"

    def __init__(self, runs: Sequence[GoldenRun], metric: str, margin: float) -> None:
        self.runs, self.metric, self.margin = tuple(runs), metric, margin

    def figure(self) -> Figure:
        found = new_figure(7.0, 2.8)
        axes: Any = found.add_subplot()
        pairs = [(r, q) for r in self.runs for q in r.results if q.metric == self.metric]
        pairs = [(r, q) for r, q in pairs if q.value is not None]
        scale = 100.0 if pairs and pairs[0][1].yes_no else 1.0
        times = moments([parse(r.at) for r, _ in pairs])
        for moment, (_, q) in zip(times, pairs, strict=True):
            colour = BAD if q.dropped else NEUTRAL
            value = scale * (q.value or 0.0)
            if q.low is not None and q.high is not None and math.isfinite(q.high - q.low):
                axes.plot([moment] * 2, [scale * q.low, scale * q.high], color=colour, linewidth=2)
            axes.plot([moment], [value], "D", color=colour, markersize=6)
            if q.corrected is not None:
                axes.plot([moment], [scale * q.corrected["value"]], "o", color=GOOD, markersize=6)
        axes.plot(times, [scale * (q.value or 0.0) for _, q in pairs], color=NEUTRAL, linewidth=1)
        if pairs:
            first = scale * (pairs[0][1].value or 0.0)
            axes.axhline(first, color=INK, linewidth=1, label="reference")
            if self.margin:
                axes.axhline(
                    first - scale * self.margin,
                    color=INK,
                    linestyle="--",
                    linewidth=1,
                    label="margin",
                )
        if any(q.corrected is not None for _, q in pairs):
            axes.plot([], [], "o", color=GOOD, label="corrected by labels")
        axes.set_ylabel(f"{cut(self.metric, 30)}{', %' if scale > 1 else ''}")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, labelcolor=INK, fontsize=8)
        axes.margins(0.15)
        _date(axes)
        paint(axes)
        return found
