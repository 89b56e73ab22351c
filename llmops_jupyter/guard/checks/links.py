"""Links and images that carry data away or run something: in Markdown, in HTML, and bare ones.

An image is fetched without a click, so that its address can carry what a model was told to put there. What leads to
hosts that are not allowed, has other schemes than http, https and mailto, is raw HTML that loads or runs, or has long
data in its address is found.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.checks import code
from llmops_jupyter.guard.checks.addresses import Link, cleaned, found_in, host_of, scheme_of
from llmops_jupyter.guard.masking import masked, replaced
from llmops_jupyter.records import Place

# Characters of an address's query, its fragment, one part of its path, and one label of its host.
LONGEST_DATA, LONGEST_PART, LONGEST_LABEL = 100, 150, 40
LONGEST_SHOWN = 2_000
SCHEMES = ("http", "https", "mailto")
ANY = "*"
_BLANK = re.compile(r"\s*")
_HOST = re.compile(r"\*|(?:\*\.)?[^\s/*@?#:]+")


@dataclass(frozen=True)
class Links:
    """Finds unsafe links; what it modifies keeps the words and loses the addresses.

    Args:
        allow: hosts, with all below them, that links and images may lead to; ``*`` is any; None lets links lead
            anywhere and images nowhere.
        images: images may be loaded from any host that links may lead to, where `allow` is None.
        data: characters of a query or fragment from which on it is taken for data that is carried away.
    """

    allow: tuple[str, ...] | None = None
    images: bool = False
    data: int = LONGEST_DATA
    name: str = "links"
    places: tuple[Place, ...] = ("input", "context", "output")

    def find(self, text: str, about: About) -> Finding:
        """Yes where there is an unsafe link, image or tag."""
        spans: list[tuple[int, int, str]] = []
        why: dict[str, None] = {}
        first = ""
        shown = code.spans(text)
        for link in found_in(text):
            fault = "" if link.runs else self._fault(link, about.links)
            if link.runs and (link.loads or not _is_in(link, shown)):
                fault = link.runs
            if not fault:
                continue
            why[fault] = None
            first = first or link.address or text[link.begin : link.begin + LONGEST_SHOWN]
            spans += _edits(text, link)
        if not spans:
            return Finding(None, False, "no unsafe links")
        return Finding(None, True, "; ".join(why), masked(first), replaced(text, spans))

    def _fault(self, link: Link, more: Sequence[str]) -> str:
        """What is wrong with an address; '' if nothing is."""
        address = cleaned(link.address)
        scheme, host = scheme_of(address), host_of(address)
        if scheme and scheme not in SCHEMES:
            return f"an address with the scheme {scheme[:20]}:"
        if not host:
            return ""
        what = "an image" if link.loads else "a link"
        if self.allow is None:
            if link.loads and not self.images and not _is_of(host, more):
                return f"an image from {_end(host)}, which would be loaded at once"
        elif not _is_of(host, (*self.allow, *more)):
            return f"{what} to {_end(host)}, which is not on the list"
        if self._carries(address, host):
            return f"{what} to {_end(host)} with long data in its address"
        return ""

    def _carries(self, address: str, host: str) -> bool:
        try:
            parts = urlsplit(address)
        except ValueError:
            return True
        longest = max((len(unquote(p)) for p in parts.path.split("/")), default=0)
        label = max((len(p) for p in host.split(".")), default=0)
        asked = max(len(unquote(parts.query)), len(unquote(parts.fragment)))
        return asked > self.data or longest > LONGEST_PART or label > LONGEST_LABEL


def make(
    allow: Sequence[str] | None = None, images: bool = False, data: int = LONGEST_DATA
) -> Links:
    """The check 'links'.

    Raises:
        GuardError: an entry of `allow` has no host.
    """
    return Links(None if allow is None else tuple(_host(a) for a in allow), images, data)


def _host(given: str) -> str:
    """The host of an entry of the list; of an address its host counts."""
    plain = given.strip().casefold()
    host = host_of(cleaned(plain)) if "/" in plain else plain.split(":")[0]
    host = host.rstrip(".")
    if not _HOST.fullmatch(host):
        raise GuardError(
            f"{given!r:.100} is no host that links may lead to. Write one as in allow: [example.org], or * for any."
        )
    return host


def _is_in(link: Link, parts: Sequence[tuple[int, int]]) -> bool:
    """Whether a tag stands in one of the parts, which are in order."""
    place = bisect.bisect(parts, (link.begin, len(parts) and parts[-1][1])) - 1
    return place >= 0 and parts[place][0] <= link.begin and link.end <= parts[place][1]


def _end(host: str) -> str:
    """The last two parts of a host: those before it may be what is carried away."""
    parts = host.split(".")
    return ("…" if len(parts) > 2 else "") + ".".join(part[-40:] for part in parts[-2:])


def _is_of(host: str, allowed: Sequence[str]) -> bool:
    return any(a in (ANY, host) or host.endswith(f".{a.removeprefix('*.')}") for a in allowed)


def _edits(text: str, link: Link) -> list[tuple[int, int, str]]:
    """What is put in the place of a link; a label stays with what is in it."""
    mark = "[image removed]" if link.loads else "[link removed]"
    if link.label < 0:
        return [(link.begin, link.end, mark if link.address else "")]
    inside = link.begin + (2 if text.startswith("![", link.begin) else 1)
    if inside > link.label:  # the bracket that it began with is missing
        return [(link.begin, link.end, mark)]
    gap = _BLANK.match(text, inside)
    first = gap.end() if gap else inside
    if first >= link.label:
        return [(link.begin, link.end, mark)]
    glue = "" if text[link.label - 1].isspace() else " "
    return [(link.begin, first, ""), (link.label, link.end, f"{glue}{mark}")]
