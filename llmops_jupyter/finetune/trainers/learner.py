"""What the training loop needs of whatever computes gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.packing import Pack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Of AdamW, with every trainer.
BETAS, EPSILON = (0.9, 0.999), 1e-8
Arrays = Mapping[str, "NDArray[Any]"]


class Learner(Protocol):
    """A base model with an adapter that learns. Losses are sums over tokens, in nats."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What runs where: device, precision, parameters that learn."""
        ...

    @property
    def width(self) -> int:
        """Numbers for each token between layers."""
        ...

    @property
    def shares(self) -> bool:
        """Whether a pass can hold several examples; for recurrent and hybrid models it holds one."""
        ...

    def learn(self, pack: Pack) -> float:
        """Add the gradients of a pass; returns its loss, each token weighted as the pack says."""
        ...

    def step(self, rate: float, learned: int) -> float:
        """Take the step that the gradients of `learned` tokens ask for, and clear them.

        Returns:
            the length of the mean gradient before it was cut.
        """
        ...

    def loss(self, pack: Pack) -> float:
        """The loss of a pass; nothing is learned."""
        ...

    def answer(self, prompt: Sequence[int], most: int, ends: Sequence[int]) -> list[int]:
        """The likeliest continuation of a prompt, at most `most` tokens, without the one that ends it."""
        ...

    def logprobs(self, ids: Sequence[int], last: int) -> NDArray[np.float32]:
        """Log-probabilities of the token after each of the `last` ones, shape (last, vocabulary)."""
        ...

    def lora(self) -> Lora:
        """What is learned by now."""
        ...

    def put(self, lora: Lora) -> None:
        """Take what was learned at another time; moments stay as they are."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """All that the next steps depend on, moments and random state included."""
        ...

    def restore(self, state: Arrays) -> None:
        """Go back to a state that `state` gave, of the same recipe."""
        ...
