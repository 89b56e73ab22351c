"""A tuning as a picture: speed against perplexity, readable on a light and on a dark page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmops_jupyter.render import plots
from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import BAD, GOOD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llmops_jupyter.engine.tune import Candidate, Tuning

SIZE = (7.0, 3.8)


class Chart(Picture):
    """The picture of a tuning, as a notebook shows it; in a terminal it is nothing."""

    description = "speed against perplexity"

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning

    def figure(self) -> Figure:
        return figure(self._tuning)


def png(tuning: Tuning) -> bytes:
    """The picture as a PNG with a transparent ground."""
    return plots.png(figure(tuning))


def figure(tuning: Tuning) -> Figure:
    """Each candidate's change of perplexity with its interval, over its speed; the chosen one marked."""
    found = new_figure(*SIZE)
    axes = found.add_subplot()
    base = tuning.candidates[0].speed.mixture
    for one in tuning.candidates:
        _draw(axes, one, base, _colour(tuning, one))
    axes.axhline(100 * tuning.loss, color=INK, linestyle="--", linewidth=1)
    axes.annotate(
        f"at most {tuning.loss:.1%} more",
        (1, 100 * tuning.loss),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        color=INK,
        fontsize=8,
    )
    axes.set_yscale("symlog", linthresh=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:+g} %")
    axes.set_xlabel("speed, the model as it is = 1 (mean of reading, writing and 16 at once)")
    axes.set_ylabel("perplexity, with 95 % interval")
    axes.set_title(cut(tuning.model, 60), fontsize=11)
    axes.margins(0.18)
    paint(axes)
    return found


def _colour(tuning: Tuning, one: Candidate) -> str:
    if one.kind == tuning.chosen.kind:
        return GOOD
    return NEUTRAL if one.loses_at_most(tuning.loss) else BAD


def _draw(axes: Any, one: Candidate, base: float, colour: str) -> None:
    ratio, speed = one.ratio, one.speed.mixture / base
    change = 0.0 if ratio is None else 100 * (ratio.value - 1)
    if ratio is not None:
        ends = [[change - 100 * (ratio.low - 1)], [100 * (ratio.high - 1) - change]]
        axes.errorbar([speed], [change], yerr=ends, color=colour, capsize=3, linewidth=1.2)
    marker = "*" if colour == GOOD else "o"
    axes.plot([speed], [change], marker, color=colour, markersize=15 if marker == "*" else 7)
    name = f"{one.kind}{' (as it is)' if one.is_original else ''}"
    axes.annotate(
        cut(name, 40),
        (speed, change),
        xytext=(9, 5),
        textcoords="offset points",
        color=colour,
        fontsize=9,
        fontweight="bold" if marker == "*" else "normal",
    )
