"""Answers that stand in their question, and texts of an evaluation set that stand in the training rows."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from llmops_jupyter.data.examples import Example
from llmops_jupyter.data.preparing.doubles import NEAR, Comparer
from llmops_jupyter.data.preparing.nearness import shared
from llmops_jupyter.data.preparing.words import normal, runs_of, words_of

# An answer of so many words that stands in the question is no chance; shorter ones must be the question, or
# stand behind a word that announces them.
FEWEST_WORDS = 8
# Decontamination by runs of so many words, as datatrove does it by default.
RUN = 12
# A question of so many words is asked twice by chance ("Hi", "Thank you").
FEWEST_OF_QUESTION = 4
# A run that so many rows have, or this share of them, is a frame, and identifies none of them.
FRAME_ROWS, FRAME_SHARE = 5, 0.01
# More rows than this that are near to one may have its frame in common; so many of them are compared.
MOST_NEAR, COMPARED, COPIES_APART = 2, 12, 1.5
FRAME = "frame"

_ANNOUNCED = r"\b(?:label|answer|category|class|target|output|intent|response|solution)\s*(?:is|[:=])\s*[\"'*]*"


def leaked(example: Example) -> str:
    """How the answer stands in its question, as half a sentence; '' if it does not."""
    answer, prompt = normal(example.answer), normal(example.prompt)
    if not answer or not prompt:
        return ""
    if _line(example.answer) == _line(example.prompt):
        return "the answer repeats the question"
    if answer.count(" ") + 1 >= FEWEST_WORDS:
        return "the answer stands in the question" if f" {answer} " in f" {prompt} " else ""
    announced = re.compile(
        _ANNOUNCED + re.escape(example.answer.strip()) + r"[\"'*]*[.]?\s*$",
        re.IGNORECASE | re.MULTILINE,
    )
    return "the question announces its answer" if announced.search(example.prompt) else ""


def _line(text: str) -> str:
    # The underscores of a label stay: `activate_card` does not repeat "Activate card".
    return " ".join(text.casefold().split()).strip(" .!?\"'")


@dataclass(frozen=True)
class Contact:
    """A training row, by its place, that says what a row of the evaluation set says."""

    place: int
    how: str
    other: int
    similarity: float
    detail: str


def contacts(
    training: Sequence[Example],
    evaluation: Sequence[Example],
    *,
    near: float,
) -> list[Contact]:
    """Training rows that the evaluation set has too: exactly, nearly, or in a run of 12 words.

    Those that are near to a row of the evaluation set and to each other, as rows of one template are, come
    with `how` 'frame': each of them says something else.
    """
    found: dict[int, Contact] = {}
    close = list(_near(training, evaluation, near))
    for contact in (
        *_exact(training, evaluation),
        *(c for c in close if c.how != FRAME),
        *_runs(training, evaluation),
        *close,
    ):
        found.setdefault(contact.place, contact)
    return [found[place] for place in sorted(found)]


def asked(example: Example) -> str:
    """What identifies an example: its question, or the text that is learned whole."""
    return example.prompt or example.whole


def _exact(training: Sequence[Example], evaluation: Sequence[Example]) -> Iterator[Contact]:
    questions: dict[str, int] = {}
    wholes: dict[str, int] = {}
    for place, example in enumerate(evaluation):
        questions.setdefault(normal(asked(example)), place)
        wholes.setdefault(normal(example.whole), place)
    for place, example in enumerate(training):
        question = normal(asked(example))
        other = wholes.get(normal(example.whole))
        if other is None and question.count(" ") + 1 >= FEWEST_OF_QUESTION:
            other = questions.get(question)
        if other is not None:
            yield Contact(place, "exact", other, 1.0, "the same question")


def _near(
    training: Sequence[Example], evaluation: Sequence[Example], least: float
) -> Iterator[Contact]:
    first = len(evaluation)
    comparer = Comparer([asked(e) for e in (*evaluation, *training)], near=least)
    found: defaultdict[int, list[Contact]] = defaultdict(list)
    for one in comparer.neighbours():
        if one.place < first:
            continue
        theirs = [i for i in one.likely if i < first]
        pairs = [p for i in theirs if (p := comparer.judge(one.place, i, one.some)) is not None]
        near = max((p for p in pairs if p.kind == NEAR), key=lambda p: p.similarity, default=None)
        if near is not None:
            detail = f"{near.similarity:.0%} of the question's words"
            contact = Contact(one.place - first, "near", near.second, near.similarity, detail)
            found[near.second].append(contact)
    for near_to_one in found.values():
        places = [c.place + first for c in near_to_one]
        framed = _have_its_frame(comparer, near_to_one[0].other, places)
        for contact in near_to_one:
            yield replace(contact, how=FRAME) if framed else contact


def _have_its_frame(comparer: Comparer, other: int, places: Sequence[int]) -> bool:
    """Whether texts that are near to another one have its template in common.

    Copies with edits of their own are about twice as far from each other as from what they are copies of; rows
    of a template are as far from each other as from any other row of it.
    """
    texts = {tuple(comparer.words[i]): i for i in places}
    some = list(texts.values())[:COMPARED]
    if len(some) <= MOST_NEAR:
        return False
    apart = [_distance(comparer, a, b) for a, b in itertools.combinations(some, 2)]
    away = [_distance(comparer, a, other) for a in some]
    return sum(apart) / len(apart) <= COPIES_APART * sum(away) / len(away)


def _distance(comparer: Comparer, a: int, b: int) -> float:
    """The share of the words that two texts do not have in common."""
    return 1 - shared(comparer.counts(a), comparer.counts(b))


def _runs(training: Sequence[Example], evaluation: Sequence[Example]) -> Iterator[Contact]:
    """Shared runs of words, without those that belong to a frame of many rows."""
    of: defaultdict[str, list[int]] = defaultdict(list)
    for place, example in enumerate(evaluation):
        for run in set(runs_of(words_of(example.whole), RUN)):
            of[run].append(place)
    most = max(FRAME_ROWS, FRAME_SHARE * len(evaluation))
    shared: dict[int, list[str]] = {}
    times: Counter[str] = Counter()
    for place, example in enumerate(training):
        hits = [run for run in dict.fromkeys(runs_of(words_of(example.whole), RUN)) if run in of]
        if hits:
            shared[place] = hits
            times.update(hits)
    often = max(FRAME_ROWS, FRAME_SHARE * len(training))
    for place, hits in shared.items():
        for run in hits:
            if len(of[run]) < most and times[run] < often:
                yield Contact(place, f"{RUN} words", of[run][0], 0.0, f"{run!r}")
                break
