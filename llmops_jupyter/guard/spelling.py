"""Letters that look alike, figures that stand for letters, and characters that nobody sees."""

from __future__ import annotations

import re
import unicodedata

from llmops_jupyter.guard.language import COMMON

# Letters of Cyrillic, Greek, Armenian, Cherokee and others that are drawn as a Latin one; our own short list.
_ALIKE = {
    "a": "аαɑ", "b": "ЬвβƄ", "c": "сϲⅽ", "d": "ԁɗⅾ", "e": "еєҽ", "f": "ƒք", "g": "ɡց", "h": "һհ",
    "i": "іιɩӏı", "j": "јϳ", "k": "кκ", "l": "ⅼӏ", "m": "мⅿ", "n": "ոпηռ", "o": "оοσօ", "p": "рρ",
    "q": "ԛզ", "r": "гɾ", "s": "ѕꜱ", "t": "тτ", "u": "υսц", "v": "ѵνⅴ", "w": "ԝωա", "x": "хχⅹ",
    "y": "уγүყ", "z": "ᴢ", "A": "АΑᎪ", "B": "ВΒᏴ", "C": "СϹᏟ", "D": "Ꭰ", "E": "ЕΕᎬ", "F": "Ϝ",
    "G": "Ԍ", "H": "НΗᎻ", "I": "ІΙӀ", "J": "ЈᎫ", "K": "КΚᏦ", "L": "Ꮮ", "M": "МΜᎷ", "N": "Ν",
    "O": "ОΟՕ", "P": "РΡᏢ", "Q": "Ԛ", "R": "Ꭱ", "S": "ЅՏᏚ", "T": "ТΤᎢ", "U": "Ս", "V": "ѴᏙ",
    "W": "ԜᎳ", "X": "ХΧ", "Y": "УΥҮ", "Z": "ΖᏃ",
}  # fmt: skip
_TO_LATIN = {ord(seen): latin for latin, others in _ALIKE.items() for seen in others}
_LATIN = re.compile(r"[A-Za-z]")
_WORD = re.compile(r"\S+")
_FIGURES = str.maketrans("03457@$!|+€", "oeastasiite")
_FIGURE_WORD = re.compile(r"[A-Za-z0-9@$!|+€]{2,}")
_MARKS = re.compile(r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+")
# Format characters, variation selectors, fillers and blanks of no width.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]+"
)
_TAGS = re.compile("[\U000e0020-\U000e007e]{4,}")
_STRUCK = re.compile("[\u0334-\u0338]")
_LETTER = r"[^\W\d_]"
_APART = re.compile(rf"(?<![^\W_]){_LETTER}(?:[ .\-_*·|/,]{{1,3}}{_LETTER}(?![^\W_])){{3,}}")
_HELD = re.compile(
    rf"(?<![^\W_]){_LETTER}{{1,24}}([_\-+.~|/*])(?:{_LETTER}{{1,24}}\1){{3,200}}{_LETTER}{{1,24}}(?![^\W_])"
)
_BETWEEN = re.compile(r"[ .\-_*·|/,]+")
_LARGE = re.compile(
    "[\U0001f1e6-\U0001f1ff\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189]"
)


def seen(text: str) -> str:
    """The text without characters that have no shape of their own."""
    return _UNSEEN.sub("", text)


def tagged(text: str) -> str:
    """What is written in Unicode's invisible tag characters, which models read and people do not; '' for nothing."""
    return " ".join("".join(chr(ord(c) - 0xE0000) for c in found) for found in _TAGS.findall(text))


def folded(text: str) -> str:
    """NFKC, without unseen characters and piled-up marks, with letters that look Latin made so.

    Letters are changed in words that mix scripts, and in words of look-alikes alone where most others are Latin:
    a Russian text is no disguise.
    """
    plain = unmarked(text)
    return plain if plain.isascii() else latin(plain)


def unmarked(text: str) -> str:
    """NFKC, without unseen characters, strokes and piled-up marks."""
    plain = _LARGE.sub(_from_squares, unicodedata.normalize("NFKC", seen(text)))
    if plain.isascii():
        return plain
    apart = _STRUCK.sub("", unicodedata.normalize("NFD", plain))
    piles = _MARKS.sub(lambda m: m[0] if len(m[0]) < 3 else "", apart)
    return unicodedata.normalize("NFC", piles)


def latin(plain: str) -> str:
    """Letters that look Latin made so, one for one, in words that mix scripts or stand among Latin ones."""
    letters = len(_LATIN.findall(plain))
    mostly = letters > sum(c.isalpha() for c in plain) / 2
    return _WORD.sub(lambda found: _to_latin(found[0], alone=mostly), plain)


def _from_squares(found: re.Match[str]) -> str:
    code = ord(found[0])
    for first in (0x1F1E6, 0x1F130, 0x1F150, 0x1F170):
        if first <= code < first + 26:
            return chr(ord("a") + code - first)
    return found[0]


def _to_latin(word: str, *, alone: bool) -> str:
    if word.isascii():
        return word
    turned = word.translate(_TO_LATIN)
    letters = [c for c in turned if c.isalpha()]
    whole = all(c.isascii() for c in letters)
    return turned if _LATIN.search(word) or (alone and whole) else word


def figures(text: str) -> str:
    """Figures and signs inside words made the letters that they stand for, as in '1gn0re'; 1 is i, or l where that makes a common word."""

    def turned(found: re.Match[str]) -> str:
        word = found[0]
        core = word.rstrip("!|+$")
        letters = sum(c.isalpha() for c in core)
        if not letters or core.isalpha() or len(core) - letters > 2 * letters:
            return word
        plain = core.translate(_FIGURES)
        with_i, with_l = plain.replace("1", "i"), plain.replace("1", "l")
        best = with_l if with_l.lower() in COMMON and with_i.lower() not in COMMON else with_i
        return best + word[len(core) :]

    return _FIGURE_WORD.sub(turned, text)


def parted(text: str) -> str:
    """Words that a sign holds together, as in 'ignore_all_the_rules', with gaps between them; five words at least."""
    return _HELD.sub(lambda found: found[0].replace(found[1], " "), text)


def joined(text: str) -> str:
    """Letters that are written apart put together, as in 'i g n o r e'; wider gaps part words."""

    def closed(found: re.Match[str]) -> str:
        least = min(len(gap) for gap in _BETWEEN.findall(found[0]))
        return _BETWEEN.sub(lambda gap: "" if len(gap[0]) == least else " ", found[0])

    return _APART.sub(closed, text)
