"""Adapters in GGUF, as llama.cpp loads them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import ModelArchitectureError, ModelFormatError
from llmops_jupyter.finetune import ggufwriting, names
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.provenance import Provenance
from llmops_jupyter.finetune.whole import whole_file
from llmops_jupyter.models.header import Header, Tensor, read_header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pair = tuple[NDArray[np.float32], NDArray[np.float32]]

# The largest share of a factor's norm that may be lost to F16. Its 11 bits lose a quarter of this; numbers
# below 6e-5, as after few steps, lose more.
ROUNDED = 1e-3
A, B = ".weight.lora_a", ".weight.lora_b"


def check(lora: Lora) -> None:
    """Refuse factors that are no adapter.

    Raises:
        ModelArchitectureError: there are none, their shapes do not belong together, or they are not finite.
    """
    import numpy as np

    if not lora.factors:
        raise ModelArchitectureError("The adapter changes nothing. Train on at least one layer.")
    for module, (a, b) in lora.factors.items():
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or a.shape[0] > lora.rank:
            raise ModelArchitectureError(
                f"The factors of {module!r} have the shapes {a.shape} and {b.shape}, which make no "
                f"adapter of rank {lora.rank}. Only plain LoRA can be exported."
            )
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise ModelArchitectureError(
                f"The factors of {module!r} are not finite: the training went astray. Train again with a "
                "lower learning rate."
            )


def gguf_factors(
    lora: Lora, heads: int, kv_heads: int | Sequence[int], *, tied: bool = True
) -> dict[str, Pair]:
    """(A, B) by GGUF's names without '.weight', with rows in GGUF's order. The scale is not in them.

    Args:
        lora: the adapter.
        heads: of the queries of the base model.
        kv_heads: of its keys, one number for all layers or one for each.
        tied: whether its output weights are its embeddings.

    Raises:
        ModelArchitectureError: something of it cannot be exported.
    """
    check(lora)
    found = {}
    for module, (a, b) in lora.factors.items():
        name = names.gguf_name(lora.architecture, module, tied=tied)
        if names.is_permuted(lora.architecture, module):
            b = names.to_gguf_rows(b, _heads(module, heads, kv_heads))  # noqa: PLW2901
        found[name] = (a, b)
    return found


def write_gguf(
    lora: Lora,
    path: str | os.PathLike[str],
    *,
    heads: int,
    kv_heads: int | Sequence[int],
    provenance: Provenance | None = None,
    tied: bool = True,
    half: bool | None = None,
) -> Path:
    """Write an adapter that llama.cpp loads; the scale of rsLoRA is folded into its alpha.

    Args:
        lora: the adapter.
        path: of the file.
        heads: see `gguf_factors`, as `kv_heads` and `tied`.
        kv_heads: one number for all layers or one for each.
        provenance: kept in the file.
        tied: whether the model's output weights are its embeddings.
        half: write F16; None does so where that rounds no factor by more than `ROUNDED`, else F32.

    Raises:
        ModelArchitectureError: something of it cannot be exported; nothing was written.
        ModelError: the file cannot be written; nothing was left.
    """
    target = Path(path)
    factors = gguf_factors(lora, heads, kv_heads, tied=tied)
    tensors = {}
    for name, (a, b) in factors.items():
        # llama.cpp divides alpha by the rank of each tensor.
        tensors[name + A] = a
        tensors[name + B] = b * (a.shape[0] / lora.rank) if a.shape[0] != lora.rank else b
    small = half if half is not None else all(_fits_half(each) for each in tensors.values())
    kind = ggufwriting.F16 if small else ggufwriting.F32
    entries = [ggufwriting.matrix(name, values, kind) for name, values in tensors.items()]
    texts = {
        "general.architecture": lora.architecture,
        "general.type": "adapter",
        "general.name": target.stem,
        "adapter.type": "lora",
        **(provenance.as_texts() if provenance else {}),
    }
    pairs = [ggufwriting.text(key, value) for key, value in texts.items()]
    pairs.append(ggufwriting.number("adapter.lora.alpha", float(lora.scale * lora.rank)))
    with whole_file(target) as part:
        ggufwriting.write(part, pairs, entries)
    return target


def read_gguf(path: str | os.PathLike[str], *, heads: int, kv_heads: int | Sequence[int]) -> Lora:
    """An adapter from a GGUF file, its rows in the order of transformers.

    Args:
        path: of the file.
        heads: of the queries of the base model.
        kv_heads: of its keys, one number for all layers or one for each.

    Raises:
        ModelArchitectureError: it is no LoRA adapter, or of a kind that cannot be read.
        ModelFormatError, ModelError: the file cannot be read.
    """
    header = read_header(path)
    architecture, tensors = _checked(header, Path(path))
    pairs: dict[str, Pair] = {}
    for name in [n.removesuffix(A) for n in tensors if n.endswith(A)]:
        pairs[name] = (_floats(Path(path), header, tensors[name + A]),
                       _floats(Path(path), header, tensors[name + B]))  # fmt: skip
    rank = max(a.shape[0] for a, _ in pairs.values())
    # Without an alpha llama.cpp multiplies with 1.
    alpha = float(header.values.get("adapter.lora.alpha") or 0)
    factors = {}
    for name, (a, b) in pairs.items():
        module = names.module_name(architecture, name)
        own = b * (rank / a.shape[0]) if alpha and a.shape[0] != rank else b
        if names.is_permuted(architecture, module):
            own = names.to_transformers_rows(own, _heads(module, heads, kv_heads))
        factors[module] = (a, own)
    found = Lora(architecture, rank, alpha or float(rank), factors)
    check(found)
    return found


def _checked(header: Header, path: Path) -> tuple[str, Mapping[str, Tensor]]:
    """The architecture and the tensors of an adapter that can be read."""
    values = header.values
    if values.get("general.type") != "adapter" or values.get("adapter.type") != "lora":
        raise ModelArchitectureError(f"{str(path)!r} is no LoRA adapter. Name one.")
    tensors = {t.name: t for t in header.tensors}
    for name, tensor in tensors.items():
        partner = name.removesuffix(A) + B if name.endswith(A) else name.removesuffix(B) + A
        if not name.endswith((A, B)) or partner not in tensors or len(tensor.shape) != 2:
            raise ModelArchitectureError(
                f"{str(path)!r} holds {name!r}, which is no factor of a plain LoRA adapter. Use it with "
                "llama.cpp as it is."
            )
        if tensor.type not in (ggufwriting.F32, ggufwriting.F16):
            raise ModelArchitectureError(
                f"The adapter {str(path)!r} is quantised. Convert it again with --outtype f32."
            )
    if not tensors:
        raise ModelFormatError(f"{str(path)!r} holds no factors. Make it again.")
    return str(values.get("general.architecture", "")), tensors


def _floats(path: Path, header: Header, tensor: Tensor) -> NDArray[np.float32]:
    import numpy as np

    kind = "<f4" if tensor.type == ggufwriting.F32 else "<f2"
    with path.open("rb") as file:
        file.seek(header.data_offset + tensor.offset)
        raw: Any = np.fromfile(file, dtype=kind, count=tensor.elements)
    if raw.size != tensor.elements:
        raise ModelFormatError(f"{str(path)!r} is cut short. Copy or make it again.")
    found: NDArray[np.float32] = raw.astype(np.float32).reshape(tensor.shape[::-1])
    return found


def _fits_half(values: NDArray[np.float32]) -> bool:
    """Whether F16 holds the numbers nearly as they are."""
    import numpy as np

    with np.errstate(over="ignore"):
        lost = values - values.astype(np.float16)
    return bool(np.linalg.norm(lost) <= ROUNDED * np.linalg.norm(values))


def _heads(module: str, heads: int, kv_heads: int | Sequence[int]) -> int:
    if module.endswith(names.QUERIES):
        return heads
    if isinstance(kv_heads, int):
        return kv_heads
    layer = names.layer_of(module)
    return kv_heads[layer] if layer < len(kv_heads) else 0
