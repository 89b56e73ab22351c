"""What passages say of the sentences of an answer: weak signals, under names that say what they are.

A sentence is looked for in the passages' sentences, alone and with the one after it: how much of its words, weighted by how rare
they are among the documents, is there; which numbers are not; whether one says "not" and the other does not; whether a
word has given way to its opposite. These find what was added or turned round in the same words. They do not understand: what
says the same in other words looks unsupported, and a wrong sentence made of the passage's own words looks
supported. Precision and recall are in docs/rag.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from llmops_jupyter.errors import missing_dependency
from llmops_jupyter.rag.opposites import PAIRS
from llmops_jupyter.rag.wordmatch import WordMatch, any_of, kinds, numbers, plain, telling
from llmops_jupyter.records import Citation, Claim, Hit, Support

# Shares of a sentence's weighted words; chosen on the development half of benchmarks/claims.json.
SUPPORTED = 0.6
TURNED = 0.55
# What a sentence says instead of an answer; one that goes on with "but" says more.
_NO_ANSWER = re.compile(
    r"\b(?:documents?|passages?|texts?|context|sources?|pages?|manual|information)\b[^.]{0,30}\b(?:do|does|did)(?: not|n't)\b"
    r"[^.]{0,20}\b(?:say|state|mention|specif|provide|contain|include|describe|answer|give|explain)"
    r"|\bnot (?:mentioned|stated|specified|given|clear|available|found) in (?:the |these |any )?"
    r"(?:documents?|passages?|texts?|context|sources?|pages?)\b"
    r"|\bI(?: cannot| can't| could not) (?:answer|find|determine|say)|\bno (?:information|answer)\b"
    r"|\bI(?: am|'m) (?:sorry|not sure)|\bI do(?: not|n't) know",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"\b(?:but|however|although|though|instead)\b", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|neither|nor|without|unless|cannot|nothing|nobody|unable)\b|n't\b",
    re.IGNORECASE,
)
_CITED = re.compile(r"\s*\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_QUOTED = re.compile(r'"([^"\n]{12,400})"|“([^”\n]{12,400})”')
NO_ANSWER = "it says that there is no answer"
# Code is not compared.
_FENCED = re.compile(r"^(```|~~~).*?(?:^\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
Weight = Callable[[str], float]


@dataclass
class Evidence:
    """A sentence of a passage, or two that follow each other; `begin` and `end` are where, in the passage."""

    passage: int
    begin: int
    end: int
    text: str
    two: bool = False
    place: int = 0

    def citation(self, hits: Sequence[Hit]) -> Citation:
        """The words as they stand in the passage, with its number and place."""
        hit = hits[self.passage]
        quote = hit.text[self.begin : self.end].strip()
        return Citation(self.passage + 1, quote, hit.source, hit.locator, hit.chunk_id)


@dataclass
class Checker:
    """Looks for sentences in passages.

    Args:
        hits: the passages, in the order of their numbers.
        weight: of a word, higher for a rarer one.
        least: a sentence whose words weigh less together says too little to be looked for.
    """

    hits: Sequence[Hit]
    weight: Weight = field(default=lambda _: 1.0)
    least: float = 0.0

    def __post_init__(self) -> None:
        self._evidence = [e for i, hit in enumerate(self.hits) for e in evidence(i, hit.text)]
        for place, one in enumerate(self._evidence):
            one.place = place
        self._match = WordMatch([e.text for e in self._evidence])

    def claims(self, answer: str) -> list[Claim]:
        """The sentences of an answer with what the passages say of them."""
        return [self.claim(text) for text in sentences(answer)]

    def claim(self, text: str) -> Claim:
        """One sentence."""
        cited = [int(n) for group in _CITED.findall(text) for n in group.split(",")]
        said = _CITED.sub("", text).strip()
        words = telling(said)
        says_none = _NO_ANSWER.search(said) and not _GOES_ON.search(said)
        if not words or said.endswith("?") or sum(map(self.weight, words)) < self.least:
            if says_none:
                return Claim(text, "no claim", why=NO_ANSWER)
            return Claim(text, "no claim", why="it states too little to be looked for")
        ranked = self._ranked(words, cited)
        if not ranked and says_none:
            return Claim(text, "no claim", why=NO_ANSWER)
        if not ranked:
            return Claim(
                text, "unsupported", signals={"word_overlap": 0.0}, why="no passage has its words"
            )
        alone = WordMatch([said])
        found = [self._compared(said, words, e, share, alone) for e, share in ranked[:3]]
        alone.close()
        verdict, signals, why = max(found, key=lambda f: _ORDER[f[0]])
        # A sentence next to it that says the same outweighs one that seems to say the opposite.
        place = found.index((verdict, signals, why))
        best = [ranked[place][0], *(e for e, _ in ranked if e is not ranked[place][0])]
        if verdict != "supported" and says_none:
            return Claim(text, "no claim", why=NO_ANSWER)
        verdict, why = self._with_quotes(text, verdict, why, signals)
        wrong = [n for n in cited if not 1 <= n <= len(self.hits)]
        if wrong:
            signals["no_such_passage"] = wrong
        citations = (
            [e.citation(self.hits) for e in best[:2]]
            if verdict != "unsupported"
            else [best[0].citation(self.hits)]
        )
        return Claim(text, verdict, _once(citations), signals, why)

    def _ranked(self, words: Sequence[str], cited: Sequence[int]) -> list[tuple[Evidence, float]]:
        """Evidence by the share of the sentence's weighted words that it has; shorter first among equals."""
        total = sum(self.weight(w) for w in words)
        shares = [0.0] * len(self._evidence)
        for word in words:
            for i in self._match.having(word):
                shares[i] += self.weight(word) / total
        order = sorted(
            (i for i, share in enumerate(shares) if share > 0),
            key=lambda i: (
                -round(shares[i], 6),
                self._evidence[i].passage + 1 not in cited,
                len(self._evidence[i].text),
            ),
        )
        return [(self._evidence[i], min(1.0, shares[i])) for i in order]

    def _compared(
        self,
        said: str,
        words: Sequence[str],
        evidence: Evidence,
        share: float,
        alone: WordMatch,
    ) -> tuple[Support, dict[str, Any], str]:
        place = evidence.place
        missing = [w for w in words if place not in self._match.having(w)]
        signals: dict[str, Any] = {"word_overlap": round(share, 3)}
        if missing:
            signals["missing_words"] = missing[:8]
        other, there = _instead(said, evidence.text)
        if other:
            signals["missing_values"] = other
        turned = self._opposite(alone, place)
        if turned:
            signals["opposite_words"] = turned
        if _negated(said) != _negated(evidence.text):
            signals["negation_differs"] = True
        total = sum(self.weight(w) for w in words)
        without = share + sum(self.weight(w) for w in missing if _instead(w, "")[0]) / total
        if other and there and without >= TURNED:
            return (
                "contradicted",
                signals,
                f"the passage has {', '.join(there[:3])}, not {', '.join(other)}",
            )
        if turned and share >= TURNED - 0.15:
            return (
                "contradicted",
                signals,
                f"the passage says {turned[0][1]!r}, not {turned[0][0]!r}",
            )
        if signals.get("negation_differs") and share >= TURNED:
            return "contradicted", signals, "one of them says 'not'"
        if share >= SUPPORTED and not other:
            return "supported", signals, "the passage has its words"
        if other:
            return "unsupported", signals, f"no passage has {', '.join(other)} there"
        return "unsupported", signals, f"missing: {', '.join(missing[:4])}"

    def _opposite(self, said: WordMatch, place: int) -> list[tuple[str, str]]:
        """Pairs of which the sentence has one and the evidence the other, neither having both."""
        found = []
        for one, other in PAIRS:
            here = any_of(said, one), any_of(said, other)
            if bool(here[0]) == bool(here[1]):
                continue
            a, b = (one, other) if here[0] else (other, one)
            if place in any_of(self._match, b) and place not in any_of(self._match, a):
                found.append((a[0], b[0]))
        return found

    def _with_quotes(
        self, text: str, verdict: Support, why: str, signals: dict[str, Any]
    ) -> tuple[Support, str]:
        """Words in quotation marks must stand in a passage as they are."""
        quotes = [a or b for a, b in _QUOTED.findall(text)]
        if not quotes:
            return verdict, why
        passages = [" ".join(hit.text.split()).casefold() for hit in self.hits]
        lost = [q for q in quotes if not any(_bare(q) in passage for passage in passages)]
        signals["quotes"] = len(quotes)
        if lost:
            signals["quotes_not_found"] = lost
            return (
                "unsupported" if verdict == "supported" else verdict
            ), "its quotation is in no passage"
        return verdict, why


