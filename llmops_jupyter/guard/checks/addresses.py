"""Addresses in a text: Markdown's links, images and definitions, HTML's tags, and bare ones.

Where renderers differ, more is told rather than less: a definition counts wherever ``]:`` stands, a tag is read with its quotes and
without them. Time and memory are linear in the length. Sources: CommonMark 0.31, sections 4.7 and 6.3 to 6.6; the HTML standard's
sections on tags and on images' candidates.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

# Of an address so many characters are read: the rest says no more.
LONGEST = 4_000
# The scheme and the slashes stand in so many, even where each is written as an entity.
BEGINNING = 300
_BRACKET = re.compile(r"\\.|!?\[|\]\(?", re.DOTALL)
_GAP = re.compile(r"[\s>]*")
_POINTED = re.compile(r"<([^<>\n]*)>")
_TITLE = re.compile(r"[\s>]*(?:\"[^\"]{0,600}\"|'[^']{0,600}'|\([^()]{0,600}\))?[\s>]{0,600}\)")
_NO_ADDRESS = re.compile(r"[\s<>]")
_REST = re.compile(r"[^)\n]{0,300}\)?")
_STOP = re.compile(r"\\[^\s<>]|[()]|[\s<>]+")
_DEFINED = re.compile(
    r"(?m)^[ \t>*+-]{0,20}(?:\d{1,9}[.)])?[ \t>]{0,20}\[(?:\\.|[^\[\]\\\n]){1,1000}\]:"
    r"[ \t]*(?:\r?\n[ \t>]*)?(?:<([^<>\n]*)>|([^\s<>]\S*))"
)
_LOOSE = re.compile(r"\]:[ \t]*(?:\r?\n[ \t>]*)?<?([^\s<>\]]+)")
# An image that everybody reads the same way, and that refers to no definition.
_PLAIN_IMAGE = re.compile(r"!\[[^\[\]\\\n`]*\]\([^\s()<>\\]+\)")
_AUTO = re.compile(r"<([A-Za-z][A-Za-z0-9+.-]{1,30}:[^<>\s]+)>")
_BARE = re.compile(
    r"(?i)(?<![\w/.])(?:(?:https?|ftp):|www\.|javascript:|vbscript:|data:(?=\w+/))[^\s<>\"'`)\]]+"
)
# A tag with its attributes, what stands in quotes having brackets of its own; and one whose quotes mean nothing.
_TAG = re.compile(r"<(/?)([A-Za-z][^\s/<>]*)((?:\"[^\"]*\"|'[^']*'|[^'\"<>])*)>?")
_BROKEN_TAG = re.compile(r"<(/?)([A-Za-z][^\s/<>]*)([^<>]*)>?")
_ATTRIBUTE = re.compile(
    r"(?i)[\s\"'/](src|href|srcset|imagesrcset|action|formaction|data|poster|background|xlink:href|ping|manifest|lowsrc|dynsrc)"
    r"\s*=\s*(?:\"([^\"]*)|'([^']*)|([^\s>\"']+))"
)
_HANDLER = re.compile(r"(?i)[\s/\"']on[a-z]{3,20}\s*=")
_STYLE = re.compile(r"(?i)[\s/\"']style\s*=\s*(?:\"([^\"]*)|'([^']*)|([^\s>\"']+))")
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_FETCHES = re.compile(
    r"(?i)(?:url|image-set|image|src|element|cross-fade|expression)\s*\(|@import|\\"
)
_SIGN = re.compile(r"(?i)\burl\s*\(")
_RUNS = frozenset(
    [
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
        "math",
        "template",
        "frame",
        "frameset",
        "input",
        "button",
    ]
)
# Those whose content runs or loads.
_ALWAYS = ("script", "style")
_LOADS = frozenset(
    ["src", "srcset", "imagesrcset", "poster", "background", "lowsrc", "dynsrc", "data"]
)
_LOADING = ("image", "feimage", "use", "link")
_BETWEEN = re.compile(r"[\s,]+")
_WEB = re.compile(r"(?i)^(https?|ftp):/*")
# One of these is in every address of another host.
_OUTSIDE = ("/", "\\", "&", ":", ".")
_SLASHES = re.compile(r"^/{2,}")
_GAPS = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202f\u2060\ufeff]+")


@dataclass(frozen=True)
class Link:
    """An address in a text.

    Args:
        begin: where it begins, with its brackets.
        end: where it ends.
        address: as it is written.
        label: where a label within it ends, which stays; -1 without one.
        loads: it loads without a click.
        runs: what it is, where it runs something or leads to anything.
    """

    begin: int
    end: int
    address: str
    label: int = -1
    loads: bool = False
    runs: str = ""


def found_in(text: str) -> Iterator[Link]:
    """All links, images and tags of a text; those within others are told as well."""
    yield from _in_brackets(text)
    has_images = text.count("![") > len(_PLAIN_IMAGE.findall(text))
    for match in _DEFINED.finditer(text):
        # An image may refer to it, which would load.
        yield Link(
            match.start(), match.end(), (match[1] or match[2] or "")[:LONGEST], loads=has_images
        )
    for match in _LOOSE.finditer(text):
        if has_host(match[1]):
            yield Link(match.start(1), match.end(), match[1][:LONGEST], loads=has_images)
    for match in _AUTO.finditer(text):
        yield Link(match.start(), match.end(), match[1][:LONGEST])
    for match in _TAG.finditer(text):
        yield from _of_tag(text, match)
    for match in _BROKEN_TAG.finditer(text):
        yield from _of_tag(text, match)
    for match in _BARE.finditer(text):
        address = match[0].rstrip(".,;:!?")
        yield Link(match.start(), match.start() + len(address), address[:LONGEST])


def has_host(address: str) -> bool:
    """Whether an address leads to another host; read by its beginning."""
    begins = address[:BEGINNING]
    if not any(sign in begins for sign in _OUTSIDE):
        return False
    plain = cleaned(begins)
    return plain.startswith("//") or bool(_WEB.match(plain))


def _in_brackets(text: str) -> Iterator[Link]:
    """Markdown's links and images, each with the bracket that it began with."""
    if "](" not in text:
        return
    ends = _Ends(text)
    open_: list[int] = []
    for match in _BRACKET.finditer(text):
        sign = match[0]
        if sign.endswith("[") and not sign.startswith("\\"):
            open_.append(match.start())
        elif sign.startswith("]"):
            begin = open_.pop() if open_ else match.start()
            target = _target(text, match.end(), ends) if sign == "](" else None
            if target is None:
                continue
            loads = text.startswith("![", begin)
            yield Link(begin, target[1], target[0], match.start(), loads)


