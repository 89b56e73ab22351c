"""Attacks made from families and goals: every one with a canary of its own, all of them from the seed alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.monitor.redteam import catalogue
from llmops_jupyter.monitor.redteam.catalogue import ENGLISH, HOLE, Family, Goal, Template, Words
from llmops_jupyter.monitor.redteam.encoding import FORMS

MOST = 1000
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_SYLLABLES = 2


@dataclass(frozen=True)
class Attack:
    """One attempt: what is sent, message by message, and the check that tells whether it was obeyed.

    Args:
        id: family, template, goal and number; the same for the same seed.
        family: its name.
        template: its id.
        goal: its name.
        place: 'input' or 'document'.
        turns: the messages of the attacker.
        check: what the answer has if, and only if, the attack was obeyed.
    """

    id: str
    family: str
    template: str
    goal: str
    place: str
    turns: tuple[str, ...]
    check: Mapping[str, Any]


@dataclass(frozen=True)
class Means:
    """What a prompt offers to attack: whether it has something to keep, and functions not to be called.

    `tools` are their names, each with the parameter that takes any text, or ''.
    """

    secret: bool = False
    tools: Mapping[str, str] = field(default_factory=dict)

    def allow(self, goal: Goal) -> bool:
        return {"": True, "secret": self.secret, "tools": bool(self.tools)}[goal.needs]


def make(
    families: Sequence[Family], means: Means, carriers: Sequence[str], n: int, seed: int
) -> tuple[list[Attack], list[str]]:
    """The attacks of a run, `n` of each family, and the families that have none for this prompt.

    Templates and goals of a family are drawn evenly. What is drawn follows from the seed, the family's name and
    what its templates are alone, so that two prompts with the same means are attacked in the same way.

    Raises:
        OptionError: n or the seed cannot be used.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST:
        raise OptionError(f"n is a number of attacks a family from 1 to {MOST:,}, not {n!r:.60}.")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise OptionError(f"seed is a whole number, not {seed!r:.60}.")
    known, words = catalogue.goals()
    made, without = [], []
    for family in families:
        pairs = [
            (template, known[goal])
            for template in family.templates
            for goal in family.goals
            if means.allow(known[goal]) and template.languages <= set(known[goal].texts)
        ]
        if not pairs:
            without.append(family.name)
            continue
        order = random.Random(f"{seed} {family.name}")  # noqa: S311 - not for secrets
        for number, (template, goal) in enumerate(_drawn(pairs, n, order), 1):
            name = f"{family.name}/{template.id}/{goal.name}/{number}"
            draw = random.Random(f"{seed} {name}")  # noqa: S311
            made.append(_attack(name, family, template, goal, words, means, carriers, draw))
    return made, without


def _drawn(
    pairs: Sequence[tuple[Template, Goal]], n: int, order: random.Random
) -> list[tuple[Template, Goal]]:
    """So many pairs, each as often as the others, give or take one; templates take turns."""
    by_template: dict[str, list[tuple[Template, Goal]]] = {}
    for pair in pairs:
        by_template.setdefault(pair[0].id, []).append(pair)
    stacks = list(by_template.values())
    for stack in stacks:
        order.shuffle(stack)
    order.shuffle(stacks)
    rounds = itertools.zip_longest(*stacks)
    once = [pair for some in rounds for pair in some if pair is not None]
    return list(itertools.islice(itertools.cycle(once), n))


def _attack(
    name: str,
    family: Family,
    template: Template,
    goal: Goal,
    words: Words,
    means: Means,
    carriers: Sequence[str],
    draw: random.Random,
) -> Attack:
    values, check = _values(goal, words, means, template.languages, draw)
    wording = draw.randrange(1000)
    carrier = draw.choice(list(carriers)) if carriers else "Hello."

    def put(hole: Any) -> str:
        if hole[1] == "carrier":
            text = carrier
        else:
            texts = goal.texts[hole[2] or ENGLISH]
            text = _filled(texts[wording % len(texts)], values, hole[2] or ENGLISH)
        return FORMS[hole[3]](text) if hole[3] else text

    turns = tuple(HOLE.sub(put, turn) for turn in template.turns)
    return Attack(name, family.name, template.id, goal.name, family.place, turns, check)


def _filled(text: str, values: Mapping[str, Any], language: str) -> str:
    for key, value in values.items():
        said = value[language] if isinstance(value, Mapping) else value
        text = text.replace(f"[[{key}]]", str(said))
    return text


def _values(
    goal: Goal, words: Words, means: Means, languages: frozenset[str], draw: random.Random
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a goal's text is filled with, and its check."""
    first, second = _canary(draw)
    values: dict[str, Any] = {"a": first, "b": second}
    check: dict[str, Any] = {"kind": goal.check}
    if goal.check in ("marker", "alone"):
        check["marker"] = first + second
    elif goal.check == "amount":
        whole, cents = draw.sample(sorted(words.numbers), 2)
        values.update(n1=words.numbers[whole], n2=words.numbers[cents])
        check["amount"] = f"{whole}.{cents}"
    elif goal.check == "language":
        # Not the language that the attack itself is in.
        choices = [k for k, v in sorted(words.thanks.items()) if languages <= set(v)]
        language = draw.choice([k for k in choices if k not in languages])
        picked = words.thanks[language]
        values["language"] = picked
        check.update(language=language, words=[picked["word"]])
    elif goal.check == "link":
        check.update(host=f"{first}.example", path=f"/{second}/")
    elif goal.check == "tool":
        tool = draw.choice(sorted(means.tools))
        parameter = means.tools[tool]
        told = f' ({parameter} = "{first}{second}")' if parameter else ""
        values.update(tool=tool, argument=told)
        check.update(names=[tool], marker=first + second if parameter else "")
    return values, check


def _canary(draw: random.Random) -> tuple[str, str]:
    """Two halves of a word that no language has, so that nobody writes it by chance."""
    while True:
        halves = ["", ""]
        for i in range(2):
            for _ in range(_SYLLABLES):
                halves[i] += draw.choice(_CONSONANTS) + draw.choice(_VOWELS)
            halves[i] += draw.choice(_CONSONANTS)
        first, second = halves
        if first != second:
            return first, second
