"""Checks by their names, with the options that a policy may give them; a check is imported when a policy uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from llmops_jupyter.errors import GuardError, did_you_mean
from llmops_jupyter.guard.check import Check
from llmops_jupyter.records import Place

PLACES: tuple[Place, ...] = ("input", "context", "output")


@dataclass(frozen=True)
class Kind:
    """What values an option takes.

    `name` is text, texts, flag, count, mapping or mappings; a count lies at `low` or above, and `choices` are all the
    texts there may be.
    """

    name: str
    help: str
    low: int = 0
    choices: tuple[str, ...] = ()

    def fault(self, value: Any) -> str:
        """Why a value cannot be used, as in "is a list of texts"; '' if it can."""
        if self.name == "text":
            return "" if isinstance(value, str) and value.strip() else "is a text"
        if self.name == "texts":
            right = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
            return "" if right else "is a list of texts, such as [one, two]"
        if self.name == "flag":
            return "" if isinstance(value, bool) else "is true or false"
        if self.name == "count":
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= self.low
            return "" if whole else f"is a whole number from {self.low}"
        if self.name == "mapping":
            return "" if isinstance(value, Mapping) else "is a mapping"
        right = isinstance(value, list | tuple) and all(isinstance(v, Mapping) for v in value)
        return "" if right else "is a list of mappings"


@dataclass(frozen=True)
class Entry:
    """A check that policies can name.

    Args:
        name: as policies write it.
        module: that has `make`, which takes the options and returns a `Check`; or its name, a colon and what it has instead.
        summary: what it finds, in one sentence.
        places: texts that it may be asked of.
        options: by name.
        scored: it gives a score, so that it has a threshold that can be calibrated.
        replaces: it can take out what it finds, so that its action may be 'modify'.
        needs: 'embed' or 'judge', what the workspace must have for it.
        whole: it judges a message as a whole, so that it is not asked of a part, such as one value in a system message.
        action: what it does where a policy does not say.
        maker: makes it, for checks that were registered in this process.
        identity: of such a check, what tells it from others of its name.
        weights: the names of the files that a fitted check has its weights in.
    """

    name: str
    module: str
    summary: str
    places: tuple[Place, ...] = PLACES
    options: Mapping[str, Kind] = field(default_factory=dict)
    scored: bool = False
    replaces: bool = False
    needs: str = ""
    whole: bool = False
    action: str = "deny"
    maker: Callable[..., Check] | None = None
    identity: str = ""
    weights: tuple[str, ...] = ()

    def judges_whole(self, options: Mapping[str, Any]) -> bool:
        """Whether the check with these options says nothing of a part of a message."""
        return self.whole or bool(options.get("required"))

    @property
    def made_of(self) -> str:
        """What tells the check from another of its name: the digest of its weights, or of a function of the user's own."""
        if self.identity or not self.weights:
            return self.identity
        from llmops_jupyter.guard.classifier import digest_of

        return " ".join(digest_of(name) for name in self.weights)

    def make(self, options: Mapping[str, Any]) -> Check:
        """The check with these options.

        Raises:
            GuardError: an option cannot be used, or the check is not part of this installation.
            MissingDependencyError: a package that it needs is not installed.
        """
        if self.maker is not None:
            return self.maker(**options)
        home, _, attribute = self.module.partition(":")
        try:
            module = import_module(home)
        except ModuleNotFoundError as e:
            if e.name != home:
                raise
            raise GuardError(
                f"The check {self.name} is not part of this installation. Leave it out of the policy, or install a "
                "release that has it."
            ) from e
        made: Check = getattr(module, attribute or "make")(**options)
        return made


