"""What a model answered, to one prompt or to many rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from llmops_jupyter.records.figures import FinishReason, Timing, TokenLogprob, Usage
from llmops_jupyter.records.grounding import Grounding, Hit
from llmops_jupyter.records.messages import Message
from llmops_jupyter.records.resources import Resources
from llmops_jupyter.records.verdicts import Verdict, summary

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Completion:
    """What a model answered. `str(completion)` is the text.

    `cost` is in US dollars, None if it is not known, as for models on this machine. `tool_calls` say of each
    call of a function its step, name, arguments, result, whether there was an error, and seconds; `messages`
    are those that the run added to the conversation, where it had tools. `hits` are the passages it was given,
    in the order of their numbers, and `grounding` says how far they support it, where documents were asked.
    `verdicts` are those of the guard policy that the run was under. `resources` say what it took of this machine,
    None where that is not known.
    """

    text: str
    reasoning: str = ""
    parsed: Any = None
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    finish_reason: FinishReason = "stop"
    hits: tuple[Hit, ...] = ()
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    trace_id: str = ""
    prompt_version: str = ""
    model: str = ""
    notes: tuple[str, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    cost: float | None = None
    messages: tuple[Message, ...] = ()
    grounding: Grounding | None = None
    resources: Resources | None = None

    def guarded(self) -> str:
        """What the guard policy decided, on one line; '' without one."""
        return summary(self.verdicts)

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
                "guard": done.guarded(),
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
