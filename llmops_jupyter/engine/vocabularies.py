"""What a GGUF model's tokenizer does with texts, for comparing it with another library's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_jupyter.engine import child


@dataclass(frozen=True)
class Tokenized:
    """The tokens of each text, with what the model puts before it; and the texts of tokens that end an answer."""

    tokens: tuple[tuple[int, ...], ...]
    ends: tuple[str, ...]


def tokenize(model: str | os.PathLike[str], texts: Sequence[str]) -> Tokenized:
    """Tokens of texts by llama.cpp, in a child process."""
    values = {"model": str(Path(model).absolute()), "texts": list(texts)}
    found: Any = child.call(f"{__name__}:tokenize_here", values)
    return Tokenized(tuple(tuple(row) for row in found["tokens"]), tuple(found["ends"]))


def tokenize_here(_: child.Report, *, model: str, texts: list[str]) -> dict[str, Any]:
    """The same in this process."""
    from llmops_jupyter.engine import native

    loaded = native.load_model(Path(model), None)
    try:
        vocabulary = native.Vocabulary(loaded)
        tokens = [vocabulary.tokenize(text, add_special=True) for text in texts]
        control = sorted(vocabulary.control.items(), key=lambda pair: pair[1])
        ends = [text for text, token in control if vocabulary.is_end(token)]
    finally:
        native.library().llama_model_free(loaded)
    return {"tokens": [[int(t) for t in row] for row in tokens], "ends": ends}
