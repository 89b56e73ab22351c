"""A tuning as a picture: speed against perplexity, readable on a light and on a dark page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llmops_jupyter.engine.tune import Candidate, Tuning

# On white and on near-black alike these keep a contrast of about 4 to 1; the page shows through.
INK, CHOSEN, ALLOWED, REFUSED = "#7b7b7b", "#1a9850", "#4c78c8", "#c8553d"
SIZE, DOTS_PER_INCH = (7.0, 3.8), 144


class Chart:
    """The picture of a tuning, as a notebook shows it; in a terminal it is nothing."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning

    def _repr_png_(self) -> bytes:
        return png(self._tuning)

    def __repr__(self) -> str:
        return "<the picture: speed against perplexity>"

    def __str__(self) -> str:
        return ""


def png(tuning: Tuning) -> bytes:
    """The picture as a PNG with a transparent ground."""
    buffer = io.BytesIO()
    figure(tuning).savefig(buffer, format="png", dpi=DOTS_PER_INCH, transparent=True)
    return buffer.getvalue()


def figure(tuning: Tuning) -> Figure:
    """Each candidate's change of perplexity with its interval, over its speed; the chosen one marked."""
    from matplotlib.figure import Figure

    found = Figure(figsize=SIZE, layout="constrained")
    axes = found.add_subplot()
    axes.set_facecolor("none")
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
    axes.set_title(tuning.model, fontsize=11)
    axes.margins(0.18)
    _paint(axes)
    return found


def _colour(tuning: Tuning, one: Candidate) -> str:
    if one.kind == tuning.chosen.kind:
        return CHOSEN
    return ALLOWED if one.loses_at_most(tuning.loss) else REFUSED


def _draw(axes: Any, one: Candidate, base: float, colour: str) -> None:
    ratio, speed = one.ratio, one.speed.mixture / base
    change = 0.0 if ratio is None else 100 * (ratio.value - 1)
    if ratio is not None:
        ends = [[change - 100 * (ratio.low - 1)], [100 * (ratio.high - 1) - change]]
        axes.errorbar([speed], [change], yerr=ends, color=colour, capsize=3, linewidth=1.2)
    marker = "*" if colour == CHOSEN else "o"
    axes.plot([speed], [change], marker, color=colour, markersize=15 if marker == "*" else 7)
    name = f"{one.kind}{' (as it is)' if one.is_original else ''}"
    axes.annotate(
        name,
        (speed, change),
        xytext=(9, 5),
        textcoords="offset points",
        color=colour,
        fontsize=9,
        fontweight="bold" if marker == "*" else "normal",
    )


def _paint(axes: Any) -> None:
    """Axes, ticks and texts in a grey that both light and dark pages show."""
    axes.tick_params(colors=INK, which="both")
    axes.grid(visible=True, color=INK, alpha=0.2)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(INK)
    for name, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(name in ("left", "bottom"))
