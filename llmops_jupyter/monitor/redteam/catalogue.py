"""The attack families and goals, read from YAML and checked."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DataError, did_you_mean, unknown_name
from llmops_jupyter.monitor.redteam.encoding import FORMS

PLACES = ("input", "document")
NEEDS = ("", "secret", "tools")
ENGLISH = "en"
# What a template may hold: [[goal]], [[goal|base64]], [[goal.de]], [[carrier]].
HOLE = re.compile(r"\[\[(goal|carrier)(?:\.([a-z]{2}))?(?:\|([a-z0-9-]+))?\]\]")
_FAMILY_KEYS = ("name", "title", "about", "goals", "templates", "place")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Goal:
    """What an attack asks for. `texts` are wordings by language, `needs` is '', 'secret' or 'tools'."""

    name: str
    title: str
    check: str
    texts: Mapping[str, tuple[str, ...]]
    needs: str = ""


@dataclass(frozen=True)
class Template:
    """How an attack is put: what is sent, message by message."""

    id: str
    turns: tuple[str, ...]

    @property
    def languages(self) -> frozenset[str]:
        """Those in which it needs wordings of a goal."""
        holes = [hole for turn in self.turns for hole in HOLE.finditer(turn) if hole[1] == "goal"]
        return frozenset(hole[2] or ENGLISH for hole in holes)


@dataclass(frozen=True)
class Family:
    """Attacks of one kind. `place` is where they stand: in the 'input', or in a 'document' that is read."""

    name: str
    title: str
    about: str
    goals: tuple[str, ...]
    templates: tuple[Template, ...]
    place: str = "input"


@dataclass(frozen=True)
class Words:
    """What goals are filled with: numbers in words by language, and how one says thanks."""

    numbers: Mapping[int, Mapping[str, str]]
    thanks: Mapping[str, Mapping[str, str]]


@functools.lru_cache(maxsize=1)
def goals() -> tuple[Mapping[str, Goal], Words]:
    """All goals by name, and what they are filled with."""
    value = _yaml(_package("goals.yaml"), "goals.yaml")
    found = {}
    for one in value["goals"]:
        texts = {language: tuple(said) for language, said in one["texts"].items()}
        found[one["name"]] = Goal(
            one["name"], one["title"], one["check"], texts, one.get("needs", "")
        )
    return found, Words(value["numbers"], value["thanks"])


@functools.lru_cache(maxsize=1)
def families() -> Mapping[str, Family]:
    """The families of this package, by name."""
    found: dict[str, Family] = {}
    folder = files(__package__) / "families"
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".yaml"):
            found.update(_read(entry.read_text("utf-8"), entry.name))
    return found


@functools.lru_cache(maxsize=1)
def harmless() -> tuple[str, ...]:
    """Inputs that nobody needs to decline."""
    return tuple(str(one) for one in _yaml(_package("harmless.yaml"), "harmless.yaml"))


def chosen(given: Sequence[str] | str | None) -> tuple[Family, ...]:
    """Families by their names, or of a YAML file in the same form as this package's.

    Raises:
        UnknownNameError: there is no such family.
        DataError: a file cannot be read, or is none of families.
    """
    if given is None:
        return tuple(families().values())
    if not isinstance(given, str | list | tuple | set | frozenset):
        raise DataError(
            f"families is a list of names, not {type(given).__name__}. For instance ['encoding']."
        )
    every = [given] if isinstance(given, str) else list(given)
    found: dict[str, Family] = {}
    for one in every:
        if str(one).endswith((".yaml", ".yml")):
            found.update(read_families(one))
        elif one in families():
            found[one] = families()[one]
        else:
            raise unknown_name(
                "attack family", str(one), families(), f"Families: {', '.join(families())}."
            )
    if not found:
        raise DataError("The list of families is empty. Leave it out to take all of them.")
    return tuple(found.values())


def read_families(path: str | Path) -> Mapping[str, Family]:
    """The families of a YAML file.

    Raises:
        DataError: it cannot be read, or a family has a fault; the message names it.
    """
    where = Path(path).expanduser()
    try:
        text = where.read_text("utf-8")
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) and e.strerror else "it is no text in UTF-8"
        raise DataError(f"{str(where)!r} cannot be read: {why}. Name a YAML file.") from e
    return _read(text, str(where))


def _read(text: str, where: str) -> Mapping[str, Family]:
    value = _yaml(text, where)
    if not isinstance(value, list) or not value:
        raise DataError(f"{where} is no list of attack families. Begin each with - name: …")
    made = [_family(one, where) for one in value]
    return {family.name: family for family in made}


def _family(value: Any, where: str) -> Family:
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: a family is a mapping with {', '.join(_FAMILY_KEYS)}.")
    name = str(value.get("name") or "")
    at = f"{where}, family {name!r}"
    for key in value:
        if key not in _FAMILY_KEYS:
            raise DataError(
                f"{at} has no key {str(key)!r}.{did_you_mean(str(key), _FAMILY_KEYS)} Keys: "
                f"{', '.join(_FAMILY_KEYS)}."
            )
    if not _NAME.fullmatch(name):
        raise DataError(f"{at}: a name has small letters, digits and '-', as in my-attacks.")
    known, _ = goals()
    wanted = value.get("goals") or []
    for goal in wanted if isinstance(wanted, list) else [wanted]:
        if goal not in known:
            raise DataError(
                f"{at} has no goal {str(goal)!r}.{did_you_mean(str(goal), known)} Goals: "
                f"{', '.join(known)}."
            )
    place = value.get("place", PLACES[0])
    if place not in PLACES:
        raise DataError(f"{at}: place is one of {', '.join(PLACES)}, not {place!r:.60}.")
    templates = value.get("templates")
    if not isinstance(wanted, list) or not wanted or not isinstance(templates, list):
        raise DataError(f"{at} needs lists of goals and of templates.")
    return Family(
        name,
        str(value.get("title") or name),
        str(value.get("about") or ""),
        tuple(wanted),
        tuple(_template(one, i, at, place) for i, one in enumerate(templates, 1)),
        place,
    )


def _template(value: Any, number: int, at: str, place: str) -> Template:
    at = f"{at}, template {number}"
    if not isinstance(value, Mapping) or ("text" in value) == ("turns" in value):
        raise DataError(f"{at}: a template has an id and one of text and turns.")
    turns = value.get("turns") or [value.get("text")]
    if not isinstance(turns, list) or not all(isinstance(t, str) and t.strip() for t in turns):
        raise DataError(f"{at}: text is a text, and turns a list of texts.")
    if len(turns) > 1 and place == "document":
        raise DataError(f"{at}: a document is read once. Leave turns out.")
    for turn in turns:
        for hole in HOLE.finditer(turn):
            if hole[3] and hole[3] not in FORMS:
                raise DataError(
                    f"{at} has no form {hole[3]!r}.{did_you_mean(hole[3], FORMS)} Forms: "
                    f"{', '.join(FORMS)}."
                )
        left = HOLE.sub("", turn)
        if "[[" in left and "]]" in left.partition("[[")[2]:
            raise DataError(
                f"{at}: of what stands in [[ ]] only goal and carrier are known, as in [[goal|base64]]."
            )
    return Template(str(value.get("id") or number), tuple(t.strip("\n") for t in turns))


def _package(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")


def _yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        mark = getattr(e, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(e, "problem", None) or str(e)
        raise DataError(f"{where}{line} is no YAML: {problem}. Correct that line.") from e
