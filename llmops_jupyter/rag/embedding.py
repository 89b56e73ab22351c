"""The model that makes vectors of passages and queries, and its identity, by which an index knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.errors import ContextLengthError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Texts that are embedded between two looks at the clock and the keyboard.
TOGETHER = 64
# Tokens that start and end of a text take.
ENDS = 2


@dataclass(frozen=True)
class Embedder:
    """An embedding model of the workspace."""

    name: str
    engine: Engine

    @property
    def digest(self) -> str:
        """Of the model's weights."""
        return self.engine.model_digest

    @property
    def window(self) -> int:
        """Tokens of the longest text, without start and end."""
        return self.engine.context_length - ENDS

    def count(self, text: str) -> int:
        """Tokens of a text, without start and end."""
        return max(0, self.engine.count_tokens(text)) if text else 0

    def embed(
        self, texts: Sequence[str], told: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of unit length; texts beyond the window are cut. Shape (len(texts), width)."""
        import numpy as np

        parts = []
        for begin in range(0, len(texts), TOGETHER):
            parts.append(self._some(texts[begin : begin + TOGETHER]))
            if told is not None:
                told(min(begin + TOGETHER, len(texts)))
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def _some(self, texts: Sequence[str]) -> NDArray[np.float32]:
        try:
            return self.engine.embed([text or " " for text in texts])
        except ContextLengthError:
            return self.engine.embed([self._cut(text) for text in texts])

    def _cut(self, text: str) -> str:
        """The beginning of a text that fits the window."""
        while self.count(text) > self.window:
            share = self.window / max(1, self.count(text))
            text = text[: max(1, int(len(text) * min(0.95, share)))]
        return text or " "
