"""What a metric compares with: a text, texts, a template over the row's columns, or the expected answer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.data.values import canonical
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.metrics.metric import Case, Metric
from llmops_jupyter.prompts.template import Part, check_template, fill_part, variables_of


@dataclass(frozen=True)
class Given:
    """The argument of a metric; None means the expected answer."""

    argument: str | tuple[str, ...] | None

    def texts(self, case: Case) -> list[str]:
        """The texts that an answer is compared with; any of them will do."""
        if isinstance(self.argument, tuple):
            return [_filled(one, case) for one in self.argument]
        if self.argument is not None:
            return [_filled(self.argument, case)]
        return as_texts(case.expected)

    def several(self, case: Case) -> list[str]:
        """The same where one text stands for several, divided by commas."""
        if isinstance(self.argument, tuple):
            return [_filled(one, case) for one in self.argument]
        if self.argument is not None:
            return [
                part.strip() for part in _filled(self.argument, case).split(",") if part.strip()
            ]
        return as_texts(case.expected)

    def metric(self, name: str, each: Callable[[Case], Any], **more: Any) -> Metric:
        """A metric that says yes or no by comparing with this."""
        shown = self.argument if isinstance(self.argument, str) else ",".join(self.argument or ())
        return Metric(
            name if self.argument is None else f"{name}={shown}",
            each=each,
            digest=f"{name}\n{json.dumps(self.argument)}",
            needs_expected=self.argument is None,
            **{"bounds": (0.0, 1.0), "yes_no": True, **more},
        )


def given(name: str, argument: Any, *, required: bool = False) -> Given:
    """A metric's argument, checked.

    Raises:
        OptionError: it is neither a text nor a list of texts, or it is needed and not there.
        TemplateError: a template in it cannot be parsed.
    """
    if argument is None:
        if required:
            raise OptionError(f"The metric {name} needs an argument: {name}=TEXT.")
        return Given(None)
    if isinstance(argument, str):
        if not argument:
            raise OptionError(
                f"The argument of {name} is empty. Write {name}=TEXT, or {name} alone."
            )
        if "{{" in argument:
            check_template(argument)
        if not argument.replace(",", "").strip():
            raise OptionError(f"The argument of {name} has nothing but commas. Write {name}=A,B")
        return Given(argument)
    if isinstance(argument, Sequence) and argument and all(isinstance(a, str) for a in argument):
        return Given(tuple(argument))
    raise OptionError(f"The argument of {name} is a text or a list of texts, not {argument!r:.80}.")


def context_of(case: Case) -> str:
    """What an answer is to rest on: passages that were retrieved, else the row's column 'context'; ''."""
    hits = case.completion.hits if case.completion is not None else ()
    value = case.row.get("context")
    if hits or value is None:
        return "\n\n".join(hit.text for hit in hits)
    values = value if isinstance(value, list | tuple) else [value]
    return "\n\n".join(map(as_text, values))


def as_texts(value: Any) -> list[str]:
    """The expected answers as texts: of a list each one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise DataError("the row has no expected answer")
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise DataError("the row has no expected answer: its list is empty")
    return [text for one in values for text in _forms(one)]


def _forms(value: Any) -> list[str]:
    """An expected answer as text; a whole number that became a float is also the whole number."""
    if isinstance(value, float) and value.is_integer():
        return [str(int(value)), as_text(value)]
    return [as_text(value)]


def as_text(value: Any) -> str:
    """An expected answer as a text: numbers and the like as JSON writes them."""
    return value if isinstance(value, str) else canonical({"": value})[4:-1]


def number_of(name: str, text: Any, what: str, *, least: float = 0.0) -> float:
    """An argument that is a number.

    Raises:
        OptionError: it is none, or under the least.
    """
    try:
        found = float(text)
    except (TypeError, ValueError):
        raise OptionError(
            f"{name}={text!r}: {what} is a number. Write for instance {name}=0.01"
        ) from None
    if not least <= found < float("inf"):
        raise OptionError(f"{name}={text!r}: {what} is a number from {least:g}.")
    return found


def _filled(text: str, case: Case) -> str:
    if "{{" not in text:
        return text
    missing = [n for n in variables_of(text) if n in case.row and case.row[n] is None]
    if missing:
        raise DataError(f"the row has no value of {missing[0]!r}")
    return fill_part(Part("user", text, 1), case.row).content
