"""What came of trying variants of a prompt: rounds of single answers, and answers to the rows of a sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.prompts import candidates
from llmops_jupyter.prompts.candidates import Candidate
from llmops_jupyter.records import Completion, Table

if TYPE_CHECKING:
    from llmops_jupyter.prompts.stopping import Stop

Status = Literal["waiting", "running", "done", "stopped", "failed"]
OVER = ("done", "stopped", "failed")
UNEXPECTED = "That failed: {}. If it fails again in a cell, %trace last shows more."


@dataclass
class Trial:
    """One candidate's answer, or what there is of it. `ref` is the version that it is, '' if it is none."""

    candidate: Candidate
    ref: str = ""
    status: Status = "waiting"
    completion: Completion | None = None
    error: str = ""
    trace_id: str = ""

    @property
    def text(self) -> str:
        """The answer as far as it has come."""
        return "" if self.completion is None else self.completion.text

    def end(self, error: BaseException | None) -> None:
        """Note how it has ended."""
        if error is None:
            self.status = "done"
        elif isinstance(error, KeyboardInterrupt):
            self.status = "stopped"
        else:
            self.status, self.error = "failed", said(error)


@dataclass
class Round:
    """Candidates that were tried together, with the same variables; `began` is in seconds since 1970."""

    number: int
    trials: Sequence[Trial]
    values: Mapping[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.time)

    @property
    def over(self) -> bool:
        """Whether nothing of it runs any more."""
        return all(trial.status in OVER for trial in self.trials)

    def trial(self, key: str) -> Trial | None:
        """The trial of the candidate with this letter."""
        return next((t for t in self.trials if t.candidate.key == key), None)

    def verdict(self) -> str:
        """How the finished answers differ, in words; '' while there are no two of them."""
        finished = [
            (t.candidate, t.completion)
            for t in self.trials
            if t.status == "done" and t.completion is not None
        ]
        return candidates.verdict(finished)


@dataclass
class Sample:
    """Candidates on the first rows of a data set, one after the other."""

    data: str
    rows: Sequence[tuple[str, Mapping[str, Any]]]
    candidates: Sequence[Candidate]
    tables: dict[str, Table] = field(default_factory=dict)
    status: Status = "waiting"
    progress: str = ""
    error: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.status in OVER

    def answers(self, key: str) -> dict[str, str]:
        """What a candidate has answered so far, or why not, by the ids of rows."""
        table = self.tables.get(key)
        if table is None:
            return {}
        failed = {failure.row_id: f"failed: {failure.error}" for failure in table.failures}
        texts = {row_id: done.text for row_id, done in zip(table.row_ids, table, strict=True)}
        return {**texts, **failed}

    def run(
        self, answer: Callable[[Candidate, Sample], None], stop: Stop, changed: Callable[[], None]
    ) -> None:
        """Have all candidates answer, until one fails or it is stopped."""
        self.status = "running"
        try:
            for candidate in self.candidates:
                stop.check()
                answer(candidate, self)
                changed()
        except KeyboardInterrupt:
            self.status = "stopped"
        except Exception as e:  # noqa: BLE001 - it is told, and the thread goes on
            self.status, self.error = "failed", said(e)
        else:
            self.status = "done"
        changed()


def said(error: BaseException) -> str:
    """An error as a sentence."""
    if isinstance(error, LLMOpsError):
        return " ".join(str(error).split())
    return UNEXPECTED.format(f"{type(error).__name__}: {error}")
