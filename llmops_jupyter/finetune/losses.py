"""Rows that base and adapter are compared on: which can be used, and the loss of what each of them wants.

The loss of a row is that of its last answer, in nats for a token of it; the token that ends the answer does not
count. Of a text it is that of its tokens but the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from llmops_jupyter.data.examples import Example, Format, fault_of, find_format
from llmops_jupyter.errors import DataError, OptionError, ReplayError

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset
    from llmops_jupyter.engine.protocol import Engine

Adapters = Sequence[tuple[str, float]]
Examples = list[tuple[str, Example]]
SHOWN = 5
# A text of more bytes may have a second token; and what a chat template may add to a conversation, in tokens.
SHORT, TEMPLATE = 16, 256


def read_rows(dataset: Dataset, own: Format) -> tuple[Examples, list[str]]:
    """The examples of a set, and what is wrong with its other rows.

    It is read by the columns that the run was read by where it has them, but without the run's system message.

    Raises:
        OptionError: it has no columns that can be read.
    """
    columns, found, faults = set(dataset.columns), [], []
    form = Format(own.kind, own.columns) if columns >= set(own.columns) else None
    form = form or find_format(dataset.columns)
    for row_id, row in dataset.items():
        try:
            example = form.read(row)
        except DataError as e:
            faults.append(f"row {row_id}: {str(e).rstrip('.')}")
            continue
        found.append((row_id, example))
    return found, faults


def usable(examples: Examples, engine: Engine) -> tuple[Examples, list[str]]:
    """The examples of which a loss can be computed, and what is wrong with the others."""
    found, faults = [], []
    for row_id, example in examples:
        if fault := fault_of(example) or _fault(example, engine):
            faults.append(f"row {row_id}: {fault}")
        else:
            found.append((row_id, example))
    return found, faults


def _fault(example: Example, engine: Engine) -> str:
    if not example.messages:
        short = len(example.text.encode()) < SHORT and engine.count_tokens(example.text) < 2
        return "the text is a single token" if short else ""
    if not example.answer.strip():
        return "the answer has no text"
    longest = sum(len(m.content.encode()) for m in example.messages) + TEMPLATE
    # No text has more tokens than bytes, so that few rows need to be counted.
    if longest < engine.context_length:
        return ""
    count, room = engine.count_tokens(example.messages), engine.context_length - 1
    return (
        f"{count:,} tokens are more than the {room:,} that the model reads" if count > room else ""
    )


def left_out(faults: Sequence[str], where: str) -> str:
    """A remark on rows that are not compared; '' if there are none."""
    if not faults:
        return ""
    more = f" and {len(faults) - SHOWN:,} more" if len(faults) > SHOWN else ""
    rows = "1 row" if len(faults) == 1 else f"{len(faults):,} rows"
    return f"left out of the {where}: {rows} ({'; '.join(faults[:SHOWN])}{more})"


def losses(
    examples: Sequence[tuple[str, Example]], engine: Engine, adapters: Adapters
) -> Iterator[float]:
    """The loss of each example, in nats for a token that was scored."""
    chats = [(e.messages[:-1], [e.answer]) for _, e in examples if e.messages]
    texts = [e.text for _, e in examples if not e.messages]
    scored = iter(engine.score(chats, adapters) if chats else [])
    read = iter(engine.logprobs(texts, adapters) if texts else [])
    added = _added(engine) if chats else 0
    for _, example in examples:
        if example.messages:
            (logprob,) = next(scored)
            yield -logprob / max(engine.count_tokens(example.answer) - added, 1)
        else:
            yield -float(next(read).mean())


def _added(engine: Engine) -> int:
    """Tokens that the model adds to any text, such as one that starts it; none of them is scored."""
    with suppress(ReplayError, OptionError):  # a cassette of an earlier version has no such call
        return engine.count_tokens("")
    return 0
