"""Adapters as PEFT keeps them: a folder that transformers and vLLM read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import ModelArchitectureError, ModelFormatError
from llmops_jupyter.finetune import names
from llmops_jupyter.finetune.ggufadapter import check
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.provenance import Provenance
from llmops_jupyter.finetune.tensors import read_table, read_tensors, write_tensors
from llmops_jupyter.finetune.whole import whole_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
ARCHITECTURE = "llmops.architecture"
_FIRST = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
# What an adapter may have beside two factors; none of it can be said in GGUF.
_BEYOND = (
    ("use_dora", "DoRA"),
    ("modules_to_save", "whole layers that were trained"),
    ("lora_bias", "biases of the factors"),
    ("rank_pattern", "ranks by layer"),
    ("alpha_pattern", "alphas by layer"),
    ("trainable_token_indices", "tokens that were trained"),
    ("target_parameters", "factors of bare parameters"),
    ("layer_replication", "layers that are repeated"),
    ("alora_invocation_tokens", "an invocation (aLoRA)"),
)


def write_peft(
    lora: Lora,
    folder: str | os.PathLike[str],
    *,
    base_model: str,
    provenance: Provenance | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an adapter as `peft` reads it: `PeftModel.from_pretrained(model, folder)`.

    Args:
        lora: the adapter.
        folder: to be made.
        base_model: what PEFT calls the base model: a path or a name on the hub.
        provenance: kept in the metadata of the weights and, to be read, in README.md.
        overwrite: replace what is there.

    Raises:
        OptionError: the folder is there.
        ModelArchitectureError: something of it cannot be exported; nothing was written.
        ModelError: the folder cannot be written; nothing was left.
    """
    check(lora)
    for module in lora.factors:
        names.gguf_name(lora.architecture, module, tied=False)
    tensors = {}
    for module, (a, b) in lora.factors.items():
        tensors[f"{_FIRST}{module}{_A}"] = _padded(a, lora.rank, axis=0)
        tensors[f"{_FIRST}{module}{_B}"] = _padded(b, lora.rank, axis=1)
    texts = provenance.as_texts() if provenance else {}
    metadata = {"format": "pt", ARCHITECTURE: lora.architecture, **texts}
    target = Path(folder)
    with whole_folder(target, overwrite=overwrite) as part:
        write_tensors(part / WEIGHTS, tensors, metadata)
        config = json.dumps(_config(lora, base_model), indent=2) + "\n"
        (part / CONFIG).write_text(config, "utf-8")
        (part / "README.md").write_text(_readme(lora, base_model, texts), "utf-8")
    return target


def read_peft(folder: str | os.PathLike[str], *, architecture: str | None = None) -> Lora:
    """An adapter from a folder of PEFT.

    Args:
        folder: with `adapter_config.json` and `adapter_model.safetensors`.
        architecture: GGUF's name of it; needed for folders that were made elsewhere.

    Raises:
        ModelArchitectureError: it is more than plain LoRA, or its architecture is not known.
        ModelFormatError: a file is missing or damaged.
    """
    path = Path(folder)
    config = _read_config(path)
    for key, what in _BEYOND:
        if config.get(key):
            raise ModelArchitectureError(
                f"The adapter {str(path)!r} has {what}, which no other format holds. Train a plain LoRA "
                "adapter, or merge it with peft's merge_and_unload()."
            )
    table = read_table(path / WEIGHTS)
    architecture = table.metadata.get(ARCHITECTURE, architecture)
    if not architecture:
        raise ModelArchitectureError(
            f"{str(path)!r} does not say which architecture it is for. Give it, such as 'llama'."
        )
    return _lora(path, config, architecture)


def _lora(path: Path, config: Mapping[str, Any], architecture: str) -> Lora:
    halves: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for name, values in read_tensors(path / WEIGHTS):
        for end, half in zip((_A, _B), halves, strict=True):
            if name.startswith(_FIRST) and name.endswith(end):
                half[name.removeprefix(_FIRST).removesuffix(end)] = values
                break
        else:
            raise ModelArchitectureError(
                f"The adapter {str(path)!r} holds {name!r}, which is no factor of plain LoRA. Train a "
                "plain LoRA adapter."
            )
    if halves[0].keys() != halves[1].keys():
        raise ModelFormatError(f"{str(path)!r} lacks one of two factors. Copy or make it again.")
    try:
        found = Lora(
            architecture,
            int(config["r"]),
            float(config["lora_alpha"]),
            {module: (a, halves[1][module]) for module, a in halves[0].items()},
            rslora=bool(config.get("use_rslora", False)),
            dropout=float(config.get("lora_dropout", 0.0)),
        )
    except (KeyError, TypeError, ValueError) as e:
        raise ModelFormatError(
            f"{str(path / CONFIG)!r} lacks something ({e!r}). Copy or make it again."
        ) from e
    check(found)
    return found


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((path / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ModelFormatError(
            f"{str(path)!r} is no folder of PEFT ({e}). Name one with {CONFIG} and {WEIGHTS}."
        ) from e
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise ModelArchitectureError(
            f"The adapter {str(path)!r} is of the type {kind!r}; only LoRA can be used."
        )
    found: Mapping[str, Any] = config
    return found


def _config(lora: Lora, base_model: str) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rslora,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        **_targets(lora),
    }


def _targets(lora: Lora) -> dict[str, Any]:
    """Which layers are adapted: by kind and block where that says it, else each by its name."""
    layers = sorted({names.layer_of(module) for module in lora.factors})
    kinds = sorted({module.rpartition(".")[2] for module in lora.factors})
    if -1 in layers or len(lora.factors) != len(layers) * len(kinds):
        return {"target_modules": sorted(lora.factors)}
    return {"target_modules": kinds, "layers_to_transform": layers}


def _padded(values: NDArray[np.float32], rank: int, axis: int) -> NDArray[np.float32]:
    """The factor with the adapter's rank: rows or columns of zeros change nothing."""
    import numpy as np

    width = [(0, 0), (0, 0)]
    width[axis] = (0, rank - values.shape[axis])
    return np.pad(values, width)


def _readme(lora: Lora, base_model: str, texts: Mapping[str, str]) -> str:
    kind = f"rank {lora.rank}, alpha {lora.alpha:g}{', rsLoRA' if lora.rslora else ''}"
    size = f"{lora.parameters:,} numbers in {len(lora.factors)} layers"
    lines = ["---", f"base_model: {json.dumps(base_model)}", "library_name: peft", "---", ""]
    lines += [f"A LoRA adapter of {base_model}: {kind}, {size}.", ""]
    lines += [f"* `{key}`: {value}" for key, value in texts.items()]
    return "\n".join(lines).rstrip() + "\n"
