"""Few-shot examples: read from what a notebook holds, chosen, and turned into messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.prompts.content import Examples
from llmops_jupyter.prompts.template import Part, fill_part, split_roles, variables_of
from llmops_jupyter.records import Message

INPUTS = ("input", "user", "question", "prompt", "text")
OUTPUTS = ("output", "assistant", "answer", "completion", "label", "expected")
PICKS = ("first", "similar")


def as_examples(given: Any, *, pick: str = "first", count: int | None = None) -> Examples | None:
    """Examples from a list of mappings or (input, output) pairs, a DataFrame or a data set.

    Raises:
        DataError: it is none of these, or empty.
    """
    if given is None:
        return None
    from llmops_jupyter.data import Dataset

    if pick not in PICKS:
        raise OptionError(f"Examples are picked by {' or '.join(PICKS)}, not {pick!r}.")
    if count is not None and count < 1:
        raise OptionError(f"The number of examples is at least 1; it is {count}.")
    if isinstance(given, Examples):
        return given
    if isinstance(given, Dataset):
        return Examples(dataset=given.ref, dataset_hash=given.content_hash, pick=pick, count=count)
    to_dict = getattr(given, "to_dict", None)
    if hasattr(given, "columns") and callable(to_dict):
        given = to_dict("records")
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        raise DataError(
            f"Examples are a list, a DataFrame or a data set, not {type(given).__name__}. "
            'For instance [{"input": "2+2", "output": "4"}].'
        )
    rows = tuple(_row(r) for r in given)
    if not rows:
        raise DataError("The list of examples is empty. Give at least one, or leave --shots out.")
    return Examples(rows=rows, pick=pick, count=count)


def _row(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        plain = {str(k): v for k, v in row.items()}
    elif isinstance(row, Sequence) and not isinstance(row, str) and len(row) == 2:
        plain = {"input": row[0], "output": row[1]}
    else:
        raise DataError(
            f"An example is a mapping or an (input, output) pair, not {row!r:.80}. "
            'For instance {"input": "2+2", "output": "4"}.'
        )
    try:
        return dict(json.loads(json.dumps(plain, default=str)))
    except ValueError as e:
        raise DataError(f"The example {row!r:.80} cannot be kept: {e}.") from e


def check_examples(template: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise a DataError or a TemplateError for a row that makes no example of this template."""
    last = _last_user(template)
    for row in rows:
        _pair(last, row)


def example_messages(
    template: str, rows: Sequence[Mapping[str, Any]], examples: Examples, asked: str
) -> tuple[Message, ...]:
    """A user and an assistant message for each chosen example.

    If the example has all variables of the template's last user message, that message filled with them
    is the input; otherwise its ``input`` column is, as it stands. `asked` is the input that similar
    examples are chosen for.
    """
    last = _last_user(template)
    pairs = [_pair(last, row) for row in rows]
    count = len(pairs) if examples.count is None else min(examples.count, len(pairs))
    if examples.pick == "similar":
        chosen = most_similar([p[0] for p in pairs], asked, count)
    else:
        chosen = list(range(count))
    messages: list[Message] = []
    for index in chosen:
        messages += [Message("user", pairs[index][0]), Message("assistant", pairs[index][1])]
    return tuple(messages)


def _last_user(template: str) -> Part | None:
    asking = [part for part in split_roles(template) if part.role == "user"]
    return asking[-1] if asking else None


def _pair(last: Part | None, row: Mapping[str, Any]) -> tuple[str, str]:
    wanted = set(variables_of(_plain_part(last))) if last is not None else set()
    outputs = [c for c in OUTPUTS if c in row and c not in wanted]
    if not outputs:
        raise DataError(
            f"An example has the columns {', '.join(map(repr, row))} and none of them is the answer. "
            f"Name it 'output' (or one of {', '.join(OUTPUTS[1:])})."
        )
    answer = row[outputs[0]]
    said = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    if last is not None and wanted and wanted <= set(row):
        return fill_part(last, row).content, said
    inputs = [c for c in INPUTS if c in row and c != outputs[0]]
    if not inputs:
        names = ", ".join(sorted(wanted)) or "input"
        raise DataError(
            f"An example has the columns {', '.join(map(repr, row))} and none of them is the input. "
            f"Give it the prompt's variables ({names}) or a column 'input'."
        )
    return str(row[inputs[0]]), said


def _plain_part(part: Part) -> str:
    return f"{part.role}: {part.source}"


def most_similar(texts: Sequence[str], asked: str, count: int) -> list[int]:
    """Places of the texts most like `asked`, the most similar last, next to the question.

    Cosine of TF-IDF weights over character 2- to 4-grams within words (scikit-learn); ties keep order.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)).fit_transform([*texts, asked])
    weights = (vectors[:-1] @ vectors[-1].T).toarray().ravel()
    best = sorted(range(len(texts)), key=lambda i: (-weights[i], i))[:count]
    return list(reversed(best))
