"""What is to be done with rows, and the rules by which a row goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from llmops_jupyter.errors import OptionError, did_you_mean

# In the order in which they are asked; a row goes by the first that it breaks.
RULES: Mapping[str, str] = {
    "unreadable": "the row does not have the form of the others",
    "roles": "the messages are out of order, or the last is not the assistant's",
    "empty": "there is no text or no answer",
    "language": "another language than those that were asked for",
    "repetition": "lines or phrases are repeated over and over",
    "symbols": "hash signs or ellipses in the place of words",
    "words": "words that are too short or too long on average",
    "filler": "text that stands for a text: lorem ipsum, a notice about JavaScript",
    "page": "a text that has the shape of a menu or a table, not of prose",
    "leaked": "the answer stands in the question",
    "pii": "personal data (with --pii drop)",
    "template": "the model's chat template refuses the messages, or nothing would be learned",
    "too long": "more tokens than the model's context has",
    "exact": "an earlier row has the same words",
    "near": "an earlier row has nearly the same words",
    "contaminated": "the evaluation set has it",
    "cap": "more rows of this value than --cap allows",
}
QUALITY = ("repetition", "symbols", "words", "filler", "page")
PII = ("keep", "redact", "drop", "presidio")
_CAP = re.compile(r"(.+)=(\d+)")


@dataclass(frozen=True)
class Recipe:
    """How rows are prepared.

    Args:
        format: chat, completion, text, or auto: the first that the columns fit.
        prompt: column of the question; needed for columns of other names.
        answer: column of the answer.
        system: system message of conversations that have none.
        near: share of equal words from which a row is a near-duplicate; 1 finds other orders only.
        pii: keep, redact, drop; or presidio, which redacts what Presidio finds too.
        language: codes of the languages that stay, with commas; '' for all.
        clean: repair encodings, invisible characters and spaces.
        quality: drop answers that break the rules of Gopher, C4 and FineWeb that fit.
        cap: the most rows that each value of a column may have.
        keep: rules whose rows stay and are counted only.
    """

    format: str = "auto"
    prompt: str | None = None
    answer: str | None = None
    system: str = ""
    near: float = 0.9
    pii: str = "keep"
    language: str = ""
    clean: bool = True
    quality: bool = True
    cap: Mapping[str, int] = field(default_factory=dict)
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.5 < self.near <= 1:
            raise OptionError(f"near is a share of words above 0.5 and up to 1, not {self.near:g}.")
        if self.pii not in PII:
            raise OptionError(
                f"pii is one of {', '.join(PII)}, not {self.pii!r}.{did_you_mean(self.pii, PII)}"
            )
        for rule in self.keep:
            if rule not in RULES:
                raise OptionError(
                    f"There is no rule {rule!r}.{did_you_mean(rule, RULES)} Rules: {', '.join(RULES)}."
                )
            if rule in ("unreadable", "cap"):
                raise OptionError(f"Rows of the rule {rule!r} cannot stay. Leave it out of keep.")
        for column, most in self.cap.items():
            if most < 1:
                raise OptionError(
                    f"A cap is 1 or more rows of each value; {column}={most} would leave none."
                )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Recipe:
        """The recipe with these options.

        Raises:
            OptionError: there is no such option, or its value cannot be used.
        """
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                near = did_you_mean(name, known)
                raise OptionError(
                    f"There is no option {name!r}.{near} Options: {', '.join(known)}."
                )
        keep = options.get("keep", ())
        made = {**options, "keep": (keep,) if isinstance(keep, str) else tuple(keep)}
        return cls(**made)

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON values; what is left at its default is left out."""
        usual = asdict(Recipe())
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value != usual[name]
        }


def caps_of(given: tuple[str, ...] | list[str] | None) -> dict[str, int]:
    """Caps from ``COLUMN=N``.

    Raises:
        OptionError: one is written otherwise.
    """
    found = {}
    for text in given or ():
        match = _CAP.fullmatch(text)
        if match is None:
            raise OptionError(f"{text!r} is no cap. Write COLUMN=N, for example --cap label=50")
        found[match[1]] = int(match[2])
    return found
