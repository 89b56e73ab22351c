"""Two versions of a text side by side."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_jupyter.render.html import diff_html, diff_text


@dataclass(frozen=True)
class Difference:
    """Two versions side by side; shows coloured in a notebook."""

    before: str
    after: str
    names: tuple[str, str]

    @property
    def equal(self) -> bool:
        return self.before == self.after

    def __str__(self) -> str:
        return diff_text(self.before, self.after, self.names)

    def ansi(self) -> str:
        """The difference with terminal colours."""
        return diff_text(self.before, self.after, self.names, colour=True)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {
            "text/html": diff_html(self.before, self.after, self.names),
            "text/plain": str(self),
        }
