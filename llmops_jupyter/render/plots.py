"""What all pictures share: they are readable on a light and on a dark page, which shows through."""

from __future__ import annotations

import base64
import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmops_jupyter.render.html import picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# On white and on near-black alike these keep a contrast of about 4 to 1.
INK, GOOD, NEUTRAL, BAD = "#7b7b7b", "#1a9850", "#4c78c8", "#c8553d"
DOTS_PER_INCH = 144


class Picture(ABC):
    """A picture, as a notebook shows it; in a terminal it is nothing."""

    description = "a picture"

    @abstractmethod
    def figure(self) -> Figure:
        """The figure, made anew."""

    def _repr_png_(self) -> bytes:
        with plain_texts():
            return png(self.figure())

    def page(self, alt: str = "") -> str:
        """The picture inside a page."""
        return picture(base64.b64encode(self._repr_png_()).decode("ascii"), alt or self.description)

    def __repr__(self) -> str:
        return f"<the picture: {self.description}>"

    def __str__(self) -> str:
        return ""


@contextmanager
def plain_texts() -> Iterator[None]:
    """Have texts of pictures that are made meanwhile stand for themselves: names may hold what looks like a formula."""
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        # A font lacks some sign of some language; the others are drawn.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches, without a window or a global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Figure) -> bytes:
    """The figure as a PNG with a transparent ground."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, transparent=True)
    return buffer.getvalue()


def paint(axes: Any, *, grid: bool = True) -> None:
    """Axes, ticks and texts in a grey that both light and dark pages show."""
    axes.set_facecolor("none")
    axes.tick_params(colors=INK, which="both")
    if grid:
        axes.grid(visible=True, color=INK, alpha=0.2)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(INK)
    for name, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(name in ("left", "bottom"))
