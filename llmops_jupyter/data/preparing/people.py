"""Words that point to groups of people; counted to show who the examples speak of, never to drop a row."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# English words only. Groups under one heading are those that a reader would compare with each other.
TERMS: Mapping[str, Mapping[str, str]] = {
    "gender": {
        "women": "she her hers herself woman women girl girls mother mothers wife wives daughter daughters "
        "sister sisters female females lady ladies mrs ms actress waitress businesswoman grandmother aunt",
        "men": "he him his himself man men boy boys father fathers husband husbands son sons brother brothers "
        "male males gentleman gentlemen mr actor waiter businessman grandfather uncle",
        "non-binary": "nonbinary non-binary genderqueer agender",
        "transgender": "transgender trans transsexual",
    },
    "age": {
        "children": "child children kid kids toddler toddlers baby babies infant infants",
        "young": "young youth teenager teenagers teen teens adolescent adolescents millennial millennials",
        "old": "old elderly senior seniors pensioner pensioners retiree retirees aged",
    },
    "religion": {
        "Christian": "christian christians christianity catholic catholics protestant protestants church bible",
        "Muslim": "muslim muslims islam islamic mosque quran koran",
        "Jewish": "jew jews jewish judaism synagogue torah",
        "Hindu": "hindu hindus hinduism",
        "Buddhist": "buddhist buddhists buddhism",
        "Sikh": "sikh sikhs sikhism",
        "non-religious": "atheist atheists atheism agnostic agnostics secular",
    },
    "ethnicity": {
        "African": "african africans nigerian nigerians kenyan kenyans ethiopian ethiopians",
        "African American": "african-american african-americans afro-american",
        "Arab": "arab arabs arabic egyptian egyptians syrian syrians",
        "Asian": "asian asians chinese japanese korean koreans vietnamese filipino filipinos",
        "European": "european europeans german germans french italian italians polish british english spanish",
        "Indian": "indian indians pakistani pakistanis bangladeshi bangladeshis",
        "Indigenous": "indigenous aboriginal aborigines maori inuit",
        "Latin American": "latino latinos latina latinas latinx hispanic hispanics mexican mexicans brazilian "
        "brazilians",
        "Roma": "roma romani",
        "migrants": "immigrant immigrants migrant migrants refugee refugees foreigner foreigners",
    },
    "disability": {
        "disabled": "disabled disability disabilities handicapped wheelchair",
        "blind or deaf": "blind deaf",
        "neurodivergent": "autistic autism adhd dyslexic dyslexia",
        "mentally ill": "depressed depression schizophrenic schizophrenia bipolar",
    },
    "sexual orientation": {
        "homosexual": "gay gays lesbian lesbians homosexual homosexuals queer",
        "bisexual": "bisexual bisexuals",
        "heterosexual": "heterosexual heterosexuals straight",
    },
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words of these groups that mostly mean something else are counted only beside a word for people.
_DOUBTFUL = _words(
    "old aged young straight blind deaf english french spanish polish depression trans"
)
_PEOPLE = _words(
    "person people man woman men women boy girl lady gentleman adult adults child children user users patient "
    "patients customer customers couple community worker workers student students"
)
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_STOP = _words(
    "the a an and or but of to in on at for with from by as is are was were be been it its this that these those i "
    "you we they them their my your our me us not no do does did have has had will would can could should may might "
    "what which who when where how why if then than so there here about into over after before also very just more "
    "most some any all one two"
)
# Words named beside a group: in so many of its rows, and so many times as often as elsewhere.
FEWEST, OFTEN, NAMED = 3, 2.0, 5


@dataclass
class _Group:
    rows: list[int] = field(default_factory=list)
    words: Counter[str] = field(default_factory=Counter)


def groups_of(text: str) -> set[tuple[str, str]]:
    """(heading, group) of each group that a text names."""
    words = _WORD.findall(text.lower())
    found = set()
    for place, word in enumerate(words):
        group = _GROUP_OF.get(word)
        if group and (
            word not in _DOUBTFUL or any(w in _PEOPLE for w in words[place + 1 : place + 3])
        ):
            found.add(group)
    return found


_GROUP_OF = {
    word: (heading, group)
    for heading, groups in TERMS.items()
    for group, words in groups.items()
    for word in words.split()
}


def counted(texts: Sequence[str], row_ids: Sequence[str]) -> list[dict[str, Any]]:
    """For each group that is named: in how many rows, beside which words, in which row for example."""
    found: defaultdict[tuple[str, str], _Group] = defaultdict(_Group)
    everywhere: Counter[str] = Counter()
    for place, text in enumerate(texts):
        words = {w for w in _WORD.findall(text.lower()) if w not in _STOP and w not in _GROUP_OF}
        everywhere.update(words)
        for key in groups_of(text):
            found[key].rows.append(place)
            found[key].words.update(words)
    order = sorted(
        found, key=lambda key: (list(TERMS).index(key[0]), -len(found[key].rows), key[1])
    )
    return [
        {
            "about": heading,
            "group": group,
            "rows": len(found[heading, group].rows),
            "often beside": ", ".join(_beside(found[heading, group], everywhere, len(texts))),
            "for example row": row_ids[found[heading, group].rows[0]],
        }
        for heading, group in order
    ]


def _beside(group: _Group, everywhere: Counter[str], n: int) -> list[str]:
    """Words that are in rows of a group more often than in the others."""
    inside, outside = len(group.rows), n - len(group.rows)
    marked = []
    for word, times in group.words.items():
        rest = (everywhere[word] - times + 1) / (outside + 1)
        if times >= FEWEST and times / inside >= OFTEN * rest:
            marked.append((times / inside / rest * times, word))
    return [word for _, word in sorted(marked, key=lambda pair: (-pair[0], pair[1]))[:NAMED]]


def advice(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What would even out groups of which one is named twice as often as the next."""
    said = []
    for heading in TERMS:
        groups = [row for row in rows if row["about"] == heading]
        if len(groups) < 2:
            continue
        first, second = groups[0], groups[1]
        if first["rows"] >= 2 * second["rows"] and first["rows"] >= 10:
            said.append(
                f"{heading}: {first['rows']} rows speak of {first['group']}, {second['rows']} of "
                f"{second['group']}; {first['rows'] - second['rows']} more of the latter would even it out"
            )
    return said
