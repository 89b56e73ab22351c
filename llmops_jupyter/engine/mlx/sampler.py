"""Draws tokens with NumPy, for models whose tokenizer llama.cpp does not know; the rules are llama.cpp's."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.mlx.matching import forbid, matcher_of
from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.engine.sampler import bias_of, log_softmax, penalised
from llmops_jupyter.engine.vocabulary import Vocabulary
from llmops_jupyter.errors import SchemaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ArraySampler:
    """Draws tokens for one request: bias, penalties, top-k, top-p, min-p, temperature, in this order.

    Args:
        vocabulary, request, seed, prompt: as for `engine.sampler.Sampler`.
        tokenizer: see `matching.matcher_of`.

    Raises:
        SchemaError: its schema or grammar cannot be used.
        OptionError: a biased token is not in the vocabulary.
        MissingDependencyError: there is a schema or a grammar, and llguidance is not installed.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        request: Request,
        seed: int,
        prompt: Sequence[int],
        tokenizer: Callable[[], Any],
    ) -> None:
        import numpy as np

        self._matcher = matcher_of(request, tokenizer)
        self._sampling = request.sampling
        self._bias = bias_of(vocabulary, request.sampling)
        self._random = np.random.default_rng(seed)
        self._penalised = penalised(request.sampling)
        window = request.sampling.penalty_window
        self._recent = deque(prompt if self._penalised else (), maxlen=max(0, window))

    def draw(self, logits: NDArray[np.float32]) -> int:
        """The next token from its logits; biases and penalties are added to them in place."""
        if self._bias is not None:
            logits[self._bias[0]] += self._bias[1]
        if self._penalised:
            self._penalise(logits)
        if self._matcher is not None:
            forbid(self._matcher, logits)
        token = int(logits.argmax()) if self._sampling.temperature == 0 else self._select(logits)
        if self._matcher is not None and not self._matcher.consume_token(token):
            raise SchemaError("No token can follow under this grammar. Simplify it.")
        if self._penalised:
            self._recent.append(token)
        return token

    def free(self) -> None:
        """There is no native memory to give back."""

    def _penalise(self, logits: NDArray[np.float32]) -> None:
        sampling = self._sampling
        for token, count in Counter(self._recent).items():
            value = float(logits[token])
            repeat = sampling.repeat_penalty
            value = value * repeat if value <= 0 else value / repeat
            value -= count * sampling.frequency_penalty + sampling.presence_penalty
            logits[token] = value

    def _select(self, logits: NDArray[np.float32]) -> int:
        import numpy as np

        sampling = self._sampling
        count = min(sampling.top_k or len(logits), len(logits))
        kept = np.argpartition(logits, -count)[-count:] if count < len(logits) else None
        ids = np.arange(len(logits)) if kept is None else kept
        ids = ids[np.argsort(-logits[ids], kind="stable")]
        known = np.exp(log_softmax(logits[ids]).astype(np.float64))
        if sampling.top_p < 1:
            # The smallest set of the likeliest tokens that has this much of the probability.
            end = int(np.searchsorted(np.cumsum(known), sampling.top_p)) + 1
            ids, known = ids[:end], known[:end]
        if sampling.min_p > 0:
            good = known >= sampling.min_p * known[0]
            ids = ids[good]
        weights = np.exp(log_softmax(logits[ids] / np.float32(sampling.temperature)).astype(float))
        place = np.searchsorted(np.cumsum(weights), self._random.random() * weights.sum())
        return int(ids[min(int(place), len(ids) - 1)])
