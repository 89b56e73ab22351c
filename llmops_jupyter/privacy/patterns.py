"""Where personal data and secrets stand in a text.

Each kind is a pattern that finds candidates and a check that keeps the real ones. Every pattern takes
time in proportion to the text, whatever the text is: repeats are bounded, or begin only where a run of
their characters begins, or are followed by something that cannot occur inside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from llmops_jupyter.errors import PrivacyError, did_you_mean
from llmops_jupyter.privacy import checks

Span = tuple[int, int]


@dataclass(frozen=True)
class Finding:
    """A piece of personal data: its kind, and where it starts and ends in the text."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Rule:
    """A pattern for candidates, and the span of the finding that one is, or None if it is none."""

    kind: str
    pattern: re.Pattern[str]
    span: Callable[[str, re.Match[str]], Span | None]


_LOCAL_REVERSED = re.compile(r"[\w.%+'-]{0,63}\w")
_CARD = (
    r"[0-9]{12,19}"
    r"|[0-9]{4}([ -])[0-9]{4}\2[0-9]{4}\2[0-9]{4}(?:\2[0-9]{3})?"
    r"|[0-9]{4}([ -])[0-9]{6}\3[0-9]{4,5}"
)
_VERSION = re.compile(
    r"(?i)(?:\b(?:version|release|build|firmware|update|upgraded? to)s?|==|>=|~=)[ \t:=]{0,3}v?$"
)
_KEY_BLOCK = "PRIVATE KEY(?: BLOCK)?-----"


def _whole(_: str, match: re.Match[str]) -> Span:
    return match.span(match.lastindex or 0)


def _email(text: str, match: re.Match[str]) -> Span | None:
    at = match.start()
    local = _LOCAL_REVERSED.match(text[max(0, at - 64) : at][::-1])
    if local is None:
        return None
    # Where a repository is: git@host:path.
    is_remote = local[0] in ("tig", "gh") and text[match.end() : match.end() + 1] in (":", "/")
    return None if is_remote else (at - local.end(), match.end())


def _card(_: str, match: re.Match[str]) -> Span | None:
    candidate, start = match[1], match.start(1)
    digits = re.sub(r"[^0-9]", "", candidate)
    if checks.is_card_number(digits):
        return start, start + len(candidate)
    # Four groups of four, with a group of three behind them that belongs to something else.
    if len(candidate) == 23 and checks.is_card_number(digits[:16]):
        return start, start + 19
    return None


def _iban(text: str, match: re.Match[str]) -> Span | None:
    wanted = checks.IBAN_LENGTHS.get(match[0][:2].upper(), 0)
    found: list[str] = []
    end = start = match.start()
    while len(found) < wanted and end < len(text):
        char = text[end]
        if char.isascii() and char.isalnum():
            found.append(char)
        elif char not in " -" or not text[end - 1].isalnum():
            return None
        end += 1
    cut_short = end < len(text) and text[end].isalnum()
    return (start, end) if not cut_short and checks.is_iban("".join(found)) else None


def _ipv6(_: str, match: re.Match[str]) -> Span | None:
    candidate = match[0].rstrip(".")
    if candidate.endswith(":") and not candidate.endswith("::"):
        candidate = candidate[:-1]
    return (match.start(), match.start() + len(candidate)) if checks.is_ipv6(candidate) else None


def _ipv4(text: str, match: re.Match[str]) -> Span | None:
    """An address, unless the word before it says that it is a version."""
    before = text[max(0, match.start() - 24) : match.start()]
    return match.span() if checks.is_ipv4(match[0]) and not _VERSION.search(before) else None


def _us_ssn(_: str, match: re.Match[str]) -> Span | None:
    return match.span() if checks.is_us_ssn(match[1], match[3], match[4]) else None


def _phone(_: str, match: re.Match[str]) -> Span | None:
    return match.span(1) if checks.is_phone_number(match["number"]) else None


def _with_digit(_: str, match: re.Match[str]) -> Span | None:
    return match.span() if any(c.isdigit() for c in match[0]) else None


def _rule(
    kind: str, pattern: str, span: Callable[[str, re.Match[str]], Span | None] = _whole
) -> Rule:
    return Rule(kind, re.compile(pattern), span)


_EXTENSION = r"(?: ?(?:x|ext\.? ?)[0-9]{1,5})?"
_WORDS = r"(?i:phone|telephone|tel|mobile|cell|fax|call|sms|whatsapp|landline)"

