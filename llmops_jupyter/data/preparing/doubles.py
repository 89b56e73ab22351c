"""Near-duplicates, told from rows that only share a template.

A pair is a near-duplicate if nearly all words are the same and the differences are scattered. Rows made from
one template also have most words in common, and each teaches something else; they are told by where they
differ:

* words in which one row of a pair differs from the other, though nearly all similar rows have them, are edits
  of a copy; where rows of a template differ, the others differ too;
* all differing words are numbers: the same task with other figures;
* one whole passage stands in the place of another: another question about the same text;
* the answers differ: the same question, or the same document, with another thing to learn.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from llmops_jupyter.data.preparing.nearness import BLOCK, Neighbours, cosine, neighbours, shared
from llmops_jupyter.data.preparing.words import normal, runs_of, words_of

# Below so many words one changed word changes what is asked: such texts are compared exactly.
FEWEST = 20
# Texts of at least this cosine have a near-duplicate's share of words only if they also share these; the
# cosine of long texts lives on the words that every text has.
LEAST_SHARED = 0.75
# And of their runs of three words: of long texts the words alone may agree by chance. A tenth of the words
# changed leaves 0.73 of them, in both texts 0.53; sentences in another order leave nearly all.
LEAST_SHARED_RUNS = 0.35
# A tenth of 61 words, rounded up, is 7: the share of equal words is then 0.885.
ROUNDING = 0.02
ANSWERS = 0.6
# A differing word counts as an edit if this share of the similar rows has it; and the share of such words from
# which a pair is a copy, among the differing words that come once, and among all of them. Copies have 0.3 to
# 0.5, rows of a template about 0.
KEPT_BY_OTHERS, EDITED, EDITED_OF_ALL = 0.7, 0.06, 0.25
# Passages of so many words on both sides, that make up this share of the difference.
PASSAGE, PASSAGES = 4, 0.6
SECONDS_BETWEEN = 0.5
NEAR, TEMPLATED = "near", "templated"


@dataclass(frozen=True)
class Pair:
    """Two rows, by their places, that share nearly all words; `kind` is near or templated, `why` says how."""

    first: int
    second: int
    kind: str
    similarity: float
    why: str = ""


class Comparer:
    """Judges pairs of texts; `answers` is what each of them teaches, None where the whole text is learned."""

    def __init__(
        self,
        texts: Sequence[str],
        answers: Sequence[str | None] | None = None,
        *,
        near: float = 0.9,
    ) -> None:
        self.near = near
        self.words = [words_of(text) for text in texts]
        self.answers = list(answers) if answers is not None else [None] * len(texts)
        self._framed: tuple[int, list[int]] = (-1, [])
        self.counts = lru_cache(maxsize=8192)(self._counts)
        self.runs = lru_cache(maxsize=8192)(self._runs)

    def _counts(self, place: int) -> Counter[str]:
        return Counter(self.words[place])

    def _runs(self, place: int) -> Counter[str]:
        return Counter(runs_of(self.words[place], 3))

    def neighbours(self) -> Iterator[Neighbours]:
        """Each text with those that may be near it, of texts that are long enough."""
        places = [i for i, words in enumerate(self.words) if len(words) >= FEWEST]
        for one in neighbours([self.words[i] for i in places]):
            yield Neighbours(
                places[one.place],
                [places[i] for i in one.likely],
                [places[i] for i in one.some],
            )

    def judge(self, first: int, second: int, some: Sequence[int]) -> Pair | None:
        """How two texts are alike, where `some` are texts like the first; None if they are not."""
        a, b = self.counts(first), self.counts(second)
        share, alike = shared(a, b), cosine(a, b)
        if share < LEAST_SHARED or (alike < self.near and share < self.near - ROUNDING):
            return None
        if shared(self.runs(first), self.runs(second)) < LEAST_SHARED_RUNS:
            return None
        why = self._templated(first, second, some)
        return Pair(
            first, second, TEMPLATED if why else NEAR, round(min(1.0, max(alike, share)), 3), why
        )

    def _templated(self, first: int, second: int, some: Sequence[int]) -> str:
        a, b = self.counts(first), self.counts(second)
        differing = (a - b) + (b - a)
        if not same_answer(self.answers[first], self.answers[second]):
            return "the answers differ"
        if not differing:
            return ""
        if all(any(c.isdigit() for c in word) for word in differing):
            return "only numbers differ"
        if self._replaced(first, second) >= PASSAGES:
            return "another passage in the same frame"
        others = [i for i in self._like(first, some) if i != second]
        if others and not self._is_edited(differing, first, second, others):
            return "similar rows differ in the same places"
        return ""

    def _like(self, place: int, some: Sequence[int]) -> list[int]:
        """Those of some texts that share the frame of one; kept, since each text is compared with several."""
        if self._framed[0] != place:
            mine = self.runs(place)
            found = [i for i in some if shared(mine, self.runs(i)) >= LEAST_SHARED_RUNS]
            self._framed = (place, found)
        return self._framed[1]

    def _is_edited(
        self, differing: Mapping[str, int], first: int, second: int, others: Sequence[int]
    ) -> bool:
        """Whether many of the differing words are words that nearly all similar texts have."""
        a, b = self.counts(first), self.counts(second)
        # Of a word that a text has several times, others may have another number for no reason.
        totals, edits = Counter[bool](), Counter[bool]()
        for word, n in differing.items():
            most = max(a[word], b[word])
            having = sum(self.counts(i)[word] >= most for i in others)
            totals[most == 1] += n
            edits[most == 1] += n if having >= KEPT_BY_OTHERS * len(others) else 0
        once = edits[True] >= EDITED * totals[True] > 0
        return once or edits.total() >= EDITED_OF_ALL * totals.total()

    def _replaced(self, first: int, second: int) -> float:
        """The share of the difference that is passages in the place of others."""
        from rapidfuzz.distance import Levenshtein

        total = passages = 0
        for step in Levenshtein.opcodes(self.words[first], self.words[second]):
            if step.tag == "equal":
                continue
            left, right = step.src_end - step.src_start, step.dest_end - step.dest_start
            total += left + right
            if min(left, right) >= PASSAGE:
                passages += left + right
        return passages / total if total else 0.0


def same_answer(a: str | None, b: str | None) -> bool:
    """Whether two answers teach the same, word for word or nearly so."""
    if a is None or b is None or normal(a) == normal(b):
        return True
    return shared(Counter(words_of(a)), Counter(words_of(b))) >= ANSWERS


@dataclass
class Doubles:
    """What was found: the kept row of each that is dropped, and rows that share a template."""

    dropped: dict[int, Pair] = field(default_factory=dict)
    templated: dict[int, Pair] = field(default_factory=dict)


def find_near(comparer: Comparer, tell: Callable[[str], None] = lambda _: None) -> Doubles:
    """The near-duplicates of earlier rows that stay, and the rows that only share a template."""
    found = Doubles()
    total, began, said = len(comparer.words), time.monotonic(), 0.0
    for one in comparer.neighbours():
        spent = time.monotonic() - began
        if spent - said > SECONDS_BETWEEN and one.place >= BLOCK:
            left = spent / one.place * (total - one.place)
            tell(f"near-duplicates: {one.place:,} of {total:,}, about {left:.0f} s left")
            said = spent
        earlier = [i for i in one.likely if i < one.place and i not in found.dropped]
        pairs = [p for i in earlier if (p := comparer.judge(one.place, i, one.some)) is not None]
        near = [pair for pair in pairs if pair.kind == NEAR]
        if near:
            found.dropped[one.place] = max(near, key=lambda pair: pair.similarity)
        elif pairs:
            found.templated[one.place] = pairs[0]
    return found
