"""What a comparison can show, before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation import looks
from llmops_jupyter.evaluation.statistics import binary_spread, detectable, rows_needed
from llmops_jupyter.render.html import bundle, escaped

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.comparison import Comparison

# Two prompts for the same task answered about a fifth of the rows differently, in the trials behind this.
CHANGED = 0.2
STEPS = (30, 50, 100, 200, 300, 500, 1000, 2000)


@dataclass(frozen=True)
class Planned:
    """What a comparison on these rows can show.

    Args:
        rows: that there are.
        detectable: the least difference that is found with this power.
        power: the probability of finding it.
        needed: rows that the wanted difference needs; None if none was named or it is out of reach.
        detect: the wanted difference.
        spread: standard deviation of the rows' differences that this assumes.
        assumption: what it rests on, in words.
        table: rows with the difference that each number finds.
    """

    rows: int
    detectable: float
    power: float
    needed: int | None
    detect: float | None
    spread: float
    assumption: str
    table: tuple[tuple[int, float], ...]

    def sentence(self) -> str:
        """The plan on one line."""
        text = (
            f"With {self.rows:,} rows, a difference of {self.detectable:.3g} is found with "
            f"{self.power:.0%} power"
        )
        if self.detect is not None:
            needed = (
                f"{self.needed:,} rows" if self.needed is not None else "more rows than anyone has"
            )
            text += f"; one of {self.detect:g} needs {needed}"
        return f"{text} ({self.assumption})."

    def chart(self) -> Any:
        """The least difference over the number of rows."""
        from llmops_jupyter.evaluation.charts import Power

        return Power([r for r, _ in self.table], [d for _, d in self.table], self.rows, self.power)

    def _rows(self) -> list[dict[str, Any]]:
        return [{"rows": f"{r:,}", "difference found": f"{d:.3g}"} for r, d in self.table]

    def __str__(self) -> str:
        return f"{self.sentence()}\n{render.text_table(self._rows())}"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:

        shown = f"<p>{escaped(self.sentence())}</p>{render.table_html(self._rows())}"
        return bundle(str(self), shown)


def plan(
    rows: int,
    *,
    detect: float | None = None,
    changed: float | None = None,
    spread: float | None = None,
    pilot: Comparison | None = None,
    power: float = 0.8,
    confidence: float = 0.95,
) -> Planned:
    """What a comparison on so many rows can show, by a paired t test.

    Args:
        rows: that there are.
        detect: the difference that one wants to find, in units of the metric (0.05 is 5 points).
        changed: for yes-or-no metrics: the share of rows on which the variants will differ.
        spread: for other metrics: standard deviation of the rows' differences.
        pilot: an earlier comparison by the same metric, of which the spread is taken.
        power: the probability of finding the difference.
        confidence: of all looks together.

    Raises:
        OptionError: there are fewer than two rows, or a value is out of range.
    """
    found, why = _spread(changed, spread, pilot)
    first = 1 - looks.FIRST * (1 - confidence)
    settings = {"power": power, "confidence": first}
    if not isinstance(rows, int) or rows < 2:
        raise OptionError(f"{rows} rows are too few to compare anything. Add rows.")
    if detect is not None and not detect > 0:
        raise OptionError(f"detect is a difference above 0, as in 0.05, not {detect!r}.")
    needed = rows_needed(detect, found, **settings) if detect is not None else None
    counts: Sequence[int] = sorted({rows, *STEPS, *([needed] if needed else [])})
    return Planned(
        rows=rows,
        detectable=detectable(rows, found, **settings).detectable,
        power=power,
        needed=needed,
        detect=detect,
        spread=found,
        assumption=why,
        table=tuple((n, detectable(n, found, **settings).detectable) for n in counts),
    )


def _spread(
    changed: float | None, spread: float | None, pilot: Comparison | None
) -> tuple[float, str]:
    if pilot is not None:
        if pilot.detectable is None:
            raise OptionError(
                "The pilot has no spread: its rows are all alike. Name changed or spread."
            )
        per_row = detectable(pilot.n, 1.0, confidence=1 - looks.FIRST * 0.05).detectable
        return pilot.detectable / per_row, f"the rows differ as in the pilot of {pilot.n} rows"
    if spread is not None:
        if not spread > 0:
            raise OptionError(f"spread is a standard deviation above 0, not {spread!r}.")
        return spread, f"the rows' differences have a standard deviation of {spread:g}"
    share = CHANGED if changed is None else changed
    if not 0 < share <= 1:
        raise OptionError(f"changed is a share of the rows above 0 and up to 1, not {share!r}.")
    said = "" if changed is not None else ", which is a guess: name --changed, or take a pilot"
    return binary_spread(share), f"yes-or-no metric, {share:.0%} of the rows change{said}"
