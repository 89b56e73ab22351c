"""The frozen records that travel between rooms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    import pandas

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")

FinishReason = Literal["stop", "length", "tool_calls", "interrupted", "deadline", "error"]


@dataclass(frozen=True)
class Tool:
    """A function that a model may call: `parameters` is the JSON schema of its arguments, an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The form that chat templates and endpoints know."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asked for; the message with its result has the same id."""

    id: str
    name: str
    arguments: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    The assistant's may ask for `tool_calls`; one of the role 'tool' holds the result of the call that
    `tool_call_id` names.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.content, str):
            raise OptionError(_no_text(self.content))

    def as_dict(self) -> dict[str, Any]:
        """The message as JSON values; what it does not have is left out."""
        found: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            found["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        if self.tool_call_id:
            found["tool_call_id"] = self.tool_call_id
        return found

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Message:
        """The message that `as_dict` wrote."""
        calls = tuple(ToolCall(**call) for call in value.get("tool_calls", ()))
        return cls(value["role"], value["content"], calls, value.get("tool_call_id", ""))


def _no_text(content: object) -> str:
    """Why a message's content is refused."""
    parts = content if isinstance(content, list | tuple) else [content]
    kinds = {str(part.get("type", "")) for part in parts if isinstance(part, Mapping)}
    if any(word in kind for kind in kinds for word in ("image", "audio", "video", "file")):
        return (
            f"The content of a message has a part of type {min(kinds - {'text'})!r}, and models read and "
            "write text only here: no images, audio or video. Put what it shows into words."
        )
    return f"The content of a message is text, not {type(content).__name__}. Give it as one str."


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


@dataclass(frozen=True)
class Hit:
    """A passage found by a search: `source` is the file's path or the row's id."""

    text: str
    source: str
    locator: str
    score: float
    document_id: str
    chunk_id: str


@dataclass(frozen=True)
class Citation:
    """Words of a passage, as they stand there; `number` is the passage's in the prompt, counted from 1."""

    number: int
    quote: str
    source: str
    locator: str
    chunk_id: str = ""

    @property
    def place(self) -> str:
        """Source and where in it, for people."""
        return f"{self.source}, {self.locator}" if self.locator else self.source


Support = Literal["supported", "unsupported", "contradicted", "no claim"]


@dataclass(frozen=True)
class Claim:
    """A sentence of an answer with what the passages say of it.

    Args:
        text: the sentence.
        verdict: what was found; see the signals before you rely on it.
        citations: the words of the passages that come nearest, the best first.
        signals: what the verdict was made from, by name.
        why: in words.
    """

    text: str
    verdict: Support
    citations: tuple[Citation, ...] = ()
    signals: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Claim:
        """The claim that `dataclasses.asdict` took apart."""
        cited = tuple(Citation(**c) for c in value["citations"])
        return cls(**{**value, "citations": cited})


@dataclass(frozen=True)
class Grounding:
    """Which documents an answer was made from, and how far they support it.

    Args:
        index: the index, with the fingerprint of its content at that time.
        query: what was searched for; for a follow-up question not what was asked.
        answered: the documents support at least one sentence of the answer.
        claims: the sentences of the answer.
        draft: what the model wrote, where the documents did not support any of it and the answer says so.
        why: why there is no answer.
        nearest: where there is no answer, the passages' sentences that come nearest to the question.
    """

    index: str
    fingerprint: str
    query: str
    answered: bool
    claims: tuple[Claim, ...] = ()
    draft: str = ""
    why: str = ""
    nearest: tuple[Citation, ...] = ()

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The best citation of each supported sentence, each once."""
        found = [c.citations[0] for c in self.claims if c.verdict == "supported" and c.citations]
        return tuple(dict.fromkeys(found))

    def share(self) -> float | None:
        """The share of the sentences that make claims which the passages support; None if there are none."""
        made = [c for c in self.claims if c.verdict != "no claim"]
        return sum(c.verdict == "supported" for c in made) / len(made) if made else None

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Grounding:
        """The grounding that `dataclasses.asdict` took apart."""
        claims = tuple(Claim.from_dict(c) for c in value["claims"])
        nearest = tuple(Citation(**c) for c in value.get("nearest", ()))
        return cls(**{**value, "claims": claims, "nearest": nearest})


@dataclass(frozen=True)
class Completion:
    """What a model answered. `str(completion)` is the text.

    `cost` is in US dollars, None if it is not known, as for models on this machine. `tool_calls` say of each
    call of a function its step, name, arguments, result, whether there was an error, and seconds; `messages`
    are those that the run added to the conversation, where it had tools. `hits` are the passages it was given,
    in the order of their numbers, and `grounding` says how far they support it, where documents were asked.
    """

    text: str
    reasoning: str = ""
    parsed: Any = None
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    finish_reason: FinishReason = "stop"
    hits: tuple[Hit, ...] = ()
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    verdicts: tuple[Mapping[str, Any], ...] = ()
    trace_id: str = ""
    prompt_version: str = ""
    model: str = ""
    notes: tuple[str, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    cost: float | None = None
    messages: tuple[Message, ...] = ()
    grounding: Grounding | None = None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        shown = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return f"Completion({shown!r}, trace_id={self.trace_id[:8]!r})"

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        from llmops_jupyter import render

        return render.completion_bundle(self)


@dataclass(frozen=True)
class Failure:
    """A row of a map that has no completion, and why."""

    row_id: str
    error: str


def load_pandas() -> Any:
    """The module pandas, for what hands out a DataFrame.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pandas
    except ImportError as e:
        from llmops_jupyter.errors import MissingDependencyError

        raise MissingDependencyError(
            "to_pandas needs pandas, which is not installed. Run: pip install pandas"
        ) from e
    return pandas


class Table(Sequence[Completion]):
    """Completions in row order, with the rows they came from.

    Rows that failed have an empty completion whose `finish_reason` is 'error'; `failures` says why.
    """

    def __init__(
        self,
        completions: Sequence[Completion],
        rows: Sequence[Mapping[str, Any]],
        row_ids: Sequence[str],
        failures: Sequence[Failure] = (),
    ) -> None:
        if not len(completions) == len(rows) == len(row_ids):
            raise ValueError("a table needs one completion and one id for each row")
        self._completions = tuple(completions)
        self.rows = tuple(dict(r) for r in rows)
        self.row_ids = tuple(row_ids)
        self.failures = tuple(failures)

    def __len__(self) -> int:
        return len(self._completions)

    @overload
    def __getitem__(self, index: int) -> Completion: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Completion]: ...
    def __getitem__(self, index: int | slice) -> Completion | Sequence[Completion]:
        return self._completions[index]

    def __iter__(self) -> Iterator[Completion]:
        return iter(self._completions)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"Table({len(self)} rows{failed})"

    def records(self) -> list[dict[str, Any]]:
        """One dictionary a row: its id, its own columns, then the completion's (suffixed if taken)."""
        errors = {f.row_id: f.error for f in self.failures}
        found = []
        for row_id, row, done in zip(self.row_ids, self.rows, self._completions, strict=True):
            made = {
                "completion": done.text,
                "reasoning": done.reasoning,
                "parsed": done.parsed,
                "finish_reason": done.finish_reason,
                "input_tokens": done.usage.input_tokens,
                "output_tokens": done.usage.output_tokens,
                "total_s": done.timing.total_s,
                "cost": done.cost,
                "trace_id": done.trace_id,
                "prompt_version": done.prompt_version,
                "model": done.model,
                "error": errors.get(row_id, ""),
            }
            record: dict[str, Any] = {"row_id": row_id, **row}
            for key, value in made.items():
                record[key if key not in record else f"{key}_out"] = value
            found.append(record)
        return found

    def to_pandas(self) -> pandas.DataFrame:
        """The records as a DataFrame, one row each; needs pandas."""
        frame: pandas.DataFrame = load_pandas().DataFrame(self.records())
        return frame

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        from llmops_jupyter import render

        return render.table_bundle(self)
