"""Passages that speak to a model instead of a reader: flagged when they are indexed, never dropped.

These are phrases of attacks that are known, and signs of text that is hidden from readers. What says the same in
other words is not found; what writes about attacks is.
"""

from __future__ import annotations

import re
import unicodedata

INSTRUCTIONS, HIDDEN = "instructions", "hidden text"
_PHRASES = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,40}\b(?:previous|prior|above|earlier|all|any|your|the|these)\b"
    r"[^.\n]{0,30}\b(?:instructions?|prompts?|rules|guidelines|directions|context|messages?)\b"
    r"|\b(?:you are|you're) now\b[^.\n]{0,60}\b(?:assistant|model|ai|bot|dan|admin|developer)\b"
    r"|\b(?:reveal|print|show|repeat|output|leak)\b[^.\n]{0,30}\b(?:system prompt|hidden prompt|instructions)\b"
    r"|\bdo not (?:tell|inform|mention)\b[^.\n]{0,40}\b(?:user|human|anyone)\b"
    r"|\b(?:new|updated|real|actual) (?:system )?instructions?\s*:"
    r"|<\|?(?:im_start|system|endoftext|eot_id)\|?>|\[/?INST\]|<<SYS>>"
    r"|!\[[^\]]*\]\(https?://[^)]*[?&][^)]*=",
    re.IGNORECASE,
)
# Characters that readers do not see: joiners, directions, tags, but not those that scripts need.
_INVISIBLE = re.compile(
    "[\u200b\u2060\u2061-\u2064\ufeff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)


def flags_of(text: str) -> list[str]:
    """What a reader of this passage should know."""
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    found = []
    if _PHRASES.search(plain):
        found.append(INSTRUCTIONS)
    if len(_INVISIBLE.findall(text)) > 2:
        found.append(HIDDEN)
    return found
