"""Rubrics: what a judge is asked, which answers it may give, and examples with the right answer to check it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DataError, OptionError, did_you_mean
from llmops_jupyter.evaluation.metrics.metric import Case

FOLDER = Path(__file__).parent / "rubrics"
PARTS = ("context", "input", "expected", "output")
PAIRWISE = "pairwise"
# Examples of a check set from which its agreement means something.
LEAST = 10


@dataclass(frozen=True)
class CheckItem:
    """An example with the label that is right."""

    label: str
    output: str
    input: str = ""
    context: str = ""
    expected: str = ""

    def case(self) -> Case:
        """The example as a case."""
        return Case("", {"context": self.context}, self.output, self.expected, None, self.input)


@dataclass(frozen=True)
class Rubric:
    """What a judge is asked of an answer.

    Args:
        name: for people and records.
        question: what is to be decided.
        labels: the answers it may give, with their values.
        needs: parts of a case that it must see: 'input', 'output', 'context' (a column of the row) and
            'expected'.
        higher_is_better: of the values.
        check: examples by which a model is checked before it may judge.
    """

    name: str
    question: str
    labels: tuple[tuple[str, float], ...] = (("yes", 1.0), ("no", 0.0))
    needs: tuple[str, ...] = ("input", "output")
    higher_is_better: bool = True
    check: tuple[CheckItem, ...] = ()

    def __post_init__(self) -> None:
        names = [label for label, _ in self.labels]
        if len(names) < 2 or len(set(names)) != len(names) or not all(n.strip() for n in names):
            raise OptionError(f"The rubric {self.name!r} needs two or more different labels.")
        if not all(math.isfinite(value) for _, value in self.labels):
            raise OptionError(f"A label of the rubric {self.name!r} has a value that is no number.")
        if not self.needs:
            raise OptionError(
                f"The rubric {self.name!r} needs something to judge: needs=('output',)."
            )
        unknown = [n for n in self.needs if n not in PARTS]
        if unknown:
            raise OptionError(
                f"The rubric {self.name!r} needs {unknown[0]!r}, which no case has. Parts: {', '.join(PARTS)}."
            )
        wrong = [i.label for i in self.check if i.label not in names]
        if wrong:
            raise OptionError(
                f"An example of the rubric {self.name!r} has the label {wrong[0]!r}; labels are "
                f"{', '.join(names)}."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The labels without their values."""
        return tuple(label for label, _ in self.labels)

    @property
    def is_yes_no(self) -> bool:
        return len(self.labels) == 2 and {v for _, v in self.labels} == {0.0, 1.0}

    @property
    def bounds(self) -> tuple[float, float]:
        values = [value for _, value in self.labels]
        return min(values), max(values)

    @property
    def digest(self) -> str:
        """The hash of all that decides a verdict, the examples included."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """The rubric as JSON values."""
        return {
            "name": self.name,
            "question": self.question,
            "labels": [{"label": label, "value": value} for label, value in self.labels],
            "needs": list(self.needs),
            "higher_is_better": self.higher_is_better,
            "check": [{k: v for k, v in vars(item).items() if v} for item in self.check],
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Rubric:
        """The rubric that `as_dict` gave.

        Raises:
            DataError: something is missing or of another kind.
        """
        higher = value.get("higher_is_better", True) if isinstance(value, Mapping) else True
        if not isinstance(higher, bool):
            raise DataError(f"higher_is_better of a rubric is true or false, not {higher!r}.")
        try:
            return cls(
                name=str(value["name"]),
                question=str(value["question"]),
                labels=tuple((str(one["label"]), float(one["value"])) for one in value["labels"]),
                needs=tuple(map(str, value.get("needs", ("input", "output")))),
                higher_is_better=higher,
                check=tuple(CheckItem(**item) for item in value.get("check", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            if isinstance(e, OptionError):
                raise
            raise DataError(
                f"This is no rubric ({e!r}). It needs name, question and labels, each with label and value."
            ) from e


def rubric(name: str) -> Rubric:
    """One of our rubrics by its name, or one of yours by the path of its JSON file.

    Raises:
        OptionError: there is none.
        DataError: the file is no rubric.
    """
    if name.endswith(".json"):
        path = Path(name).expanduser()
        try:
            return Rubric.from_dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as e:
            if isinstance(e, DataError | OptionError):
                raise
            raise OptionError(f"The rubric {name!r} cannot be read: {e}.") from e
    if name not in rubrics():
        raise OptionError(
            f"There is no rubric {name!r}.{did_you_mean(name, rubrics())} There are "
            f"{', '.join(rubrics())}, and files of yours: judge:PATH.json"
        )
    return _own(name)


def rubrics() -> tuple[str, ...]:
    """The names of our rubrics."""
    return tuple(sorted(p.stem for p in FOLDER.glob("*.json") if p.stem != PAIRWISE))


@lru_cache
def _own(name: str) -> Rubric:
    return Rubric.from_dict(json.loads((FOLDER / f"{name}.json").read_text("utf-8")))
