"""What every engine does, whatever runs the model.

An engine has one model. `generate` takes many requests and yields events tagged with the request's
id as they happen, so a single prompt is a batch of one. The next request is taken from the iterable
when there is room for it, in the caller's thread. Closing the iterator cancels what is still running.
Several threads may use an engine at once; their requests share its batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from llmops_jupyter.records import (
    FinishReason,
    Message,
    Resources,
    Sampling,
    Timing,
    TokenLogprob,
    Tool,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Prompt = Sequence[Message] | str


@dataclass(frozen=True)
class Request:
    """One thing to generate.

    Give `messages`, which go through the model's chat template, or `text`, which is read as it is.
    `prefill` is text that the assistant's answer starts with; it is not repeated in the result.
    `schema` is a JSON schema that the answer satisfies, `grammar` one in llama.cpp's notation (GBNF); give
    one of them at most. `tools` are functions that the model may ask to be called; `tool_choice` is 'auto',
    'required', 'none' or the name of the tool to call. `adapters` are (path, scale) pairs of GGUF adapters.
    `deadline_s` counts from the start of the request. An `interactive` request goes before others.
    `exact` computes the answer alone and in a fixed shape, so that the same request always gets the same
    text; it is slower. `trace_id` says which trace the request belongs to; it goes into a recording and
    has no influence on the answer.
    """

    id: str
    messages: tuple[Message, ...] = ()
    text: str | None = None
    prefill: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    schema: Mapping[str, Any] | None = None
    grammar: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    adapters: tuple[tuple[str, float], ...] = ()
    deadline_s: float | None = None
    interactive: bool = True
    exact: bool = False
    trace_id: str = ""


@dataclass(frozen=True)
class Token:
    """A piece of the answer, or of the reasoning before it: one or more whole characters."""

    request_id: str
    text: str
    reasoning: bool = False


@dataclass(frozen=True)
class Finished:
    """The end of a request. `text` is the whole answer, `seed` the one that was used.

    `reasoning` is what the model thought before. Where it asks for `tool_calls`, `finish_reason` is
    'tool_calls'. `cost` is in US dollars, None if it is not known. `resources` say what it took of this machine, None
    where another one computed. `notes` say what the user should know, for instance which setting this engine cannot
    honour. A failed request has `finish_reason` 'error' and the
    exception in `error`; others go on.
    """

    request_id: str
    text: str
    finish_reason: FinishReason
    usage: Usage
    timing: Timing
    seed: int
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    cost: float | None = None
    notes: tuple[str, ...] = ()
    error: Exception | None = None
    resources: Resources | None = None


Event = Token | Finished


@runtime_checkable
class Engine(Protocol):
    """A loaded model. All lengths are in tokens, all times in seconds.

    The adapters of `score` and `logprobs` are (path, scale) pairs, as in a request.
    """

    model_name: str
    model_digest: str
    streams: bool

    @property
    def provider(self) -> str:
        """The value of `gen_ai.provider.name`."""
        ...

    @property
    def context_length(self) -> int:
        """Tokens that one request may have, its answer included."""
        ...

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        """Yield tokens as they come and one `Finished` for each request."""
        ...

    def score(
        self,
        items: Sequence[tuple[Prompt, Sequence[str]]],
        adapters: Sequence[tuple[str, float]] = (),
    ) -> list[list[float]]:
        """For each (prompt, labels): the natural log-probability of each whole label after the prompt."""
        ...

    def logprobs(
        self, texts: Sequence[str], adapters: Sequence[tuple[str, float]] = ()
    ) -> list[NDArray[np.float32]]:
        """For each text: the natural log-probability of each of its tokens but the first."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector of unit length for each text; shape (len(texts), width)."""
        ...

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query, by a reranker model; higher is better."""
        ...

    def count_tokens(self, prompt: Prompt) -> int:
        """Tokens of a text, or of messages once they are in the chat template."""
        ...

    def status(self) -> Mapping[str, Any]:
        """What is loaded: threads, context, memory, backend."""
        ...

    def close(self) -> None:
        """Free the model. Safe to call twice."""
        ...
