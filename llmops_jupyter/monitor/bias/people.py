"""Texts in which another person is told of: names, pronouns, words of gender and ages, put in place of each other."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from llmops_jupyter.errors import DataError, did_you_mean

FEMALE, MALE = "female", "male"
GENDERS = (FEMALE, MALE)
ATTRIBUTES = ("gender", "names", "pronouns", "age")
# Whose harmless changes are other members of the same group; others are changed by a courtesy more.
OF_MEMBERS = ("names", "age")
HOME = "english"
SLOTS = ("name", "age", "he", "him", "his", "person")
_SLOT = re.compile(r"\{(name|age|he|him|his|person)\}", re.IGNORECASE)
_AGE = re.compile(
    r"\b(\d{2})(?=[- ]?years?[- ]old\b)|(?<=\baged )(\d{2})\b|(?<=\bI am )(\d{2})\b(?! ?[%€$])"
)
_PRONOUN = re.compile(r"\b(she|he|her|him|hers|his|herself|himself)\b", re.IGNORECASE)
# After these "her" is no word before a noun.
_NO_NOUN = re.compile(
    r"\s*(?:[.,;:!?)]|$)|\s+(?:and|or|but|to|for|with|at|in|on|by|from|about|that|if|when|who|because|a|an|the|"
    r"yesterday|today|tomorrow|again|back|now|is|was|has|had|will|would|can|could)\b",
    re.IGNORECASE,
)
_PERSON = {FEMALE: "woman", MALE: "man"}


@dataclass(frozen=True)
class People:
    """The lists of words; see people.yaml."""

    names: Mapping[str, Mapping[str, Sequence[str]]]
    pronouns: Mapping[str, Sequence[str]]
    pairs: Sequence[Sequence[str]]
    ages: Mapping[str, Sequence[int]]
    frames: Sequence[str]

    @functools.cached_property
    def known(self) -> Mapping[str, tuple[str, str]]:
        """Origin and gender of each name."""
        return {
            name: (origin, gender)
            for origin, by_gender in self.names.items()
            for gender, names in by_gender.items()
            for name in names
        }


@functools.lru_cache(maxsize=1)
def people() -> People:
    """The lists of this package."""
    import yaml

    return People(**yaml.safe_load((files(__package__) / "people.yaml").read_text("utf-8")))


def groups_of(attribute: str) -> tuple[str, ...]:
    """The groups that an attribute tells apart."""
    if attribute == "names":
        return tuple(people().names)
    return tuple(people().ages) if attribute == "age" else GENDERS


def check_slots(text: str) -> None:
    """Raise a DataError for what stands in braces and is nearly a slot."""
    for found in re.finditer(r"\{([A-Za-z]+)\}", text):
        near = did_you_mean(found[1].casefold(), SLOTS)
        if found[1].casefold() not in SLOTS and near:
            raise DataError(
                f"There is no slot {found[0]!r}.{near} Slots: {', '.join(SLOTS)}, each in braces."
            )


def told_of(text: str, attribute: str) -> str:
    """Why a text cannot be used for an attribute; '' if it can."""
    slots = {m[1].casefold() for m in _SLOT.finditer(text)}
    if attribute == "names":
        return "" if "name" in slots or _name_in(text) else "no name"
    if attribute == "age":
        return "" if "age" in slots or _AGE.search(text) else "no age"
    found = {_gender_of(m[1]) for m in _PRONOUN.finditer(_SLOT.sub("", text))}
    pronouns = bool(found or slots & {"he", "him", "his"})
    if attribute == "pronouns":
        return "several genders" if len(found) > 1 else "" if pronouns else "no pronoun"
    if not (pronouns or slots & {"name", "person"} or _name_in(text) or _pairs_in(text)):
        return "nothing of gender"
    return "several genders" if len(genders_in(text)) > 1 else ""


def genders_in(text: str) -> set[str]:
    """Which genders a text tells of, its slots aside."""
    text = _SLOT.sub("", text)
    found = {_gender_of(m[1]) for m in _PRONOUN.finditer(text)} | _pairs_in(text)
    return found | {people().known[name][1] for name in _names_in(text)}


def changed(text: str, attribute: str, group: str, number: int) -> str:
    """A text in which somebody of a group is told of: the `number`-th of its harmless changes."""
    if attribute == "names":
        genders = genders_in(text)
        gender = next(iter(genders)) if len(genders) == 1 else GENDERS[number % 2]
        return _others(
            _with_name(text, _pick(people().names[group][gender], number)), gender, number
        )
    if attribute == "age":
        age = str(_pick(people().ages[group], number))
        return _others(_AGE.sub(age, re.sub(r"\{age\}", age, text)), GENDERS[0], number=0)
    if attribute == "pronouns":
        made = _with_pronouns(text, group)
    else:
        found = _name_in(text)
        origin = people().known[found][0] if found else HOME
        made = _with_name(text, _pick(people().names[origin][group], number))
        made = _with_pairs(_with_pronouns(made, group), group)
    return _framed(_others(made, group, number), number)


def _others(text: str, gender: str, number: int) -> str:
    """With the slots that the attribute says nothing of filled in the same way for all groups."""
    filled = text.replace("{name}", _pick(people().names[HOME][gender], number))
    filled = filled.replace("{age}", str(people().ages["middle"][0]))
    filled = re.sub(r"\{person\}", _PERSON[gender], filled)
    return _with_pronouns(filled, gender) if _SLOT.search(filled) else filled


def _framed(text: str, number: int) -> str:
    return str(_pick(people().frames, number)).replace("[[text]]", text)


def _pick(members: Sequence[Any], number: int) -> Any:
    return members[number % len(members)]


def _names_in(text: str) -> list[str]:
    return [w for w in re.findall(r"\b[^\W\d_]+\b", text) if w in people().known]


def _name_in(text: str) -> str:
    return next(iter(_names_in(text)), "")


def _with_name(text: str, name: str) -> str:
    """The first person that is named gets another name, wherever it stands."""
    found = _name_in(text)
    text = text.replace("{name}", name)
    return re.sub(rf"\b{re.escape(found)}\b", name, text) if found else text


def _gender_of(word: str) -> str:
    return FEMALE if word.casefold() in people().pronouns[FEMALE] else MALE


def _with_pronouns(text: str, gender: str) -> str:
    forms = people().pronouns[gender]
    slots = {"he": forms[0], "him": forms[1], "his": forms[2]}

    def fill(found: re.Match[str]) -> str:
        slot = slots.get(found[1].casefold())
        return found[0] if slot is None else _cased(slot, found[1])

    text = _SLOT.sub(fill, text)

    def put(found: re.Match[str]) -> str:
        word = found[1].casefold()
        # The words of both genders do not go together one by one: "her" is "him" or "his".
        places = {"she": 0, "he": 0, "him": 1, "hers": 3, "herself": 4, "himself": 4}
        if word in places:
            return _cased(forms[places[word]], found[1])
        alone = bool(_NO_NOUN.match(text, found.end()))
        if word == "her":
            return _cased(forms[1 if alone else 2], found[1])
        return _cased(forms[3 if alone else 2], found[1])

    return _PRONOUN.sub(put, text)


def _cased(word: str, like: str) -> str:
    """A word with capitals where another has them."""
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word.capitalize() if like[:1].isupper() else word


@functools.lru_cache(maxsize=1)
def _pair_patterns() -> tuple[tuple[re.Pattern[str], Sequence[str]], ...]:
    made = []
    for pair in people().pairs:
        words = "|".join(re.escape(word) for word in pair)
        made.append((re.compile(rf"\b({words})\b", re.IGNORECASE), pair))
    return tuple(made)


def _pairs_in(text: str) -> set[str]:
    found = set()
    for pattern, pair in _pair_patterns():
        for match in pattern.finditer(text):
            found.add(FEMALE if match[1].casefold() == pair[0].casefold() else MALE)
    return found


def _with_pairs(text: str, gender: str) -> str:
    place = GENDERS.index(gender)
    for pattern, pair in _pair_patterns():
        word = pair[place]

        def put(found: re.Match[str], word: str = word) -> str:
            return word if word[:1].isupper() else _cased(word, found[1])

        text = pattern.sub(put, text)
    return text
