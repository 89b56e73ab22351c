"""Folders of mlx-lm: config.json, weights in safetensors, a tokenizer; read without loading weights."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import ModelArchitectureError, ModelFormatError, ModelTruncatedError
from llmops_jupyter.models.gguf import GGUFMetadata
from llmops_jupyter.models.model import Progress, sha256_of

CONFIG, INDEX, TOKENIZER = "config.json", "model.safetensors.index.json", "tokenizer.json"
# What has a say in the answers; a model card has none.
TEXTS = (
    CONFIG,
    INDEX,
    TOKENIZER,
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
)
MOST_HEADER = 100_000_000


def is_folder(path: Path) -> bool:
    """Whether a path is a folder that holds a model's configuration."""
    return (path / CONFIG).is_file()


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights, by name.

    Raises:
        ModelFormatError: there are none.
        ModelTruncatedError: one that the index names is missing.
    """
    found = sorted(folder.glob("model*.safetensors"))
    if not found:
        raise ModelFormatError(
            f"{str(folder)!r} holds no model*.safetensors. Download the whole repository, or convert the model "
            "with: mlx_lm.convert"
        )
    if (folder / INDEX).is_file():
        named = set(_json(folder / INDEX).get("weight_map", {}).values())
        missing = sorted(named - {file.name for file in found})
        if missing:
            raise ModelTruncatedError(
                f"{str(folder)!r} is incomplete: {', '.join(missing[:3])} is missing. Download it again."
            )
    return found


def read_folder(folder: Path) -> GGUFMetadata:
    """What a folder says of its model; the shape of the record is that of GGUF files.

    Raises:
        ModelFormatError, ModelTruncatedError: a file is missing, cut off or no model's.
        ModelArchitectureError: it needs code of its own, which is never run.
    """
    config = _json(folder / CONFIG)
    architecture = config.get("model_type")
    if not isinstance(architecture, str) or not architecture:
        raise ModelFormatError(
            f"The config.json of {str(folder)!r} does not name a model_type. Convert the model again with: "
            "mlx_lm.convert"
        )
    if config.get("model_file"):
        raise ModelArchitectureError(
            f"{str(folder)!r} brings code of its own, which is never run. Choose a model that mlx-lm knows."
        )
    if not (folder / TOKENIZER).is_file():
        raise ModelFormatError(
            f"{str(folder)!r} has no {TOKENIZER}. Convert the model again with mlx_lm.convert, which writes it."
        )
    text = config.get("text_config")
    shape = {**config, **text} if isinstance(text, Mapping) else config
    files = weight_files(folder)
    tensors = {name: entry for file in files for name, entry in _header(file).items()}
    heads, layers = _whole(shape, "num_attention_heads"), _whole(shape, "num_hidden_layers")
    width = _whole(shape, "hidden_size")
    head = _whole(shape, "head_dim") or (width // heads if heads else 0)
    kv_heads = _whole(shape, "num_key_value_heads") or heads
    return GGUFMetadata(
        architecture=architecture,
        name=folder.name,
        quantization=_quantization(config, tensors),
        parameters=_parameters(config, tensors),
        context_length=_whole(shape, "max_position_embeddings"),
        embedding_length=width,
        feed_forward_length=_whole(shape, "intermediate_size"),
        layers=layers,
        heads=heads,
        kv_heads=(kv_heads,) * layers,
        key_length=head,
        value_length=head,
        vocabulary=_whole(shape, "vocab_size"),
        chat_template=_template(folder),
        tokenizer="tokenizer.json",
        tensor_bytes=sum(
            int(e["data_offsets"][1]) - int(e["data_offsets"][0]) for e in tensors.values()
        ),
        size=sum(file.stat().st_size for file in _files(folder)),
    )


def stat_of_folder(folder: Path) -> tuple[int, int]:
    """Bytes of a folder's files, and the newest of their times in nanoseconds."""
    stats = [file.stat() for file in _files(folder)]
    return sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)


def digest_of_folder(folder: Path, progress: Progress | None = None) -> str:
    """The hex sha256 over the names and the sha256 of the files that have a say in the answers."""
    found = hashlib.sha256()
    for file in _files(folder):
        found.update(f"{sha256_of(file, progress)}  {file.name}\n".encode())
    return found.hexdigest()


def _files(folder: Path) -> list[Path]:
    texts = [folder / name for name in TEXTS if (folder / name).is_file()]
    return sorted([*texts, *weight_files(folder)])


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ModelFormatError(
            f"{str(file)!r} cannot be read: {e}. Download or convert the model again."
        ) from e
    if not isinstance(found, dict):
        raise ModelFormatError(f"{str(file)!r} holds no object. Download the model again.")
    return found


def _header(file: Path) -> dict[str, dict[str, Any]]:
    """The tensor table of a safetensors file, checked against the file's length."""
    try:
        with file.open("rb") as source:
            size = int.from_bytes(source.read(8), "little")
            if not 2 <= size <= MOST_HEADER:
                raise ValueError("its header has no sensible length")
            table = json.loads(source.read(size))
        tensors = {name: entry for name, entry in table.items() if name != "__metadata__"}
        end = max((int(e["data_offsets"][1]) for e in tensors.values()), default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as e:
        raise ModelFormatError(
            f"{str(file)!r} is no safetensors file ({e}). Download it again; a pointer of Git LFS is not it."
        ) from e
    length = file.stat().st_size
    if length < 8 + size + end:
        raise ModelTruncatedError(
            f"{str(file)!r} is cut off: {length:,} of {8 + size + end:,} bytes. Download it again."
        )
    return tensors


def _quantization(config: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Any]]) -> str:
    found = config.get("quantization") or config.get("quantization_config")
    if isinstance(found, Mapping) and "bits" in found:
        return f"{found['bits']}-bit, groups of {found.get('group_size', 64)}"
    kinds = Counter(str(entry.get("dtype")) for entry in tensors.values())
    return kinds.most_common(1)[0][0] if kinds else ""


def _parameters(config: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Any]]) -> int:
    """Weights; packed ones are counted by the bits that the configuration gives."""
    found = config.get("quantization") or {}
    total = 0
    for name, entry in tensors.items():
        if name.endswith((".scales", ".biases")):
            continue
        count = _product(entry["shape"])
        base = name.removesuffix(".weight")
        if entry["dtype"] == "U32" and f"{base}.scales" in tensors and isinstance(found, Mapping):
            own = found.get(base)
            bits = (own if isinstance(own, Mapping) else found).get("bits", 4)
            count = count * 32 // int(bits)
        total += count
    return total


def _product(shape: Sequence[int]) -> int:
    count = 1
    for length in shape:
        count *= int(length)
    return count


def _template(folder: Path) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    config = folder / "tokenizer_config.json"
    found = _json(config).get("chat_template") if config.is_file() else None
    return found if isinstance(found, str) else None


def _whole(values: Mapping[str, Any], key: str) -> int:
    found = values.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0
