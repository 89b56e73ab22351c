"""From token bytes to text that may be shown: whole characters, and nothing of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


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
        self._held += self._decoder.decode(raw)
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
