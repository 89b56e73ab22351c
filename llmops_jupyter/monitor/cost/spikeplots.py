"""Pictures of spikes: a figure over time, with what is normal and where it was not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmops_jupyter.monitor.cost.changes import WINSORISED
from llmops_jupyter.monitor.cost.costs import moment
from llmops_jupyter.monitor.cost.spikereport import Series, SpikeReport
from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import BAD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 4
WIDTH, HEIGHT = 8.0, 1.9
MOST_DOTS = 2_000
TICKS = (0.01, 0.1, 0.2, 0.5, 0.75, 1, 1.5, 2, 4, 10, 100, 1000)


class SpikePlot(Picture):
    """One panel for each figure of a version; those with spikes first, at most four."""

    description = "figures over time with spikes"

    def __init__(self, report: SpikeReport) -> None:
        self.report = report

    def figure(self) -> Figure:
        shown = sorted(self.report.series, key=lambda one: -len(one.spikes))[:MOST_PANELS]
        found = new_figure(WIDTH, max(1, len(shown)) * HEIGHT)
        panels = found.subplots(max(1, len(shown)), 1, squeeze=False)[:, 0]
        for axes, series in zip(panels, shown, strict=False):
            _panel(axes, series)
        return found


def _panel(axes: Any, series: Series) -> None:
    """Calls by their number: they come in bursts, and time would squeeze them together."""
    import numpy as np
    from matplotlib.ticker import FuncFormatter, NullLocator

    n = len(series.values)
    every = max(1, -(-n // MOST_DOTS))
    places = np.arange(0, n, every)
    inside = np.zeros(n, dtype=bool)
    for spike in series.spikes:
        inside[spike.first : spike.last + 1] = True
    high = inside[places]
    half = float(np.exp(WINSORISED * series.detector.scale.spread))
    low, top = np.quantile(series.values, [0.002, 0.985])
    low, top = min(1 / half, float(low)) / 1.1, max(half, float(top)) * 1.1
    # A call that took twenty times as long stands at the edge.
    values = np.clip(series.values, low, top)
    axes.plot(places[~high], values[places[~high]], ".", color=NEUTRAL, markersize=3, alpha=0.6)
    axes.plot(places[high], values[places[high]], ".", color=BAD, markersize=3, alpha=0.8)
    axes.axhspan(1 / half, half, color=INK, alpha=0.12, linewidth=0)
    axes.axhline(1.0, color=INK, linewidth=1)
    axes.axvline(series.baseline - 0.5, color=INK, linestyle=":", linewidth=1)
    for spike in series.spikes:
        axes.axvline(spike.alarm, color=BAD, linewidth=1)
        axes.axvspan(spike.first, spike.last, color=BAD, alpha=0.1, linewidth=0)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"× {y:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low, top)
    axes.set_yticks([tick for tick in TICKS if low <= tick <= top])
    axes.set_xlim(-0.5, n - 0.5)
    title = f"{series.metric} of {series.prompt} on {series.model}"
    axes.set_title(cut(title, 70), fontsize=9, loc="left", color=INK)
    first, last = (moment(float(series.times[i])) for i in (0, -1))
    axes.set_xlabel(
        f"calls from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}; left of the dotted line: baseline",
        fontsize=8,
    )
    paint(axes)
