"""Which features a picture can show, and why it cannot show another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError, OptionError, unknown_name
from llmops_jupyter.monitor.drift.sample import Sample

if TYPE_CHECKING:
    from llmops_jupyter.monitor.drift.report import Report

PICTURES = {
    "numbers": "distribution",
    "categories": "distribution",
    "texts": "map",
    "vectors": "map",
}


def drawable(report: Report, name: str, kinds: Sequence[str], picture: str) -> str:
    """The name itself, if both sides have values of it, and of a kind that the picture shows.

    Raises:
        UnknownNameError: neither side has such a feature.
        DataError: one side has none, or the sides have values of two kinds.
        OptionError: another picture shows it.
    """
    sides = (report.reference, report.window)
    before, now = (kinds_of(side, name) for side in sides)
    if any(kind in before and kind in now for kind in kinds):
        return name
    shown = sorted(n for k in kinds for n in _named(sides[0], k) & _named(sides[1], k))
    listed = f"Features here: {', '.join(shown) or 'none'}."
    if not before and not now:
        raise unknown_name("feature", name, shown, listed)
    if not before or not now:
        side = "baseline" if not before else "window"
        raise DataError(f"The {side} has no values of {name!r}, so they cannot be drawn. {listed}")
    both = next((kind for kind in before if kind in now), None)
    if both is None:
        raise DataError(
            f"{name!r} is of {before[0]} in the baseline and of {now[0]} in the window, so they cannot be drawn together. "
            f"{listed}"
        )
    other = f"report.{PICTURES[both]}({name!r})"
    raise OptionError(f"report.{picture} does not show {both} such as {name!r}: {other} does.")


def kinds_of(sample: Sample, name: str) -> list[str]:
    """As what a sample has values of a feature: 'numbers', 'categories', 'texts', 'vectors'."""
    return [kind for kind in PICTURES if name in _named(sample, kind)]


def _named(sample: Sample, kind: str) -> set[str]:
    """Features of a kind of which a sample has values."""
    import numpy as np

    there: dict[str, Callable[[Any], Any]] = {
        "numbers": lambda values: np.isfinite(values).any(),
        "categories": lambda values: any(v is not None for v in values),
        "texts": any,
        "vectors": lambda vectors: len(vectors.rows),
    }
    return {name for name, values in getattr(sample, kind).items() if there[kind](values)}
