"""Keys, tokens and passwords: shapes that services give out, and values of high entropy that are assigned to such a name.

Hashes, UUIDs and commit ids are no secrets by themselves: a value without a shape counts only behind a name that says
what it is.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from llmops_jupyter import privacy
from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.masking import replaced
from llmops_jupyter.guard.plain import merged, readings
from llmops_jupyter.records import Place

KINDS = ("secret", "url_credentials")
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"
    r"|dop_v1_[a-f0-9]{64}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|ya29\.[A-Za-z0-9_-]{20,}"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{58}|lin_api_[A-Za-z0-9]{40}|dapi[a-f0-9]{32}"
    r"|[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"
    r"|EAACEdEose0cBA[A-Za-z0-9]{10,}|sq0(?:atp|csp)-[A-Za-z0-9_-]{22,}"
    r")(?![A-Za-z0-9])"
    r"|hooks\.slack\.com/services/T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/[A-Za-z0-9]{20,}"
)
_BEARER = re.compile(
    r"(?i)\b(?:bearer|authorization:[ \t]{0,3}basic)[ \t]{1,3}([A-Za-z0-9._~+/=-]{16,}[^\s\"'`<>,;]*)"
)
# Names of passwords in several languages, and of other secrets; what goes on behind a name is another name: tokenizer.
_LOCKS = (
    r"pass(?:word|wd|phrase|code)|passwor[dt]|pwd|(?<=_)pass|kennwort|mot de passe|contraseña|contrasena|senha|wachtwoord"
    r"|lösenord|adgangskode|passord|salasana|hasło|haslo|şifre|парол[ья]|密码|密碼|パスワード|비밀번호"
)
_NAMED = re.compile(
    rf"(?i)(?:(?P<pass>{_LOCKS})|secret|token|api[_ -]?key|access[_ -]?key|private[_ -]?key|account[_ -]?key"
    r"|credentials?|auth[_ -]?key)(?:_?[0-9]{1,3}|_(?:key|id|value|prod|production|dev|test|staging|live|main|old|new|v[0-9]))?"
    r"(?![A-Za-z0-9_])"
    r"[\"'`]{0,2}[ \t\u00a0]{0,3}(?P<sign>=>|:=|[:=：]|\b(?:is|ist|est|es|è)\b)[ \t\u00a0]{0,3}"
    r"(?:[rbfu]{0,2}(?P<quote>[\"'`])(?P<quoted>(?:(?!(?P=quote))\S){6,})"
    r"|(?P<bare>(?:[^\s\"'`<>,;(){}\[\]]|[,;](?=[^\s\"'`<>,;(){}\[\]])(?![\w.-]{1,40}[ \t]{0,1}[=:]))+))"
)
# The name of a variable of a shell or of a file of settings stands in capitals, and its value behind it without a gap.
_SETTING = re.compile(r"[A-Z][A-Z0-9_]*=")
_EXAMPLE = re.compile(
    r"(?i)^(?:(?:my|the|some|an?|test|env)(?![a-z0-9])|your|example|sample|dummy|placeholder|change|replace|insert|todo"
    r"|xxx|\*\*\*|\.\.\.|\$|%|os\.|[~.]{0,2}/)"
    r"|x{6}|\*{4}|\.{3}|example|placeholder|redacted|1234567|\{[^{}]{0,80}\}"
)
_PART = r"(?:[^\W\d_]+[0-9]{0,3}[^\W\d_]?|[0-9]{1,4})"
# A name in code: words with a number at most behind them, joined by dots or lines.
_IDENTIFIER = re.compile(rf"{_PART}(?:[._]+{_PART})+_?")
_FIRST = re.compile(r"[,;]")
LEAST_ENTROPY, LEAST_OF_PASSWORDS = 3.0, 2.5
# Characters of a password at least, and of a value that are looked at; what is found is taken out to its end.
SHORTEST, READ = 6, 2_000


@dataclass(frozen=True)
class Secrets:
    """Finds secrets; what it modifies has a mark such as ``[SECRET]`` in their place."""

    entropy: bool = True
    name: str = "secrets"
    places: tuple[Place, ...] = ("input", "context", "output")

    def find(self, text: str, about: About) -> Finding:
        """Yes where there is a secret; it is never repeated in what is said of it."""
        del about
        found = merged(
            [
                (*read.back(begin, end), mark)
                for read in readings(text)
                for begin, end, mark in spans_of(read.text, entropy=self.entropy)
            ]
        )
        if not found:
            return Finding(None, False, "no secrets")
        clean = replaced(text, found)
        counts = Counter(mark for _, _, mark in found)
        said = ", ".join(f"{mark} {n}×" if n > 1 else mark for mark, n in counts.items())
        return Finding(None, True, "there are keys, tokens or passwords in it", said, clean)


def make(entropy: bool = True) -> Secrets:
    """The check 'secrets'."""
    return Secrets(entropy)


def without_secrets(text: str) -> str:
    """The text with a mark in the place of each secret."""
    return replaced(text, list(spans_of(text)))


def spans_of(text: str, *, entropy: bool = True) -> Iterator[tuple[int, int, str]]:
    """Where secrets stand, with the mark for each; overlapping ones are told twice."""
    for one in privacy.find(text, KINDS):
        yield one.start, one.end, f"[{one.kind.upper()}]"
    for match in _SHAPES.finditer(text):
        yield match.start(), match.end(), "[SECRET]"
    for match in _BEARER.finditer(text):
        if _is_mixed(match[1]) or match[1].endswith("="):
            yield match.start(1), match.end(1), "[SECRET]"
    if not entropy:
        return
    for match in _NAMED.finditer(text):
        span = _value(text, match)
        if span is not None:
            yield *span, "[SECRET]"


def _value(text: str, match: re.Match[str]) -> tuple[int, int] | None:
    """Where the secret behind a name stands, to the end of its run; None if the value is none."""
    is_password = match["pass"] is not None
    if match["quoted"] is not None:
        begin, end = match.span("quoted")
        return (begin, end) if _is_secret(match["quoted"], is_password=is_password) else None
    begin = match.start("bare")
    value = match["bare"].rstrip(".:,;")
    if text[match.end("bare") : match.end("bare") + 1] in (
        "(",
        "[",
    ):  # it is called, or looked up in
        return None
    is_setting = _SETTING.search(text, max(0, match.start() - 40), begin) is not None
    if not is_setting and _IDENTIFIER.fullmatch(_FIRST.split(value)[0]):
        return None
    return (begin, begin + len(value)) if _is_secret(value, is_password=is_password) else None


def _is_secret(value: str, *, is_password: bool) -> bool:
    read = value[:READ]
    if len(value) < SHORTEST or _EXAMPLE.search(read) or "://" in read:
        return False
    if is_password:
        return _is_mixed(read) and entropy_of(read) >= LEAST_OF_PASSWORDS
    return len(value) >= 12 and _is_mixed(read) and entropy_of(read) >= LEAST_ENTROPY


def _is_mixed(value: str) -> bool:
    """Whether there are letters and digits, as in what a machine made up."""
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def entropy_of(text: str) -> float:
    """Shannon's entropy of a text's characters, in bits for each."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
