"""All metrics by name, and from a text such as ``not-contains=sorry`` or ``rouge-l>=0.5`` to one of them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.evaluation.metrics import (
    attacks,
    figures,
    refusals,
    similarity,
    structure,
    texts,
)
from llmops_jupyter.evaluation.metrics.functions import function
from llmops_jupyter.evaluation.metrics.metric import (
    NEGATED,
    Case,
    Engines,
    Metric,
    Scored,
    as_scored,
)

NONE, MAY, MUST = "", "may", "must"
OURS = "llmops_jupyter.evaluation.metrics."
_COMPARED = re.compile(r"([a-z][a-z0-9-]*)(?:=(.*?))?\s*(>=|<=|>|<)\s*(\S+)", re.DOTALL)
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Entry:
    """A metric of the catalogue.

    Args:
        name: as it is written.
        make: makes it, from the argument if there is one.
        argument: 'must', 'may' or '' (it takes none).
        stands_for: what the argument is.
        yes_no: whether it says yes or no; else it is a number.
    """

    name: str
    make: Callable[..., Metric]
    argument: str = NONE
    stands_for: str = ""
    yes_no: bool = True

    @property
    def summary(self) -> str:
        """What it says, in one line."""
        return (self.make.__doc__ or "").strip().split("\n")[0]

    def as_dict(self) -> dict[str, str]:
        """The entry as a row of a table."""
        written = self.name
        if self.argument == MUST:
            written += f"={self.stands_for}"
        elif self.argument == MAY:
            written += f"[={self.stands_for}]"
        return {
            "metric": written,
            "is": "yes or no" if self.yes_no else "a number",
            "what it says": self.summary,
        }


ENTRIES: tuple[Entry, ...] = (
    Entry("exact", texts.exact, MAY, "TEXT"),
    Entry("iexact", texts.iexact, MAY, "TEXT"),
    Entry("contains", texts.contains, MAY, "TEXT"),
    Entry("icontains", texts.icontains, MAY, "TEXT"),
    Entry("contains-any", texts.contains_any, MAY, "A,B"),
    Entry("contains-all", texts.contains_all, MAY, "A,B"),
    Entry("starts-with", texts.starts_with, MAY, "TEXT"),
    Entry("ends-with", texts.ends_with, MAY, "TEXT"),
    Entry("one-of", texts.one_of, MUST, "A,B"),
    Entry("regex", texts.regex, MUST, "PATTERN"),
    Entry("json", structure.json_valid),
    Entry("schema", structure.schema, MUST, "FILE"),
    Entry("json-equal", structure.json_equal),
    Entry("field", structure.field, MUST, "PATH"),
    Entry("numeric", structure.numeric, MAY, "TOLERANCE"),
    Entry("python", structure.python),
    Entry("rouge-l", similarity.rouge_l, yes_no=False),
    Entry("bleu", similarity.bleu, yes_no=False),
    Entry("chrf", similarity.chrf, yes_no=False),
    Entry("f1", similarity.f1, yes_no=False),
    Entry("edit", similarity.edit, yes_no=False),
    Entry("embedding", similarity.embedding, MAY, "MODEL", yes_no=False),
    Entry("refusal", refusals.refusal),
    Entry("attacked", attacks.attacked),
    Entry("useful", attacks.useful),
    Entry("pii", figures.pii, MAY, "KINDS"),
    Entry("finished", figures.finished),
    Entry("tool-called", figures.tool_called, MUST, "NAME"),
    Entry("length", figures.length, yes_no=False),
    Entry("words", figures.words, yes_no=False),
    Entry("sentences", figures.sentences, yes_no=False),
    Entry("repetition", figures.repetition, yes_no=False),
    Entry("tokens", figures.tokens, yes_no=False),
    Entry("latency", figures.latency, yes_no=False),
    Entry("first-token", figures.first_token, yes_no=False),
    Entry("speed", figures.speed, yes_no=False),
    Entry("cost", figures.cost, yes_no=False),
    Entry("logprob", figures.logprob, yes_no=False),
)
# Their arguments are no templates.
UNFILLED = ("regex", "field", "schema", "tool-called", "numeric", "embedding", "pii")
_PLACE = re.compile(r"\{\{\s*\w+\s*\}\}")
BY_NAME = {entry.name: entry for entry in ENTRIES}


def catalogue() -> tuple[Entry, ...]:
    """All metrics that have a name."""
    return ENTRIES


def parse(spec: str) -> Metric:
    """A metric from its text.

    ``name``, ``name=argument``, ``not-name``, ``not-name=argument``; a number with a bound is a metric that
    says yes or no: ``latency<2``. In arguments ``{{ column }}`` is filled from each row.

    Raises:
        OptionError: there is no such metric, or its argument cannot be used.
    """
    text = spec.strip()
    bare = text.removeprefix(NEGATED)
    negated = bare != text and text.partition("=")[0] not in BY_NAME
    compared = _COMPARED.fullmatch(bare if negated else text)
    if compared and compared[1] in BY_NAME and not BY_NAME[compared[1]].yes_no:
        made = bounded(_made(compared[1], compared[2]), compared[3], compared[4])
        return ~made if negated else made
    if compared and compared[1] in BY_NAME and compared[2] is None:
        raise OptionError(
            f"{compared[1]} says yes or no and takes no bound. Write {compared[1]} alone."
        )
    name, equals, argument = (bare if negated else text).partition("=")
    metric = _made(name, argument if equals else None)
    if negated and not BY_NAME[name].yes_no:
        raise OptionError(
            f"{name} is a number, which has no opposite. Give it a bound, for instance {name}<0.5"
        )
    return ~metric if negated else metric


def as_metric(value: Any) -> Metric:
    """A metric from a `Metric`, its text, or a function.

    Raises:
        OptionError: it is none of these.
    """
    if isinstance(value, Metric):
        return value
    if isinstance(value, str):
        return parse(value)
    if callable(value) and str(getattr(value, "__module__", "")).startswith(OURS):
        name = getattr(value, "__name__", "metric")
        raise OptionError(
            f"{name} makes a metric: write {name}(), or the text {name.replace('_', '-')!r}."
        )
    if callable(value):
        return function(value)
    raise OptionError(
        f"A metric is a name such as 'exact', a Metric or a function, not {type(value).__name__}."
    )


def bounded(metric: Metric, sign: str, limit: float | str) -> Metric:
    """Whether a number keeps to a bound; `sign` is one of >=, >, <= and <.

    Raises:
        OptionError: the limit is no number, or there is no such sign.
    """
    if sign not in _OPERATORS:
        raise OptionError(f"{sign!r} is no comparison. Use one of {', '.join(_OPERATORS)}.")
    try:
        wanted = float(limit)
    except (TypeError, ValueError):
        raise OptionError(f"{metric.name}{sign}{limit}: the bound is a number.") from None
    if not math.isfinite(wanted):
        raise OptionError(f"{metric.name}{sign}{limit}: the bound is a finite number.")
    if metric.bounds is not None and not metric.bounds[0] <= wanted <= metric.bounds[1]:
        low, high = metric.bounds
        raise OptionError(
            f"{metric.name} lies between {low:g} and {high:g}; a bound of {wanted:g} says nothing."
        )
    holds = _OPERATORS[sign]

    def decide(value: Any) -> Scored:
        found = as_scored(value)
        if found.value is None:
            return found
        kept = holds(found.value, wanted)
        return Scored(float(kept), str(kept).lower(), f"{found.value:g}")

    name = f"{metric.name}{sign}{wanted:.15g}"
    changed = replace(
        metric,
        name=name,
        digest=f"{sign}{wanted!r}\n{metric.digest}",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        yes_no=True,
        unit="",
    )
    batch, each = metric.batch, metric.each
    if batch is not None:

        def many(cases: Sequence[Case], engines: Engines) -> list[Scored]:
            return [decide(value) for value in batch(cases, engines)]

        return replace(changed, batch=many)
    assert each is not None
    return replace(changed, each=lambda case: decide(each(case)))


def _made(name: str, argument: str | None) -> Metric:
    entry = BY_NAME.get(name)
    if entry is None:
        raise OptionError(
            f"There is no metric {name!r}.{did_you_mean(name, BY_NAME)} %evaluate metrics lists them; a "
            "function of yours is a metric too."
        )
    if argument is None:
        if entry.argument == MUST:
            raise OptionError(f"{name} needs an argument: {name}={entry.stands_for}")
        return entry.make()
    if entry.argument == NONE:
        raise OptionError(f"{name} takes no argument; it was given {argument!r:.60}.")
    if name in UNFILLED and _PLACE.search(argument):
        raise OptionError(
            f"{name} is not filled from the rows' columns, as {argument!r:.60} wants it. Use contains, one-of or "
            "another metric of text, or a function that takes the column."
        )
    return entry.make(argument)
