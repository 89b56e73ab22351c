"""How an answer is drawn, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal[
    "stop", "length", "tool_calls", "content_filter", "budget", "interrupted", "deadline", "error"
]


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. `temperature` 0 takes the most likely token.

    A `seed` of None means a fresh one, which is then kept with the trace. `top_k` 0, `top_p` 1,
    `min_p` 0, `repeat_penalty` 1 and the other penalties at 0 switch the respective filter off; the
    penalties look at the last `penalty_window` tokens, prompt included. `logit_bias` adds to the logits of
    tokens, given by id or as text whose tokens are all meant; minus infinity forbids them. `logprobs` n
    returns the log-probability of each token with the n most likely ones; None returns none.
    """

    temperature: float = 0.7
    max_tokens: int = 512
    seed: int | None = None
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_window: int = 64
    logit_bias: tuple[tuple[int | str, float], ...] = ()
    logprobs: int | None = None


@dataclass(frozen=True)
class TokenLogprob:
    """A token of an answer with its natural log-probability before sampling filters.

    `top` holds the most likely tokens at that place with theirs, the likeliest first.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Usage:
    """Tokens of one call.

    `cached_tokens` of the input were not read again; `reasoning_tokens` of the output are reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True)
class Timing:
    """Seconds from the request to its end and to its first token; tokens per second after that."""

    total_s: float = 0.0
    first_token_s: float | None = None
    tokens_per_s: float | None = None
