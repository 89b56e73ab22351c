"""What a text hides in an encoding: base64, hex, escapes, URLs, entities, binary, Morse, shifted and reversed letters.

Each decoding must give language (`language`), or nothing is told. Work is bounded: at most `MOST` pieces of each kind are
tried, and guesses at shifted letters read the first `GUESSED` characters.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import string
import urllib.parse
from collections.abc import Callable, Iterator

from llmops_jupyter.guard import language

MOST, GUESSED, DEEPEST = 400, 20_000, 3
# Decoded text is looked through for further pieces once; a piece that is encoded as a whole is opened `DEEPEST` times.
SPREAD, TURNS = 2, 2
# A text that has this share of common words is language already and no cipher.
PLAIN = 0.12

# Characters of a piece at least that may be encoded once more.
SHORTEST = 12
_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?:[A-Za-z0-9+/_-]{4}[ \r\n]?){3,}[A-Za-z0-9+/_-]{0,3}={0,2}"
)
_BASE32 = re.compile(r"\b[A-Z2-7]{16,}={0,6}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ ,:\-]?){8,}")
_BINARY = re.compile(r"(?<![01])(?:[01]{8}[ ,]?){4,}(?![01])")
_DECIMAL = re.compile(r"(?<!\d)(?:\d{2,3}[ ,;]+){7,}\d{2,3}(?!\d)")
_ESCAPE = re.compile(r"\\u\{?([0-9a-fA-F]{4,6})\}?|\\x([0-9a-fA-F]{2})")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}(?:[\w.\-+]{0,20}%[0-9A-Fa-f]{2}){2,}[\w.\-+]{0,40}")
_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9A-Fa-f]{1,5}|[a-zA-Z]{2,8});")
_MORSE = re.compile(r"[.\-·−–]{1,6}(?:[ /|]{1,3}[.\-·−–]{1,6}){7,}")
_PIECE = re.compile(r"[A-Za-z0-9+/=_-]{20,}")
_LETTERS = string.ascii_lowercase
_SIGNS = dict(
    zip(
        [
            ".-",
            "-...",
            "-.-.",
            "-..",
            ".",
            "..-.",
            "--.",
            "....",
            "..",
            ".---",
            "-.-",
            ".-..",
            "--",
            "-.",
            "---",
            ".--.",
            "--.-",
            ".-.",
            "...",
            "-",
            "..-",
            "...-",
            ".--",
            "-..-",
            "-.--",
            "--..",
            "-----",
            ".----",
            "..---",
            "...--",
            "....-",
            ".....",
            "-....",
            "--...",
            "---..",
            "----.",
        ],
        _LETTERS + string.digits,
        strict=True,
    )
)


def decoded(text: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """What the text hides, as (name of the encoding, decoded text); encodings within encodings."""
    for name, hidden in _once(text):
        yield name, hidden
        if depth + 1 < SPREAD:
            for inner, deeper in decoded(hidden, depth + 1):
                yield f"{name}, {inner}", deeper


def _once(text: str) -> Iterator[tuple[str, str]]:
    for name, pattern, decode in _PIECES:
        parts = []
        for count, found in enumerate(pattern.finditer(text)):
            if count >= MOST:
                break
            part = _opened(decode(found[0]), DEEPEST)
            if part:
                parts.append(part)
        if parts:
            yield name, "\n".join(parts)
    yield from _escapes(text)
    yield from _guessed(text)
    yield from _turned_pieces(text)


def _opened(part: str, left: int, turns: int = 0) -> str:
    """The language that a decoded piece holds, which may be encoded as a whole up to `left` times more; or ''.

    Once letters were shifted or turned, several common words must be there: guesses find language in noise.
    """
    if language.certain(part) if turns else language.plausible(part):
        return part
    whole = part.strip()
    if not left or len(whole) < SHORTEST:
        return ""
    for _, pattern, decode in _PIECES:
        if pattern.fullmatch(whole):
            found = _opened(decode(whole), left - 1, turns)
            if found:
                return found
    return _turned(whole, left, turns) if turns < TURNS else ""


def _turned(whole: str, left: int, turns: int = 0) -> str:
    """The language in a piece whose letters are shifted by 13, that runs backwards, or both; it may be encoded too. Or ''."""
    backwards = whole[::-1]
    for other in (_ROT13(whole), backwards, _ROT13(backwards)):
        if language.certain(other):
            return other
        found = _opened(other, left, turns + 1) if _is_coded(other) else ""
        if found:
            return found
    return ""


def _is_coded(text: str) -> bool:
    """Whether a text is one piece of an encoding."""
    return any(pattern.fullmatch(text) for _, pattern, _ in _PIECES)


def pieces(text: str, depth: int = DEEPEST) -> Iterator[str]:
    """What each piece that looks like base64, base32 or hex holds, language or not, and what that holds."""
    for _, pattern, decode in _PIECES[:3]:
        for count, found in enumerate(pattern.finditer(text)):
            if count >= MOST:
                break
            held = decode(found[0])
            if held:
                yield held
                if depth > 1:
                    yield from pieces(held, depth - 1)


def _escapes(text: str) -> Iterator[tuple[str, str]]:
    if len(_ESCAPE.findall(text[:GUESSED])) >= 4:
        yield "escapes", _ESCAPE.sub(lambda m: _character(int(m[1] or m[2], 16)), text)
    if len(_ENTITY.findall(text[:GUESSED])) >= 4:
        yield "entities", html.unescape(text)


def _character(code: int) -> str:
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else ""


def _guessed(text: str) -> Iterator[tuple[str, str]]:
    """Letters shifted or mirrored, and text reversed, of each paragraph that is no language as it stands."""
    parts = [
        part
        for part in re.split(r"[\r\n]+|(?<=[:.!?])\s+", text[:GUESSED])
        if len(part) >= 12 and sum(c.isalpha() for c in part) > len(part) / 2
    ]
    for part in parts[:MOST]:
        if language.share(part)[1] >= PLAIN:
            continue
        for name, turn in _TURNS:
            turned = turn(part)
            if language.certain(turned):
                yield name, turned


def _turned_pieces(text: str) -> Iterator[tuple[str, str]]:
    """Encoded pieces that were shifted or reversed afterwards, and text that was both."""
    for count, piece in enumerate(_PIECE.finditer(text[:GUESSED])):
        if count >= MOST:
            break
        found = _turned(piece[0], DEEPEST)
        if found:
            yield "shifted or reversed", found


def _text(data: bytes) -> str:
    """Bytes as UTF-8, or as UTF-16 if they are not that; '' if they are neither."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("utf-16-le")
    except UnicodeDecodeError:
        return ""


