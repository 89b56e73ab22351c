"""A small model of mlx-lm in a folder, made on the fly: random weights, a byte-level vocabulary."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

CONTROL = ("<|im_start|>", "<|im_end|>")
CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 1024,
    "vocab_size": 258,
    "tie_word_embeddings": True,
    "eos_token_id": 257,
}


def write_folder(folder: Path, seed: int = 1, *, quantized: bool = False, **settings) -> Path:
    """A whole folder: config, weights, tokenizer; `settings` go into the config."""
    import mlx.core as mx
    from mlx import nn
    from mlx.utils import tree_flatten

    folder.mkdir(parents=True, exist_ok=True)
    mx.random.seed(seed)
    config = {**CONFIG, **settings}
    code = import_module(f"mlx_lm.models.{config['model_type']}")
    model = code.Model(code.ModelArgs.from_dict(config))
    if quantized:
        nn.quantize(model, 32, 8)
        config["quantization"] = {"group_size": 32, "bits": 8}
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())))
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({c: i for i, c in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True) for text in CONTROL])
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": CONTROL[1]}))


def write_adapter(folder: Path, *, scale: float = 2.0) -> Path:
    """An mlx-lm adapter of one query and one value projection."""
    import mlx.core as mx

    folder.mkdir(parents=True, exist_ok=True)
    mx.random.seed(5)
    weights = {}
    for name, out in (("self_attn.q_proj", 64), ("self_attn.v_proj", 32)):
        path = f"model.layers.0.{name}"
        weights[f"{path}.lora_a"] = mx.random.normal((64, 4)) * 0.5
        weights[f"{path}.lora_b"] = mx.random.normal((4, out)) * 0.5
    mx.save_safetensors(str(folder / "adapters.safetensors"), weights)
    config = {"fine_tune_type": "lora", "lora_parameters": {"rank": 4, "scale": scale}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def write_gguf_adapter(path: Path, folder: Path) -> Path:
    """The same adapter in GGUF, its rows in the order of llama.cpp's converter."""
    import mlx.core as mx
    import numpy as np
    from gguf import GGUFType, GGUFWriter

    weights = mx.load(str(folder / "adapters.safetensors"))
    scale = json.loads((folder / "adapter_config.json").read_text())["lora_parameters"]["scale"]
    writer = GGUFWriter(path, "llama")
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", scale * 4)
    for module, name in (("q_proj", "attn_q"), ("v_proj", "attn_v")):
        a, b = (
            np.array(weights[f"model.layers.0.self_attn.{module}.lora_{part}"]).T for part in "ab"
        )
        if module == "q_proj":
            heads = CONFIG["num_attention_heads"]
            half = len(b) // heads // 2
            b = b.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(b.shape)
        writer.add_tensor(f"blk.0.{name}.weight.lora_a", np.ascontiguousarray(a))
        writer.add_tensor(f"blk.0.{name}.weight.lora_b", np.ascontiguousarray(b))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
