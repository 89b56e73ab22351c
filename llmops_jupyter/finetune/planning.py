"""What a run will take, before it begins: memory, time, and how many tokens are read at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import ModelMemoryError
from llmops_jupyter.finetune.packing import Tokens, passes
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.trainers.loss import CHUNK
from llmops_jupyter.models.memory import MemoryLimit, megabytes

if TYPE_CHECKING:
    from llmops_jupyter.models.gguf import GGUFMetadata

PROCESS_BYTES = 600 * 10**6  # Python with torch and transformers
SPARE = 0.9  # of the memory that is left
MOST_TOKENS = 2048  # attention grows with the square of a pass
TRIAL = 768
UTILISED = 0.55  # of a large product's speed, over a whole step
_F32 = 4


@dataclass(frozen=True)
class Plan:
    """How a run reads its examples, and what that takes.

    Args:
        budget: tokens read in a pass at most; a longer example stands alone.
        checkpointing: whether activations are computed twice.
        memory: bytes at the peak.
        limit: bytes that may be used, and what sets that.
        steps: steps of the whole run.
        seconds: about how long it takes; None where the speed is not known.
        tokens: tokens that are read, shared ones once; `plain` counts them for each example.
        notes: remarks on examples that are left out.
    """

    budget: int
    checkpointing: bool
    memory: int
    limit: MemoryLimit
    steps: int
    seconds: float | None
    tokens: int
    plain: int
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "budget": self.budget,
            "checkpointing": self.checkpointing,
            "memory": self.memory,
            "limit": self.limit.bytes,
            "steps": self.steps,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "plain": self.plain,
            "notes": list(self.notes),
        }

    def sentence(self) -> str:
        """The plan on one line."""
        saved = self.plain / max(self.tokens, 1)
        shared = f", {saved:.1f} times fewer than one by one" if saved >= 1.1 else ""
        about = f", about {spoken(self.seconds)}" if self.seconds is not None else ""
        return (
            f"{self.steps:,} steps{about}; {self.tokens:,} tokens to read{shared}; "
            f"{megabytes(self.memory)} of memory at most, {megabytes(self.limit.bytes)} are left"
        )


def plan(
    metadata: GGUFMetadata,
    recipe: Recipe,
    train: Sequence[Sequence[Tokens]],
    limit: MemoryLimit,
    *,
    evals: Sequence[Sequence[Tokens]] = (),
    bytes_each: int = _F32,
    speed: float | None = None,
    share: bool = True,
) -> Plan:
    """What a run takes.

    Args:
        metadata: of the base model.
        recipe: the settings.
        train: the sequences of each example.
        limit: memory that is left.
        evals: those of the eval examples.
        bytes_each: of a weight in memory: 4, or 2 in bfloat16.
        speed: floating-point operations in a second, of a large product of matrices.
        share: whether beginnings are read once.

    Raises:
        ModelMemoryError: the longest example does not fit, with what would.
    """
    longest = max(len(s.ids) for example in (*train, *evals) for s in example)
    most = _largest_batch(train, recipe, share=share)
    wanted = recipe.tokens_per_pass or max(longest, min(most, MOST_TOKENS))
    room = int(limit.bytes * SPARE)
    chosen: tuple[int, bool] | None = None
    for twice in {"on": (True,), "off": (False,)}.get(recipe.checkpointing, (False, True)):
        fits = _fitting(metadata, recipe, room, bytes_each, checkpointing=twice)
        if fits >= longest and (recipe.tokens_per_pass is None or fits >= wanted):
            chosen = (min(wanted, fits), twice)
            break
    if chosen is None:
        raise _too_large(metadata, recipe, limit, longest, bytes_each)
    budget, twice = chosen
    steps = recipe.steps_for(len(train))
    read, plain = _tokens_of_epoch(train, budget, recipe.batch_size, share=share)
    epochs = steps * recipe.batch_size / max(len(train), 1)
    eval_read, _ = _tokens_of_epoch(evals, budget, len(evals), share=share)
    looks = recipe.looks * epochs + 1 if evals else 0
    work = epochs * read * (3 if twice else 2) + looks * eval_read
    # Embeddings are looked up, and few tokens need logits.
    multiplied = metadata.parameters - metadata.vocabulary * metadata.embedding_length
    operations = work * 2 * multiplied
    return Plan(
        budget=budget,
        checkpointing=twice,
        memory=memory_of(metadata, recipe, budget, bytes_each, checkpointing=twice),
        limit=limit,
        steps=steps,
        seconds=None if speed is None else operations / (speed * UTILISED),
        tokens=int(epochs * read),
        plain=int(epochs * plain),
    )


def memory_of(
    metadata: GGUFMetadata,
    recipe: Recipe,
    tokens: int,
    bytes_each: int,
    *,
    checkpointing: bool,
) -> int:
    """Bytes at the peak of a step that reads `tokens` at once.

    Kept for the way back are, for each token and layer, about eight times the width and nine times the
    inner width (counted from what the modules of a llama model keep, and measured), and float32 copies of
    the inputs of the adapter where the base is in bfloat16.
    """
    width, inner = metadata.embedding_length, metadata.feed_forward_length
    kept = (8 * width + 9 * inner) * bytes_each
    if bytes_each < _F32:
        kept += (6 * width + inner) * _F32
    layers = metadata.layers
    if checkpointing:
        activations = tokens * (layers * width * bytes_each + kept)
    else:
        activations = tokens * layers * kept
    attention = tokens * tokens * metadata.heads * _F32
    logits = min(CHUNK, tokens) * metadata.vocabulary * _F32 * 4
    adapter = layers * recipe.rank * (8 * width + 6 * inner) * _F32 * 4
    base = metadata.parameters * bytes_each
    return int(PROCESS_BYTES + base + adapter + activations + attention + logits)


def _fitting(
    metadata: GGUFMetadata, recipe: Recipe, room: int, bytes_each: int, *, checkpointing: bool
) -> int:
    """The most tokens in a pass that fit into `room` bytes; 0 if not even one does."""
    low, high = 0, 1 << 20
    while low < high:
        middle = (low + high + 1) // 2
        if memory_of(metadata, recipe, middle, bytes_each, checkpointing=checkpointing) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _largest_batch(train: Sequence[Sequence[Tokens]], recipe: Recipe, *, share: bool) -> int:
    """Tokens of a step that takes the longest examples, read in one pass."""
    by_length = sorted(train, key=lambda e: sum(len(s.ids) for s in e), reverse=True)
    sequences = [s for example in by_length[: recipe.batch_size] for s in example]
    return _read(sequences, share=share)


def _tokens_of_epoch(
    examples: Sequence[Sequence[Tokens]], budget: int, size: int, *, share: bool
) -> tuple[int, int]:
    """Tokens that are read for all examples once, `size` at a time, and those of each one by one."""
    read = plain = 0
    for begin in range(0, len(examples), max(size, 1)):
        sequences = [s for example in examples[begin : begin + size] for s in example]
        plain += sum(len(s.ids) for s in sequences)
        groups = passes(sequences, budget, share=share)
        read += sum(_read(group, share=share) for group in groups)
    return read, plain


def _read(sequences: Sequence[Tokens], *, share: bool) -> int:
    total, before = 0, None
    for sequence in sorted(sequences, key=lambda s: s.ids):
        total += len(sequence.ids) - (sequence.shared(before) if share and before else 0)
        before = sequence
    return total


def _too_large(
    metadata: GGUFMetadata, recipe: Recipe, limit: MemoryLimit, longest: int, bytes_each: int
) -> ModelMemoryError:
    least = int(memory_of(metadata, recipe, longest, bytes_each, checkpointing=True) / SPARE)
    fits = _fitting(metadata, recipe, int(limit.bytes * SPARE), bytes_each, checkpointing=True)
    if fits >= 64:
        return ModelMemoryError(
            f"The longest example has {longest:,} tokens, for which training takes "
            f"{megabytes(least)}; {megabytes(limit.bytes)} are left ({limit.source}). Examples of up "
            f"to {fits:,} tokens fit: --max-length {fits}"
        )
    return ModelMemoryError(
        f"Training this model takes at least {megabytes(least)}; {megabytes(limit.bytes)} are left "
        f"({limit.source}). Choose a smaller base model, or free memory."
    )


def speed_here() -> float:
    """Floating-point operations in a second of a product of matrices with NumPy on this machine."""
    import numpy as np

    a = np.ones((TRIAL, TRIAL), np.float32)
    found = []
    for _ in range(4):
        began = time.perf_counter()
        a @ a
        found.append(time.perf_counter() - began)
    return 2.0 * TRIAL**3 / min(found)


def spoken(seconds: float) -> str:
    """A time as people say it: '40 s', '12 min', '3.5 h'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
