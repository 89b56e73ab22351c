"""Which language a text is in."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from llmops_jupyter.data.preparing.words import has_fence, words_of
from llmops_jupyter.errors import OptionError, missing_dependency

Guess = Callable[[str], str]

# Below so many words, and below this probability, a guess is no ground for dropping a row.
FEWEST_WORDS, SURE = 5, 0.9
LONGEST = 500


def guesser() -> Guess | None:
    """A function from a text to the code of its language, '' where it is not sure; None without py3langid."""
    if not _installed():
        return None

    def guess(text: str) -> str:
        if has_fence(text) or len(words_of(text)) < FEWEST_WORDS:
            return ""
        language, probability = _identifier().classify(text[:LONGEST])
        return str(language) if probability >= SURE else ""

    return guess


def _installed() -> bool:
    try:
        import py3langid  # noqa: F401 - whether it can be
    except ImportError:
        return False
    return True


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """The model; kept, since reading it takes a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def wanted_languages(given: str | None) -> frozenset[str]:
    """The codes in ``en`` or ``en,de``.

    Raises:
        OptionError: one is no code of two letters.
        MissingDependencyError: languages are asked for and py3langid is not installed.
    """
    codes = [code.strip().lower() for code in (given or "").split(",") if code.strip()]
    for code in codes:
        if len(code) not in (2, 3) or not code.isalpha():
            raise OptionError(f"{code!r} is no code of a language. Write for example en, or en,de.")
    if codes and not _installed():
        raise missing_dependency("py3langid", "Telling languages", "finetune")
    return frozenset(codes)
