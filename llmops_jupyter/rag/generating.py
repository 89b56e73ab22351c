"""Questions for an evaluation, made by a model from passages, and marked as such."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import DataError
from llmops_jupyter.rag.wordmatch import WordMatch, telling
from llmops_jupyter.records import Message, Sampling

if TYPE_CHECKING:
    from llmops_jupyter.engine.protocol import Engine
    from llmops_jupyter.rag.index import Index
    from llmops_jupyter.rag.indexing import Tell

LEAST_WORDS = 12
TRIES = 4
_ASK = (
    "Write one short question that the text answers. Use words of the text, and name what it is about. Write the question and "
    "nothing else."
)


def generated(
    index: Index, engine: Engine, count: int, *, seed: int = 0, tell: Tell | None = None
) -> list[dict[str, Any]]:
    """Rows with question, source, quote, generated and the model's name.

    Passages are drawn by chance, one a document before any gets a second. A question is left out if it shares no telling
    word with its passage, is no question, or was there already; others are then tried. They tend to use the passage's own
    words, which makes them easier to find than what people ask.

    Raises:
        DataError: the index has no passage that a question can be made from.
    """
    passages = _drawn(index, seed)
    if not passages:
        raise DataError(
            f"The index {index.name!r} has no passages of {LEAST_WORDS} words or more to make questions from."
        )
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    tried = 0
    while len(rows) < count and tried < min(len(passages), count * TRIES):
        some = passages[tried : tried + count - len(rows)]
        tried += len(some)
        for question, (text, source, locator) in zip(_asked(engine, some), some, strict=True):
            if not question or question.casefold() in seen:
                continue
            seen.add(question.casefold())
            rows.append(
                {
                    "question": question,
                    "source": source,
                    "locator": locator,
                    "quote": text,
                    "generated": True,
                    "model": engine.model_name,
                }
            )
        if tell is not None:
            tell(f"{len(rows)}/{count} questions")
    return rows


def _drawn(index: Index, seed: int) -> list[tuple[str, str, str]]:
    rows = index.store.rows(
        "SELECT c.text, d.source, c.locator FROM rag_chunks c JOIN rag_documents d ON d.id = c.document_id "
        "WHERE c.index_id = ? AND c.kind != 'code' AND c.flags = '[]' ORDER BY d.source, c.position",
        (index.row.id,),
    )
    by_source: dict[str, list[tuple[str, str, str]]] = {}
    for row in rows:
        if len(row[0].split()) >= LEAST_WORDS:
            by_source.setdefault(row[1], []).append((row[0], row[1], row[2]))
    chance = random.Random(seed)  # noqa: S311 - a draw of passages
    for some in by_source.values():
        chance.shuffle(some)
    sources = sorted(by_source)
    chance.shuffle(sources)
    drawn = []
    while any(by_source.values()):
        drawn += [by_source[source].pop() for source in sources if by_source[source]]
    return drawn


def _asked(engine: Engine, passages: Sequence[tuple[str, str, str]]) -> list[str]:
    """A question for each passage, all in one batch; '' where none can be used."""
    requests = [
        Request(
            str(i),
            messages=(Message("system", _ASK), Message("user", f"{text[:2_000]}\n\nQuestion:")),
            sampling=Sampling(temperature=0.0, max_tokens=48),
            interactive=False,
        )
        for i, (text, _, _) in enumerate(passages)
    ]
    said = [""] * len(passages)
    for event in engine.generate(requests):
        if isinstance(event, Finished):
            if event.error is not None:
                raise event.error
            said[int(event.request_id)] = event.text
    return [_question(answer, text) for answer, (text, _, _) in zip(said, passages, strict=True)]


def _question(said: str, text: str) -> str:
    """The question that a model wrote, if it shares words with its passage."""
    line = next((part.strip() for part in said.splitlines() if "?" in part), "")
    question = line[: line.find("?") + 1].removeprefix("Question:").strip(' "*')
    words = telling(question)
    if not question.endswith("?") or len(question.split()) < 4 or not words:
        return ""
    match = WordMatch([text])
    try:
        shared = [w for w in words if match.having(w)]
    finally:
        match.close()
    return question if len(shared) >= max(1, len(words) // 3) else ""
