"""What a model learns of an example, as its chat template cuts it; the tokenizer is plugged in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmops_jupyter.data.examples import Example
from llmops_jupyter.render.html import bundle, escaped


@dataclass(frozen=True)
class Masked:
    """An example as the model reads it: runs of text and whether each is learned, and tokens in all."""

    pieces: tuple[tuple[str, bool], ...]
    tokens: int
    learned: int


class Masker(Protocol):
    """Renders examples by a model's chat template and tells which tokens are learned."""

    @property
    def context_length(self) -> int:
        """Tokens that an example may have."""
        ...

    def masked(self, example: Example) -> Masked:
        """The example as tokens.

        Raises:
            LLMOpsError: the template refuses the messages; the message says why.
        """
        ...


@dataclass(frozen=True)
class Preview:
    """Examples as the model reads them; what is learned stands out."""

    rows: Sequence[dict[str, Any]]

    def __str__(self) -> str:
        shown = []
        for row in self.rows:
            text = "".join(f"⟦{piece}⟧" if learned else piece for piece, learned in row["pieces"])
            shown.append(
                f"row {row['row']}: {row['learned']} of {row['tokens']} tokens are learned, those in ⟦ ⟧\n{text}"
            )
        return "\n\n".join(shown)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        parts = []
        for row in self.rows:
            text = "".join(
                f"<span style='background:rgba(26,152,80,.25)'>{escaped(piece)}</span>"
                if learned
                else escaped(piece)
                for piece, learned in row["pieces"]
            )
            title = escaped(
                f"row {row['row']}: {row['learned']} of {row['tokens']} tokens are learned (green)"
            )
            parts.append(f"<p>{title}</p><pre style='white-space:pre-wrap'>{text}</pre>")
        return bundle(str(self), "".join(parts))
