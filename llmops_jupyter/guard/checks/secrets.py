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
    r"(?i)\b(?:bearer|authorization:[ \t]{0,3}basic)[ \t]{1,3}([A-Za-z0-9._~+/=-]{16,500})"
)
_NAMED = re.compile(
    r"(?i)(?:pass(?:word|wd|phrase)|secret|token|api[_ -]?key|access[_ -]?key|private[_ -]?key|account[_ -]?key"
    r"|credentials?|auth[_ -]?key)[A-Za-z0-9_]{0,20}"
    r"[\"'`]{0,2}[ \t]{0,3}(?:=>|:=|[:=]|\bis\b)[ \t]{0,3}[\"'`]{0,2}([^\s\"'`,;<>(){}\[\]]{8,200})"
)
_EXAMPLE = re.compile(
    r"(?i)^(?:(?:my|the|some|an?|test|env)(?![a-z0-9])|your|example|sample|dummy|placeholder|change|replace|insert|todo"
    r"|xxx|\*\*\*|\.\.\.|\$|%|os\.)"
    r"|x{6}|\*{4}|\.{3}|example|placeholder|redacted|1234567"
)
_PASSWORD = re.compile(r"(?i)^pass")
LEAST_ENTROPY = 3.0


@dataclass(frozen=True)
class Secrets:
    """Finds secrets; what it modifies has a mark such as ``[SECRET]`` in their place."""

    entropy: bool = True
    name: str = "secrets"
    places: tuple[Place, ...] = ("input", "context", "output")

    def find(self, text: str, about: About) -> Finding:
        """Yes where there is a secret; it is never repeated in what is said of it."""
        del about
        found = list(spans_of(text, entropy=self.entropy))
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
        value = match[1].rstrip(".:")
        if _is_secret(value, is_password=bool(_PASSWORD.match(match[0]))):
            yield match.start(1), match.start(1) + len(value), "[SECRET]"


def _is_secret(value: str, *, is_password: bool) -> bool:
    if len(value) < 8 or _EXAMPLE.search(value) or "://" in value:
        return False
    if is_password:
        return _is_mixed(value) and entropy_of(value) >= 2.5
    return len(value) >= 12 and _is_mixed(value) and entropy_of(value) >= LEAST_ENTROPY


def _is_mixed(value: str) -> bool:
    """Whether there are letters and digits, as in what a machine made up."""
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def entropy_of(text: str) -> float:
    """Shannon's entropy of a text's characters, in bits for each."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
