"""Make a model's Markdown safe to show in a trusted notebook output.

A notebook treats what its own kernel sends as trusted, so raw HTML in Markdown would run. Renderers
disagree on where code begins and ends (JupyterLab's, VS Code's, nbconvert's), so nothing here depends
on guessing right:

* Fenced code is written anew: at the left margin, between blank lines, with a fence longer than any in
  it. All renderers agree on such a block, and its content stays as it is.
* All else is prose, fences inside lists and quotes included, and is inert wherever a renderer thinks
  that code begins: tags, images, link definitions, links other than http(s), mailto or an anchor, and
  MathJax commands that load or link are broken by an entity or an invisible word joiner.
* If prose holds a fence that a renderer may take for open, no fence of ours can be taken for its end,
  and no line in ours can: every opening names a language, and runs of backticks are broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from llmops_jupyter.render.controls import visible

JOINER = "\u2060"

_FENCE = re.compile(r"( {0,3})(?:(`{3,})([^`]*)|(~{3,})(.*))")
_INNER_FENCE = re.compile(r"((?:[ \t]*(?:>|(?:[-*+]|\d{1,9}[.)])(?=[ \t])))*)([ \t]*)(`{3,})[^`]*")
_LANGUAGE = re.compile(r"[A-Za-z0-9_+#.-]+")
_ODD_LINE_ENDS = re.compile(r"[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")

_CODE_SPAN = re.compile(r"(?<![\\`])(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_IMAGE = re.compile(r"!(?=\[)")
_LINK = re.compile(r"\](?=\((?![ \t\n]*(?:https?://|mailto:|#)))", re.IGNORECASE)
_DEFINITION = re.compile(r"\](?=:)")
_SCHEME = re.compile(r"(ftp|xmpp):(?=\S)", re.IGNORECASE)
_TILDES = re.compile(r"~(?=~~)")
_BACKTICKS = re.compile(r"`(?=``)")
_MATH_COMMAND = re.compile(
    r"\\(?=(?:href|url|require|style|class|cssId|data|html|mmlToken|csname|includegraphics)"
    r"(?![A-Za-z]))"
)
_ENTITY = re.compile(r"&(?=(?:#(\d{1,7})|#[xX]([0-9A-Fa-f]{1,6})|(bsol));)")
_MATH_MARK = re.compile(r"\$|\\(?:begin|end)\b|\\\\?[(\[]")
_LINKING = re.compile(r"(?<=\])(?=\()|(?<=:)(?=//)|(?<=\bwww)(?=\.)|(?<=`)(?=``)", re.IGNORECASE)
_BLANK_LINES = re.compile(r"(\n[ \t]*\n)")


def safe_markdown(text: str) -> str:
    """The same Markdown without live HTML, images or links other than http(s), mailto and anchors.

    Fenced code that was left open is closed, so that what comes after is not swallowed by it.
    """
    blocks = [
        (language, inert("\n".join(lines)) if language is None else "\n".join(lines))
        for language, lines in _blocks(_lines(text))
    ]
    wary = any("```" in part for language, part in blocks if language is None)
    made: list[str] = []
    after_code = False
    for language, part in blocks:
        is_code = language is not None
        shown = (part if language is None else code_block(part, language, wary=wary)).split("\n")
        if made and (is_code or after_code) and made[-1].strip(" \t") and shown[0].strip(" \t"):
            made.append("")
        made += shown
        after_code = is_code
    return "\n".join(made)


def inert(text: str) -> str:
    """Markdown that is nowhere live, whatever a renderer takes for code in it."""
    text = _ODD_LINE_ENDS.sub(" ", "\n".join(_lines(text)))
    parts = []
    for inside, lines in groupby(_marked(text.split("\n")), key=lambda pair: pair[0]):
        chunk = "\n".join(line for _, line in lines)
        parts.append(_break(_TAG.sub("<" + JOINER, chunk)) if inside else _safe_prose(chunk))
    return "".join(_without_links(p) for p in _BLANK_LINES.split("\n".join(parts)))


def quote(text: str) -> str:
    """Markdown as an inert block quote."""
    # Blank lines of a quote are none to JupyterLab's search for formulas, so it is one paragraph.
    return "\n".join(f"> {line}" for line in _without_links(inert(text)).split("\n"))


def code_block(text: str, language: str = "", *, wary: bool = True) -> str:
    """A fenced block that no renderer ends early.

    `wary`: text before it may hold a fence that some renderer takes for open.
    """
    text = visible(text)
    if wary:
        text = _BACKTICKS.sub("`" + JOINER, text)
        language = language or "text"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    mark = "`" * max(3, longest + 1)
    return "\n".join([mark + language, *([text] if text else []), mark])


def _lines(text: str) -> list[str]:
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    return visible(plain).split("\n")


def _blocks(lines: list[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Fenced code of the outermost level with its language, and the prose between (language None)."""
    prose: list[str] = []
    inner: _Inner | None = None
    rest = iter(lines)
    for line in rest:
        if inner is not None and inner.holds(line):
            inner = None if inner.is_end(line) else inner
            prose.append(line)
            continue
        opening = _FENCE.fullmatch(line)
        if opening is None:
            inner = _Inner.of(line)
            prose.append(line)
            continue
        if prose:
            yield None, prose
        inner, prose = None, []
        code, ended = _code(rest, opening)
        language = _LANGUAGE.match((opening[3] or opening[5] or "").strip(" \t{"))
        if not ended and code and not code[-1]:
            prose = [code.pop()]
        yield language[0].lstrip(".") if language else "", code
    if prose:
        yield None, prose


