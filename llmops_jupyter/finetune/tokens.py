"""From examples to token ids, with what of them is learned: llama.cpp's own tokens, as they are served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmops_jupyter.data.examples import Example, fault_of
from llmops_jupyter.data.preparing.masking import Masked
from llmops_jupyter.engine import chat
from llmops_jupyter.engine.native import FileVocabulary
from llmops_jupyter.engine.tokens import Tokenizer
from llmops_jupyter.errors import DataError
from llmops_jupyter.finetune.packing import Tokens


class Encoder:
    """Turns examples into tokens of one model.

    Args:
        tokenizer: that of the model.
        learn: 'all' learns each answer of a conversation, 'last' only the last one.
    """

    def __init__(self, tokenizer: Tokenizer, learn: str = "all") -> None:
        self._tokenizer = tokenizer
        self._learn = learn

    @property
    def context_length(self) -> int:
        """The longest that the model reads, in tokens."""
        return self._tokenizer.context_length

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end an answer."""
        vocabulary = self._tokenizer.vocabulary
        found = [t for t in vocabulary.control.values() if vocabulary.is_end(t)]
        return tuple(sorted({*found, *([vocabulary.eos] if vocabulary.eos >= 0 else [])}))

    def encode(self, example: Example, row: str = "") -> list[Tokens]:
        """The sequences that an example teaches: one for each answer that is learned, or one for a text.

        A prompt has the very tokens that a request with its messages has; the answer follows with the token
        that ends it.

        Raises:
            DataError: roles are out of order, or there is nothing to learn.
            ModelError: the chat template refuses the messages.
        """
        fault = fault_of(example)
        if fault:
            raise DataError(f"{fault[0].upper()}{fault[1:]}.")
        if not example.messages:
            return [self._text(example.text, row)]
        places = [i for i, m in enumerate(example.messages) if m.role == "assistant"]
        chosen = places if self._learn == "all" else places[-1:]
        return [self._answer(example, place, row) for place in chosen]

    def masked(self, example: Example) -> Masked:
        """An example with what of it is learned, for looking at.

        Raises:
            DataError, ModelError: as for `encode`.
        """
        sequences = self.encode(example)
        pieces: list[tuple[str, bool]] = []
        done = 0
        for sequence in sequences:
            # The earlier answers of a conversation stand in the prompts of the later ones.
            begin = max(min(done, sequence.learned), 0)
            for part, learned in (
                (sequence.ids[begin : sequence.learned], False),
                (sequence.ids[sequence.learned :], True),
            ):
                if part:
                    pieces.append((self.text(part), learned))
            done = len(sequence.ids)
        last = sequences[-1]
        return Masked(tuple(pieces), len(last.ids), sum(s.targets for s in sequences))

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens, control tokens included."""
        vocabulary = self._tokenizer.vocabulary
        control = set(vocabulary.control.values())
        parts = [
            vocabulary.text(token).encode() if token in control else vocabulary.piece(token)
            for token in ids
        ]
        return b"".join(parts).decode("utf-8", "replace")

    def _text(self, text: str, row: str) -> Tokens:
        vocabulary = self._tokenizer.vocabulary
        ids = self._tokenizer.tokens(text)
        first = 1 if vocabulary.adds_bos else 0
        end = [vocabulary.eos] if vocabulary.eos >= 0 else []
        return Tokens((*ids, *end), first, row)

    def _answer(self, example: Example, place: int, row: str) -> Tokens:
        before, after = self._tokenizer.format.taught(example.messages[: place + 1])
        prompt = self._ids(before, first=True)
        answer = self._ids(_up_to_end(after, self._tokenizer))
        ends = self._tokenizer.vocabulary.is_end
        if not answer or not ends(answer[-1]):
            answer.append(self._end)
        return Tokens((*prompt, *answer), len(prompt), row)

    def _ids(self, pieces: Sequence[chat.Piece], *, first: bool = False) -> list[int]:
        vocabulary = self._tokenizer.vocabulary
        return chat.tokenize_pieces(
            pieces,
            control_ids=vocabulary.control,
            strips=vocabulary.strips,
            tokenize=vocabulary.tokenize,
            bos=vocabulary.bos if first and vocabulary.adds_bos else None,
        )

    @property
    def _end(self) -> int:
        """The token that ends an answer where the template writes none."""
        return self._tokenizer.vocabulary.eos


def _up_to_end(pieces: Sequence[chat.Piece], tokenizer: Tokenizer) -> list[chat.Piece]:
    """The pieces up to the token that ends the answer; what a template writes behind it is no answer."""
    vocabulary = tokenizer.vocabulary
    kept: list[chat.Piece] = []
    for piece in pieces:
        kept.append(piece)
        if piece.control and vocabulary.is_end(vocabulary.control[piece.text]):
            break
    else:
        # Templates without such a token end the line.
        if kept and not kept[-1].control:
            kept[-1] = chat.Piece(kept[-1].text.rstrip(), control=False)
    return kept


@contextmanager
def encoder_of(path: Path, context_length: int, learn: str = "all") -> Iterator[Encoder]:
    """An encoder for a GGUF file, read without its weights.

    Raises:
        ModelError: the file cannot be read or carries no tokenizer.
        MissingDependencyError: llama-cpp-python is not installed.
    """
    vocabulary = FileVocabulary(path)
    try:
        yield Encoder(Tokenizer(vocabulary, context_length), learn)
    finally:
        vocabulary.free()