RULES: tuple[Rule, ...] = (
    # Everything between the slashes and the host, with the host, so that no e-mail address is seen in
    # `password@host` and a part of the password left behind.
    _rule("url_credentials", r"(?<=://)[^\s/:@]*:[^\s/@]+@[\w.-]*"),
    _rule(
        "secret",
        rf"-----BEGIN [A-Z ]{{0,30}}{_KEY_BLOCK}"
        rf"(?:[^-]*(?:-(?!----)[^-]*)*-----END [A-Z ]{{0,30}}{_KEY_BLOCK}"
        r"|(?:(?:\s|\\[nr]|[>|#*\"'+,]){1,12}[A-Za-z0-9+/=]{16,})*"
        r"(?:(?:\s|\\[nr]|[>|#*\"'+,]){1,12}[A-Za-z0-9+/]{1,15}={1,2})?)",
    ),
    _rule(
        "secret",
        r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}"
        r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])|AIza[A-Za-z0-9_-]{35}|hf_[A-Za-z0-9]{30,}"
        r"|npm_[A-Za-z0-9]{36,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|gsk_[A-Za-z0-9]{30,})",
    ),
    _rule(
        "secret",
        r"(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_-]{20,}|xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}"
        r"|xapp-[A-Za-z0-9-]{10,}|glpat-[A-Za-z0-9_-]{20,}|pypi-[A-Za-z0-9_-]{50,})",
        _with_digit,
    ),
    _rule("secret", r"(?<![\w-])eyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"),
    _rule("email", r"@(?:[^\W_](?:[\w-]{0,62})\.){1,10}[^\W\d_][\w-]{1,62}", _email),
    _rule(
        "credit_card",
        rf"(?<![^\W_])(?<![0-9]\.)(?=[0-9]{{4}}[0-9 -])(?=({_CARD})(?![^\W_])(?!\.[0-9]))",
        _card,
    ),
    _rule("iban", r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9])", _iban),
    _rule(
        "ip_address",
        r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|\.[0-9])",
        _ipv4,
    ),
    _rule(
        "ip_address",
        r"(?<![0-9A-Za-z.])(?<![0-9A-Fa-f]:)(?<!::)"
        r"(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{2,39}(?:[0-9.]{7,15})?(?![0-9A-Za-z:])",
        _ipv6,
    ),
    _rule(
        "us_ssn",
        r"(?<![\w-])([0-9]{3})([ -])([0-9]{2})\2([0-9]{4})(?!\w|-[0-9])",
        _us_ssn,
    ),
    # International: a plus sign or 00, then seven to fifteen digits.
    _rule(
        "phone",
        r"(?<![\w+.])((?P<number>(?:\+|00)[ .-]?(?:\([0-9]{1,4}\)|[1-9])"
        rf"(?:[ .()/-]{{0,2}}[0-9]){{6,14}}){_EXTENSION})(?![0-9])",
        _phone,
    ),
    # North America: 3-3-4, the area code in parentheses or not.
    _rule(
        "phone",
        r"(?<![\w.+/-])((?P<number>(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])"
        rf"[0-9]{{3}}[ .-][0-9]{{4}}){_EXTENSION})(?!\w|-[0-9])",
        _phone,
    ),
    # A trunk zero and an area code, then groups: 020 7946 0958, 030/1234567, 06 12 34 56 78.
    _rule(
        "phone",
        r"(?<![\w.+/-])((?P<number>\(?0[1-9][0-9]{0,4}\)?[ /-][0-9]{3,4}(?:[ -]?[0-9]{2,5}){1,2}"
        rf"|0[1-9](?:[ .-][0-9]{{2}}){{4}}){_EXTENSION})(?!\w|-[0-9])",
        _phone,
    ),
    # Any grouping, after a word that announces it.
    _rule(
        "phone",
        rf"(?<![A-Za-z]){_WORDS}(?![A-Za-z])[^0-9\n+(]{{0,20}}\n?"
        r"((?P<number>[+(]?[0-9](?:[ ().-]{0,2}[0-9]){6,14}))(?![0-9])",
        _phone,
    ),
)

KINDS: tuple[str, ...] = tuple(dict.fromkeys(sorted(rule.kind for rule in RULES)))


def check_kinds(kinds: Iterable[str] | None) -> frozenset[str]:
    """The kinds themselves, all of them for None; raises PrivacyError for one that is not known."""
    if kinds is None:
        return frozenset(KINDS)
    wanted = [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in wanted:
        if kind not in KINDS:
            raise PrivacyError(
                f"There is no kind {kind!r} of personal data.{did_you_mean(str(kind), KINDS)} "
                f"Kinds: {', '.join(KINDS)}; 'pii' is all of them."
            )
    return frozenset(wanted)


def find(text: str, kinds: Iterable[str] | None = None) -> list[Finding]:
    """Findings in the order of the text, none overlapping.

    Where candidates overlap they become one finding that covers them all and has the kind of the
    longest, so that nothing found is left in part.

    Args:
        text: any text; the time taken is in proportion to its length.
        kinds: the kinds to look for (see `KINDS`); None is all.

    Raises:
        PrivacyError: a kind is not known.
    """
    wanted = check_kinds(kinds)
    found = sorted(_candidates(text, wanted), key=lambda f: (f.start, -f.end))
    merged: list[Finding] = []
    longest = 0
    for finding in found:
        if merged and finding.start < merged[-1].end:
            last = merged[-1]
            size = finding.end - finding.start
            kind = finding.kind if size > longest else last.kind
            longest = max(longest, size)
            merged[-1] = Finding(kind, last.start, max(last.end, finding.end))
        else:
            merged.append(finding)
            longest = finding.end - finding.start
    return merged


def _candidates(text: str, wanted: frozenset[str]) -> Iterator[Finding]:
    for rule in RULES:
        if rule.kind not in wanted:
            continue
        for match in rule.pattern.finditer(text):
            span = rule.span(text, match)
            if span is not None:
                yield Finding(rule.kind, *span)
