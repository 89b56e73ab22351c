"""Metrics that are figures of an answer: its length, time, cost, and how it came."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.evaluation.metrics.metric import Case, Metric, Scored
from llmops_jupyter.evaluation.metrics.similarity import words as _words
from llmops_jupyter.records import Completion

GRAM = 4
_SENTENCE_END = re.compile(r"[.!?…。！？]+(?:[\"'”’)\]]*)(?=\s|$)")


def length() -> Metric:
    """Characters of the answer."""
    return _of_text("length", len, "characters")


def words() -> Metric:
    """Words of the answer: what white space divides."""
    return _of_text("words", lambda text: len(text.split()), "words")


def sentences() -> Metric:
    """Sentences of the answer: ends of sentences that white space follows, and what comes after the last."""
    return _of_text("sentences", _count_sentences, "sentences")


def tokens() -> Metric:
    """Tokens of the answer, reasoning included."""
    return _of_completion("tokens", lambda done: done.usage.output_tokens, "tokens")


def latency() -> Metric:
    """Seconds from the request to its end. Rows that run together share the machine."""
    return _of_completion("latency", lambda done: done.timing.total_s, "s", better="lower")


def first_token() -> Metric:
    """Seconds to the first token."""
    return _of_completion(
        "first-token", lambda done: done.timing.first_token_s, "s", better="lower"
    )


def speed() -> Metric:
    """Tokens per second after the first one."""
    return _of_completion("speed", lambda done: done.timing.tokens_per_s, "tokens/s")


def cost() -> Metric:
    """US dollars; for models on this machine it is not known."""
    return _of_completion("cost", lambda done: done.cost, "$", better="lower")


def logprob() -> Metric:
    """Mean log-probability of the answer's tokens; run with logprobs=0 or --logprobs 0."""

    def value(done: Completion) -> float | None:
        found = done.logprobs
        return sum(t.logprob for t in found) / len(found) if found else None

    return _of_completion("logprob", value, "", bounds=None)


def finished() -> Metric:
    """The answer came to its own end: it was not cut at max_tokens, a deadline or an interrupt."""
    return _of_completion(
        "finished", lambda done: done.finish_reason == "stop", "", bounds=(0.0, 1.0)
    )


def tool_called(name: str) -> Metric:
    """A tool of that name was called."""
    if not name:
        raise OptionError("tool-called needs the name of a tool: tool-called=weather")

    def value(done: Completion) -> bool:
        return any(call.get("name") == name for call in done.tool_calls)

    return _of_completion(f"tool-called={name}", value, "", bounds=(0.0, 1.0))


def repetition() -> Metric:
    """The share of runs of four words that were there before: near 1 where a model goes round in circles."""

    def share(text: str) -> float:
        found = _words(text)
        grams = Counter(tuple(found[i : i + GRAM]) for i in range(len(found) - GRAM + 1))
        total = sum(grams.values())
        return (total - len(grams)) / total if total else 0.0

    return Metric(
        "repetition",
        each=lambda case: share(case.output),
        digest="repetition",
        bounds=(0.0, 1.0),
        higher_is_better=False,
        yes_no=False,
    )


def pii(kinds: str = "all") -> Metric:
    """The answer has personal data: e-mail addresses, card numbers and the like; see the privacy rules."""
    from llmops_jupyter.privacy import redactor

    rule = redactor("pii" if kinds == "all" else kinds)
    if rule is None:
        raise OptionError("pii needs kinds of personal data: pii, or pii=email,iban")

    def each(case: Case) -> bool:
        return rule(case.output) != case.output

    name = "pii" if kinds == "all" else f"pii={kinds}"
    return Metric(
        name,
        each=each,
        digest=f"pii\n{kinds}",
        bounds=(0.0, 1.0),
        higher_is_better=False,
        yes_no=True,
    )


def _of_text(name: str, count: Callable[[str], int], unit: str) -> Metric:
    return Metric(
        name,
        each=lambda case: float(count(case.output)),
        digest=name,
        higher_is_better=False,
        yes_no=False,
        unit=unit,
    )


def _of_completion(
    name: str,
    value: Callable[[Completion], Any],
    unit: str,
    *,
    better: str = "higher",
    bounds: tuple[float, float] | None = None,
) -> Metric:
    def each(case: Case) -> Any:
        if case.completion is None or not case.completion.model:
            raise DataError(f"{name} is known of answers of a model; this one was given")
        found = value(case.completion)
        return Scored(None, error=f"{name} is not known of this answer") if found is None else found

    return Metric(
        name,
        each=each,
        digest=name,
        bounds=bounds,
        higher_is_better=better == "higher",
        yes_no=bounds is not None,
        unit=unit,
    )


def _count_sentences(text: str) -> int:
    ends = list(_SENTENCE_END.finditer(text))
    rest = text[ends[-1].end() :] if ends else text
    return len(ends) + bool(rest.strip())
