"""Metrics of how near an answer is to the expected one, from 0 to 1."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from llmops_jupyter.errors import DataError, missing_dependency
from llmops_jupyter.evaluation.metrics.arguments import as_texts
from llmops_jupyter.evaluation.metrics.metric import Case, Engines, Metric, Scored

# Chinese and Japanese are written without spaces: each character counts as a word.
_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SINGLE}]|[^\W{_SINGLE}]+")
_ARTICLES = {"a", "an", "the"}
_PUNCTUATION = str.maketrans("", "", string.punctuation)
UNIT = (0.0, 1.0)


def rouge_l() -> Metric:
    """F1 of the longest common subsequence of words (ROUGE-L; Lin 2004, with equal weights).

    Words are runs of letters, digits and underscores in lower case, and single characters of Chinese and
    Japanese; nothing is stemmed.
    """

    def compare(output: str, wanted: str) -> float:
        from rapidfuzz.distance import LCSseq

        ours, theirs = words(output), words(wanted)
        if not ours or not theirs:
            return float(ours == theirs)
        common = LCSseq.similarity(ours, theirs)
        return 2 * common / (len(ours) + len(theirs))

    return _best("rouge-l", compare)


def bleu() -> Metric:
    """BLEU of one sentence with exponential smoothing, as sacrebleu computes it, from 0 to 1."""
    return _by_sacrebleu("bleu", lambda s, o, w: s.sentence_bleu(o, w).score / 100)


def chrf() -> Metric:
    """chrF, the F-score of character n-grams (Popović 2015), as sacrebleu computes it, from 0 to 1."""
    return _by_sacrebleu("chrf", lambda s, o, w: s.sentence_chrf(o, w).score / 100)


def edit() -> Metric:
    """1 less Levenshtein's distance as a share of the longer text."""

    def compare(output: str, wanted: str) -> float:
        from rapidfuzz.distance import Levenshtein

        return float(Levenshtein.normalized_similarity(output.strip(), wanted.strip()))

    return _best("edit", compare)


def f1() -> Metric:
    """F1 of the words that both have, as often as both have them.

    In lower case, without ASCII punctuation and without a, an and the (Rajpurkar et al. 2016).
    """

    def compare(output: str, wanted: str) -> float:
        ours, theirs = _bag(output), _bag(wanted)
        if not ours or not theirs:
            return float(ours == theirs)
        common = sum((ours & theirs).values())
        return 2 * common / (sum(ours.values()) + sum(theirs.values()))

    return _best("f1", compare)


def embedding(model: str | None = None) -> Metric:
    """The cosine of the vectors of answer and expected answer, by an embedding model."""

    def batch(cases: Sequence[Case], engines: Engines) -> list[Any]:
        wanted = [as_texts(c.expected) if c.expected is not None else [] for c in cases]
        texts = [
            text or " " for c, ws in zip(cases, wanted, strict=True) for text in (c.output, *ws)
        ]
        if not texts:
            return []
        vectors = engines.engine(model).embed(texts)
        found: list[Any] = []
        place = 0
        for ws in wanted:
            own, others = vectors[place], vectors[place + 1 : place + 1 + len(ws)]
            found.append(max((float(own @ other) for other in others), default=None))
            place += 1 + len(ws)
        return found

    return Metric(
        "embedding" if model is None else f"embedding={model}",
        batch=batch,
        digest="embedding",
        bounds=(-1.0, 1.0),
        yes_no=False,
        needs_expected=True,
        facts={"model": model},
    )


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores in lower case; single characters of Chinese and Japanese."""
    return _WORD.findall(text.lower())


def _bag(text: str) -> Counter[str]:
    plain = text.lower().translate(_PUNCTUATION).split()
    return Counter(word for word in plain if word not in _ARTICLES)


def _best(name: str, compare: Callable[[str, str], float]) -> Metric:
    """A metric that takes the nearest of several expected answers."""
    return Metric(
        name,
        each=lambda case: max(compare(case.output, one) for one in as_texts(case.expected)),
        digest=name,
        bounds=UNIT,
        yes_no=False,
        needs_expected=True,
    )


def _by_sacrebleu(name: str, compare: Callable[[Any, str, list[str]], float]) -> Metric:
    def batch(cases: Sequence[Case], _: Engines) -> list[Any]:
        try:
            import sacrebleu
        except ImportError as e:
            raise missing_dependency("sacrebleu", name.upper(), "evaluation") from e
        return [_score_one(sacrebleu, case) for case in cases]

    def _score_one(sacrebleu: Any, case: Case) -> Any:
        try:
            return min(1.0, compare(sacrebleu, case.output, as_texts(case.expected)))
        except DataError as e:
            return Scored(None, error=str(e))

    return Metric(name, batch=batch, digest=name, bounds=UNIT, needs_expected=True, yes_no=False)
