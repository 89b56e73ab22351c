"""Rude and hateful text, by a fitted model that does not see which group of people is spoken of.

Words for groups (`GROUPS`) are taken out before anything is scored, so that a text has the same score whichever of these groups
it names, and naming one adds nothing. The card ``weights/toxicity.md`` says on what the model was fitted and what it misses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from llmops_jupyter.guard import classifier, normalizing
from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.sentences import WINDOW, sentences, windows
from llmops_jupyter.guard.spelling import figures, folded
from llmops_jupyter.records import Place

SHOWN = 300
GROUPS = (
    r"wom[ae]n|female|m[ae]n|male|girls?|boys?|lad(?:y|ies)|guys?|gays?|lesbians?|bisexuals?|transgender(?:ed)?|trans|queers?|"
    r"non-?binary|straight|heterosexuals?|homosexuals?|lgbtq?\+?|blacks?|whites?|asians?|latin[oax]s?|hispanics?|arabs?|jew(?:s|ish)?|"
    r"muslims?|islam(?:ic)?|christians?|catholics?|protestants?|hindus?|buddhists?|sikhs?|atheists?|mormons?|immigrants?|migrants?|"
    r"refugees?|mexicans?|chinese|japanese|koreans?|indians?|pakistanis?|africans?|african-americans?|americans?|british|english|"
    r"french|germans?|italians?|spanish|russians?|ukrainians?|poles|polish|turks|turkish|israelis?|palestinians?|iranians?|europeans?|"
    r"natives?|indigenous|aborigin\w+|rom[ai]|disabled|handicapped|blind|deaf|autis(?:m|tic)|old|elderly|young|boomers?|millennials?|"
    r"feminists?|conservatives?|liberals?|republicans?|democrats?|socialists?|communists?|leftists?|left-?wing(?:ers?)?|"
    r"right-?wing(?:ers?)?|mothers?|fathers?|moms?|dads?|wi(?:fe|ves)|husbands?|poor|rich|teenagers?|kids?|children"
)
_GROUP = re.compile(
    rf"\b(?:{GROUPS})(?:\s+(?:people|persons?|folks?|community|communities))?\b", re.IGNORECASE
)
_PERSON = re.compile(r"\b(?:people|persons?|folks?)\b", re.IGNORECASE)


def digest() -> str:
    """What a score rests on besides the weights: the words that are taken out."""
    return hashlib.sha256(repr((GROUPS, 2)).encode()).hexdigest()


def masked(text: str) -> str:
    """The text without words for groups of people, and its letters plain."""
    plain = _GROUP.sub(" ", folded(text))
    return " ".join(figures(_PERSON.sub(" ", plain)).split())


def toxicity_scores(texts: Sequence[str]) -> list[float]:
    """How likely each text is rude or hateful, from 0 to 1, as it stands."""
    model = classifier.load("toxicity", digest())
    logits = model.logits([masked(text) for text in texts])
    return [model.probability(float(logit)) for logit in logits]


class Toxicity:
    """The check 'toxicity': a score from 0 to 1, the highest of the whole text, its windows and sentences."""

    name = "toxicity"
    places: tuple[Place, ...] = ("input", "context", "output")

    @property
    def threshold(self) -> float:
        """The score of the frozen threshold (see the model card)."""
        return classifier.load("toxicity", digest()).threshold

    def find(self, text: str, about: About) -> Finding:  # noqa: ARG002 - words hurt wherever they stand
        """The score of a text, with the part that has it as evidence."""
        read = normalizing.plain_of(text)
        parts = sentences(read)
        if not parts:
            return Finding(0.0, hit=False, reason="There is no text.")
        several = [read] if len(parts) > 1 else []
        pieces = [*parts, *(windows(parts) if len(parts) > WINDOW else []), *several]
        scores = toxicity_scores(pieces)
        best = max(range(len(pieces)), key=scores.__getitem__)
        hit = scores[best] >= self.threshold
        said = "A part is rude or hateful" if hit else "Nothing reads as rude or hateful"
        left = normalizing.unread(text)
        more = f" {left:,} characters in the middle were not read." if left else ""
        return Finding(
            scores[best],
            hit,
            f"{said} (score {scores[best]:.2f}).{more}",
            pieces[best][:SHOWN],
            unread=left,
        )


def toxicity() -> Toxicity:
    """The check of rude and hateful text."""
    return Toxicity()
