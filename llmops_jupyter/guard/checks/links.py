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
_BRACKET = re.compile(r"\\.|!?\[|\]\(?", re.DOTALL)
_TARGET = re.compile(r"\]\([ \t\n]{0,3}(?:<([^<>\n]+)>|([^\s)<>]+))[^)\n]{0,300}\)?")
_DEFINED = re.compile(r"(?m)^ {0,3}\[[^\]\n]{1,200}\]:[ \t]{0,5}<?([^\s>]+)>?")
_AUTO = re.compile(r"<([A-Za-z][A-Za-z0-9+.-]{1,30}:[^<>\s]+)>")
_BARE = re.compile(
    r"(?i)(?<![\w/.])(?:(?:https?|ftp):|www\.|javascript:|vbscript:|data:(?=\w+/))[^\s<>\"'`)\]]+"
)
# A tag with its attributes; what stands in quotes may have brackets of its own.
_TAG = re.compile(r"(?i)</?([a-z][a-z0-9:-]{0,40})(?![a-z0-9:-])(?:\"[^\"]*\"|'[^']*'|[^'\"<>])*>?")
_ATTRIBUTE = re.compile(
    r"(?i)[\s\"'/](src|href|srcset|action|formaction|data|poster|background|xlink:href|ping|manifest)"
    r"[ \t\n]{0,9}=[ \t\n]{0,9}(?:\"([^\"]*)|'([^']*)|([^\s>\"']+))"
)
_HANDLER = re.compile(r"(?i)[\s/\"']on[a-z]{3,20}[ \t\n]{0,9}=|\burl[ \t]{0,3}\(")
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
_LOADS = ("img", "image", "picture", "source", "video", "audio", "track", "body", "table", "td")
_WEB = re.compile(r"(?i)^(https?|ftp):/*")
_SLASHES = re.compile(r"^/{2,}")
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
    """The check 'links'."""
    hosts = None if allow is None else tuple(a.casefold().strip().rstrip(".") for a in allow)
    return Links(hosts, images, data)


def found_in(text: str) -> Iterator[Link]:
    """All links of a text; those within others are told as well."""
    yield from _in_brackets(text)
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


def _in_brackets(text: str) -> Iterator[Link]:
    """Markdown's links and images, each with the bracket that it began with."""
    open_: list[int] = []
    end = 0
    for match in _BRACKET.finditer(text):
        sign = match[0]
        if sign.endswith("[") and not sign.startswith("\\"):
            open_.append(match.start())
        elif sign.startswith("]"):
            begin = open_.pop() if open_ else match.start()
            target = _TARGET.match(text, match.start()) if sign == "](" and begin >= 0 else None
            if target is None or target.start() < end:
                continue
            end = target.end()
            loads = text.startswith("![", begin)
            shown = text[begin + 1 + loads : match.start()]
            yield Link(begin, end, target[1] or target[2], shown, loads)


def _of_tag(match: re.Match[str]) -> Iterator[Link]:
    name = match[1].casefold()
    begin, end = match.span()
    if name in _RUNS:
        yield Link(begin, end, "", runs=f"the HTML tag {name}")
        return
    if _HANDLER.search(match[0]):
        yield Link(begin, end, "", runs=f"the HTML tag {name} with code or a style that loads")
        return
    for attribute in _ATTRIBUTE.finditer(match[0]):
        value = attribute[2] or attribute[3] or attribute[4] or ""
        loads = name in _LOADS or attribute[1].casefold() in ("background", "poster", "srcset")
        yield Link(begin, end, value.split(",")[0].strip().split(" ")[0], loads=loads)


def cleaned(address: str) -> str:
    """An address as a browser takes it: entities read, gaps left out, slashes in one direction and as many as there should be."""
    plain = _GAPS.sub("", html.unescape(address)).replace("\\", "/")
    if plain[:4].casefold() == "www.":
        return f"https://{plain}"
    return _SLASHES.sub("//", _WEB.sub(r"\1://", plain))


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


def _end(host: str) -> str:
    """The last two parts of a host: those before it may be what is carried away."""
    parts = host.split(".")
    return ("…" if len(parts) > 2 else "") + ".".join(part[-40:] for part in parts[-2:])


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
