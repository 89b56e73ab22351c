"""32 prompts that share the first 247 tokens; other ones in each round, so that nobody knows them already.

All sides get the same token ids. They are made with the model's vocabulary and chat template alone, which
computes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.loops import text_of, tokens_of

SHARED, PROMPTS, MADE = 247, 32, 48
# Each of one token, so that the shared text of any round can be as long as that of any other.
_WORDS = (
    "red blue green white black gold silver brown north south east west early late young old "
    "small large long short warm cold light dark quick slow soft hard high low"
)
RULES = (
    " assistant of the library. People ask you for stories about the places that they travel to. Tell "
    "them in plain words and in whole sentences, and begin at once with the story itself. Name the people "
    "and the towns of the story, tell the weather and the time of the year, and let something happen "
    "that nobody expects. Do not speak of yourself, do not ask anything back and do not end the story "
    "early: there is always more to tell. Use no lists, no headings and no numbers. If a place has "
    "another name in another language, use the one that its own people use. "
)
FILLER = (
    "Keep the story calm and clear and true to the place, and go on and on and on with it. " * 8
)
_PLACES = (
    "rivers lakes mountains deserts forests islands oceans volcanoes glaciers caves valleys plains "
    "bridges castles temples harbours markets museums gardens stations towers libraries villages "
    "farms roads mills schools theatres beaches canals palaces ships"
)
WORDS, PLACES = _WORDS.split(), _PLACES.split()


@dataclass(frozen=True)
class Batch:
    """Prompts as (system, question) pairs, and as token ids; `beginnings` share 247 tokens each."""

    pairs: tuple[tuple[str, str], ...]
    tokens: tuple[tuple[int, ...], ...]
    beginnings: int

    @property
    def unique(self) -> int:
        """Tokens that have to be read: each shared beginning once."""
        whole = sum(map(len, self.tokens))
        return whole - (len(self.tokens) - self.beginnings) * SHARED


class Workload:
    """Makes the prompts of a model, of which a file has the vocabulary."""

    def __init__(self, path: str) -> None:
        from llama_cpp import Llama
        from llama_cpp import llama_cpp as lib

        self._llama = Llama(path, vocab_only=True, verbose=False)
        vocabulary = self._llama._model.vocab  # noqa: SLF001
        self.ends = [
            t for t in range(self._llama.n_vocab()) if lib.llama_vocab_is_eog(vocabulary, t)
        ]
        self._systems: dict[int, str] = {}

    def batch(self, number: int, beginnings: int = 1, count: int = PROMPTS) -> Batch:
        """The prompts of a round, with one system prompt or with two in turn; each number has its own."""
        systems = [self.system(2 * number + i) for i in range(beginnings)]
        pairs = tuple(
            (systems[i % beginnings], f"{PLACES[i % len(PLACES)].capitalize()} of old: {_rest(i)}")
            for i in range(count)
        )
        tokens = tuple(tuple(self.tokens(*pair)) for pair in pairs)
        for i in range(beginnings):
            if common(tokens[i::beginnings]) != SHARED:
                raise RuntimeError(f"the prompts share {common(tokens[i::beginnings])} tokens")
        return Batch(pairs, tokens, beginnings)

    def even(self, number: int, count: int) -> Batch:
        """Prompts of one length, with the system prompt of a round of its own."""
        system = self.system(2 * number)
        pairs = [(system, f"{place.capitalize()} of old?") for place in PLACES]
        found = [(pair, tuple(self.tokens(*pair))) for pair in pairs]
        length = Counter(len(tokens) for _, tokens in found).most_common(1)[0][0]
        kept = [(pair, tokens) for pair, tokens in found if len(tokens) == length][:count]
        if len(kept) < count:
            raise RuntimeError(f"only {len(kept)} prompts have the same length")
        return Batch(tuple(pair for pair, _ in kept), tuple(tokens for _, tokens in kept), 1)

    def text(self, system: str, question: str) -> str:
        """A prompt in the model's chat template."""
        return text_of(self._llama, question, system)

    def tokens(self, system: str, question: str, answer: str = "") -> list[int]:
        """Its token ids, with the beginning of an answer."""
        return tokens_of(self._llama, self.text(system, question) + answer)

    def system(self, number: int) -> str:
        """A system prompt after which 247 tokens are the same for all questions; there are 900."""
        if number not in self._systems:
            self._systems[number] = self._made(number)
        return self._systems[number]

    def _made(self, number: int) -> str:
        words = [WORDS[number // len(WORDS) % len(WORDS)], WORDS[number % len(WORDS)]]
        begin = f"You are the {' '.join(words)}{RULES}"
        filler = FILLER.split()
        for count in range(len(filler)):
            text = begin + " ".join(filler[:count]).rstrip(",.") + "."
            found = common([self.tokens(text, f"{q} ") for q in ("Rivers", "Lakes")])
            if found >= SHARED:
                break
        if found != SHARED:
            raise RuntimeError(f"system prompt {number} has {found} shared tokens")
        return text


def _rest(number: int) -> str:
    more = ("", " and whoever lives there", " through the whole year, from spring to winter")
    return f"tell me a very long story of them{more[number % len(more)]}."


def common(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with alike."""
    return next(
        (n for n, column in enumerate(zip(*prompts, strict=False)) if len(set(column)) > 1),
        min(map(len, prompts)),
    )


def check(what: str, batch: Batch, read: Sequence[int], made: Sequence[int]) -> None:
    """Raise a RuntimeError unless each prompt was read whole and 48 tokens were written for each."""
    wanted = [len(tokens) for tokens in batch.tokens]
    if list(read) != wanted or list(made) != [MADE] * len(wanted):
        raise RuntimeError(f"{what} read {list(read)} instead of {wanted} and wrote {list(made)}")


def as_options(ends: Sequence[int]) -> dict[str, Any]:
    """Greedy, 48 tokens, none of them an end."""
    return {
        "temperature": 0,
        "max_tokens": MADE,
        "logit_bias": tuple((end, float("-inf")) for end in ends),
    }
