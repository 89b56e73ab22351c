"""What is asked: rows of a data set, or a fixed set of our own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmops_jupyter.errors import DataError, OptionError

COLUMNS = ("messages", "prompt", "question", "input", "text", "query")
ROLES = ("system", "user", "assistant")
Prompt = list[dict[str, str]]

_QUESTIONS = (
    "Why do leaves turn red in autumn?",
    "Write a short letter that asks a library to extend a loan by two weeks.",
    "Explain to a child of nine how a bicycle stays upright.",
    "List five things that one should pack for a night in a mountain hut, each with its reason.",
    "What is the difference between weather and climate? Give an example of each.",
    "Summarise this note in one sentence.",
    "Which of these orders should be looked at first, and why?",
    "Turn this note into three questions for the next meeting.",
)
_NOTE = (
    "The shop received the parcel on Tuesday. Two of the four books were damp, and the invoice named an edition that "
    "was not ordered. The customer would rather have the books late than in a poor state, and asked to be told before "
    "anything is sent. The printer has the older edition in stock and could ship on Friday. "
)


def own_prompts() -> list[Prompt]:
    """Sixteen prompts of some 10 to 250 words, the same ones each time."""
    found: list[Prompt] = []
    for number in range(16):
        question = _QUESTIONS[number % len(_QUESTIONS)]
        notes = "" if number % 8 < 5 else _NOTE * (1 + number // 4)
        asked = question if number < 8 else f"{question} Answer in two sentences."
        found.append([{"role": "user", "content": f"{notes}{asked}"}])
    return found


def prompts_of(rows: Iterable[Mapping[str, Any]], column: str | None = None) -> list[Prompt]:
    """Prompts from rows.

    Args:
        rows: of which one column is the text of the user, or a list of messages.
        column: its name; the first of `COLUMNS` that is there if left out.

    Raises:
        OptionError: there is no such column.
        DataError: there are no rows, or one has no text there.
    """
    every = list(rows)
    if not every:
        raise DataError("There are no rows to ask. Name a data set that has some.")
    name = column or next((c for c in COLUMNS if c in every[0]), None)
    if name is None or name not in every[0]:
        what = (
            f"The rows have no column {column!r}."
            if column
            else "No column of the rows is a prompt."
        )
        raise OptionError(f"{what} Name one with --column: {', '.join(map(str, every[0]))}.")
    return [_prompt(row.get(name), number) for number, row in enumerate(every, 1)]


def _prompt(given: Any, number: int) -> Prompt:
    if isinstance(given, str) and given.strip():
        return [{"role": "user", "content": given}]
    if isinstance(given, Sequence) and not isinstance(given, str) and given:
        messages = [m for m in given if isinstance(m, Mapping)]
        if len(messages) == len(given) and all(
            m.get("role") in ROLES and isinstance(m.get("content"), str) for m in messages
        ):
            return [{"role": m["role"], "content": m["content"]} for m in messages]
    raise DataError(
        f"Row {number} has no prompt: a text, or a list of messages with role and content. Correct it, or name "
        "another column with --column."
    )
