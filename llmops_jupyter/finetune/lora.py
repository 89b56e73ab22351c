"""What fine-tuning learned: two thin factors for each weight, whatever trained them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Lora:
    """A low-rank adapter (LoRA, Hu et al. 2021): each weight W of shape (out, in) becomes W + scale · B A.

    `architecture` is GGUF's name of the base model's, such as 'llama'. `factors` holds (A, B) in float32 by
    the module's name as transformers has it, such as 'model.layers.0.self_attn.q_proj': A has the shape
    (rank, in), B (out, rank), with rows in the order of transformers. `dropout` is that of the training, kept
    for who trains on.
    """

    architecture: str
    rank: int
    alpha: float
    factors: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = field(repr=False)
    rslora: bool = False
    dropout: float = 0.0

    @property
    def scale(self) -> float:
        """What B A is multiplied with: alpha / rank, or alpha / √rank (rsLoRA, Kalajdzievski 2023)."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def parameters(self) -> int:
        """Numbers that were learned."""
        return sum(a.size + b.size for a, b in self.factors.values())
