"""The reasoning of models that think before they answer, kept apart from the answer.

Such models write their reasoning between two marks. Which ones is told by the chat template; some
templates begin the reasoning themselves, so that only its end is written.
"""

from __future__ import annotations

from typing import NamedTuple


class Marks(NamedTuple):
    """The texts before and after the reasoning."""

    begin: str
    end: str


# The forms of Qwen 3, DeepSeek R1, GLM and SmolLM 3; of Magistral; of Seed-OSS; of gpt-oss.
KNOWN = (
    Marks("<think>", "</think>"),
    Marks("[THINK]", "[/THINK]"),
    Marks("<seed:think>", "</seed:think>"),
    Marks(
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
)
# What stands for the last of them in its template, where the marks are put together.
_CHANNELS = ("<|channel|>analysis", "<|channel|>final")


def marks_of(template: str) -> Marks | None:
    """The marks that a chat template knows; None for models that do not think."""
    for marks in KNOWN:
        if marks.end in template:
            return marks
    return KNOWN[-1] if all(part in template for part in _CHANNELS) else None


def begun(marks: Marks, rendered: str) -> bool:
    """Whether a rendered prompt ends within reasoning, so that the model goes on with it."""
    return rendered.rstrip().endswith(marks.begin)


class Thinking:
    """Splits text that comes in pieces into reasoning and answer.

    Reasoning comes first or not at all: marks that come later belong to the answer.

    Args:
        marks: see `marks_of`; None for text that is all answer.
        inside: the text begins within reasoning.
    """

    def __init__(self, marks: Marks | None, *, inside: bool = False) -> None:
        self._marks = marks
        self._held = ""
        self.inside = inside and marks is not None
        self._open = marks is not None and not self.inside
        self._begins = self.inside
        self._strip = False

    @property
    def watching(self) -> bool:
        """Whether a mark may come."""
        return self._open or self.inside

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """The (is reasoning, text) parts that are certain by now."""
        if not (self.watching or self._strip):
            return [(False, text)] if text else []
        self._held += text
        return [part for part in self._parts() if part[1]]

    def finish(self) -> list[tuple[bool, str]]:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        if self._strip:
            held = ""
        return [(self.inside, held)] if held else []

    def _parts(self) -> list[tuple[bool, str]]:
        assert self._marks is not None
        parts: list[tuple[bool, str]] = []
        if self._open:
            start = self._held.lstrip()
            if start.startswith(self._marks.begin):
                self._held = start[len(self._marks.begin) :]
                self._open, self.inside, self._begins = False, True, True
            elif self._marks.begin.startswith(start):
                return parts
            else:
                self._open = False
        if self.inside:
            parts.append((True, self._reasoning(self._marks.end)))
        if self._strip:
            self._held = self._held.lstrip()
            if not self._held:
                return parts
            self._strip = False
        if not self.watching:
            parts.append((False, self._held))
            self._held = ""
        return parts

    def _reasoning(self, end: str) -> str:
        """The reasoning that is certain; its end closes it."""
        if self._begins:
            self._held = self._held.lstrip()
            self._begins = not self._held
        place = self._held.find(end)
        if place >= 0:
            given, self._held = self._held[:place], self._held[place + len(end) :]
            self.inside, self._strip = False, True
            return given.rstrip()
        keep = _overlap(self._held, end)
        # White space may be the last before the end mark, and is not part of the reasoning then.
        cut = len(self._held[: len(self._held) - keep].rstrip())
        given, self._held = self._held[:cut], self._held[cut:]
        return given


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of the text that the mark begins with."""
    for size in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:size]):
            return size
    return 0
