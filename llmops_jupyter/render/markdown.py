"""Make a model's Markdown safe to show in a trusted notebook output.

A notebook treats what its own kernel sends as trusted, so raw HTML in Markdown would run. Here tags,
images, links that are not http(s) and MathJax commands that load or link are broken up, while code
stays as it is. Outside fenced code nothing depends on finding code exactly: an invisible word joiner
breaks a construct (and `<` becomes an entity where the text does not look like inline code), which is
safe wherever a renderer thinks that code begins.
"""

from __future__ import annotations

import re

JOINER = "\u2060"

_FENCE = re.compile(r"(`{3,})([^`]*)$|(~{3,})(.*)$")
_CODE_SPAN = re.compile(r"(?<![\\`])(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_IMAGE = re.compile(r"!(?=\[)")
_LINK = re.compile(r"\](?=\((?!\s*<?(?:https?://|mailto:|#)))", re.IGNORECASE)
_REFERENCE = re.compile(r"\](?=:(?!\s*<?https?://))", re.IGNORECASE)
_MATH = re.compile(r"\\(?=(?:href|url|require|style|class|cssId|includegraphics)\b)")


def safe_markdown(text: str) -> str:
    """The same Markdown without live HTML, remote images or links other than http(s)."""
    return "".join(chunk if fenced else _safe_prose(chunk) for fenced, chunk in _split_fences(text))


def _split_fences(text: str) -> list[tuple[bool, str]]:
    """Cut at fenced code that begins in the first column; a fence inside a list is not trusted."""
    chunks: list[tuple[bool, str]] = []
    prose: list[str] = []
    fence: list[str] = []
    mark = ""
    for line in text.splitlines(keepends=True):
        bare = line.rstrip()
        if mark:
            fence.append(line)
            if bare.startswith(mark) and set(bare) == {mark[0]}:
                chunks.append((True, "".join(fence)))
                fence, mark = [], ""
            continue
        opening = _FENCE.match(bare)
        if opening:
            chunks.append((False, "".join(prose)))
            # The info string is shown nowhere as code, so it is made safe like prose.
            mark = opening.group(1) or opening.group(3)
            chunks.append((False, line))
            prose = []
            continue
        prose.append(line)
    chunks.append((True, "".join(fence)))
    chunks.append((False, "".join(prose)))
    return [(fenced, chunk) for fenced, chunk in chunks if chunk]


def _safe_prose(text: str) -> str:
    parts: list[str] = []
    end = 0
    for span in _CODE_SPAN.finditer(text):
        parts.append(_escape(text[end : span.start()]))
        parts.append(_join(span.group(0)))
        end = span.end()
    parts.append(_escape(text[end:]))
    return "".join(parts)


def _escape(text: str) -> str:
    return _break(_TAG.sub("&lt;", text))


def _join(text: str) -> str:
    return _break(_TAG.sub("<" + JOINER, text))


def _break(text: str) -> str:
    # A joiner, not a backslash: the text may hold a backslash before the bracket already.
    text = _MATH.sub("\\\\" + JOINER, text)
    text = _IMAGE.sub("!" + JOINER, text)
    text = _LINK.sub("]" + JOINER, text)
    return _REFERENCE.sub("]" + JOINER, text)
