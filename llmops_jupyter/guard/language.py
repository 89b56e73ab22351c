"""Whether letters that came out of a decoding are language, and where words that were run together part."""

from __future__ import annotations

import re

# Words that any text of some length has, in the languages that the guards are tried on.
COMMON = frozenset(
    [
        "the",
        "of",
        "and",
        "to",
        "in",
        "is",
        "it",
        "you",
        "that",
        "he",
        "was",
        "for",
        "on",
        "are",
        "with",
        "as",
        "his",
        "they",
        "be",
        "at",
        "one",
        "have",
        "this",
        "from",
        "or",
        "had",
        "by",
        "but",
        "what",
        "some",
        "we",
        "can",
        "out",
        "other",
        "were",
        "all",
        "your",
        "when",
        "up",
        "use",
        "how",
        "said",
        "an",
        "each",
        "she",
        "which",
        "do",
        "their",
        "if",
        "will",
        "about",
        "many",
        "then",
        "them",
        "so",
        "these",
        "would",
        "like",
        "has",
        "more",
        "her",
        "two",
        "no",
        "could",
        "than",
        "been",
        "its",
        "who",
        "now",
        "did",
        "get",
        "made",
        "may",
        "part",
        "me",
        "my",
        "please",
        "tell",
        "show",
        "not",
        "any",
        "into",
        "only",
        "also",
        "just",
        "our",
        "us",
        "there",
        "here",
        "after",
        "before",
        "should",
        "must",
        "never",
        "always",
        "without",
        "ignore",
        "disregard",
        "forget",
        "previous",
        "prior",
        "above",
        "instructions",
        "instruction",
        "rules",
        "system",
        "prompt",
        "secret",
        "password",
        "key",
        "reveal",
        "print",
        "repeat",
        "say",
        "write",
        "answer",
        "act",
        "pretend",
        "new",
        "instead",
        "everything",
        "earlier",
        "guidelines",
        "message",
        "text",
        "words",
        "restrictions",
        "user",
        "assistant",
        "developer",
        "mode",
        "following",
        "code",
        "access",
        "data",
        "give",
        "send",
        "der",
        "die",
        "das",
        "und",
        "ist",
        "nicht",
        "ein",
        "eine",
        "ich",
        "du",
        "sie",
        "wir",
        "mit",
        "auf",
        "für",
        "von",
        "dem",
        "den",
        "alle",
        "deine",
        "bitte",
        "le",
        "la",
        "les",
        "des",
        "est",
        "que",
        "une",
        "dans",
        "pour",
        "pas",
        "vous",
        "toutes",
        "mes",
        "tes",
        "ce",
        "et",
        "je",
        "tu",
        "sur",
        "el",
        "los",
        "las",
        "del",
        "que",
        "una",
        "por",
        "con",
        "para",
        "todas",
        "mis",
        "tus",
        "no",
        "es",
        "y",
        "en",
        "lo",
        "il",
        "gli",
        "di",
        "che",
        "non",
        "per",
        "tutte",
        "le",
        "tue",
        "con",
        "una",
        "sono",
        "questo",
        "o",
        "os",
        "as",
        "um",
        "uma",
        "não",
        "todas",
        "suas",
        "com",
        "para",
        "de",
        "het",
        "een",
        "niet",
        "van",
        "en",
        "dat",
        "zijn",
        "alle",
        "mijn",
    ]
)
# Rare single letters and pairs part nothing: only these words of one or two letters do.
_SHORT = frozenset(
    [
        "a",
        "i",
        "o",
        "y",
        "e",
        "is",
        "it",
        "to",
        "of",
        "in",
        "on",
        "an",
        "as",
        "at",
        "be",
        "by",
        "do",
        "he",
        "if",
        "me",
        "my",
        "no",
        "or",
        "so",
        "up",
        "us",
        "we",
        "go",
    ]
)
_WORD = re.compile(r"[^\W\d_]+")
_LONGEST = max(map(len, COMMON))
FEWEST, SHARE = 3, 0.3


def share(text: str) -> tuple[int, float]:
    """How many words are common ones, and which share of all; words of one letter do not count."""
    words = [w for w in _WORD.findall(text.lower()) if len(w) > 1]
    known = sum(w in COMMON for w in words)
    return known, known / max(len(words), 1)


def plausible(text: str) -> bool:
    """Whether a text that was encoded reads as language: mostly letters and gaps, with common words or another script."""
    stripped = text.strip()
    if len(stripped) < 6:
        return False
    good = sum(c.isalpha() or c.isspace() or c in ".,;:!?'\"-()" or c.isdigit() for c in stripped)
    letters = [c for c in stripped if c.isalpha()]
    if good < 0.85 * len(stripped) or len(letters) < 0.6 * len(stripped):
        return False
    foreign = sum(ord(c) >= 0x370 for c in letters)
    if foreign > 0.8 * len(letters) and len(letters) >= 6:
        blocks = {ord(c) >> 8 for c in letters}
        return len(blocks) <= max(2, len(letters) // 4) or min(blocks) >= 0x30
    known, part = share(stripped)
    return known >= 1 and part >= 0.15


def certain(text: str) -> bool:
    """Whether a text that was guessed at (shifted, reversed) is language: several common words, a third of all."""
    known, part = share(text)
    return known >= FEWEST and part >= SHARE


def parted(run: str) -> str:
    """A run of letters cut into words: as many letters as can be in common words, by dynamic programming.

    What lies between common words stays together. Linear in the length.
    """
    low = run.lower()
    best = [0.0] * (len(low) + 1)
    cut = [0] * (len(low) + 1)
    for end in range(1, len(low) + 1):
        best[end], cut[end] = best[end - 1] - 1.0, end - 1
        for begin in range(max(0, end - _LONGEST), end):
            word = low[begin:end]
            if (word in COMMON and len(word) > 2) or word in _SHORT:
                value = best[begin] + len(word) - 1.2
                if value > best[end]:
                    best[end], cut[end] = value, begin
    words: list[str] = []
    loose = ""
    end = len(low)
    while end:
        begin = cut[end]
        word = run[begin:end]
        if len(word) == 1 and word.lower() not in _SHORT:
            loose = word + loose
        else:
            words.extend(w for w in (loose, word) if w)
            loose = ""
        end = begin
    words.extend([loose] if loose else [])
    return " ".join(reversed(words))
