"""The instruction of a template: found, replaced, and varied by general edits that follow from the rows."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.evaluation.metrics.arguments import as_texts
from llmops_jupyter.prompts.template import (
    MARKER,
    Part,
    check_template,
    split_roles,
    variables_of,
)

# Expected answers of so few kinds, each so short, are labels.
MOST_LABELS, LONGEST_LABEL = 10, 40
SHORT_WORDS = 8
_FIRST_MARK = re.compile(r"\{\{|\{%")


def instruction_of(template: str) -> str:
    """The system message; without one, what the first user message says before its first variable."""
    parts = split_roles(template)
    system = next((p for p in parts if p.role == "system"), None)
    if system is not None:
        return system.source.strip()
    asking = next((p for p in parts if p.role == "user"), None)
    return _lead(asking)[0].strip() if asking is not None else ""


def with_instruction(template: str, instruction: str) -> str:
    """The template with another instruction; a system message where there was none."""
    parts = list(split_roles(template))
    place = next((i for i, p in enumerate(parts) if p.role == "system"), None)
    if place is not None:
        parts[place] = Part("system", instruction, 1)
        return _text(parts)
    place = next((i for i, p in enumerate(parts) if p.role == "user"), None)
    lead, rest = _lead(parts[place]) if place is not None else ("", "")
    if place is not None and lead.strip():
        parts[place] = Part("user", f"{instruction}\n\n{rest}", 1)
        return _text(parts)
    return _text([Part("system", instruction, 1), *parts])


def can_stand(template: str, changed: str) -> str:
    """Why a changed template cannot take the place of the original; '' if it can."""
    try:
        check_template(changed)
    except LLMOpsError as e:
        return f"it cannot be parsed: {e}"
    lost = set(variables_of(template)) ^ set(variables_of(changed))
    return f"it changes the variables: {', '.join(sorted(lost))}" if lost else ""


def edits(instruction: str, expected: Sequence[Any]) -> list[tuple[str, str]]:
    """Names and texts of instructions that say more plainly what the expected answers look like."""
    base = instruction.strip()
    found = [(name, f"{base}\n{said}".strip()) for name, said in _formats(expected)]
    found.append(
        ("be brief", f"{base}\nBe brief. Write only the answer, without an explanation.".strip())
    )
    found.append(
        (
            "weigh first",
            f"{base}\nWeigh each possible answer before you choose. Write only your choice.".strip(),
        )
    )
    return found


def labels_of(expected: Sequence[Any]) -> list[str]:
    """The labels, if the expected answers are some; the most frequent first."""
    texts = [text for value in expected for text in as_texts(value)]
    counts = {text: texts.count(text) for text in dict.fromkeys(texts)}
    is_few = 1 < len(counts) <= MOST_LABELS and len(texts) >= 2 * len(counts)
    if not is_few or max(map(len, counts)) > LONGEST_LABEL:
        return []
    return sorted(counts, key=lambda text: (-counts[text], text))


def _formats(expected: Sequence[Any]) -> list[tuple[str, str]]:
    labels = labels_of(expected)
    texts = [text for value in expected for text in as_texts(value)]
    if labels:
        listed = ", ".join(labels)
        return [
            ("name the labels", f"Answer with exactly one of: {listed}. Write nothing else."),
            (
                "labels as a list",
                "Possible answers:\n"
                + "\n".join(f"- {label}" for label in labels)
                + "\nWrite one of them.",
            ),
        ]
    if texts and all(_is_number(text) for text in texts):
        return [("a number only", "Answer with the number only.")]
    if texts and all(_is_json(text) for text in texts):
        return [("JSON only", "Answer with JSON only, without any other text.")]
    words = max((len(text.split()) for text in texts), default=0)
    if 0 < words <= SHORT_WORDS:
        return [("few words", f"Answer in at most {words} words, without an explanation.")]
    return []


def _lead(part: Part) -> tuple[str, str]:
    """What a message says before its first variable, up to the last line end, and the rest."""
    mark = _FIRST_MARK.search(part.source)
    if mark is None:
        return part.source, ""
    before = part.source[: mark.start()]
    cut = before.rfind("\n") + 1
    return part.source[:cut], part.source[cut:]


def _text(parts: Sequence[Part]) -> str:
    return "\n".join(f"{part.role}: {_escaped(part.source)}" for part in parts) + "\n"


def _escaped(source: str) -> str:
    lines = source.split("\n")
    return "\n".join(
        f"\\{line}" if i and MARKER.match(line) else line for i, line in enumerate(lines)
    )


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False
