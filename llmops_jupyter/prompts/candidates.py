"""Variants of a prompt that are tried side by side: text, settings, and how their answers differ."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from llmops_jupyter.errors import OptionError, TemplateError, did_you_mean
from llmops_jupyter.prompts.content import Content, with_template
from llmops_jupyter.prompts.grounding import CONTEXT
from llmops_jupyter.prompts.options import adapter_pairs
from llmops_jupyter.prompts.template import check_template, variables_of
from llmops_jupyter.records import Completion

KEYS = ("A", "B", "C", "D")
# Words of an answer that are compared with another's.
MOST_WORDS = 1500

Reader = Callable[[str], Any]


def _whole(text: str) -> int:
    return int(text)


def _yes(text: str) -> bool:
    if text.lower() in ("yes", "true", "1", "on"):
        return True
    if text.lower() in ("no", "false", "0", "off"):
        return False
    raise ValueError(text)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def _adapters(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


# Settings of a candidate in the order in which they are shown, and how each is read from text.
READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "model": str,
        "temperature": float,
        "max_tokens": _whole,
        "seed": _whole,
        "top_p": float,
        "top_k": _whole,
        "min_p": float,
        "repeat_penalty": float,
        "frequency_penalty": float,
        "presence_penalty": float,
        "stop": _lines,
        "exact": _yes,
        "adapters": _adapters,
        "rag": str,
        "guard": str,
    }
)
_KINDS = {float: "a number", _whole: "a whole number", _yes: "yes or no"}


@dataclass(frozen=True)
class Candidate:
    """One of the variants.

    Args:
        key: the letter that it has in the playground.
        template: its text.
        settings: options of the run, as `prompts.stream` takes them; what is left out comes from the settings.
        source: the version that it was made from.
        other: content beside the template, such as examples, a schema or tools.
    """

    key: str
    template: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    other: Content | None = None

    @property
    def content(self) -> Content:
        """What is run.

        Raises:
            TemplateError: the template cannot be parsed.
        """
        check_template(self.template)
        return with_template(self.other or Content(template=""), self.template)

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the content beside the template."""
        other = self.other
        if other is None:
            return ()
        found = {"examples": other.examples, "schema": other.schema, "cot": other.cot}
        return tuple(name for name, value in {**found, "tools": other.tools}.items() if value)

    def names(self) -> tuple[str, ...]:
        """Variables that it takes, those left out that documents fill.

        Raises:
            TemplateError: the template cannot be parsed.
        """
        documents = bool(self.settings.get("rag"))
        return tuple(n for n in variables_of(self.template) if not (documents and n == CONTEXT))

    def problem(self) -> str:
        """Why it cannot be run as it stands; '' if nothing is known to be wrong."""
        try:
            check_template(self.template)
        except TemplateError as e:
            return str(e)
        return ""

    def with_settings(self, settings: Mapping[str, Any]) -> Candidate:
        """The same with these settings."""
        return replace(self, settings=MappingProxyType(dict(settings)))


def read_settings(given: Mapping[str, str]) -> dict[str, Any]:
    """Settings from the texts of a form; what is empty is not given.

    Raises:
        OptionError: one has an unknown name, or a text that cannot be read.
    """
    found: dict[str, Any] = {}
    for name, text in given.items():
        if name not in READERS:
            raise OptionError(f"There is no setting {name!r}.{did_you_mean(name, READERS)}")
        said = text if name == "stop" else text.strip()
        if not said:
            continue
        try:
            found[name] = READERS[name](said)
        except ValueError as e:
            kind = _KINDS.get(READERS[name], "something else")
            raise OptionError(f"{name} is {kind}, not {said!r:.80}.") from e
    if "adapters" in found:
        adapter_pairs(found["adapters"])
    return found


def written(settings: Mapping[str, Any]) -> dict[str, str]:
    """The texts of settings, as `read_settings` takes them."""
    return {name: _text(name, settings[name]) for name in READERS if name in settings}


def _text(name: str, value: Any) -> str:
    if name == "stop":
        return "\n".join(value)
    if name == "adapters":
        pairs = adapter_pairs(value)
        return ", ".join(ref if scale == 1 else f"{ref}:{scale:g}" for ref, scale in pairs)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def from_defaults(defaults: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a version was last run with, without those that hold anyway."""
    found: dict[str, Any] = {}
    for name in READERS:
        value = defaults.get(name)
        if value not in (None, [], "", usual.get(name)):
            found[name] = value
    return found


def differences(settings: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """What settings have that others have not, as words."""
    mine, theirs = written(settings), written(others)
    return [
        f"{name} {_quoted(mine.get(name))} instead of {_quoted(theirs.get(name))}"
        for name in READERS
        if mine.get(name) != theirs.get(name)
    ]


def _quoted(text: str | None) -> str:
    return "the usual one" if text is None else repr(text) if "\n" in text else text


def verdict(answers: Sequence[tuple[Candidate, Completion]]) -> str:
    """How the answers of several candidates differ from the first one's, in a sentence for each other one."""
    if len(answers) < 2:
        return ""
    (first, base), *rest = answers
    sentences = []
    for candidate, done in rest:
        parts = differences(candidate.settings, first.settings)
        if candidate.template.strip() != first.template.strip():
            parts.insert(0, "another text")
        parts.append(likeness(base.text, done.text))
        parts += figures(base, done)
        sentences.append(f"{candidate.key} against {first.key}: {', '.join(parts)}.")
    return " ".join(sentences)


def likeness(a: str, b: str) -> str:
    """How much of the words of two answers is the same."""
    if a.strip() == b.strip():
        return "the same answer"
    ours, theirs = a.split()[:MOST_WORDS], b.split()[:MOST_WORDS]
    share = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).ratio()
    return f"{share:.0%} of the words shared"


def figures(a: Completion, b: Completion) -> list[str]:
    """How the tokens and the time of an answer differ from another's."""
    found = []
    tokens = b.usage.output_tokens - a.usage.output_tokens
    if tokens:
        found.append(f"{abs(tokens)} tokens {'more' if tokens > 0 else 'fewer'}")
    seconds = b.timing.total_s - a.timing.total_s
    if abs(seconds) >= 0.05:
        found.append(f"{abs(seconds):.1f} s {'slower' if seconds > 0 else 'faster'}")
    if b.finish_reason != a.finish_reason:
        found.append(f"ended with {b.finish_reason!r} instead of {a.finish_reason!r}")
    return found
