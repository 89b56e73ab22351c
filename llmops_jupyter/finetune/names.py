"""What transformers and GGUF call the same weights, and which of them adapters can be exported for."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmops_jupyter.errors import ModelArchitectureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The linear layers of a block. Everything else is refused with a reason.
LINEAR = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
HEAD = "lm_head"
QUERIES, KEYS = "self_attn.q_proj", "self_attn.k_proj"
# In GGUF the two halves of each head's queries and keys alternate row by row here (Mistral is a llama).
PERMUTED = frozenset({"llama", "mistral3", "granite", "smollm3", "arcee"})
PLAIN = frozenset({"qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "olmo2"})
_LAYER = re.compile(r"(?:base_model\.model\.)?model\.(?:language_model\.)?layers\.(\d+)\.(.+)")
_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)")
_FUSED = ("qkv", "gate_up", "c_attn", "query_key_value", "in_proj")


def check_architecture(architecture: str) -> None:
    """Refuse an architecture whose order of rows is not known.

    Raises:
        ModelArchitectureError: it is none of those that can be exported.
    """
    if architecture not in PERMUTED | PLAIN:
        known = ", ".join(sorted(PERMUTED | PLAIN))
        raise ModelArchitectureError(
            f"Adapters of the architecture {architecture!r} cannot be exported; those of {known} can. "
            "Train on a model of one of these."
        )


def gguf_name(architecture: str, module: str, *, tied: bool = True) -> str:
    """The GGUF tensor of a module, without '.weight': 'blk.0.attn_q' of 'model.layers.0.self_attn.q_proj'.

    Args:
        architecture: GGUF's name of it.
        module: as transformers names it.
        tied: whether the model's output weights are its embeddings, which adapters cannot change.

    Raises:
        ModelArchitectureError: nothing can be exported for this module, and why.
    """
    check_architecture(architecture)
    if module == HEAD and not tied:
        return "output"
    found = _LAYER.fullmatch(module)
    if found is None or found[2] not in LINEAR:
        raise ModelArchitectureError(
            f"The adapter changes {module!r}, {_why_not(module)}. Train on {', '.join(_short())} only."
        )
    return f"blk.{found[1]}.{_parts(architecture)[found[2]]}"


def module_name(architecture: str, name: str) -> str:
    """The way back, from a GGUF tensor without '.weight'.

    Raises:
        ModelArchitectureError: it belongs to no module that can be exported.
    """
    check_architecture(architecture)
    if name == "output":
        return HEAD
    found = _BLOCK.fullmatch(name)
    part = None if found is None else _modules(architecture).get(found[2])
    if found is None or part is None:
        raise ModelArchitectureError(
            f"The adapter changes {name!r}, which has no plain linear layer in transformers. "
            "Use it with llama.cpp as it is."
        )
    return f"model.layers.{found[1]}.{part}"


def layer_of(module: str) -> int:
    """The number of the block that a module of transformers is in; -1 outside of them."""
    found = _LAYER.fullmatch(module)
    return -1 if found is None else int(found[1])


def is_permuted(architecture: str, module: str) -> bool:
    """Whether the rows of a module are in another order in GGUF."""
    return architecture in PERMUTED and module.endswith((QUERIES, KEYS))


def to_gguf_rows(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows (or entries) of queries or keys from transformers' order, halves of a head, to GGUF's, pairs."""
    return _swapped(values, heads, (2, -1))


def to_transformers_rows(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """The way back."""
    return _swapped(values, heads, (-1, 2))


def _swapped(
    values: NDArray[np.float32], heads: int, halves: tuple[int, int]
) -> NDArray[np.float32]:
    import numpy as np

    rows = values.shape[0]
    if heads < 1 or rows % (2 * heads):
        raise ModelArchitectureError(
            f"{rows} rows of queries or keys cannot be cut into {heads} heads with two halves. "
            "Give the number of heads of the base model."
        )
    cut = values.reshape(heads, *halves, *values.shape[1:])
    return np.ascontiguousarray(cut.swapaxes(1, 2).reshape(values.shape))


@functools.lru_cache(maxsize=32)
def _parts(architecture: str) -> Mapping[str, str]:
    """GGUF's name within a block of each linear module that the architecture has."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    if architecture not in kinds:
        raise ModelArchitectureError(
            f"The architecture {architecture!r} is not known to the installed gguf. Update with: "
            "pip install -U gguf"
        )
    # One block tells all; the table grows with their number.
    table = get_tensor_name_map(kinds[architecture], 1)
    found = {module: table.get_name(f"model.layers.0.{module}") for module in LINEAR}
    return {module: name.removeprefix("blk.0.") for module, name in found.items() if name}


@functools.lru_cache(maxsize=32)
def _modules(architecture: str) -> Mapping[str, str]:
    return {name: module for module, name in _parts(architecture).items()}


def _short() -> list[str]:
    return [module.rpartition(".")[2] for module in LINEAR]


def _why_not(module: str) -> str:
    if "embed" in module or module == HEAD:
        return "the embeddings or the output that shares them, which llama.cpp cannot adapt"
    if "expert" in module or "block_sparse_moe" in module:
        return "experts of a mixture, which are stacked in one tensor in GGUF"
    if any(part in module for part in _FUSED):
        return "several layers fused into one, which are named otherwise elsewhere"
    if "norm" in module:
        return "a norm, which llama.cpp passes over in silence"
    return "which is no linear layer that GGUF and transformers both know"
