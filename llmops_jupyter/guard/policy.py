"""Policies: which checks look at what goes in, at what is read and at what comes out, and what they do."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from llmops_jupyter.errors import GuardError, MissingDependencyError, did_you_mean
from llmops_jupyter.guard import named
from llmops_jupyter.guard.named import PLACES
from llmops_jupyter.guard.reading import Lines, parsed, text_of
from llmops_jupyter.records import Decision, Place

Mode = Literal["enforce", "observe"]
MODES = ("enforce", "observe")
ACTIONS = ("allow", "warn", "modify", "deny")
ON_ERROR = ("warn", "deny")
KEYS = ("name", "mode", "message", "on_error", "note", *PLACES)
RULE_KEYS = ("check", "action", "threshold", "rate", "on_error")
MESSAGE = "I cannot help with that."


@dataclass(frozen=True)
class Rule:
    """One check of a policy at one place.

    Args:
        check: its name.
        place: which text it looks at.
        action: what is to be done with what it finds.
        options: of the check.
        threshold: the score from which on it has found something; None is the check's own.
        rate: the share of harmless texts that it may find something in, for calibration.
        on_error: what becomes of a text on which the check fails: 'warn' lets it pass and says so, 'deny' does not.
    """

    check: str
    place: Place
    action: Decision
    options: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    rate: float | None = None
    on_error: Literal["warn", "deny"] = "warn"

    def as_dict(self) -> dict[str, Any]:
        """The rule as a policy's file has it."""
        found: dict[str, Any] = {"check": self.check, **dict(self.options)}
        if self.rate is not None:
            found["rate"] = self.rate
        if self.threshold is not None:
            found["threshold"] = self.threshold
        found["action"] = self.action
        if self.on_error != "warn":
            found["on_error"] = self.on_error
        return found


@dataclass(frozen=True)
class Policy:
    """The rules of a policy, in the order in which they are asked."""

    name: str
    rules: tuple[Rule, ...]
    mode: Mode = "enforce"
    message: str = MESSAGE
    note: str = ""

    def at(self, place: Place) -> tuple[Rule, ...]:
        """The rules for a place."""
        return tuple(rule for rule in self.rules if rule.place == place)

    def holds_back(self, place: Place) -> bool:
        """Whether a text of that place may be changed or withheld, so that none of it can be shown before the end."""
        return self.mode == "enforce" and any(
            rule.action in ("modify", "deny") or rule.on_error == "deny" for rule in self.at(place)
        )

    def as_dict(self) -> dict[str, Any]:
        """The policy as its file has it."""
        found: dict[str, Any] = {"name": self.name, "mode": self.mode, "message": self.message}
        if self.note:
            found["note"] = self.note
        for place in PLACES:
            if self.at(place):
                found[place] = [rule.as_dict() for rule in self.at(place)]
        return found

    @cached_property
    def digest(self) -> str:
        """The hash of all that decides: not the name, the note, nor how the file is laid out."""
        value = {k: v for k, v in self.as_dict().items() if k not in ("name", "note")}
        return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()

    def text(self) -> str:
        """The policy as YAML."""
        import yaml

        plain = json.loads(json.dumps(self.as_dict(), default=str))
        made: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
        return made


def read_policy(
    given: str | Path | Mapping[str, Any] | Policy, name: str = ""
) -> tuple[Policy, str]:
    """A policy from a file, its text or a mapping, checked whole; with the text that is kept of it.

    Args:
        given: the path of a YAML file, YAML of several lines, a mapping, or a policy.
        name: where the policy does not name itself.

    Raises:
        GuardError: with the line, or the key, and what may be meant.
    """
    if isinstance(given, Policy):
        return given, given.text()
    if isinstance(given, Mapping):
        policy = _policy(given, Lines("the policy", {}), name)
        return policy, policy.text()
    if not isinstance(given, str | Path):
        raise GuardError(
            f"A policy is a YAML file, its text or a mapping, not {type(given).__name__}. See docs/guard.md."
        )
    text, where = text_of(given)
    value, lines = parsed(text, where)
    if name == "" and where != "the policy":
        name = Path(where).stem
    return _policy(value, lines, name), text if text.endswith("\n") else f"{text}\n"


def _policy(value: Any, lines: Lines, name: str) -> Policy:
    if not isinstance(value, Mapping):
        raise GuardError(
            f"{lines.at()} is no policy: it begins with keys such as input: and output:."
        )
    for key in value:
        if key not in KEYS:
            raise GuardError(
                f"{lines.at(key)}: a policy has no key {str(key)!r}.{did_you_mean(str(key), KEYS)} "
                f"Keys: {', '.join(KEYS)}."
            )
    on_error = _choice(value, "on_error", ON_ERROR, "warn", lines)
    rules = [rule for place in PLACES for rule in _rules(value, place, on_error, lines)]
    if not rules:
        raise GuardError(
            f"{lines.at()} has no checks. Name some under input:, context: or output:."
        )
    return Policy(
        name=_text(value, "name", name or "policy", lines),
        rules=tuple(rules),
        mode=cast("Mode", _choice(value, "mode", MODES, "enforce", lines)),
        message=_text(value, "message", MESSAGE, lines),
        note=_text(value, "note", "", lines),
    )