def _from_base64(piece: str) -> str:
    plain = re.sub(r"\s", "", piece).rstrip("=").replace("-", "+").replace("_", "/")
    plain = plain[: len(plain) - 1] if len(plain) % 4 == 1 else plain
    if plain.isalpha() and (plain.islower() or plain.istitle()):
        return ""
    try:
        return _text(base64.b64decode(plain + "=" * (-len(plain) % 4)))
    except (binascii.Error, ValueError):
        return ""


def _from_base32(piece: str) -> str:
    plain = piece.rstrip("=")
    try:
        return _text(base64.b32decode(plain + "=" * (-len(plain) % 8)))
    except (binascii.Error, ValueError):
        return ""


def _from_hex(piece: str) -> str:
    plain = re.sub(r"0x|\\x|[^0-9A-Fa-f]", "", piece)
    return _text(bytes.fromhex(plain[: len(plain) // 2 * 2]))


def _from_binary(piece: str) -> str:
    return _text(bytes(int(b, 2) for b in re.findall(r"[01]{8}", piece)))


def _from_decimal(piece: str) -> str:
    codes = [int(code) for code in re.findall(r"\d+", piece)]
    return "".join(map(chr, codes)) if all(32 <= c < 127 for c in codes) else ""


def _from_percent(piece: str) -> str:
    return urllib.parse.unquote_plus(piece)


def _from_morse(piece: str) -> str:
    plain = re.sub("[·]", ".", re.sub("[−–]", "-", piece))
    words = re.split(r"\s*[/|]\s*|\s{2,}", plain)
    told = ["".join(_SIGNS.get(sign, "?") for sign in word.split()) for word in words]
    text = " ".join(told)
    return "" if text.count("?") > len(text) / 10 else text


def _shift(by: int) -> Callable[[str], str]:
    moved = _LETTERS[by:] + _LETTERS[:by]
    table = str.maketrans(_LETTERS + _LETTERS.upper(), moved + moved.upper())
    return lambda text: text.translate(table)


_ROT13 = _shift(13)
_MIRROR = str.maketrans(_LETTERS + _LETTERS.upper(), _LETTERS[::-1] + _LETTERS.upper()[::-1])


def _mirrored(text: str) -> str:
    return text.translate(_MIRROR)


def _backwards(text: str) -> str:
    return text[::-1]


def _words_backwards(text: str) -> str:
    return re.sub(r"\w+", lambda found: found[0][::-1], text)


_TURNS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("rot13", _ROT13),
    ("reversed", _backwards),
    ("rot13, reversed", lambda text: _ROT13(text[::-1])),
    ("reversed words", _words_backwards),
    ("mirrored letters", _mirrored),
    *((f"letters shifted by {by}", _shift(26 - by)) for by in range(1, 26) if by != 13),
)
_PIECES: tuple[tuple[str, re.Pattern[str], Callable[[str], str]], ...] = (
    ("base64", _BASE64, _from_base64),
    ("base32", _BASE32, _from_base32),
    ("hex", _HEX, _from_hex),
    ("binary", _BINARY, _from_binary),
    ("character codes", _DECIMAL, _from_decimal),
    ("URL encoding", _PERCENT, _from_percent),
    ("Morse", _MORSE, _from_morse),
)
