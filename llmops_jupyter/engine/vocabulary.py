"""What the rest of the engine needs to know of a model's tokens, wherever its tokenizer is from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Vocabulary(Protocol):
    """Text to tokens and back, and which tokens are control tokens.

    `pointer` is llama.cpp's vocabulary, which its grammars need; None if it has none.
    """

    size: int
    bos: int
    eos: int
    adds_bos: bool

    @property
    def pointer(self) -> Any: ...

    @property
    def control(self) -> Mapping[str, int]:
        """The control tokens by their text."""
        ...

    @property
    def strips(self) -> Mapping[int, tuple[bool, bool]]:
        """Which control tokens swallow the white space on their left and on their right."""
        ...

    def tokenize(self, text: str, *, add_special: bool = False) -> list[int]:
        """Token ids of a text in which nothing is read as a control token."""
        ...

    def pair(self, first: str, second: str) -> list[int]:
        """Token ids of two texts as cross-encoders read them."""
        ...

    def ids_of(self, text: str) -> list[int]:
        """The control token of that text, or the tokens that the text is made of."""
        ...

    def piece(self, token: int) -> bytes:
        """The bytes of a token; nothing for control tokens."""
        ...

    def text(self, token: int) -> str:
        """The text of a token, control tokens included; '' for none."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether a token ends the answer."""
        ...

    def chat_template(self) -> str | None:
        """The model's own chat template."""
        ...
