"""Personal data: e-mail addresses, phone and card numbers and the like, as `privacy` finds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_jupyter import privacy
from llmops_jupyter.errors import GuardError, did_you_mean
from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.checks.secrets import KINDS as SECRETS
from llmops_jupyter.guard.masking import replaced
from llmops_jupyter.guard.plain import merged, readings
from llmops_jupyter.records import Place

KINDS: tuple[str, ...] = tuple(kind for kind in privacy.KINDS if kind not in SECRETS)


@dataclass(frozen=True)
class PersonalData:
    """Finds personal data of some kinds; `allow` are texts, or ends of texts such as ``@shop.example``, that may stay."""

    kinds: tuple[str, ...] = KINDS
    allow: tuple[str, ...] = ()
    name: str = "pii"
    places: tuple[Place, ...] = ("input", "context", "output")

    def find(self, text: str, about: About) -> Finding:
        """Yes where there is personal data; it is never repeated in what is said of it."""
        del about
        found = merged(
            [
                (*read.back(one.start, one.end), f"[{one.kind.upper()}]")
                for read in readings(text)
                for one in privacy.find(read.text, self.kinds)
                if not self._may_stay(read.text, one)
            ]
        )
        if not found:
            return Finding(None, False, "no personal data")
        counts = Counter(mark for _, _, mark in found)
        said = ", ".join(f"{mark} {n}×" if n > 1 else mark for mark, n in counts.items())
        return Finding(None, True, "there is personal data in it", said, replaced(text, found))

    def _may_stay(self, text: str, one: privacy.Finding) -> bool:
        value = text[one.start : one.end].casefold()
        return any(value == a or (a.startswith("@") and value.endswith(a)) for a in self.allow)


def make(kinds: Sequence[str] = KINDS, allow: Sequence[str] = ()) -> PersonalData:
    """The check 'pii'.

    Raises:
        GuardError: a kind is not known.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise GuardError(
                f"There is no kind {kind!r} of personal data.{did_you_mean(kind, KINDS)} Kinds: {', '.join(KINDS)}."
            )
    return PersonalData(tuple(kinds), tuple(a.casefold() for a in allow))
