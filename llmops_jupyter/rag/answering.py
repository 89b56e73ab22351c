"""Answers from documents: search, packing, and the check of what the model made of it, all in one trace."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.prompts.grounding import NOT_FOUND, UNSUPPORTED, Context, Screened
from llmops_jupyter.rag.enough import Enough, enough
from llmops_jupyter.rag.followups import standalone
from llmops_jupyter.rag.packing import TOKENS, Packed, packed
from llmops_jupyter.rag.quoting import quotes
from llmops_jupyter.rag.support import Checker, finds_none
from llmops_jupyter.records import Citation, Claim, Grounding, Hit
from llmops_jupyter.render.grounded import one_line
from llmops_jupyter.tracing import Span

if TYPE_CHECKING:
    from llmops_jupyter.engine.protocol import Engine
    from llmops_jupyter.prompts.conversation import Turn
    from llmops_jupyter.prompts.options import Documents
    from llmops_jupyter.rag.index import Index
    from llmops_jupyter.rag.searching import Found

# Passages that are found; as many of them are packed as there is room for.
FOUND = 12
# The weight of a sentence's words together, below which it says too little to be looked for.
LEAST_WEIGHT = 2.5
NOT_THERE = "no passage supports a sentence of it"
# Documents that are counted for a word; one that is in more of them is common.
MOST_COUNTED = 2_000
TEMPLATE = """system: You answer questions about documents in one to three short sentences, with what the passages say and nothing else. After each sentence put the number of its passage, as in [1]. If the passages do not answer the question, write only: The documents do not say.
user: {{ context }}

