"""What a GGUF file says about its model, read without loading it."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import (
    ModelArchitectureError,
    ModelFormatError,
    ModelTruncatedError,
    did_you_mean,
)

if TYPE_CHECKING:
    from llmops_jupyter.models.header import Header

MOST_LAYERS = 4096
# The key under which our adapters name the file that they were trained on.
BASE_SHA256 = "llmops.base.sha256"
_F16 = 2
_F32 = 4

ENCODER_DECODER = frozenset({"t5", "t5encoder"})
DIFFUSION = frozenset({"dream", "llada", "llada-moe", "rnd1"})
VISION = frozenset(
    {
        "clip", "chameleon", "cogvlm", "deepseek2-ocr", "hunyuan_vl", "paddleocr",
        "qwen2vl", "qwen3vl", "qwen3vlmoe",
    }
)  # fmt: skip
AUDIO = frozenset({"wavtokenizer-dec"})
# These give vectors and no text.
EMBEDDERS = frozenset(
    {
        "bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "modern-bert",
        "eurobert", "gemma-embedding",
    }
)  # fmt: skip


@dataclass(frozen=True)
class GGUFMetadata:
    """What the header of a GGUF file says.

    `parameters` counts weights, `tensor_bytes` is their size and `size` that of the file, in bytes.
    `kv_heads` has one number for each layer (0 where the layer keeps no keys and values);
    `key_length` and `value_length` are the widths of one head. `state_bytes` is what a recurrent
    model keeps for each sequence. `parts` is above 1 for a model that is split over files.
    `base_sha256` is the digest of the model that an adapter was trained on, where it says so.
    """

    architecture: str
    kind: str = "model"
    name: str = ""
    quantization: str = ""
    parameters: int = 0
    context_length: int = 0
    embedding_length: int = 0
    feed_forward_length: int = 0
    layers: int = 0
    heads: int = 0
    kv_heads: tuple[int, ...] = ()
    key_length: int = 0
    value_length: int = 0
    vocabulary: int = 0
    state_bytes: int = 0
    sliding_window: int = 0
    chat_template: str | None = None
    licence: str = ""
    tokenizer: str = ""
    tensor_bytes: int = 0
    size: int = 0
    parts: int = 1
    base_sha256: str = ""

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of cache (f16) for one token over all layers, as if none used a sliding window."""
        return sum(self.kv_heads) * (self.key_length + self.value_length) * _F16

    @property
    def is_embedder(self) -> bool:
        """Whether the model gives vectors and no text."""
        return self.architecture in EMBEDDERS

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {**asdict(self), "kv_heads": list(self.kv_heads)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GGUFMetadata:
        """The record that `as_dict` wrote, perhaps in another release: what is new is left empty."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        return cls(**{**known, "kv_heads": tuple(known.get("kv_heads", ()))})


def read_metadata(path: str | os.PathLike[str]) -> GGUFMetadata:
    """Read a GGUF file's metadata and check that the file is whole, without loading weights.

    Raises:
        ModelError: there is no such file, it is a folder, or it cannot be read.
        ModelFormatError: it is not a GGUF file that can be understood.
        ModelTruncatedError: it ends before the last tensor that its header announces.
    """
    from llmops_jupyter.models.header import read_header

    path = Path(path)
    header = read_header(path)
    sizes = _tensor_sizes(header, path)
    _check_whole(header, sizes, path)
    values = header.values
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise ModelFormatError(
            f"{str(path)!r} does not name its architecture. Convert the model to GGUF again."
        )
    return GGUFMetadata(
        architecture=architecture,
        kind=str(values.get("general.type", "model")),
        name=str(values.get("general.name") or path.stem),
        quantization=_quantization(header, sizes),
        parameters=sum(t.elements for t in header.tensors),
        chat_template=_text(values.get("tokenizer.chat_template")),
        licence=str(values.get("general.license", "")),
        tokenizer=str(values.get("tokenizer.ggml.model", "")),
        tensor_bytes=sum(sizes),
        size=header.size,
        parts=max(1, _whole(values.get("split.count"))),
        base_sha256=_text(values.get(BASE_SHA256)) or "",
        **_shape(header, architecture, path),
    )


def check_architecture(metadata: GGUFMetadata) -> None:
    """Refuse what the engine cannot run: as `check_family`, and what the installed llama.cpp does not know.

    The names are those of the installed `gguf`, which is released with llama.cpp.

    Raises:
        ModelArchitectureError: as `check_family`, or an unknown architecture.
    """
    check_family(metadata)
    name = metadata.architecture
    known = frozenset(_tables().MODEL_ARCH_NAMES.values())
    if name not in known:
        raise ModelArchitectureError(
            f"The architecture {name!r} of {metadata.name!r} is not known to the installed llama.cpp."
            f"{did_you_mean(name, known)} Update with: pip install -U gguf llama-cpp-python."
        )


def check_family(metadata: GGUFMetadata) -> None:
    """Refuse a kind of model that the engine does not run. Embedding models are let through.

    Raises:
        ModelArchitectureError: an encoder-decoder, diffusion, vision or audio model; an adapter or
            projector instead of a whole model.
    """
    if metadata.kind != "model":
        raise ModelArchitectureError(
            f"{metadata.name!r} is of type {metadata.kind!r}, not a whole model. Add its base model."
        )
    name = metadata.architecture
    for group, what in (
        (ENCODER_DECODER, "an encoder-decoder"),
        (DIFFUSION, "a diffusion"),
        (VISION, "a vision"),
        (AUDIO, "an audio"),
    ):
        if name in group:
            raise ModelArchitectureError(
                f"{metadata.name!r} is {what} model (architecture {name!r}), which the engine does "
                "not run. Choose a text model such as llama, qwen3 or gemma3."
            )


@functools.lru_cache(maxsize=1)
def _tables() -> ModuleType:
    """The module `gguf.constants`, if possible without its package, which loads NumPy and YAML as well."""
    found = sys.modules.get("gguf.constants") or _constants_alone()
    return found if found is not None else importlib.import_module("gguf.constants")


def _constants_alone() -> ModuleType | None:
    package = importlib.util.find_spec("gguf")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0], "constants.py")
    spec = importlib.util.spec_from_file_location("gguf_constants", path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception:  # noqa: BLE001 - a release in which it does not stand alone
        return None
    return module


def _tensor_sizes(header: Header, path: Path) -> list[int]:
    """Bytes of each tensor."""
    known = {int(kind): size for kind, size in _tables().GGML_QUANT_SIZES.items()}
    sizes = []
    for tensor in header.tensors:
        if tensor.type not in known:
            raise ModelFormatError(
                f"{str(path)!r} holds tensors of type {tensor.type}, which the installed gguf does "
                "not know. Update with: pip install -U gguf llama-cpp-python, or use another copy."
            )
        block, block_bytes = known[tensor.type]
        sizes.append(tensor.elements // block * block_bytes)
    return sizes


def _check_whole(header: Header, sizes: list[int], path: Path) -> None:
    ends = [t.offset + size for t, size in zip(header.tensors, sizes, strict=True)]
    needed = header.data_offset + max(ends) if ends else 0
    if needed > header.size:
        raise ModelTruncatedError(
            f"{str(path)!r} is cut short: its tensors need {needed:,} bytes and it has "
            f"{header.size:,}. Download or copy it again."
        )


def _shape(header: Header, architecture: str, path: Path) -> dict[str, Any]:
    """The sizes that the architecture's own keys give."""

    def own(key: str) -> Any:
        return header.values.get(f"{architecture}.{key}")

    layers = _whole(own("block_count"))
    if layers > MOST_LAYERS:
        raise ModelFormatError(
            f"{str(path)!r} is damaged: it announces {layers:,} layers. Download or copy it again."
        )
    embedding = _whole(own("embedding_length"))
    heads = _per_layer(own("attention.head_count"), layers)
    kv_heads = _per_layer(own("attention.head_count_kv"), layers) or heads
    most_heads = max(heads, default=0)
    width = embedding // most_heads if most_heads else 0
    vocabulary = header.lengths.get("tokenizer.ggml.tokens") or _whole(own("vocab_size"))
    return {
        "context_length": _whole(own("context_length")),
        "embedding_length": embedding,
        "feed_forward_length": max(_per_layer(own("feed_forward_length"), 1), default=0),
        "layers": layers,
        "heads": most_heads,
        "kv_heads": kv_heads,
        "key_length": _whole(own("attention.key_length")) or width,
        "value_length": _whole(own("attention.value_length")) or width,
        "vocabulary": vocabulary,
        "state_bytes": _state_bytes(header, architecture, layers, embedding),
        "sliding_window": _whole(own("attention.sliding_window")),
    }


def _state_bytes(header: Header, architecture: str, layers: int, embedding: int) -> int:
    """Bytes of recurrent state (f32) for one sequence, as if every layer were recurrent."""

    def own(key: str) -> int:
        return _whole(header.values.get(f"{architecture}.{key}"))

    inner, state = own("ssm.inner_size"), own("ssm.state_size")
    if inner and state:
        convolution = max(0, own("ssm.conv_kernel") - 1) * (
            inner + 2 * own("ssm.group_count") * state
        )
        return layers * (convolution + state * inner) * _F32
    head = own("wkv.head_size")
    return layers * (2 * embedding + embedding * head) * _F32 if head else 0


def _quantization(header: Header, sizes: list[int]) -> str:
    """The file type that the header names, else the type that most of the bytes have."""
    tables = _tables()
    types = tables.LlamaFileType
    named = header.values.get("general.file_type")
    if named in {int(t) for t in types} - {int(types.GUESSED)}:
        return str(types(named).name).removeprefix("MOSTLY_").removeprefix("ALL_")
    weight: Counter[int] = Counter()
    for tensor, size in zip(header.tensors, sizes, strict=True):
        weight[tensor.type] += size
    if not weight:
        return ""
    return str(tables.GGMLQuantizationType(weight.most_common(1)[0][0]).name)


def _per_layer(value: Any, layers: int) -> tuple[int, ...]:
    """One number a layer, from a number for all or a list."""
    if isinstance(value, list):
        return tuple(_whole(v) for v in value)
    return () if value is None else (_whole(value),) * layers


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int) and value >= 0 else 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
