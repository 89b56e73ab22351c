"""What the memory of a model's architecture allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmops_jupyter.engine.native import library


@dataclass(frozen=True)
class Capability:
    """Which operations on sequences an architecture allows.

    With `parts`, the end of a sequence can be removed and any beginning of it copied, as attention
    caches allow. Without, as with recurrent and hybrid models, a state can only be copied where it
    stands, and a sequence that must go back is read anew. `window` is how many tokens layers with a
    sliding window see, 0 if there are none: what no token to come can see may be overwritten by other
    sequences, however large the cache, and is then missing if the sequence goes on from an earlier place.
    """

    kind: str
    parts: bool
    window: int = 0

    def reusable(self, length: int, oldest: int) -> bool:
        """Whether a sequence cut to `length` can go on, if `oldest` is its first kept position."""
        return not self.window or 0 <= oldest <= max(0, length - self.window + 1)


def capability_of(model: Any) -> Capability:
    """The capability of a loaded model."""
    lib = library()
    if lib.llama_model_is_recurrent(model):
        return Capability("recurrent", parts=False)
    if lib.llama_model_is_hybrid(model):
        return Capability("hybrid", parts=False)
    window = int(lib.llama_model_n_swa(model))
    if window > 0:
        return Capability("sliding window", parts=True, window=window)
    return Capability("attention", parts=True)
