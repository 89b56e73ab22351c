"""What a call took of the machine, and how far each figure can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from llmops_jupyter.render.quantities import quantity

# A counter or a clock gave it; it was worked out from such readings; somebody said so.
Certainty = Literal["measured", "estimated", "assumed"]
CERTAINTIES: tuple[Certainty, ...] = get_args(Certainty)


@dataclass(frozen=True)
class Figure:
    """A number with its unit, where it comes from, and what it stands on.

    `source` is 'measured' (a counter or a clock gave it), 'estimated' (worked out from such readings, for
    instance a share of them) or 'assumed' (it stands on what somebody said, such as watts or a price).
    """

    value: float
    unit: str
    source: Certainty
    note: str = ""

    def __str__(self) -> str:
        return f"{quantity(self.value, self.unit)} ({self.source})"


@dataclass(frozen=True)
class Resources:
    """What a call took of the machine that computed it; None is not known, as of any endpoint.

    Args:
        busy_s: seconds that the model computed, of which rows that ran together each have their share.
        cpu_s: processor seconds of the process that computed, shared in the same way.
        peak_bytes: the most resident memory of that process that was seen while the call ran; the process holds
            the model, and in it other calls may run.
        energy_j: joules that a counter gave, shared in the same way; of all that ran on the machine meanwhile.
        shared: whether other rows were computed in the same steps, so that the shares are estimates.
        energy_source: 'measured' where a counter of the processor was read, 'estimated' where a program worked it
            out from the load.
    """

    busy_s: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    energy_j: float | None = None
    shared: bool = False
    energy_source: Certainty = "measured"

    def __add__(self, other: Resources) -> Resources:
        """What calls that follow each other took together."""
        peaks = [p for p in (self.peak_bytes, other.peak_bytes) if p is not None]
        sources = [r.energy_source for r in (self, other) if r.energy_j is not None]
        return Resources(
            _sum(self.busy_s, other.busy_s),
            _sum(self.cpu_s, other.cpu_s),
            max(peaks) if peaks else None,
            _sum(self.energy_j, other.energy_j),
            self.shared or other.shared,
            weakest(sources) if sources else "measured",
        )

    @property
    def share_source(self) -> Certainty:
        """How far the seconds can be trusted."""
        return "estimated" if self.shared else "measured"

    def figures(self) -> dict[str, Figure]:
        """What is known, by name."""
        share = "its share by tokens of steps that other calls ran in" if self.shared else ""
        found: dict[str, Figure] = {}
        if self.busy_s is not None:
            found["busy"] = Figure(self.busy_s, "s", self.share_source, share)
        if self.cpu_s is not None:
            found["cpu"] = Figure(self.cpu_s, "s", self.share_source, share)
        if self.peak_bytes is not None:
            note = "of the process that holds the model"
            found["memory"] = Figure(float(self.peak_bytes), "B", "measured", note)
        if self.energy_j is not None:
            source = weakest([self.share_source, self.energy_source])
            note = "of the whole processor, whatever else ran on it"
            found["energy"] = Figure(self.energy_j, "J", source, note)
        return found


def weakest(sources: list[Certainty]) -> Certainty:
    """The one of several that says least: what is made of them is no better."""
    return max(sources, key=CERTAINTIES.index)


def _sum(a: float | None, b: float | None) -> float | None:
    """Both together; one that is not known adds nothing."""
    return (a or 0.0) + (b or 0.0) if a is not None or b is not None else None
