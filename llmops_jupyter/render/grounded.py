"""An answer from documents: each sentence marked with what the passages say of it, then the places."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llmops_jupyter.render.markdown import inert

if TYPE_CHECKING:
    from llmops_jupyter.records import Citation, Claim, Completion, Grounding

NOT_THERE, TURNED = "[?]", "[≠]"
_CITED = re.compile(r"\s*\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")
_CODE = re.compile(r"(`+[^`]*`+)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Characters of a quotation that are shown.
MOST = 240


def marked(text: str, grounding: Grounding) -> str:
    """The answer with a mark after each sentence: the passage's number, or that it is not there."""
    parts, at = [], 0
    for claim in grounding.claims:
        begin = text.find(claim.text, at)
        if begin < 0:
            continue
        end = begin + len(claim.text)
        parts += [text[at:begin], _with_mark(_without_numbers(claim.text), mark_of(claim))]
        at = end
    return "".join([*parts, text[at:]])


def _without_numbers(text: str) -> str:
    """A sentence without the numbers that the model put there itself; code stays as it is."""
    return "".join(
        part if part.startswith("`") else _CITED.sub("", part) for part in _CODE.split(text)
    )


def _with_mark(text: str, mark: str) -> str:
    if not mark:
        return text
    if text.startswith("|") and text.endswith("|"):  # a row of a table: into its last cell
        return f"{text[:-1].rstrip()} {mark} |"
    return f"{text} {mark}"


def mark_of(claim: Claim) -> str:
    """What stands behind a sentence."""
    if claim.verdict == "supported" and claim.citations:
        return f"[{claim.citations[0].number}]"
    return {"unsupported": NOT_THERE, "contradicted": TURNED}.get(claim.verdict, "")


def sources_text(grounding: Grounding) -> list[str]:
    """The cited places with their words, and what is wrong with the sentences that have no place."""
    lines = [f"[{c.number}] {c.place}: “{_short(c)}”" for c in grounding.citations]
    for claim in grounding.claims:
        if claim.verdict == "contradicted" and claim.citations:
            first = claim.citations[0]
            lines.append(f"{TURNED} {claim.why}: {first.place}: “{_short(first)}”")
    if any(c.verdict == "unsupported" for c in grounding.claims):
        lines.append(f"{NOT_THERE} not found in the passages")
    if not grounding.answered:
        lines = [grounding.why] if grounding.why else []
        lines += [f"nearest: {c.place}: “{_short(c)}”" for c in grounding.nearest]
    return lines


def sources_markdown(grounding: Grounding) -> str:
    """The same as a quiet list."""
    return "\n".join(f"- {inert(' '.join(line.split()))}" for line in sources_text(grounding))


def shown_text(done: Completion) -> str:
    """The text of a completion as it is shown."""
    grounding = done.grounding
    if grounding is None or (grounding.draft and grounding.draft != done.text):
        return done.text
    return marked(done.text, grounding)


def after_stream(done: Completion) -> list[str]:
    """What comes below an answer that was written as it came: its end where it was taken back, and the places."""
    grounding = done.grounding
    if grounding is None:
        return []
    taken_back = [done.text] if grounding.draft else []
    doubtful = [c for c in grounding.claims if mark_of(c) in (NOT_THERE, TURNED)]
    taken_back += [f"{mark_of(c)} {c.text}" for c in doubtful if not grounding.draft]
    return ["", *taken_back, *sources_text(grounding)]


def one_line(text: str) -> str:
    """Words of a document on one line, without what a terminal would obey."""
    return " ".join(_CONTROL.sub("", text).split())


def _short(citation: Citation) -> str:
    quote = one_line(citation.quote)
    return quote if len(quote) <= MOST else f"{quote[:MOST].rstrip()}…"
