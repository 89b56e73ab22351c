"""Links and images that carry data away or run something: in Markdown, in HTML, and bare ones.

An image is fetched without a click, so that its address can carry what a model was told to put there. What leads to
hosts that are not allowed, has other schemes than http, https and mailto, is raw HTML that loads or runs, or has long
data in its address is found.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.masking import masked, replaced
from llmops_jupyter.records import Place

# Characters of an address's query, its fragment, one part of its path, and one label of its host.
LONGEST_DATA, LONGEST_PART, LONGEST_LABEL = 100, 150, 40
SCHEMES = ("http", "https", "mailto")
ANY = "*"
# A title or an image between the brackets of a link is looked back for so far.
_BACK = 1_000
_TARGET = re.compile(r"\]\([ \t\n]{0,3}(?:<([^<>\n]+)>|([^\s)<>]+))[^)\n]{0,300}\)?")
_DEFINED = re.compile(r"(?m)^ {0,3}\[[^\]\n]{1,200}\]:[ \t]{0,5}<?([^\s>]+)>?")
_AUTO = re.compile(r"<([A-Za-z][A-Za-z0-9+.-]{1,30}:[^<>\s]+)>")
_BARE = re.compile(
    r"(?i)(?<![\w/])(?:(?:https?|ftp)://|javascript:|vbscript:|data:(?=\w+/))[^\s<>\"'`)\]]+"
)
_TAG = re.compile(
    r"(?i)</?(?:script|iframe|object|embed|applet|form|meta|base|link|style|svg|math|video|audio|source|track"
    r"|input|button|template|img|image|picture|frame|frameset|a|body|html|div|span|p|table|td|area|details)\b[^<>]{0,4000}>?"
)
_ATTRIBUTE = re.compile(
    r"(?i)\b(?:src|href|srcset|action|formaction|data|poster|background|xlink:href)[ \t\n]{0,3}=[ \t\n]{0,3}"
    r"(?:\"([^\"]{0,4000})|'([^']{0,4000})|([^\s>\"']{1,4000}))"
)
_HANDLER = re.compile(r"(?i)[\s/\"']on[a-z]{3,20}[ \t\n]{0,3}=|url\(")
_NAME = re.compile(r"(?i)</?([a-z]+)")
_RUNS = (
    *(
        "script",
        "iframe",
        "object",
        "embed",
        "applet",
        "form",
        "meta",
        "base",
        "link",
        "style",
        "svg",
    ),
    *("math", "template", "frame", "frameset", "input", "button"),
)
_LOADS = ("img", "image", "picture", "source", "video", "audio", "track")
_GAPS = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202f\u2060\ufeff]+")


@dataclass(frozen=True)
class Link:
    """An address in a text: where it stands with its brackets, what people see of it, and whether it loads by itself."""

    begin: int
    end: int
    address: str
    shown: str = ""
    loads: bool = False
    runs: str = ""


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
        for link in found_in(text):
            fault = link.runs or self._fault(link, about.links)
            if not fault:
                continue
            why[fault] = None
            first = first or link.address or text[link.begin : link.end]
            spans.append((link.begin, link.end, _instead(link)))
        if not spans:
            return Finding(None, False, "no unsafe links")
        return Finding(None, True, "; ".join(why), masked(first), replaced(text, spans))

    def _fault(self, link: Link, more: Sequence[str]) -> str:
        """What is wrong with an address; '' if nothing is."""
        address = cleaned(link.address)
        scheme, host = _scheme(address), host_of(address)
        if scheme and scheme not in SCHEMES:
            return f"an address with the scheme {scheme[:20]}:"
        if not host:
            return ""
        what = "an image" if link.loads else "a link"
        if self.allow is None:
            if link.loads and not self.images and not _is_of(host, more):
                return f"an image from {host[:60]}, which would be loaded at once"
        elif not _is_of(host, (*self.allow, *more)):
            return f"{what} to {host[:60]}, which is not on the list"
        if self._carries(address, host):
            return f"{what} to {host[:60]} with long data in its address"
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
    """The check 'links'."""
    hosts = None if allow is None else tuple(a.casefold().strip().rstrip(".") for a in allow)
    return Links(hosts, images, data)


def found_in(text: str) -> Iterator[Link]:
    """All links of a text; those within others are told as well."""
    taken: set[int] = set()
    for match in _TARGET.finditer(text):
        earliest = max(0, match.start() - _BACK)
        opening = text.rfind("[", earliest, match.start())
        while opening in taken:  # of an image within the brackets of a link
            opening = text.rfind("[", earliest, opening)
        taken.add(opening)
        taken.discard(-1)
        loads = opening > 0 and text[opening - 1] == "!"
        begin = match.start() if opening < 0 else opening - loads
        shown = "" if opening < 0 else text[opening + 1 : match.start()]
        yield Link(begin, match.end(), match[1] or match[2], shown, loads)
    for match in _DEFINED.finditer(text):
        # An image may refer to it, which would load.
        yield Link(match.start(), match.end(), match[1], loads="![" in text)
    for match in _AUTO.finditer(text):
        yield Link(match.start(), match.end(), match[1])
    for match in _TAG.finditer(text):
        yield from _of_tag(match)
    for match in _BARE.finditer(text):
        address = match[0].rstrip(".,;:!?")
        yield Link(match.start(), match.start() + len(address), address)


def _of_tag(match: re.Match[str]) -> Iterator[Link]:
    name_match = _NAME.match(match[0])
    name = name_match[1].casefold() if name_match else ""
    begin, end = match.span()
    if name in _RUNS:
        yield Link(begin, end, "", runs=f"the HTML tag {name}")
        return
    if _HANDLER.search(match[0]):
        yield Link(begin, end, "", runs=f"the HTML tag {name} with code or a style that loads")
        return
    for attribute in _ATTRIBUTE.finditer(match[0]):
        value = attribute[1] or attribute[2] or attribute[3] or ""
        yield Link(
            begin,
            end,
            value.split(",")[0].strip(),
            loads=name in _LOADS or name in ("body", "table", "td"),
        )


def cleaned(address: str) -> str:
    """An address as a browser takes it: entities read, gaps left out, slashes in one direction."""
    plain = html.unescape(address)
    return _GAPS.sub("", plain).replace("\\", "/")


def _scheme(address: str) -> str:
    if address.startswith("//"):
        return "https"
    head, colon, _ = unquote(address[:60]).partition(":")
    head = _GAPS.sub("", head)
    valid = head.isascii() and head[:1].isalpha() and all(c.isalnum() or c in "+.-" for c in head)
    return head.casefold() if colon and valid else ""


def host_of(address: str) -> str:
    """The host of an address in small letters, '' for one within the same place or without any."""
    try:
        if _scheme(address) == "mailto":
            return address.partition("?")[0].rpartition("@")[2].casefold().rstrip(".")
        return (urlsplit(address).hostname or "").casefold().rstrip(".")
    except ValueError:  # a broken one, such as with an unclosed [
        return "an address that cannot be read"


def _is_of(host: str, allowed: Sequence[str]) -> bool:
    return any(a in (ANY, host) or host.endswith(f".{a.removeprefix('*.')}") for a in allowed)


def _instead(link: Link) -> str:
    """What stands where a link was."""
    shown = link.shown.strip()
    if link.loads:
        return f"{shown} [image removed]".strip() if shown else "[image removed]"
    if link.runs:
        return ""
    return f"{shown} [link removed]".strip() if shown else "[link removed]"
