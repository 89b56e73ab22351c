"""Pictures of loads and of the replicas that a load needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmops_jupyter.render.plots import BAD, GOOD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llmops_jupyter.deploy.sizing.guide import Guide
    from llmops_jupyter.deploy.sizing.result import LoadResult

WIDTH, HEIGHT = 8.0, 2.9


class LoadPlot(Picture):
    """Tokens a second, and times to the first and from token to token, by load."""

    description = "throughput and times by load"

    def __init__(self, result: LoadResult) -> None:
        self.result = result

    def figure(self) -> Figure:
        found = new_figure(WIDTH, HEIGHT)
        axes = found.subplots(1, 3)
        levels = list(self.result.levels)
        places = range(len(levels))
        names = [
            f"{one.level.value:g}" + ("" if one.level.kind == "closed" else "/s") for one in levels
        ]
        axes[0].bar(places, [one.token_rate for one in levels], color=NEUTRAL, width=0.6)
        axes[0].set_title("tokens/s", fontsize=9, loc="left")
        for place, title, kind in ((1, "first token, s", "ttft"), (2, "token to token, s", "itl")):
            for share, colour in (("p50", GOOD), ("p95", BAD)):
                _bars(axes[place], levels, kind, share, colour)
            axes[place].set_title(title, fontsize=9, loc="left")
            axes[place].set_ylim(bottom=0)
            axes[place].legend(fontsize=7, frameon=False, labelcolor=INK)
        for one in axes:
            one.set_xticks(list(places), names)
            one.set_xlabel("clients, or requests a second", fontsize=8)
            one.tick_params(labelsize=8)
            paint(one)
        return found


def _bars(axes: Any, levels: list[Any], kind: str, share: str, colour: str) -> None:
    """Points with their intervals."""
    known = [
        (i, getattr(one, kind)[share])
        for i, one in enumerate(levels)
        if share in getattr(one, kind)
    ]
    at = [place for place, _ in known]
    values = [q.value for _, q in known]
    spread = [
        [max(0.0, q.value - q.low) for _, q in known],
        [max(0.0, q.high - q.value) for _, q in known],
    ]
    axes.errorbar(
        at, values, yerr=spread, fmt="o-", color=colour, markersize=3, linewidth=1, label=share
    )


class GuidePlot(Picture):
    """The time to the first token, and the share of what replicas can do, by their number."""

    description = "time to the first token by replicas"

    def __init__(self, guide: Guide) -> None:
        self.guide = guide

    def figure(self) -> Figure:
        found = new_figure(WIDTH, HEIGHT)
        left, right = found.subplots(1, 2)
        options = [one for one in self.guide.options if one.forecast is not None]
        counts = [one.replicas for one in options]
        for share, colour in (("p50", GOOD), ("p95", BAD)):
            known = [one for one in options if one.forecast and share in one.forecast.ttft]
            values = [one.forecast.ttft[share].value for one in known if one.forecast]
            left.plot(
                [one.replicas for one in known],
                values,
                "o-",
                color=colour,
                markersize=3,
                linewidth=1,
                label=share,
            )
        if self.guide.limits.ttft_s is not None:
            left.axhline(self.guide.limits.ttft_s, color=INK, linestyle=":", linewidth=1)
        left.set_ylim(bottom=0)
        left.set_title("first token, s (simulated)", fontsize=9, loc="left")
        left.legend(fontsize=7, frameon=False, labelcolor=INK)
        load = [one.forecast.utilisation for one in options if one.forecast]
        right.bar(counts, load, color=NEUTRAL, width=0.6)
        right.set_ylim(0, 1)
        right.set_title("load: share of what the replicas can do", fontsize=9, loc="left")
        for axes in (left, right):
            axes.set_xlabel("replicas", fontsize=8)
            axes.set_xticks(counts)
            axes.tick_params(labelsize=8)
            paint(axes)
        return found
