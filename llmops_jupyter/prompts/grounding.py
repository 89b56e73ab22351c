"""Prompts that are given passages of documents: what a run asks of those who find them and check the answer."""

from __future__ import annotations

import json
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from llmops_jupyter.errors import ContextLengthError
from llmops_jupyter.prompts.template import variables_of
from llmops_jupyter.records import Grounding, Hit, Message

if TYPE_CHECKING:
    from llmops_jupyter.engine.protocol import Engine
    from llmops_jupyter.prompts.conversation import Turn
    from llmops_jupyter.prompts.options import Documents
    from llmops_jupyter.prompts.prepare import Prepared
    from llmops_jupyter.tracing import Span

# The variable of a template that says where the passages go; without it they go before the last user message.
CONTEXT = "context"
# The variable that is searched for, where a template has it; else the last user message is.
QUESTION = "question"
# Stands in the filled template for passages that are found later; no text has these characters.
PLACE = "\ue0f0passages\ue0f1"
# Tokens that the chat's own marks may take, and the fewest that are worth a search.
SPARE, LEAST_ROOM = 16, 64
NOT_FOUND = "The documents do not say."
UNSUPPORTED = "The documents do not support what the model answered."


@dataclass(frozen=True)
class Context:
    """Passages for one question, ready to be put into a prompt.

    Args:
        text: what the model reads.
        hits: the passages in it, in the order of their numbers.
        query: what was searched for.
        notes: for the user.
        answer: an answer that takes no model, with what it rests on: none, since the passages do not speak of what is
            asked, or one in their own words.
    """

    text: str
    hits: tuple[Hit, ...]
    query: str
    notes: tuple[str, ...] = ()
    answer: tuple[str, Grounding] | None = None


class Source(Protocol):
    """Documents that passages come from."""

    @property
    def key(self) -> str:
        """What decides the passages beside the question."""
        ...

    def context(
        self,
        question: str,
        turns: Sequence[Turn],
        engine: Engine,
        room: int,
        parent: Span,
        screen: Screened | None = None,
    ) -> Context:
        """Find and pack passages into `room` tokens of the engine; spans go below `parent`.

        `screen` is given what was found, and returns what of it may be read, with notes for the user.
        """
        ...

    def check(self, context: Context, answer: str, parent: Span) -> tuple[str, Grounding]:
        """How far the passages support an answer, and what is said in its place where it is not to be given."""
        ...


# Passages that may be read, of those that were found, and what the user is told of the others.
Screened = Callable[[Sequence[Hit]], tuple[list[Hit], list[str]]]
# Opens the documents that a call names; the workspace plugs this in.
Sources = Callable[["Documents"], Source]


def with_place(variables: Mapping[str, Any], has_documents: bool) -> Mapping[str, Any]:
    """Variables with the place of the passages, if there are to be any; one that is called so gives way to it."""
    if not has_documents:
        return variables
    # A ChainMap writes to its first mapping only; the others may be read-only ones.
    return ChainMap({CONTEXT: PLACE}, cast("dict[str, Any]", variables))


def reserved(documents: Documents, context_length: int) -> int:
    """Tokens that are kept for passages where a long conversation would take all."""
    return min(documents.tokens or context_length // 4, context_length // 2)


def question_of(template: str, variables: Mapping[str, Any]) -> str:
    """The variable ``question`` of a template that has one; else ''."""
    if QUESTION not in variables or QUESTION not in variables_of(template):
        return ""
    return str(variables[QUESTION]).strip()


def last_asked(messages: Sequence[Message]) -> str:
    """The last message of the user, without the place of the passages."""
    said = next((m.content for m in reversed(messages) if m.role == "user"), "")
    return said.replace(PLACE, "").strip()


def grounded(prepared: Prepared, parent: Span, screen: Screened | None = None) -> Prepared:
    """The same with passages in its messages, which are looked for now; `screen` says which may be read."""
    source = prepared.source
    if source is None:
        return prepared
    engine, request = prepared.engine, prepared.request
    room = _room(prepared)
    context = source.context(
        prepared.question or last_asked(prepared.asked),
        prepared.turns,
        engine,
        room,
        parent,
        screen,
    )
    messages = put(request.messages, context.text)
    return replace(
        prepared,
        context=context,
        request=replace(request, messages=messages),
        notes=(*prepared.notes, *context.notes),
    )


def _room(prepared: Prepared) -> int:
    """Tokens that the prompt and its answer leave for passages; all there are where no model reads them."""
    engine, documents = prepared.engine, prepared.options.documents
    if documents is not None and documents.quote:
        return sys.maxsize
    empty = engine.count_tokens(put(prepared.request.messages, ""))
    if prepared.options.tools:
        empty += engine.count_tokens(json.dumps(list(prepared.content.tools), ensure_ascii=False))
    reserve = min(prepared.options.sampling.max_tokens, engine.context_length // 2)
    room = engine.context_length - reserve - empty - SPARE
    if room < LEAST_ROOM:
        raise ContextLengthError(
            f"There is no room for passages: of the model's context of {engine.context_length:,} tokens the prompt and "
            f"an answer of {reserve:,} take all but {max(0, room):,}. Shorten the question, lower max_tokens, or load "
            "the model with a longer context: %config LLMOps.context_length"
        )
    return room


def put(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    """The messages with a text where the passages go."""
    if any(PLACE in m.content for m in messages):
        return tuple(replace(m, content=m.content.replace(PLACE, text)) for m in messages)
    places = [i for i, m in enumerate(messages) if m.role == "user"]
    if not places or not text:
        return tuple(messages)
    found = list(messages)
    asked = found[places[-1]]
    found[places[-1]] = replace(asked, content=f"{text}\n\n{asked.content}")
    return tuple(found)
