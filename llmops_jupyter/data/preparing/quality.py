"""Texts that a model should not learn to write, by the rules of Gopher, C4 and FineWeb that fit.

Sources: Rae et al., "Scaling Language Models" (Gopher), 2021, tables A1 and A2; Raffel et al., "Exploring the
limits of transfer learning" (C4), 2020, section 2.2; Penedo et al., "FineWeb", 2024, section 3.6. They were
made for web pages. An answer may be short, a list, or code, so the rules on the length of a page, on stop words
and on terminal punctuation do not apply here, and those on the shape of lines only to texts that are learned
whole. Shares only mean something from some length on, which each rule states.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from llmops_jupyter.data.preparing.words import is_code, words_of

# Gopher, table A1: share of lines that are repeated; of characters in the most frequent 2-, 3-, 4-gram; of
# characters in repeated 5- to 10-grams.
REPEATED_LINES = 0.3
TOP_RUNS = {2: 0.20, 3: 0.18, 4: 0.16}
REPEATED_RUNS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
# Gopher, section A.1.1: words of 3 to 10 letters on average; hash signs and ellipses per word; lines that are
# bullets, lines that end in an ellipsis.
WORD_LENGTH = (3.0, 10.0)
SYMBOLS, BULLETS, ELLIPSES = 0.1, 0.9, 0.3
# FineWeb, section 3.6: lines that end in punctuation at least; short lines, characters in repeated lines and
# line breaks per word at most.
PUNCTUATED, SHORT_LINES, SHORT, REPEATED_CHARACTERS, BREAKS = 0.12, 0.67, 30, 0.01, 0.3

# Answers repeat more than pages do: timetables, lists of like items, songs. Of 2,253 answers by ChatGPT (HaluEval)
# Gopher's own shares name 38, lists and songs among them, and twice these shares 7; a loop has far more.
IN_ANSWERS = 2

FEWEST_LINES, FEWEST_WORDS, FEWEST_OF_TEXT = 4, 40, 100
# The most frequent run counts from so many times on: a phrase that comes twice in a short answer is no fault.
TIMES = 4
TWICE, LONGEST_NOTICE = 2, 2000

_BULLET = re.compile(r"^\s*(?:[-*•‣▪◦●–]|\d+[.)])\s")
_NOTICE = re.compile(
    r"(?:enable|requires?|turn on|activate) java ?script|java ?script (?:is|must be|to be) "
    r"(?:disabled|enabled|required|turned)",
    re.IGNORECASE,
)


def fault_of_text(text: str, *, whole: bool = False) -> tuple[str, str] | None:
    """The rule that a text breaks and the figure that it has there; None if it breaks none.

    Args:
        text: an answer, or a text that is learned whole.
        whole: it is learned whole: rules on the shape of pages apply too.
    """
    if is_code(text):
        return None
    if "lorem ipsum" in text.lower():
        return "filler", "has 'lorem ipsum' (C4)"
    if _NOTICE.search(text) and len(text) < LONGEST_NOTICE:
        return "filler", "is a notice about JavaScript (C4)"
    words = words_of(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = _repetition(words, lines, 1 if whole else IN_ANSWERS) or _symbols(text, words, lines)
    return found or (_page(words, lines) if whole else None)


def _repetition(
    words: Sequence[str], lines: Sequence[str], times_gopher: int
) -> tuple[str, str] | None:
    said = [line for line in lines if " " in line]
    if len(said) >= FEWEST_LINES:
        share, most = 1 - len(set(said)) / len(said), times_gopher * REPEATED_LINES
        if share > most:
            return "repetition", f"{share:.0%} of the lines are repeated (at most {most:.0%})"
    if len(words) < FEWEST_WORDS:
        return None
    total = sum(map(len, words))
    for length, figure in TOP_RUNS.items():
        runs = Counter(zip(*(words[i:] for i in range(length)), strict=False))
        ((run, times),) = runs.most_common(1)
        share, most = times * sum(map(len, run)) / total, times_gopher * figure
        if times >= TIMES and share > most:
            return "repetition", f"{' '.join(run)!r} makes up {share:.0%} (at most {most:.0%})"
    for length, figure in REPEATED_RUNS.items():
        share, most = _repeated_share(words, length) / total, times_gopher * figure
        if share <= min(REPEATED_RUNS.values()):
            break  # longer runs lie within shorter ones
        if share > most:
            return (
                "repetition",
                f"{share:.0%} lie in repeated runs of {length} words (at most {most:.0%})",
            )
    return None


def _repeated_share(words: Sequence[str], length: int) -> int:
    """Letters in runs of words that come for the third time or more, none counted twice.

    Gopher counts from the second time; the chorus of a song and the steps of a proof come twice.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    place = letters = 0
    while place + length <= len(words):
        run = tuple(words[place : place + length])
        seen[run] += 1
        if seen[run] > TWICE:
            letters += sum(map(len, run))
            place += length
        else:
            place += 1
    return letters


def _symbols(text: str, words: Sequence[str], lines: Sequence[str]) -> tuple[str, str] | None:
    if len(words) < FEWEST_WORDS:
        return None
    symbols = (text.count("#") + text.count("...") + text.count("…")) / len(words)
    if symbols > SYMBOLS:
        return "symbols", f"{symbols:.2f} hash signs and ellipses per word (Gopher: {SYMBOLS})"
    # Scripts without spaces have words of one character here.
    letters = [len(word) for word in words if not word.isdigit()]
    mean = sum(letters) / max(1, len(letters))
    if text.isascii() and letters and not WORD_LENGTH[0] <= mean <= WORD_LENGTH[1]:
        return "words", f"words of {mean:.1f} letters on average (Gopher: 3 to 10)"
    if len(lines) >= FEWEST_LINES:
        ellipses = sum(line.endswith(("...", "…")) for line in lines) / len(lines)
        if ellipses > ELLIPSES:
            return (
                "symbols",
                f"{ellipses:.0%} of the lines end in an ellipsis (Gopher: {ELLIPSES:.0%})",
            )
    return None


def _page(words: Sequence[str], lines: Sequence[str]) -> tuple[str, str] | None:
    """Rules on the shape of a page of prose."""
    if len(words) < FEWEST_OF_TEXT:
        return None
    if len(lines) < FEWEST_LINES:
        return None
    bullets = sum(bool(_BULLET.match(line)) for line in lines) / len(lines)
    if bullets > BULLETS:
        return "page", f"{bullets:.0%} of the lines are bullets (Gopher: {BULLETS:.0%})"
    ended = sum(
        line.endswith((".", "!", "?", '"', "'", "”", "。", "！", "？", ":", ";")) for line in lines
    )
    if ended / len(lines) < PUNCTUATED:
        return (
            "page",
            f"{ended / len(lines):.0%} of the lines end in punctuation (FineWeb: {PUNCTUATED:.0%})",
        )
    short = sum(len(line) <= SHORT for line in lines) / len(lines)
    if short > SHORT_LINES:
        return "page", f"{short:.0%} of the lines are short (FineWeb: {SHORT_LINES:.0%})"
    again = sum(len(line) * (n - 1) for line, n in Counter(lines).items()) / sum(map(len, lines))
    if again > REPEATED_CHARACTERS:
        return (
            "page",
            f"{again:.1%} of the text is repeated lines (FineWeb: {REPEATED_CHARACTERS:.0%})",
        )
    breaks = (len(lines) - 1) / len(words)
    if breaks > BREAKS:
        return "page", f"{breaks:.2f} line breaks per word (FineWeb: {BREAKS})"
    return None