# Which verdict of the nearest pieces of evidence holds.
_ORDER = {"unsupported": 0, "contradicted": 1, "supported": 2}


def finds_none(claims: Sequence[Claim]) -> bool:
    """Whether an answer says that there is none, and nothing else."""
    return any(c.why == NO_ANSWER for c in claims) and all(c.verdict == "no claim" for c in claims)


def sentences(text: str) -> list[str]:
    """The sentences of a text, without fenced code."""
    return [text[b:e].strip() for b, e in spans(text) if text[b:e].strip()]


def spans(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends."""
    try:
        from sentencex import segment
    except ImportError as e:
        raise missing_dependency("sentencex", "Checking an answer against documents", "rag") from e
    found = []
    for line in re.finditer(
        r"[^\n]+", _FENCED.sub(lambda m: re.sub(r"[^\n]", "\n", m.group()), text)
    ):
        at = line.start()
        for part in segment("en", line.group()):
            begin = text.find(part.strip(), at) if part.strip() else -1
            if begin >= 0:
                at = begin + len(part.strip())
                found.append((begin, at))
    return found


def evidence(passage: int, text: str) -> list[Evidence]:
    """Sentences of a passage, joined over the line breaks within paragraphs, alone and in twos."""
    # Line breaks within a paragraph are no ends of sentences; a blank of the same length keeps the places.
    flat = re.sub(r"(?<=[^\n])\n(?=[^\n#|>*\-\d`])", " ", text)
    parts = spans(flat)
    made = [Evidence(passage, b, e, text[b:e]) for b, e in parts]
    made += [Evidence(passage, b, e, text[b:e], two=True) for (b, _), (_, e) in pairwise(parts)]
    return made


def _instead(said: str, evidence: str) -> tuple[list[str], list[str]]:
    """Numbers, days, months and seasons that the sentence has and the evidence has not; and those the other way."""
    other, there = numbers(said) - numbers(evidence), numbers(evidence) - numbers(said)
    here, found = kinds(said), kinds(evidence)
    for kind, names in here.items():
        if names:
            other |= names - found[kind]
            there |= found[kind] - names
    return sorted(other), sorted(there)


def _negated(text: str) -> bool:
    return len(_NEGATION.findall(text)) % 2 == 1


def _bare(quote: str) -> str:
    return " ".join(plain(quote).split()).strip(" .,;:…").casefold()


def _once(citations: Sequence[Citation]) -> tuple[Citation, ...]:
    found: list[Citation] = []
    for one in citations:
        if not any(one.quote in c.quote or c.quote in one.quote for c in found):
            found.append(one)
    return tuple(found)