Question: {{ question }}
Answer in one to three short sentences.
"""


@dataclass
class DocumentSource:
    """The documents of an index, as a run of a prompt uses them.

    Args:
        index: where passages are searched for.
        documents: what the call says of them.
        rerank: scores passages for a query, if a reranker is to.
    """

    index: Index
    documents: Documents
    rerank: Callable[[str, Sequence[str]], Sequence[float]] | None = None
    _weights: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> str:
        """The index with its content, and how passages are chosen."""
        where = json.dumps(self.documents.where, sort_keys=True, default=str)
        return json.dumps(
            [
                *(self.index.name, self.index.fingerprint(), where, self.documents.tokens),
                *(self.documents.rerank, self.documents.only, self.documents.quote, FOUND, TOKENS),
            ]
        )

    def context(
        self,
        question: str,
        turns: Sequence[Turn],
        engine: Engine,
        room: int,
        parent: Span,
        screen: Screened | None = None,
    ) -> Context:
        """Passages for a question; see `prompts.grounding.Source`."""
        asked = standalone(question, turns, engine, self.index.tracer, parent)
        hits, found = self._retrieved(asked.text, asked.how, parent)
        screened: list[str] = []
        if screen is not None:
            hits, screened = screen(hits)
        budget = min(self.documents.tokens or TOKENS, room)
        made = packed(hits, engine.count_tokens, budget, self.index.flagged(hits))
        cosine = max((f.cosine for f in found if f.cosine is not None), default=None)
        speaks = enough(asked.text, made.hits, self.weight, cosine)
        self._tell_packing(made, budget, speaks, parent)
        if hits and not made.hits:
            raise OptionError(
                f"{budget:,} tokens are too few for a passage. {self._more_room(budget)}"
            )
        notes = screened
        if asked.how != "asked":
            notes.append(f"searched for: {' '.join(asked.text.split())}")
        if made.cut:
            notes.append(f"{budget:,} tokens hold a part of one passage. {self._more_room(budget)}")
        why = speaks.why if hits else self._why_nothing(left_out=bool(screened))
        answer = None
        if not speaks.enough and (self.documents.only or self.documents.quote):
            answer = NOT_FOUND, self._grounding(asked.text, why=why)
        elif self.documents.quote:
            answer = self._quoted(asked.text, made.hits)
        return Context(made.text, made.hits, asked.text, tuple(notes), answer)

    def check(self, context: Context, answer: str, parent: Span) -> tuple[str, Grounding]:
        """How far the passages support an answer, and what to say; see `support`."""
        span = self.index.tracer.span("check support", op="check").begin(parent)
        error: BaseException | None = None
        try:
            claims = tuple(Checker(context.hits, self.weight, LEAST_WEIGHT).claims(answer))
            span.set("llmops.rag.claims", [_plain(asdict(c)) for c in claims])
            return self._judged(context, answer, claims)
        except BaseException as e:
            error = e
            raise
        finally:
            span.finish(error)

    def _more_room(self, budget: int) -> str:
        if budget == self.documents.tokens:
            return "Give passages more of them (--tokens)."
        return "Load the model with a longer context, or lower max_tokens."

    def _why_nothing(self, *, left_out: bool) -> str:
        if left_out:
            return "the guard policy left out every passage that was found"
        if self.documents.where:
            return "no passage was found in documents that fit --where"
        return "no passage has a word of the question"

    def _judged(
        self, context: Context, answer: str, claims: tuple[Claim, ...]
    ) -> tuple[str, Grounding]:
        if any(c.verdict == "supported" for c in claims):
            return answer, self._grounding(context.query, answered=True, claims=claims)
        none = finds_none(claims)
        why = "the model finds no answer in the passages" if none else NOT_THERE
        if not self.documents.only:
            return answer, self._grounding(context.query, claims=claims, why=why)
        nearest = self._nearest(context.query, context.hits)
        said = NOT_FOUND if none else UNSUPPORTED
        return said, self._grounding(
            context.query, claims=claims, draft=answer, why=why, nearest=nearest
        )

    def _quoted(self, query: str, hits: Sequence[Hit]) -> tuple[str, Grounding]:
        """The passages' own sentences as the answer."""
        found = self._nearest(query, hits)
        if not found:
            return NOT_FOUND, self._grounding(
                query, why="no passage has a sentence near the question"
            )
        claims = tuple(
            Claim(
                one_line(c.quote),
                "supported",
                (c,),
                why="it is the passage's own sentence",
            )
            for c in found
        )
        text = "\n\n".join(claim.text for claim in claims)
        return text, self._grounding(query, answered=True, claims=claims)

    def _nearest(self, query: str, hits: Sequence[Hit]) -> tuple[Citation, ...]:
        return tuple(quotes(query, hits, self.weight, self.index.embedder()))

    def _grounding(self, query: str, *, answered: bool = False, **rest: Any) -> Grounding:
        index = self.index
        return Grounding(index.name, index.fingerprint(), query, answered, **rest)

    def weight(self, word: str) -> float:
        """How much a word tells: the logarithm of passages for each one that has it (inverse document frequency)."""
        found = self._weights.get(word)
        if found is None:
            having, of = self.index.counted(word, MOST_COUNTED)
            found = self._weights[word] = math.log(1 + (of + 1) / (having + 1))
        return found

    def _retrieved(self, query: str, how: str, parent: Span) -> tuple[list[Hit], list[Found]]:
        index, began = self.index, time.perf_counter()
        span = index.tracer.span(
            f"retrieval {index.name}",
            op="retrieval",
            attributes={
                "gen_ai.data_source.id": index.name,
                "gen_ai.retrieval.query.text": query,
                "llmops.rag.query_is": how,
                "llmops.rag.fingerprint": index.fingerprint(),
                "llmops.rag.embedder": index.row.embedder or "none",
            },
        ).begin(parent)
        error: BaseException | None = None
        try:
            found = index.find(
                query,
                FOUND,
                where=self.documents.where,
                rerank=self.rerank,
            )
            pairs = index.paired(found)
            span.set("gen_ai.retrieval.documents", _documents(pairs))
            span.set("llmops.rag.seconds", round(time.perf_counter() - began, 4))
        except BaseException as e:
            error = e
            raise
        finally:
            span.finish(error)
        return [hit for hit, _ in pairs], [one for _, one in pairs]

    def _tell_packing(self, made: Packed, budget: int, speaks: Enough, parent: Span) -> None:
        facts: dict[str, Any] = {
            "gen_ai.data_source.id": self.index.name,
            "llmops.rag.budget": budget,
            "llmops.rag.passages": [
                {"number": i, "id": h.chunk_id, "source": h.source, "locator": h.locator}
                for i, h in enumerate(made.hits, 1)
            ],
            "llmops.rag.left_out": made.left_out,
            "llmops.rag.cut": made.cut,
            "llmops.rag.covered": round(speaks.covered, 3),
            "llmops.rag.unseen": round(speaks.unseen, 3),
            "llmops.rag.missing": list(speaks.missing),
            "llmops.rag.top_cosine": None if speaks.cosine is None else round(speaks.cosine, 4),
            "llmops.rag.enough": speaks.enough,
        }
        self.index.tracer.span("packing", op="packing", attributes=facts).begin(parent).finish()


def _documents(pairs: Sequence[tuple[Hit, Found]]) -> list[dict[str, Any]]:
    """What was found, as a trace keeps it: without the texts, which are in the messages."""
    return [
        {
            "id": hit.chunk_id,
            "score": round(one.score, 5),
            "source": hit.source,
            "locator": hit.locator,
            "word_rank": one.word_rank,
            "vector_rank": one.vector_rank,
            "cosine": None if one.cosine is None else round(one.cosine, 4),
        }
        for hit, one in pairs
    ]


def _plain(value: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(value, default=str))
