"""Texts in other languages than those that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmops_jupyter.errors import GuardError, missing_dependency
from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.records import Place


@dataclass(frozen=True)
class Language:
    """Finds texts that are surely in a language that is not wanted; short ones are in none for sure."""

    allow: tuple[str, ...]
    guess: Callable[[str], str] = field(repr=False, compare=False)
    name: str = "language"
    places: tuple[Place, ...] = ("input", "context", "output")

    def find(self, text: str, about: About) -> Finding:
        """Yes where the language is known and not wanted."""
        del about
        language = self.guess(text)
        if not language:
            return Finding(None, False, "the language is not sure")
        wanted = language in self.allow
        return Finding(None, not wanted, f"it is in the language {language}")


def make(allow: Sequence[str] = ()) -> Language:
    """The check 'language'.

    Raises:
        GuardError: no language is named, or one is no code.
        MissingDependencyError: py3langid is not installed.
    """
    from llmops_jupyter.data.preparing.languages import guesser

    if not allow:
        raise GuardError("The check language names no language. Write allow: [en].")
    for code in allow:
        if len(code) not in (2, 3) or not code.isalpha():
            raise GuardError(
                f"{code!r} is no code of a language. Write for example allow: [en, de]."
            )
    guess = guesser()
    if guess is None:
        raise missing_dependency("py3langid", "The check language", "monitor")
    return Language(tuple(code.lower() for code in allow), guess)
