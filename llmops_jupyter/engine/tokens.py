"""From prompts to token ids, with checks against the context's length."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from llmops_jupyter.engine import callforms, chat, thinking, toolcalls
from llmops_jupyter.engine.generation import NO_THOUGHT, Thought
from llmops_jupyter.engine.protocol import Prompt, Request
from llmops_jupyter.engine.toolcalls import Calling
from llmops_jupyter.engine.vocabulary import Vocabulary
from llmops_jupyter.errors import ContextLengthError, OptionError
from llmops_jupyter.records import Message, Tool

# A text of more characters than this for each token of context is measured by a sample.
SAMPLE_ABOVE = 32
SAMPLE = 50_000


class Tokenizer:
    """A vocabulary with the model's chat format and the length of its context. Threads may share it."""

    def __init__(self, vocabulary: Vocabulary, context_length: int) -> None:
        self.vocabulary = vocabulary
        self.context_length = context_length

    @functools.cached_property
    def format(self) -> chat.ChatFormat:
        """How messages are written for the model."""
        vocabulary = self.vocabulary
        return chat.choose_format(
            vocabulary.chat_template(),
            list(vocabulary.control),
            vocabulary.text(vocabulary.bos),
            vocabulary.text(vocabulary.eos),
        )

    @functools.cached_property
    def thought(self) -> Thought:
        """How the reasoning of the model is told from its answers, where it reads messages."""
        marks = thinking.marks_of(self.format.template)
        if marks is None:
            return NO_THOUGHT
        begun = self.format.begins_to_think([Message("user", "?")])
        parts = marks.begin + marks.end
        control = self.vocabulary.control
        spoken = {token: text.encode() for text, token in control.items() if text in parts}
        return Thought(marks, begun, spoken)

    def thought_of(self, request: Request) -> Thought:
        """As `thought`, for a request: one with a prefill is past the reasoning."""
        if request.text is not None:
            return NO_THOUGHT
        thought = self.thought
        if request.tools:
            marks = (callforms.form_of(self.format.template) or callforms.HERMES).marks
            control = self.vocabulary.control
            spoken = {control[text]: text.encode() for text in marks if text in control}
            thought = replace(thought, spoken={**thought.spoken, **spoken})
        return replace(thought, begun=False) if request.prefill else thought

    def calling_of(self, request: Request) -> Calling | None:
        """How the calls of tools in the answer are read; None if there are to be none."""
        if request.text is not None:
            return None
        template = self.format.template
        return toolcalls.calling_of(request.tools, request.tool_choice, request.messages, template)

    def tokens(self, prompt: Prompt, prefill: str = "", tools: Sequence[Tool] = ()) -> list[int]:
        """Token ids of a text, or of messages in the chat template; no value makes a control token."""
        vocabulary = self.vocabulary
        bos = vocabulary.bos if vocabulary.adds_bos else None
        try:
            if isinstance(prompt, str):
                pieces = [chat.Piece(prompt + prefill, control=False)]
            else:
                pieces = self.format.pieces(prompt, prefill, tools)
            return chat.tokenize_pieces(
                pieces,
                control_ids=vocabulary.control,
                strips=vocabulary.strips,
                tokenize=vocabulary.tokenize,
                bos=bos,
            )
        except UnicodeEncodeError as e:
            raise OptionError(
                f"The prompt is not valid Unicode at character {e.start}. It was probably decoded with "
                "the wrong encoding: read the text again with encoding='utf-8'."
            ) from e

    def count(self, prompt: Prompt) -> int:
        """Tokens of a prompt; of one far longer than the context an estimate."""
        estimate = self._estimate(prompt)
        return estimate if estimate is not None else len(self.tokens(prompt))

    def of_request(self, request: Request) -> list[int]:
        """The checked token ids of a request."""
        prompt = request.messages if request.text is None else request.text
        estimate = self._estimate(prompt)
        if estimate is not None:
            self.check_room(estimate, about=True)
        told = () if request.tool_choice == "none" else request.tools
        tokens = self.tokens(prompt, request.prefill, told)
        if not tokens:
            raise OptionError("The prompt is empty. Write what to ask.")
        self.check_room(len(tokens))
        return tokens

    def to_embed(self, text: str) -> list[int]:
        """Token ids of a text for an embedding, with the model's own start and end."""
        try:
            tokens = self.vocabulary.tokenize(text, add_special=True)
        except UnicodeEncodeError as e:
            raise OptionError(
                "A text to embed is not valid Unicode. Read it again as UTF-8."
            ) from e
        if not tokens:
            raise OptionError("An empty text has no embedding. Leave it out.")
        self._check_pooled("A text to embed", len(tokens))
        return tokens

    def to_rerank(self, query: str, text: str, template: str | None) -> list[int]:
        """Token ids of a query with a text, in the file's own form or that of cross-encoders."""
        try:
            if template is None:
                tokens = self.vocabulary.pair(query, text)
            else:
                shape = replace(self.format, template=template, source="model")
                tokens = chat.tokenize_pieces(
                    shape.filled({"query": query, "document": text}),
                    control_ids=self.vocabulary.control,
                    strips=self.vocabulary.strips,
                    tokenize=self.vocabulary.tokenize,
                    bos=None,
                )
        except UnicodeEncodeError as e:
            raise OptionError(
                "A query or a text to rank is not valid Unicode. Read it again as UTF-8."
            ) from e
        self._check_pooled("A query with its text", len(tokens))
        return tokens

    def _check_pooled(self, what: str, count: int) -> None:
        if count > self.context_length:
            raise ContextLengthError(
                f"{what} has {count:,} tokens, {count - self.context_length:,} more than the model "
                "takes. Cut it into smaller passages."
            )

    def check_room(self, count: int, *, about: bool = False) -> None:
        """Raise a ContextLengthError if a prompt of `count` tokens leaves no room for an answer."""
        room = self.context_length - 1
        if count <= room:
            return
        near = "about " if about else ""
        raise ContextLengthError(
            f"The prompt has {near}{count:,} tokens, {near}{count - room:,} more than the context of "
            f"{self.context_length:,} holds with room for an answer. Shorten it, or load the model "
            "with a longer context: %config LLMOps.context_length"
        )

    def _estimate(self, prompt: Prompt) -> int | None:
        """Tokens of a text far longer than the context, from a sample of it; None for others."""
        texts = [prompt] if isinstance(prompt, str) else [m.content for m in prompt]
        length = sum(map(len, texts))
        if length <= SAMPLE_ABOVE * self.context_length:
            return None
        longest = max(texts, key=len)
        count = len(self.tokens(longest[:SAMPLE]))
        estimate = int(count / min(SAMPLE, len(longest)) * length)
        return estimate if estimate >= self.context_length else None


def label_tokens(
    tokenizer: Tokenizer, prompt: Prompt, labels: Sequence[str]
) -> tuple[list[int], list[list[int]]]:
    """What all labels have in common after the prompt, and what follows for each.

    A label is tokenised together with the prompt, since tokens may span their border. At least one token
    is common.

    Raises:
        OptionError, ContextLengthError: there are no labels, one is empty, or one does not fit.
    """
    if not labels or any(not label for label in labels):
        raise OptionError("score needs at least one label, and none of them empty.")
    base = tokenizer.tokens(prompt)
    wholes = [tokenizer.tokens(prompt, prefill=label) for label in labels]
    shared = len(base)
    for whole in wholes:
        tokenizer.check_room(len(whole))
        shared = min(shared, _common(base, whole), len(whole) - 1)
    if shared < 1:
        raise OptionError("The prompt is empty. Write what the labels are to follow.")
    return base[:shared], [whole[shared:] for whole in wholes]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count