def _code(rest: Iterator[str], opening: re.Match[str]) -> tuple[list[str], bool]:
    """The lines up to the closing fence, without the opening's indent; whether there was a closing."""
    mark = opening[2] or opening[4]
    end = re.compile(rf" {{0,3}}{mark[0]}{{{len(mark)},}}[ \t]*")
    margin = re.compile(rf" {{0,{len(opening[1])}}}")
    code: list[str] = []
    for line in rest:
        if end.fullmatch(line):
            return code, True
        code.append(margin.sub("", line, count=1))
    return code, False


@dataclass(frozen=True)
class _Inner:
    """A fence inside a list or a quote. It only decides how `<` is broken, not whether."""

    quoted: bool
    margin: int
    mark: str

    @classmethod
    def of(cls, line: str) -> _Inner | None:
        """The fence that a line opens behind a list's or a quote's mark, or far from the margin."""
        found = _INNER_FENCE.fullmatch(line)
        if found is None:
            return None
        width = len(found[1].expandtabs(4))
        return cls(">" in found[1], width + 1 if width else len(found[2]) - 3, found[3])

    def holds(self, line: str) -> bool:
        bare = line.expandtabs(4)
        if self.quoted:
            return bare.lstrip().startswith(">")
        return not bare.strip() or len(bare) - len(bare.lstrip()) >= self.margin

    def is_end(self, line: str) -> bool:
        bare = line.strip(" \t>")
        return bare.startswith(self.mark) and set(bare) == {"`"}


def _marked(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """Each line, with whether it lies in a fence inside a list or a quote."""
    inner: _Inner | None = None
    for line in lines:
        if inner is not None and inner.holds(line):
            yield True, line
            inner = None if inner.is_end(line) else inner
            continue
        inner = _Inner.of(line)
        yield inner is not None, line


def _safe_prose(text: str) -> str:
    parts: list[str] = []
    end = 0
    for span in _CODE_SPAN.finditer(text):
        parts.append(_break(_TAG.sub("&lt;", text[end : span.start()])))
        parts.append(_break(_TAG.sub("<" + JOINER, span.group(0))))
        end = span.end()
    parts.append(_break(_TAG.sub("&lt;", text[end:])))
    return "".join(parts)


def _break(text: str) -> str:
    # A joiner, not a backslash: the text may hold a backslash before the bracket already.
    text = _MATH_COMMAND.sub("\\\\" + JOINER, text)
    text = _ENTITY.sub(_broken_entity, text)
    text = _SCHEME.sub(r"\1:" + JOINER, text)
    text = _TILDES.sub("~" + JOINER, text)
    for construct in (_LINK, _DEFINITION):
        text = construct.sub("]" + JOINER, text)
    return _IMAGE.sub("!" + JOINER, text)


def _broken_entity(entity: re.Match[str]) -> str:
    """Letters and backslashes written as numbers could spell a MathJax command."""
    decimal, hexadecimal, _ = entity.groups()
    code = int(decimal) if decimal else int(hexadecimal or "5c", 16)
    plain = code < 128 and (chr(code).isalnum() or code == ord("\\"))
    return "&" + JOINER if plain else "&"


def _without_links(paragraph: str) -> str:
    """JupyterLab puts formulas back into finished HTML, quotes and all, even inside attributes.

    So a paragraph with both a formula and a quote has no link and no fence that could take one in.
    """
    if '"' in paragraph and _MATH_MARK.search(paragraph):
        return _LINKING.sub(JOINER, paragraph)
    return paragraph
