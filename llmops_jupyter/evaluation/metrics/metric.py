"""What a metric is: something that scores answers, alone or many at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.errors import LLMOpsError, OptionError
from llmops_jupyter.records import Completion

Source = Literal["code", "judge", "human"]
NEGATED = "not-"


@dataclass(frozen=True)
class Case:
    """An answer to score, with the row that it answers.

    Args:
        row_id: of the row.
        row: its columns.
        output: the answer.
        expected: what the answer should be, from the column of expected answers; None without one.
        completion: the whole completion, where a prompt was run.
        input: what was asked: the last message of the user, where a prompt was run.
    """

    row_id: str
    row: Mapping[str, Any]
    output: str
    expected: Any = None
    completion: Completion | None = None
    input: str = ""


@dataclass(frozen=True)
class Scored:
    """What a metric says of a case.

    `value` is None where it does not say: a judge abstains, or `error` tells what went wrong.
    """

    value: float | None
    label: str | None = None
    explanation: str = ""
    error: str = ""


class Engines(Protocol):
    """Where engines of judges and embedders come from."""

    def engine(self, model: str | None = None) -> Engine:
        """The loaded engine of a model reference; None means the default model."""
        ...


Each = Callable[[Case], Any]
Batch = Callable[[Sequence[Case], Engines], Sequence[Any]]


@dataclass(frozen=True)
class Metric:
    """Something that scores answers. ``~metric`` is the opposite of one that says yes or no.

    Args:
        name: as it is written on a command line, for instance ``contains=Paris``.
        each: scores one case: a bool, a number, a `Scored`, a label, or None for "does not say".
        batch: scores many at once; give this or `each`.
        digest: of all that decides the score of a case: equal digests score equal cases alike.
        bounds: least and greatest possible score, where there are some.
        higher_is_better: False for costs and times.
        source: 'code', 'judge' or 'human'.
        needs_expected: it cannot be used without a column of expected answers.
        unit: of the score, for people: '', 's', '$', 'characters' …
        yes_no: whether it says yes or no, or a number; None if only its scores tell.
    """

    name: str
    each: Each | None = None
    batch: Batch | None = None
    digest: str = ""
    bounds: tuple[float, float] | None = None
    higher_is_better: bool = True
    source: Source = "code"
    needs_expected: bool = False
    unit: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    yes_no: bool | None = None

    def __post_init__(self) -> None:
        if (self.each is None) == (self.batch is None):
            raise OptionError(f"The metric {self.name!r} needs one of `each` and `batch`.")
        if not self.digest:
            from llmops_jupyter.evaluation.metrics.functions import source_digest

            decides: Callable[..., Any] = self.each or self.batch  # type: ignore[assignment]
            object.__setattr__(self, "digest", source_digest(decides))

    def __repr__(self) -> str:
        return f"Metric({self.name!r})"

    def score(self, cases: Sequence[Case], engines: Engines) -> list[Scored]:
        """A score for each case, in their order. What fails on one case is told there; others go on.

        Raises:
            LLMOpsError: nothing can be scored, for instance because a judge's model is not there.
        """
        if self.batch is not None:
            try:
                found = list(self.batch(cases, engines))
            except LLMOpsError:
                raise
            except Exception as e:
                raise OptionError(
                    f"The metric {self.name!r} failed on {len(cases)} answers: {type(e).__name__}: {e}"
                ) from e
            if len(found) != len(cases):
                raise OptionError(
                    f"The metric {self.name!r} gave {len(found)} scores for {len(cases)} answers; it must "
                    "give one for each."
                )
            return [as_scored(value) for value in found]
        assert self.each is not None
        return [_score(self.each, case) for case in cases]

    def __invert__(self) -> Metric:
        name = (
            self.name.removeprefix(NEGATED)
            if self.name.startswith(NEGATED)
            else f"{NEGATED}{self.name}"
        )
        opposite = replace(
            self,
            name=name,
            digest=f"{NEGATED}{self.digest}",
            higher_is_better=bool(self.facts.get(NEGATED, True)),
            facts={**self.facts, NEGATED: self.higher_is_better},
            yes_no=True,
        )
        batch, each = self.batch, self.each
        if batch is not None:

            def many(cases: Sequence[Case], engines: Engines) -> Sequence[Any]:
                return [_opposite(as_scored(v), self.name) for v in batch(cases, engines)]

            return replace(opposite, batch=many)
        assert each is not None
        return replace(opposite, each=lambda case: _opposite(as_scored(each(case)), self.name))


def as_scored(value: Any) -> Scored:
    """What a metric's function returned, as a score.

    A bool is 0 or 1 with the label true or false, a number itself, a text a label, a mapping has the keys of
    `Scored`; NaN and infinity are no scores.
    """
    if value is None:
        return Scored(None)
    if isinstance(value, Scored):
        return _finite(value)
    if isinstance(value, bool):
        return Scored(float(value), str(value).lower())
    if isinstance(value, str):
        return Scored(None, _text(value))
    if isinstance(value, Mapping):
        made = as_scored(value.get("value", value.get("score")))
        label, explanation = value.get("label"), value.get("explanation")
        return replace(
            made,
            label=made.label if label is None else _text(label),
            explanation="" if explanation is None else _text(explanation),
        )
    item = getattr(value, "item", None)
    if callable(item):  # a number of NumPy
        return as_scored(item())
    try:
        return _finite(Scored(float(value)))
    except (TypeError, ValueError):
        return Scored(
            None, error=f"the metric returned a {type(value).__name__}, not a number, bool or label"
        )


def _text(value: Any) -> str:
    """A text that can be kept: without halves of characters."""
    return str(value).encode(errors="replace").decode()


def _finite(found: Scored) -> Scored:
    if found.value is None or math.isfinite(found.value):
        return found
    return replace(found, value=None, error=found.error or f"the score is {found.value}")


def _score(each: Each, case: Case) -> Scored:
    try:
        return as_scored(each(case))
    except LLMOpsError as e:
        return Scored(None, error=str(e))
    except Exception as e:  # noqa: BLE001 - a user's function may raise anything; the run goes on
        return Scored(None, error=f"{type(e).__name__}: {e}")


def _opposite(found: Scored, name: str) -> Scored:
    if found.value is None:
        return found
    if found.value not in (0.0, 1.0):
        return Scored(
            None, error=f"{name} is not yes or no but {found.value:g}, which has no opposite"
        )
    return replace(found, value=1.0 - found.value, label=str(found.value == 0.0).lower())
