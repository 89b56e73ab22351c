"""Two versions of a text side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmops_jupyter.render.html import DiffLine, bundle, diff_html, diff_lines, diff_text


def text_of(parts: Mapping[str, str]) -> str:
    """Parts by what they are as one text: the first as it is, the others below their headings, none without a word."""
    (_, first), *others = parts.items()
    return "\n".join([first, *(f"[{title}]\n{text}" for title, text in others if text)])


@dataclass(frozen=True)
class Difference:
    """Two versions side by side; shows coloured in a notebook. `parts` are texts before and after, by what they are."""

    before: str
    after: str
    names: tuple[str, str]
    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        return self.before == self.after

    def __str__(self) -> str:
        return diff_text(self.before, self.after, self.names)

    def ansi(self) -> str:
        """The difference with terminal colours."""
        return diff_text(self.before, self.after, self.names, colour=True)

    def lines(self) -> dict[str, list[DiffLine]]:
        """The lines of each part; parts that are equal are left out."""
        changed = {title: pair for title, pair in self.parts.items() if pair[0] != pair[1]}
        return {title: diff_lines(*pair) for title, pair in changed.items()}

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return bundle(str(self), diff_html(self.before, self.after, self.names))
