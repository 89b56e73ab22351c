"""Metrics of an answer's words: equal to, containing, beginning with, matching."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.metrics.arguments import Given, given
from llmops_jupyter.evaluation.metrics.metric import Case, Metric

# What surrounds an answer without being a part of it; a sign or a point before a digit is a part.
MARKS = ".,;:!?\"'()[]{}`*_“”„‘’‚«»…–—¿¡- "
_SIGNED = re.compile(r"[-+.](?=[.\d])")


def exact(text: str | None = None) -> Metric:
    """The answer is the expected one, white space around it aside. Of several expected ones any will do."""
    return _compared("exact", text, lambda output, wanted: output.strip() == wanted.strip())


def iexact(text: str | None = None) -> Metric:
    """As `exact`, but case, punctuation around the answer and runs of white space make no difference."""
    return _compared("iexact", text, _alike)


def contains(text: str | None = None) -> Metric:
    """The answer contains the text, else the expected answer."""
    return _compared("contains", text, lambda output, wanted: _some(wanted) in output)


def icontains(text: str | None = None) -> Metric:
    """As `contains`, whatever the case."""
    return _compared(
        "icontains", text, lambda output, wanted: _some(wanted).casefold() in output.casefold()
    )


def starts_with(text: str | None = None) -> Metric:
    """The answer begins with the text, white space before it aside."""
    return _compared(
        "starts-with",
        text,
        lambda output, wanted: output.lstrip().startswith(_some(wanted.strip())),
    )


def ends_with(text: str | None = None) -> Metric:
    """The answer ends with the text, white space after it aside."""
    return _compared(
        "ends-with", text, lambda output, wanted: output.rstrip().endswith(_some(wanted.strip()))
    )


def contains_any(texts: str | Sequence[str] | None = None) -> Metric:
    """The answer contains at least one of the texts, whatever the case."""
    return _listed("contains-any", texts, any)


def contains_all(texts: str | Sequence[str] | None = None) -> Metric:
    """The answer contains each of the texts, whatever the case."""
    return _listed("contains-all", texts, all)


def one_of(labels: str | Sequence[str]) -> Metric:
    """The answer is one of the labels, as `iexact` compares."""
    wanted = given("one-of", labels, required=True)

    def each(case: Case) -> bool:
        return any(_alike(case.output, one) for one in wanted.several(case))

    return wanted.metric("one-of", each)


def regex(pattern: str) -> Metric:
    """A part of the answer matches the regular expression (Python's `re`, `.` without line ends).

    Raises:
        OptionError: it cannot be compiled.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as e:
        raise OptionError(f"regex={pattern!r} is no regular expression: {e}.") from e
    return Metric(
        f"regex={pattern}",
        each=lambda case: compiled.search(case.output) is not None,
        digest=f"regex\n{pattern}",
        bounds=(0.0, 1.0),
        yes_no=True,
    )


def folded(text: str) -> str:
    """A text without differences of case, form and white space, and without marks around it."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(MARKS)
    while plain and plain[0] in MARKS and not _SIGNED.match(plain):
        plain = plain[1:]
    return plain


def _alike(output: str, wanted: str) -> bool:
    """Whether they are the same when folded; as they are, where nothing but marks is left of one."""
    one, other = folded(output), folded(wanted)
    return one == other if one and other else output.strip() == wanted.strip()


def _some(text: str) -> str:
    """A text that is looked for; every answer contains the empty one.

    Raises:
        DataError: it is empty.
    """
    if not text:
        raise DataError("the text to look for is empty")
    return text


def _compared(name: str, text: str | None, compare: Callable[[str, str], bool]) -> Metric:
    wanted = given(name, text)

    def each(case: Case) -> bool:
        return any(compare(case.output, one) for one in wanted.texts(case))

    return wanted.metric(name, each)


def _listed(name: str, texts: Any, decide: Callable[[list[bool]], bool]) -> Metric:
    wanted: Given = given(name, texts)

    def each(case: Case) -> bool:
        output = case.output.casefold()
        texts = wanted.several(case)
        if not texts:
            raise DataError("there is nothing to look for: the list is empty")
        return decide([_some(one).casefold() in output for one in texts])

    return wanted.metric(name, each)
