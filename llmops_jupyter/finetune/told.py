"""What a run has told so far, event by event: who looks again reads only what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

NOTHING = {"step": 0, "steps": 0, "seconds": 0.0, "tokens": 0}


def ending(events: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """How a run has ended by its events, with what is said of it; None if it has not."""
    for event in reversed(events):
        if event.get("kind") == "end":
            return str(event["ended"]), ""
        if event.get("kind") == "error":
            return "failed", str(event["text"])
    return None


@dataclass
class Told:
    """The state that events come to.

    Args:
        seq: of the next event.
        steps: (step, loss, smoothed) by step; a resumed run takes some again, and the later ones count.
        evals: (step, loss) of looks at the eval examples, by step.
        last: the last event that says how far the run is.
        facts: what ran where.
        said: answers to samples, by when and number.
        phase: what it does.
    """

    seq: int = 0
    steps: dict[int, tuple[int, float, float]] = field(default_factory=dict)
    evals: dict[int, tuple[int, float]] = field(default_factory=dict)
    last: Mapping[str, Any] = field(default_factory=lambda: dict(NOTHING))
    facts: dict[str, Any] = field(default_factory=dict)
    said: dict[tuple[str, int], str] = field(default_factory=dict)
    phase: str = ""

    def copy(self) -> Told:
        """The same, to which more may be added without this one."""
        return replace(
            self,
            steps=dict(self.steps),
            evals=dict(self.evals),
            facts=dict(self.facts),
            said=dict(self.said),
        )

    def add(self, event: Mapping[str, Any]) -> None:
        """Take the next event; one that an interrupt cut short is taken again."""
        kind = event["kind"]
        if kind == "step":
            self.steps[event["step"]] = (event["step"], event["loss"], event["smoothed"])
        elif kind == "eval":
            self.evals[event["step"]] = (event["step"], event["loss"])
        elif kind == "facts":
            self.facts |= {k: v for k, v in event.items() if k != "kind"}
        elif kind in ("base", "served"):
            self.facts[f"{kind}_kl"] = event["kl"]
        elif kind == "adapter":
            self.facts["made"] = event["folder"]
        elif kind == "phase":
            self.phase = event["text"]
        elif kind == "sample":
            self.said[event["when"], event["number"]] = event["text"]
        if "steps" in event:
            self.last = event
        self.seq += 1