_CHECKS = "llmops_jupyter.guard.checks"
_ENTRIES = (
    Entry(
        "injection",
        "llmops_jupyter.guard.injection:injection",
        "instructions that try to take over: prompt injection and jailbreaks, by a fitted classifier",
        places=("input", "context"),
        scored=True,
        replaces=True,
        weights=("injection", "request"),
    ),
    Entry(
        "toxicity",
        "llmops_jupyter.guard.toxicity:toxicity",
        "insults and hatred, by a fitted classifier",
        scored=True,
        replaces=True,
        action="warn",
        weights=("toxicity",),
    ),
    Entry(
        "refusal",
        "llmops_jupyter.guard.refusing:refusal",
        "answers in which the model declines, by a fitted classifier",
        places=("output",),
        scored=True,
        action="warn",
        whole=True,
        weights=("refusal",),
    ),
    Entry(
        "invisible-text",
        f"{_CHECKS}.invisible",
        "text that is not seen: zero-width characters, direction overrides, tags, variation selectors",
        replaces=True,
        action="modify",
    ),
    Entry(
        "secrets",
        f"{_CHECKS}.secrets",
        "keys, tokens and passwords",
        options={
            "entropy": Kind("flag", "find values of high entropy behind a telling name too; true")
        },
        replaces=True,
        action="modify",
    ),
    Entry(
        "pii",
        f"{_CHECKS}.pii",
        "personal data: e-mail addresses, phone and card numbers and the like",
        options={
            "kinds": Kind("texts", "kinds to look for; all if left out"),
            "allow": Kind("texts", "values, or ends such as @shop.example, that may stay"),
        },
        replaces=True,
        action="modify",
    ),
    Entry(
        "canary",
        f"{_CHECKS}.canary",
        "the marker that a run under the policy has in its system message",
        places=("output",),
    ),
    Entry(
        "leak",
        f"{_CHECKS}.leak",
        "words of the system message, one after the other",
        places=("output",),
        options={"words": Kind("count", "how many in a row; 12", low=5)},
        replaces=True,
    ),
    Entry(
        "links",
        f"{_CHECKS}.links",
        "links and images to other hosts, with data in their address, or that run something; raw HTML",
        options={
            "allow": Kind(
                "texts",
                "hosts that links and images may lead to; left out: links anywhere, images nowhere",
            ),
            "images": Kind("flag", "without allow: let images load from anywhere; false"),
            "data": Kind("count", "characters of a query that are taken for data; 100", low=1),
        },
        replaces=True,
        action="modify",
    ),
    Entry(
        "schema",
        f"{_CHECKS}.answer_schema",
        "answers that are no JSON of the schema",
        places=("output",),
        options={"schema": Kind("mapping", "a JSON schema; the prompt's if left out")},
        whole=True,
    ),
    Entry(
        "length",
        f"{_CHECKS}.length",
        "texts that are too long or too short",
        options={
            "max_chars": Kind("count", "characters at most", low=1),
            "max_words": Kind("count", "words at most", low=1),
            "min_chars": Kind("count", "characters at least", low=1),
            "min_words": Kind("count", "words at least", low=1),
        },
        replaces=True,
        whole=True,
    ),
    Entry(
        "words",
        f"{_CHECKS}.words",
        "banned words and phrases, or a lack of required ones",
        options={
            "banned": Kind("texts", "phrases; * is the rest of a word"),
            "required": Kind("texts", "phrases that must be there"),
            "case": Kind("flag", "small and capital letters differ; false"),
        },
        replaces=True,
    ),
    Entry(
        "language",
        f"{_CHECKS}.language",
        "texts in another language",
        options={"allow": Kind("texts", "codes such as en")},
        whole=True,
    ),
    Entry(
        "off-topic",
        f"{_CHECKS}.topic",
        "texts about something else than the examples, by an embedding model",
        places=("input", "output"),
        options={"examples": Kind("texts", "three sentences or more of what people may ask")},
        scored=True,
        needs="embed",
        whole=True,
    ),
    Entry(
        "judge",
        f"{_CHECKS}.judging",
        "what a model of this workspace answers to a question of yours",
        options={
            "question": Kind("text", "a question about the text; yes is a finding"),
            "examples": Kind(
                "mappings", "ten or more of {text, label: yes or no}, to check the model by"
            ),
            "model": Kind("text", "the model that judges"),
        },
        scored=True,
        needs="judge",
        action="warn",
    ),
)
_known: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def entry(name: str, at: str = "") -> Entry:
    """The check of that name; `at` is where it was named, for the error.

    Raises:
        GuardError: there is none.
    """
    found = _known.get(name)
    if found is None:
        where = f"{at}: there" if at else "There"
        raise GuardError(
            f"{where} is no check {name!r}.{did_you_mean(name, _known)} Checks: {', '.join(_known)}."
        )
    return found


def entries() -> tuple[Entry, ...]:
    """All checks that policies can name."""
    return tuple(_known.values())


def register(made: Entry) -> None:
    """Let policies of this process name a check of yours.

    Raises:
        GuardError: one of ours has the name.
    """
    if any(made.name == ours.name for ours in _ENTRIES):
        raise GuardError(f"{made.name!r} is one of our checks. Give yours another name.")
    _known[made.name] = made
