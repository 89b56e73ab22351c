"""How likely labels are, as far as the likeliest first tokens of an answer tell.

An endpoint returns log-probabilities of the 20 likeliest tokens at most, and not how a label is cut into
tokens. So a label has the probability of the returned tokens that it begins with and no other label does.
That orders labels whose first tokens differ as their whole would in nearly all cases, but the values are
those of the first token, not of the whole label.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_jupyter.errors import NoProbabilitiesError, OptionError
from llmops_jupyter.records import TokenLogprob

Top = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Scores:
    """`values` of the labels in their order; `bounds` counts those that are upper bounds."""

    values: list[float]
    bounds: int


def shared_beginning(labels: Sequence[str]) -> str:
    """The words that all labels begin with, with the space after them; '' if there are none."""
    if len(labels) < 2:
        return ""
    alike = itertools.takewhile(
        lambda letters: len(set(letters)) == 1,
        zip(*(label.strip() for label in labels), strict=False),
    )
    common = "".join(letters[0] for letters in alike)
    return common[: common.rfind(" ") + 1]


def check(labels: Sequence[str]) -> None:
    """Refuse labels that cannot be told apart.

    Raises:
        OptionError: there are none, or one is empty or there twice.
    """
    bare = [label.strip() for label in labels]
    if not bare or not all(bare) or len(set(bare)) != len(bare):
        raise OptionError(
            "Labels are texts that are not empty and differ in more than white space. Correct them."
        )


def first_token(logprobs: Sequence[TokenLogprob]) -> Top:
    """The likeliest first tokens, among them the one that was written.

    Raises:
        NoProbabilitiesError: the endpoint returned none.
    """
    if not logprobs or not logprobs[0].top:
        raise NoProbabilitiesError(
            "Scoring needs the log-probabilities of the likeliest tokens, which this endpoint does not "
            "return. Use an endpoint that does (llama_cpp.server: --logits_all True), or a model on this "
            "machine."
        )
    first = logprobs[0]
    known = dict(first.top)
    known.setdefault(first.token, first.logprob)
    return tuple(known.items())


def score(labels: Sequence[str], top: Top) -> Scores:
    """The labels' scores by the likeliest first tokens; what is not among them has the least of these.

    Raises:
        NoProbabilitiesError: the likeliest token that labels begin with begins several of them.
    """
    bare = [label.strip() for label in labels]
    own: list[list[float]] = [[] for _ in bare]
    shared: dict[int, float] = {}
    ambiguous, ambiguous_owners = -math.inf, []
    for token, logprob in top:
        text = token.strip()
        owners = [i for i, label in enumerate(bare) if text and label.startswith(text)]
        if len(owners) == 1:
            own[owners[0]].append(logprob)
            continue
        for i in owners:
            shared[i] = max(shared.get(i, -math.inf), logprob)
        if owners and logprob > ambiguous:
            ambiguous, ambiguous_owners = logprob, owners
    best = max((max(values) for values in own if values), default=-math.inf)
    if ambiguous > best:
        names = " and ".join(repr(labels[i]) for i in ambiguous_owners[:2])
        raise NoProbabilitiesError(
            f"The labels {names} begin with the same token, and this endpoint tells the likelihood of the "
            "first token alone. Use labels that begin differently, such as A and B, or a model on this machine."
        )
    floor = min((logprob for _, logprob in top), default=-math.inf)
    values = [
        _sum(found) if found else max(floor, shared.get(i, -math.inf))
        for i, found in enumerate(own)
    ]
    return Scores(values, sum(not found for found in own))


def _sum(logprobs: Sequence[float]) -> float:
    """The logarithm of the sum of probabilities."""
    most = max(logprobs)
    if math.isinf(most):
        return most
    return min(0.0, most + math.log(sum(math.exp(x - most) for x in logprobs)))
