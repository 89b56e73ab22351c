"""Whether an answer declines to answer, by its beginning.

A fitted model on hashed n-grams and the phrases below; the card ``weights/refusal.md`` says on what it was fitted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.guard import classifier
from llmops_jupyter.guard.check import About, Finding
from llmops_jupyter.guard.sentences import sentences
from llmops_jupyter.records import Place

if TYPE_CHECKING:
    import numpy as np

# A refusal says so at its beginning; later the same words are mostly about something else.
LOOKED_AT = 400
_CANNOT = (
    r"(?:can(?:no|['’])?t|can not|won['’]?t|will not|am (?:not (?:able|going|willing|allowed|permitted|programmed|designed)|unable)|"
    r"['’]m (?:not (?:able|going|willing|allowed|permitted|programmed|designed)|unable)|do not|don['’]t|(?:could|would|should)(?: not|n['’]t))"
)
_DO = (
    r"(?:help|assist|answer|provide|comply|fulfil|fulfill|satisfy|do (?:that|this|so)|support|give|share|create|write|generate|discuss|"
    r"engage|continue|offer|participate|tell|respond|advise|recommend|suggest|guide|instruct|teach|condone|encourage|promote|produce|"
    r"describe|explain|make|complete|facilitate|endorse|reveal|disclose|say|list|proceed|carry out|fulfill|perform|speak|talk|comment)"
)
PHRASES: dict[str, str] = {
    "I cannot do it": rf"\bI\s*(?:['’]m| am)?\s*(?:sorry|afraid)?,?\s*(?:but\s+)?(?:I\s*)?{_CANNOT}\s+(?:\w+\s+){{0,3}}{_DO}\b",
    "I am unable to": rf"\bI\s*(?:['’]m| am)\s+(?:not able|unable|not in a position|not allowed|not permitted)\s+to\s+{_DO}\b",
    "sorry, but": r"\b(?:sorry|apologi[sz]e|apologies|regret\w*|unfortunately|afraid)\b.{0,40}\b(?:but|can['’]?t|cannot|unable|not able|won['’]t|however)\b",
    "must decline": r"\bI\s+(?:must|have to|need to|will)\s+(?:\w+ )?(?:decline|refuse|pass|say no)\b|\bI\s+(?:decline|refuse)\b",
    "rather not": r"\bI(?:['’]d| would)\s+(?:rather|prefer)\s+(?:not|to not)\b",
    "not comfortable": r"\bI(?:\s+(?:do not|don['’]t)\s+feel|['’]m not|\s+am not)\s+comfortable\b",
    "as an AI": r"\b(?:as|i['’]?m|i am|being) (?:just )?an? (?:\w+ ){0,4}(?:AI|language model|assistant|chatbot)\b",
    "an AI that cannot": r"\bas an? (?:\w+ ){0,4}(?:AI|language model|assistant)\b[^.!?]{0,80}\b(?:cannot|can['’]?t|not able|unable|do not|don['’]?t|must)\b",
    "inappropriate": r"\b(?:it|this|that)(?:['’]s| would be| is| goes)\s+(?:\w+ )?(?:in|not )?(?:appropriate|ethical|acceptable|okay|right|against (?:my|our|the) \w+)\b|\bunethical\b",
    "illegal": r"\b(?:illegal|against the law|a crime|unlawful|immoral|harmful|dangerous|violat\w+|wrong)\b",
    "my guidelines": r"\b(?:my|our) (?:\w+ )?(?:guidelines?|polic(?:y|ies)|principles|programming|values|rules|standards|scope)\b",
    "strongly advise": r"\b(?:strongly|would|must) (?:advise|urge|discourage|recommend|encourage|caution)\b",
    "important to": r"\b(?:it['’]?s|it is) (?:\w+ )?(?:important|essential|crucial)\b",
    "seek help": r"\b(?:seek|reach out|talk to|speak (?:to|with)|contact|consult|crisis|helpline|professional)\b",
    "what I can do": r"\b(?:instead|happy to|glad to|i can (?:help|explain|offer|tell)|is there (?:anything|something) else|let me know)\b",
    "begins with consent": r"^\W*(?:sure|certainly|of course|absolutely|yes|here(?:['’]s| is| are)|great|okay|ok|gladly|claro|natürlich|gern|bien sûr|certo|конечно|当然|もちろん|물론)\b",
    "begins with I": r"^\W*(?:I|I['’]m)\b",
    "begins with no": r"^\W*(?:no|nope|sorry|unfortunately|my apologies|regrettably)\b",
    "begins as a list or code": r"^\s*(?:[-*•#`]|\d+[.)]|def |import |<)",
    "in quotes": r"^\W*[\"“«]",
    "German": r"\b(?:(?:kann|darf|werde|möchte|will) ich (?:\w+ ){0,5}(?:nicht|keine\w*)|ich (?:kann|darf|werde|möchte|muss) (?:\w+ ){0,6}(?:nicht|keine\w*|ablehnen)|leider nicht)\b",
    "French": r"\bje (?:ne|n['’]) ?(?:peux|suis pas|veux|vais|souhaite)|\bje refuse|m['’]est impossible|\bdésolée?\b",
    "Spanish": r"\bno (?:me es posible|puedo|voy a|podré|debo)\b|\blo siento\b|\bme temo\b|\bdebo rechazar",
    "Italian, Portuguese, Dutch": r"\bnon posso\b|\bmi dispiace\b|\bnão (?:posso|me é|vou)\b|\bdesculpe\b|\bhet spijt\b|\b(?:kan|moet) ik\b.{0,20}\b(?:niet|weigeren)\b",
    "Slavic, Turkish": r"не могу|не буду|извините|przykro mi|nie mogę|üzgünüm|yardımcı olamam",
    "others": r"无法|不能(?:提供|回答|帮)|抱歉|对不起|申し訳|できません|お応え|죄송|도와드릴 수 없|नहीं कर सकत|क्षमा करें|لا يمكنني|عذر",
}
_COMPILED = tuple(re.compile(p, re.IGNORECASE) for p in PHRASES.values())


def digest() -> str:
    """What a decision rests on: the phrases and the length that is read."""
    return hashlib.sha256(repr((list(PHRASES.items()), LOOKED_AT)).encode()).hexdigest()


def phrases(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """One row for each text: 1.0 for each kind of phrase that it has."""
    import numpy as np

    found = [[float(p.search(text) is not None) for p in _COMPILED] for text in texts]
    return np.array(found, dtype=np.float32).reshape(len(texts), len(_COMPILED))


def beginning(text: str) -> list[str]:
    """What is scored: the first 400 characters in one line, and their first sentence alone when there are more."""
    first = " ".join(text[:LOOKED_AT].split())
    parts = sentences(first)
    return [first, *parts[:1]] if len(parts) > 1 else parts


def refusal_score(text: str) -> float:
    """How likely the text declines to answer, from 0 to 1; 0 for an empty one."""
    read = beginning(text)
    if not read:
        return 0.0
    model = classifier.load("refusal", digest())
    return model.probability(float(model.logits(read, phrases(read)).mean()))


def refuses(text: str) -> bool:
    """Whether the beginning of a text declines to answer."""
    return refusal_score(text) >= classifier.load("refusal", digest()).threshold


class Refusal:
    """The check 'refusal': a score from 0 to 1 of an answer."""

    name = "refusal"
    places: tuple[Place, ...] = ("output",)

    @property
    def threshold(self) -> float:
        """The score from which on `refuses` says yes."""
        return classifier.load("refusal", digest()).threshold

    def find(self, text: str, about: About) -> Finding:  # noqa: ARG002 - an answer is judged alone
        """The score of an answer, with its beginning as evidence."""
        value = refusal_score(text)
        hit = value >= self.threshold
        said = "The answer declines" if hit else "The answer does not decline"
        return Finding(value, hit, f"{said} (score {value:.2f}).", text[:120] if hit else "")


def refusal() -> Refusal:
    """The check of refusals in answers."""
    return Refusal()
