"""Names, places and the like by Presidio, where it is installed; our own patterns find the rest."""

from __future__ import annotations

from collections.abc import Callable

from llmops_jupyter.errors import PrivacyError, missing_dependency
from llmops_jupyter.privacy import redact

Counted = Callable[[str], "tuple[str, dict[str, int]]"]

# Presidio's scores go up to 1; its own patterns without context have less than this.
SURE = 0.6


def presidio_redactor() -> Counted:
    """A function from a text to the text without personal data and how many of each kind it had.

    Raises:
        MissingDependencyError: Presidio is not installed.
        PrivacyError: it cannot start, for instance without its language model.
    """
    try:
        from presidio_analyzer import AnalyzerEngine
    except ImportError as e:
        raise missing_dependency("presidio-analyzer", "Finding names and places", "presidio") from e
    try:
        engine = AnalyzerEngine()
    # It downloads a model of spaCy's when there is none, and ends the interpreter when it cannot.
    except (Exception, SystemExit) as e:
        raise PrivacyError(
            f"Presidio does not start ({type(e).__name__}: {e}). Install a language model for it: "
            "python -m spacy download en_core_web_lg"
        ) from e

    def take_out(text: str) -> tuple[str, dict[str, int]]:
        made, counts = redact(text)
        spans = engine.analyze(text=made, language="en", score_threshold=SURE)
        end = len(made)
        for span in sorted(spans, key=lambda s: (-s.start, -s.end)):
            # What overlaps with a later finding, or is a mark of our own, stays as it is.
            if span.end > end or "[" in made[span.start : span.end]:
                continue
            made = f"{made[: span.start]}[{span.entity_type}]{made[span.end :]}"
            kind = span.entity_type.lower()
            counts[kind] = counts.get(kind, 0) + 1
            end = span.start
        return made, counts

    return take_out
