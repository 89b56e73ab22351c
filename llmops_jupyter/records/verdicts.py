"""What a check of a guard policy says of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Decision = Literal["allow", "warn", "modify", "deny"]
Action = Literal["none", "noted", "replaced", "blocked"]
Place = Literal["input", "context", "output"]


@dataclass(frozen=True)
class Verdict:
    """What one check decided about one text, and, apart from that, what was done.

    A policy that only observes blocks nothing: its decision 'deny' goes with the action 'noted'.

    Args:
        check: the check's name, such as 'injection'.
        place: which text it was: the input, retrieved context, or the output.
        decision: what the check says ought to be done.
        action: what was done.
        reason: one sentence for people.
        score: how sure the check is, from 0 to 1; None where it has no score.
        threshold: the score from which on it decides other than 'allow'; None without a score.
        evidence: the part of the text that it rests on, cut; '' if it rests on none.
        policy: the policy's reference, such as 'support@2'.
        duration_s: seconds that the check took.
    """

    check: str
    place: Place
    decision: Decision
    action: Action
    reason: str = ""
    score: float | None = None
    threshold: float | None = None
    evidence: str = ""
    policy: str = ""
    duration_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON values, as a trace keeps it."""
        return asdict(self)

    def words(self) -> str:
        """What was decided, for people: ``input denied by injection``; '' where nothing was found."""
        said = _SAID.get((self.decision, self.action == "noted"))
        return f"{self.place} {said} {self.check}" if said else ""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Verdict:
        """The verdict that `as_dict` wrote."""
        return cls(**value)


_SAID: Mapping[tuple[Decision, bool], str] = {
    ("deny", False): "denied by",
    ("deny", True): "would be denied by",
    ("modify", False): "changed by",
    ("modify", True): "would be changed by",
    ("warn", True): "warned of by",
}


def summary(verdicts: Sequence[Verdict]) -> str:
    """What a policy decided on one line; '' without verdicts.

    For instance ``guard support@2: input denied by injection``.
    """
    if not verdicts:
        return ""
    found: dict[str, list[str]] = {}
    for verdict in verdicts:
        words = verdict.words()
        if words:
            checks = found.setdefault(words.removesuffix(verdict.check), [])
            if verdict.check not in checks:
                checks.append(verdict.check)
    said = ", ".join(f"{words}{' and '.join(checks)}" for words, checks in found.items())
    return f"guard {verdicts[0].policy}: {said or 'nothing found'}"