def _rules(value: Mapping[str, Any], place: Place, on_error: str, lines: Lines) -> list[Rule]:
    given = value.get(place)
    if given is None:
        return []
    if not isinstance(given, list | tuple):
        raise GuardError(
            f"{lines.at(place)}: {place} is a list of checks, each with a dash: - check: secrets"
        )
    return [_rule(one, place, i, on_error, lines) for i, one in enumerate(given)]


def _rule(given: Any, place: Place, number: int, on_error: str, lines: Lines) -> Rule:
    at = lines.at(place, number)
    if isinstance(given, str):
        given = {"check": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("check"), str):
        raise GuardError(f"{at}: a rule names a check, as in - check: secrets")
    entry = named.entry(given["check"], lines.at(place, number, "check"))
    if place not in entry.places:
        raise GuardError(
            f"{at}: the check {entry.name} is for {' and '.join(entry.places)}, not for {place}. Move it."
        )
    known = (*RULE_KEYS, *entry.options)
    for key in given:
        if key not in known:
            raise GuardError(
                f"{lines.at(place, number, key)}: the check {entry.name} has no option {str(key)!r}."
                f"{did_you_mean(str(key), known)} Options: {', '.join(known[1:])}."
            )
    here = _Here(given, (place, number), lines)
    action = here.choice("action", ACTIONS, entry.action)
    if action == "modify" and not entry.replaces:
        raise GuardError(
            f"{lines.at(place, number, 'action')}: the check {entry.name} cannot take out what it finds. Write deny, warn "
            "or allow."
        )
    rule = Rule(
        check=entry.name,
        place=place,
        action=cast("Decision", action),
        options=here.options(entry),
        threshold=here.share("threshold", entry),
        rate=here.share("rate", entry),
        on_error=cast("Literal['warn', 'deny']", here.choice("on_error", ON_ERROR, on_error)),
    )
    _try(rule, entry, at)
    return rule


def _try(rule: Rule, entry: named.Entry, at: str) -> None:
    """Make the check once, so that an option it cannot use is told with its line."""
    if not rule.options and entry.maker is None and not entry.options:
        return
    try:
        entry.make(rule.options)
    except GuardError as e:
        raise GuardError(f"{at}: {e}") from e
    except MissingDependencyError:
        pass  # the policy is right; running it says what to install


@dataclass(frozen=True)
class _Here:
    """A rule as it was written, and where."""

    given: Mapping[str, Any]
    path: tuple[Any, ...]
    lines: Lines

    def at(self, key: str) -> str:
        return self.lines.at(*self.path, key)

    def choice(self, key: str, known: tuple[str, ...], default: str) -> str:
        return _chosen(self.given.get(key), key, known, default, self.at(key))

    def share(self, key: str, entry: named.Entry) -> float | None:
        value = self.given.get(key)
        if value is None:
            return None
        if not entry.scored:
            raise GuardError(
                f"{self.at(key)}: the check {entry.name} says yes or no and has no score, so it takes no {key}. Leave it out."
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not 0 < value <= 1:
            raise GuardError(
                f"{self.at(key)}: {key} is a number above 0 and at most 1, not {value!r:.60}."
            )
        if key == "rate" and value >= 1:
            raise GuardError(
                f"{self.at(key)}: rate is a share of harmless texts below 1, such as 0.01."
            )
        return float(value)

    def options(self, entry: named.Entry) -> dict[str, Any]:
        found = {}
        for key, kind in entry.options.items():
            value = self.given.get(key)
            if value is None:
                continue
            fault = kind.fault(value)
            if fault:
                raise GuardError(
                    f"{self.at(key)}: {key} of the check {entry.name} {fault}, not {value!r:.60}."
                )
            found[key] = list(value) if isinstance(value, tuple) else value
        return found


def _choice(
    value: Mapping[str, Any], key: str, known: tuple[str, ...], default: str, lines: Lines
) -> str:
    return _chosen(value.get(key), key, known, default, lines.at(key))


def _chosen(value: Any, key: str, known: tuple[str, ...], default: str, at: str) -> str:
    if value is None:
        return default
    if value not in known or not isinstance(value, str):
        raise GuardError(
            f"{at}: {key} is one of {', '.join(known)}, not {value!r:.60}.{did_you_mean(str(value), known)}"
        )
    return value


def _text(value: Mapping[str, Any], key: str, default: str, lines: Lines) -> str:
    found = value.get(key)
    if found is None:
        return default
    if not isinstance(found, str) or (key != "note" and not found.strip()):
        raise GuardError(f"{lines.at(key)}: {key} is a text, not {found!r:.60}.")
    return found
