"""GGUF files in MLX without loss: which can be, and how their tensors are named there.

MLX keeps Q4_0, Q4_1 and Q8_0 as they are: groups of 32 weights with a scale and a bias. With both in 32 bits
each weight has the value that gguf's own dequantisation gives, bit for bit. The file's rows of the query and key
projections stay in their order, in which rotary positions turn neighbours (`rope_traditional`).
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import ModelArchitectureError
from llmops_jupyter.models.header import Header, read_header

GROUP = 32
# GGUF's numbers of F32, F16, Q4_0, Q4_1 and Q8_0.
TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 8: "Q8_0"}
ARCHITECTURES = ("llama", "qwen2", "qwen3")
# Whose converter puts the rows of queries and keys into another order.
PERMUTED = "llama"
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)")


def module_of(name: str) -> str | None:
    """The path in MLX of what GGUF calls `blk.0.attn_q`; None for what has no place there."""
    found = _BLOCK.fullmatch(name)
    if found is None:
        return TOP.get(name)
    part = LAYER.get(found[2])
    return None if part is None else f"model.layers.{found[1]}.{part}"


def obstacle(path: Path) -> str | None:
    """Why MLX cannot hold a file without loss, as the end of a sentence; None if it can."""
    header = read_header(path)
    values = header.values
    architecture = values.get("general.architecture")
    if architecture not in ARCHITECTURES:
        return f"its architecture {architecture!r} is none of {', '.join(ARCHITECTURES)}"
    if values.get(f"{architecture}.rope.scaling.type", "none") != "none":
        return "it scales its rotary positions"
    shape = _shape(header)
    if values.get(f"{architecture}.rope.dimension_count", shape["head_dim"]) != shape["head_dim"]:
        return "its rotary positions turn a part of each head only"
    for tensor in header.tensors:
        name, _, kind = tensor.name.rpartition(".")
        if module_of(name) is None or kind not in ("weight", "bias"):
            return f"MLX has no place for its tensor {tensor.name!r}"
        if tensor.type not in TYPES:
            return f"the kind of its tensor {tensor.name!r} is none of {', '.join(TYPES.values())}"
    return None


def load_gguf(path: Path) -> Any:
    """The MLX model of a GGUF file, its numbers in 32 bits.

    Raises:
        ModelArchitectureError: it cannot be held without loss.
    """
    import mlx.core as mx
    from mlx import nn

    why = obstacle(path)
    if why is not None:
        raise ModelArchitectureError(
            f"MLX cannot hold {path.name!r} without loss: {why}. Run it on llama.cpp: "
            '%config LLMOps.backend = "llama.cpp"'
        )
    header = read_header(path)
    # MLX tells a file's format by its ending, which files of Ollama lack.
    loaded: Any = mx.load(str(path), format="gguf")
    weights: dict[str, Any] = {}
    for name, value in loaded.items():
        module, _, kind = name.rpartition(".")
        kept = value if value.dtype == mx.uint32 else value.astype(mx.float32)
        weights[f"{module_of(module)}.{kind}"] = kept
    code = import_module(f"mlx_lm.models.{header.values['general.architecture']}")
    model = code.Model(code.ModelArgs.from_dict(arguments(header)))

    def kind_of(path: str, _: Any) -> Any:
        scales = weights.get(f"{path}.scales")
        if scales is None:
            return False
        bits = weights[f"{path}.weight"].shape[-1] // scales.shape[-1]
        return {"group_size": GROUP, "bits": bits}

    nn.quantize(model, GROUP, 4, class_predicate=kind_of)
    model.load_weights(list(weights.items()))
    model.eval()
    mx.eval(model.parameters())
    if not all(bool(mx.isfinite(v).all()) for k, v in weights.items() if k.endswith(".biases")):
        raise ModelArchitectureError(
            f"MLX cannot hold {path.name!r} without loss: a scale is too large. Run it on llama.cpp: "
            '%config LLMOps.backend = "llama.cpp"'
        )
    return model


def arguments(header: Header) -> dict[str, Any]:
    """What mlx-lm calls the configuration of a model, from a file's header."""
    values = header.values
    architecture = values["general.architecture"]

    def of(key: str, otherwise: Any = None) -> Any:
        return values.get(f"{architecture}.{key}", otherwise)

    names = {tensor.name for tensor in header.tensors}
    embedding = next(t for t in header.tensors if t.name == "token_embd.weight")
    return {
        "model_type": architecture,
        **_shape(header),
        "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"),
        "rms_norm_eps": of("attention.layer_norm_rms_epsilon", 1e-5),
        "rope_theta": of("rope.freq_base", 10000.0),
        "max_position_embeddings": of("context_length"),
        "vocab_size": embedding.shape[-1],
        "tie_word_embeddings": "output.weight" not in names,
        "attention_bias": "blk.0.attn_q.bias" in names,
        "rope_traditional": architecture == PERMUTED,
    }


def _shape(header: Header) -> dict[str, int]:
    values, architecture = header.values, header.values["general.architecture"]
    width = int(values[f"{architecture}.embedding_length"])
    heads = int(values[f"{architecture}.attention.head_count"])
    return {
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": int(values.get(f"{architecture}.attention.head_count_kv", heads)),
        "head_dim": int(values.get(f"{architecture}.attention.key_length", width // heads)),
    }