class _Ends:
    """Where addresses behind brackets end: each bracket's partner in its run without gaps, and the gaps."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._gap = -1
        self._closing: dict[int, int] = {}
        self._first: dict[int, int] = {}
        open_: list[int] = []
        run = 0
        for match in _STOP.finditer(text):
            sign = match[0]
            if sign == "(":
                open_.append(match.start())
            elif sign == ")" and open_:
                self._closing[open_.pop()] = match.start()
            elif sign == ")":
                self._first.setdefault(run, match.start())
            elif not sign.startswith("\\"):
                run = match.end()
                open_.clear()

    def of(self, bracket: int, begin: int) -> int:
        """The end of the address that begins behind a bracket, or behind the gap after it; asked in the order of the text."""
        if self._gap < begin:
            found = _NO_ADDRESS.search(self._text, begin)
            self._gap = found.start() if found else len(self._text)
        near = self._closing.get(bracket) if begin == bracket + 1 else self._first.get(begin)
        return self._gap if near is None else near


def _target(text: str, behind: int, ends: _Ends) -> tuple[str, int] | None:
    """The address behind ``](`` and where its link ends; None if there is none."""
    gap = _GAP.match(text, behind)
    begin = gap.end() if gap else behind
    pointed = _POINTED.match(text, begin)
    if pointed is not None:
        address, end = pointed[1], pointed.end()
    else:
        end = ends.of(behind - 1, begin)
        address = text[begin : min(end, begin + LONGEST)]
    if not address:
        return None
    whole = _TITLE.match(text, end)
    if whole is not None:
        return address[:LONGEST], whole.end()
    if not has_host(address):
        return None
    # No link by the rules, but an address that some reader may follow.
    rest = _REST.match(text, end)
    return address[:LONGEST], rest.end() if rest else end


def _of_tag(text: str, match: re.Match[str]) -> Iterator[Link]:
    name, attributes = match[2].casefold(), match[3]
    begin, end = match.span()
    if name in _RUNS and _is_tag(text, match, name):
        yield Link(begin, end, "", runs=f"the HTML tag {name}")
    if not attributes:
        return
    if _HANDLER.search(attributes):
        yield Link(begin, end, "", runs=f"the HTML tag {name[:40]} with code")
    if _fetches(attributes):
        yield Link(
            begin, end, "", loads=True, runs=f"the HTML tag {name[:40]} with a style that loads"
        )
    for attribute in _ATTRIBUTE.finditer(attributes):
        value = attribute[2] or attribute[3] or attribute[4] or ""
        what = attribute[1].casefold()
        loads = what in _LOADS or (name in _LOADING and what.endswith("href"))
        several = _BETWEEN.split(value[:LONGEST]) if what.endswith("srcset") else [value[:LONGEST]]
        for address in several:
            yield Link(begin, end, address.strip(), loads=loads)


def _is_tag(text: str, match: re.Match[str], name: str) -> bool:
    """Whether a name in pointed brackets does something: a type such as ``List<Button>`` does not."""
    if name in _ALWAYS or match[3].strip(" /"):
        return True
    before = text[match.start() - 1 : match.start()]
    return match[2].islower() and not (before.isalnum() or before == "_")


def _fetches(attributes: str) -> bool:
    """Whether a style may load something: it names what loads, or hides its words."""
    if _SIGN.search(attributes):
        return True
    for style in _STYLE.finditer(attributes):
        plain = html.unescape(style[1] or style[2] or style[3] or "")
        if _FETCHES.search(_COMMENT.sub("", plain)) or "/*" in plain:
            return True
    return False


def cleaned(address: str) -> str:
    """An address as a browser takes it: entities read, gaps left out, slashes in one direction and as many as there should be."""
    plain = _GAPS.sub("", html.unescape(address)).replace("\\", "/")
    if plain[:4].casefold() == "www.":
        return f"https://{plain}"
    return _SLASHES.sub("//", _WEB.sub(r"\1://", plain))


def scheme_of(address: str) -> str:
    """The scheme of a cleaned address in small letters, '' for one without."""
    if address.startswith("//"):
        return "https"
    head, colon, _ = unquote(address[:60]).partition(":")
    head = _GAPS.sub("", head)
    valid = head.isascii() and head[:1].isalpha() and all(c.isalnum() or c in "+.-" for c in head)
    return head.casefold() if colon and valid else ""


def host_of(address: str) -> str:
    """The host of an address in small letters, '' for one within the same place or without any."""
    try:
        if scheme_of(address) == "mailto":
            return address.partition("?")[0].rpartition("@")[2].casefold().rstrip(".")
        return (urlsplit(address).hostname or "").casefold().rstrip(".")
    except ValueError:  # a broken one, such as with an unclosed [
        return "an address that cannot be read"
