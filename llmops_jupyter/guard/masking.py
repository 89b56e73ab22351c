"""Parts of texts as verdicts show them: short, and without secrets and personal data."""

from __future__ import annotations

import re

from llmops_jupyter.privacy import redact

LONGEST = 160
# What is looked at: a secret that the cut would divide is found whole first.
_WHOLE = 2_000
_GAPS = re.compile(r"\s+")


def masked(text: str) -> str:
    """A text on one line of at most 160 characters, with ``[EMAIL]`` and the like for what it must not show."""
    if not text:
        return ""
    from llmops_jupyter.guard.checks.secrets import without_secrets

    shown = without_secrets(redact(text[:_WHOLE])[0])
    shown = _GAPS.sub(" ", "".join(c if c.isprintable() else " " for c in shown)).strip()
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1].rstrip()}…"


def replaced(text: str, spans: list[tuple[int, int, str]]) -> str:
    """The text with each span replaced; of overlapping ones the first is taken and swallows the rest."""
    parts: list[str] = []
    at = 0
    for begin, end, instead in sorted(spans, key=lambda s: (s[0], -s[1])):
        if begin < at:
            at = max(at, end)
            continue
        parts += [text[at:begin], instead]
        at = end
    return "".join([*parts, text[at:]])
