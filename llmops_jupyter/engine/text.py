"""From token bytes to text that may be shown: whole characters, and nothing of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from llmops_jupyter.engine.thinking import Marks, Thinking
from llmops_jupyter.engine.toolcalls import CallReader


class TextStream:
    """Collects the bytes of tokens and gives out text that is final."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(stop)
        self._held = ""
        self.text = ""
        self.stopped = False

    def add(self, raw: bytes) -> str:
        """The text that became final by these bytes; what could begin a stop string is held back."""
        return self.add_text(self._decoder.decode(raw))

    def add_text(self, text: str) -> str:
        """As `add`, for whole characters."""
        self._held += text
        for place, _ in sorted((self._held.find(s), s) for s in self._stop if s in self._held)[:1]:
            self.stopped = True
            return self._give(place)
        return self._give(len(self._held) - self._overlap())

    def end(self) -> str:
        """The text that was held back; half a character at the end is left out."""
        return "" if self.stopped else self._give(len(self._held))

    def _give(self, count: int) -> str:
        given, self._held = self._held[:count], self._held[count:]
        self.text += given
        return given

    def _overlap(self) -> int:
        """Length of the longest end of the text that a stop string begins with."""
        longest = 0
        for stop in self._stop:
            for size in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:size]):
                    longest = size
                    break
        return longest


class AnswerStream:
    """As `TextStream`, for models that think: reasoning and answer apart. Stop strings end the answer only.

    Args:
        stop: stop strings.
        marks: around the reasoning, see `thinking.marks_of`; None for models that do not think.
        inside: the text begins within reasoning.
        calls: takes the calls of tools out of the answer; None where there are none.
    """

    def __init__(
        self,
        stop: Sequence[str],
        marks: Marks | None = None,
        *,
        inside: bool = False,
        calls: CallReader | None = None,
    ) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._thinking = Thinking(marks, inside=inside)
        self._answer = TextStream(stop)
        self._calls = calls
        self._reasoning: list[str] = []

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._answer.text

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come."""
        return self._answer.stopped

    @property
    def inside(self) -> bool:
        """Whether what comes next is reasoning."""
        return self._thinking.inside

    @property
    def watching(self) -> bool:
        """Whether a mark may come."""
        return self._thinking.watching

    def add(self, raw: bytes) -> list[tuple[bool, str]]:
        """The (is reasoning, text) parts that became final by these bytes."""
        return self._given(self._thinking.feed(self._decoder.decode(raw)))

    def cut_call(self) -> None:
        """Forget what has come after the mark of a call."""
        if self._calls is not None:
            self._calls.drop_surplus()
            self._decoder.reset()

    def end(self) -> list[tuple[bool, str]]:
        """What was held back; half a character at the end is left out."""
        parts = self._given(self._thinking.finish())
        held = self._calls.finish() if self._calls is not None else ""
        rest = "" if self.stopped else self._answer.add_text(held) + self._answer.end()
        return [*parts, (False, rest)] if rest else parts

    def _given(self, parts: Sequence[tuple[bool, str]]) -> list[tuple[bool, str]]:
        found = []
        for thought, text in parts:
            if thought:
                self._reasoning.append(text)
                found.append((True, text))
            elif not self.stopped:
                shown = text if self._calls is None else self._calls.feed(text)
                if given := self._answer.add_text(shown):
                    found.append((False, given))
        return found
