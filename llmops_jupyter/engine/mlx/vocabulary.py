"""The tokens of a model on MLX: llama.cpp's for a GGUF file, the folder's own for a folder."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_jupyter.engine.mlx.matching import tokenizer_of
from llmops_jupyter.engine.mlx.sampler import ArraySampler
from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.errors import ModelError

TOKENIZER = "tokenizer.json"


class FolderVocabulary:
    """The tokens of an MLX folder; see `engine.vocabulary.Vocabulary`.

    Raises:
        ModelError: a file of the tokenizer is missing or cannot be read.
    """

    pointer = None

    def __init__(self, folder: Path, size: int) -> None:
        from tokenizers import Tokenizer

        try:
            text = (folder / TOKENIZER).read_text("utf-8")
            self._described = json.loads(text)
            self._tokenizer: Any = Tokenizer.from_str(text)
        except Exception as e:
            raise ModelError(
                f"The tokenizer of {str(folder)!r} cannot be read ({e}). Convert the model again with "
                "mlx_lm.convert, which writes tokenizer.json."
            ) from e
        # What a value says must never become a control token.
        self._tokenizer.encode_special_tokens = True
        self.size = size
        self._config = _read(folder / "tokenizer_config.json")
        self._added = {a["id"]: a for a in self._described.get("added_tokens") or []}
        self._template = self._chat_template(folder)
        self.bos, self.eos = self._named("bos_token"), self._named("eos_token")
        first = self._tokenizer.encode("a", add_special_tokens=True).ids[:1]
        self.adds_bos = self.bos >= 0 and first == [self.bos]
        self._ends = {self.eos, *_ends(folder)} - {-1}
        self._bytes = _is_byte_level(self._described)

    @functools.cached_property
    def control(self) -> Mapping[str, int]:
        return {a["content"]: token for token, a in self._added.items() if a.get("special")}

    @functools.cached_property
    def strips(self) -> Mapping[int, tuple[bool, bool]]:
        return {
            token: (bool(a.get("lstrip")), bool(a.get("rstrip")))
            for token, a in self._added.items()
            if a.get("special") and (a.get("lstrip") or a.get("rstrip"))
        }

    def tokenize(self, text: str, *, add_special: bool = False) -> list[int]:
        text.encode()  # what is no Unicode is told as by llama.cpp's tokenizer
        return list(self._tokenizer.encode(text, add_special_tokens=add_special).ids)

    def pair(self, first: str, second: str) -> list[int]:
        return list(self._tokenizer.encode(first, second, add_special_tokens=True).ids)

    def ids_of(self, text: str) -> list[int]:
        return [self.control[text]] if text in self.control else self.tokenize(text)

    def piece(self, token: int) -> bytes:
        added = self._added.get(token)
        if added is not None:
            return b"" if added.get("special") else str(added["content"]).encode()
        text = self.text(token)
        if self._bytes:
            table = _byte_table()
            return bytes(table[c] for c in text if c in table)
        if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            return bytes([int(text[3:5], 16)])
        return text.replace("▁", " ").encode()

    def text(self, token: int) -> str:
        return str(self._tokenizer.id_to_token(token) or "") if token >= 0 else ""

    def is_end(self, token: int) -> bool:
        return token in self._ends

    def chat_template(self) -> str | None:
        return self._template

    def sampler(self, request: Request, seed: int, prompt: Sequence[int]) -> ArraySampler:
        """What draws the tokens of a request; see `engine.sampler.sampler_of`."""
        return ArraySampler(self, request, seed, prompt, lambda: self._matching)

    @functools.cached_property
    def _matching(self) -> Any:
        return tokenizer_of(json.dumps(self._described), self.size, self.eos)

    def free(self) -> None:
        """There is no native memory to give back."""

    def _named(self, which: str) -> int:
        found = self._config.get(which)
        text = found.get("content") if isinstance(found, dict) else found
        token = self._tokenizer.token_to_id(text) if isinstance(text, str) else None
        return -1 if token is None else int(token)

    def _chat_template(self, folder: Path) -> str | None:
        file = folder / "chat_template.jinja"
        if file.is_file():
            return file.read_text("utf-8")
        found = self._config.get("chat_template")
        if isinstance(found, list):
            found = next((t["template"] for t in found if t.get("name") == "default"), None)
        return found if isinstance(found, str) else None


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        raise ModelError(f"{str(file)!r} cannot be read: {e}. Convert the model again.") from e
    return found if isinstance(found, dict) else {}


def _ends(folder: Path) -> set[int]:
    """The tokens that end an answer, as the model's configurations say."""
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        ids = _read(folder / name).get("eos_token_id")
        found.update(i for i in (ids if isinstance(ids, list) else [ids]) if isinstance(i, int))
    return found


def _is_byte_level(described: Mapping[str, Any]) -> bool:
    """Whether tokens are written in the characters that stand for bytes."""
    decoder = described.get("decoder") or {}
    return "ByteLevel" in [decoder.get("type"), *(d["type"] for d in decoder.get("decoders", ()))]


@functools.cache
def _byte_table() -> Mapping[str, int]:
    """Which byte each character of a byte-level vocabulary stands for (as in GPT-2)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in shown]
    return {**{chr(b): b for b in shown}, **{chr(256 + i): b for i, b in enumerate(others)}}
