"""The picture of a preparation: what went by which rule, how long the rows are, what they are about."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import BAD, GOOD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llmops_jupyter.data.preparing.prepared import Prepared

WIDTH, ROW = 7.0, 0.32
MOST_BARS, TICKS = 8, 6


class Chart(Picture):
    """Bars of the rows by rule, lengths of those that stayed, and their labels or topics."""

    description = "rows by rule, lengths and topics"

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared

    def figure(self) -> Figure:
        prepared = self.prepared
        kept = len(prepared.dataset)
        panels: list[tuple[str, Mapping[str, int], str]] = [
            ("rows by rule", {"stayed": kept, **prepared.counts}, "rule")
        ]
        for name, counts in prepared.balance.get("labels", {}).items():
            panels.append((f"rows by {name}", _most(counts), "label"))
        panels = panels[:3]
        if prepared.balance.get("topics"):
            panels.append(("rows by what they are about", prepared.balance["topics"], "topic"))
        histogram = prepared.balance.get("histogram", {})
        heights = [len(counts) + 1.8 for _, counts, _ in panels] + ([5.5] if histogram else [])
        found = new_figure(WIDTH, ROW * sum(heights))
        axes = found.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (title, counts, kind) in zip(axes, panels, strict=False):
            _bars(axis, title, counts, kind)
        if histogram:
            _histogram(axes[-1], histogram)
        return found


def _most(counts: Mapping[str, int]) -> dict[str, int]:
    ordered = list(counts.items())
    if len(ordered) <= MOST_BARS:
        return dict(ordered)
    rest = ordered[MOST_BARS - 1 :]
    return {**dict(ordered[: MOST_BARS - 1]), f"{len(rest)} others": sum(n for _, n in rest)}


def _bars(axes: Any, title: str, counts: Mapping[str, int], kind: str) -> None:
    names = [cut(name, 34) for name in counts]
    colours = [NEUTRAL] * len(names)
    if kind == "rule":
        colours = [GOOD if place == 0 else BAD for place in range(len(names))]
    places = [-i for i in range(len(names))]
    axes.barh(places, list(counts.values()), color=colours, height=0.7)
    for place, n in zip(places, counts.values(), strict=True):
        axes.annotate(
            f"{n:,}",
            (n, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=8,
        )
    axes.set_yticks(places, names)
    axes.set_title(cut(title, 60), fontsize=10, loc="left", color=INK)
    axes.margins(x=0.1)
    axes.xaxis.set_visible(False)
    paint(axes, grid=False)
    axes.spines["bottom"].set_visible(False)


def _histogram(axes: Any, histogram: Mapping[str, Any]) -> None:
    edges, counts = histogram["edges"], histogram["counts"]
    widths = [right - left for left, right in itertools.pairwise(edges)]
    axes.bar(edges[:-1], counts, width=widths, align="edge", color=NEUTRAL, alpha=0.8)
    axes.set_xscale("log")
    ticks = sorted({round(edge) for edge in edges[:: len(edges) // TICKS]})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    unit = histogram["unit"]
    axes.set_title(f"length of the rows that stayed, in {unit}", fontsize=10, loc="left", color=INK)
    axes.set_ylabel("rows")
    axes.yaxis.get_major_locator().set_params(integer=True)
    paint(axes)
