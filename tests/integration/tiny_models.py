"""Whole small models with random weights, for architectures and adapters that no bundled file has."""

from __future__ import annotations

import numpy as np

VOCABULARY, WIDTH, HEADS = 64, 64, 4


def noise(seed, *shape):
    return (np.random.default_rng(seed).standard_normal(shape) / 6).astype(np.float32)


def _writer(path, architecture, layers):
    from gguf import GGUFWriter

    writer = GGUFWriter(path, architecture)
    writer.add_block_count(layers)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("none")
    return writer


def _finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_weights(layers=2, kv_heads=HEADS):
    """Weights of a llama model by name, in F32."""
    shared = WIDTH * kv_heads // HEADS
    found = {
        "token_embd.weight": noise(1, VOCABULARY, WIDTH) * 6,
        "output_norm.weight": np.ones(WIDTH),
    }
    for i in range(layers):
        block = f"blk.{i}"
        found[f"{block}.attn_norm.weight"] = np.ones(WIDTH)
        found[f"{block}.ffn_norm.weight"] = np.ones(WIDTH)
        for n, name in enumerate(("attn_q", "attn_k", "attn_v", "attn_output")):
            rows = shared if name in ("attn_k", "attn_v") else WIDTH
            found[f"{block}.{name}.weight"] = noise(10 * i + n, rows, WIDTH)
        for n, name in enumerate(("ffn_gate", "ffn_up", "ffn_down")):
            shape = (WIDTH, 2 * WIDTH) if name == "ffn_down" else (2 * WIDTH, WIDTH)
            found[f"{block}.{name}.weight"] = noise(100 + 10 * i + n, *shape)
    return {k: v.astype(np.float32) for k, v in found.items()}


def write_llama(path, weights=None, layers=2, kv_heads=None, kind=None):
    """A llama model; `kind` packs its matrices, as 'Q8_0'."""
    from gguf import GGMLQuantizationType, quants

    writer = _writer(path, "llama", layers)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    if kv_heads:
        writer.add_head_count_kv(kv_heads)
    for name, values in (weights or llama_weights(layers, kv_heads or HEADS)).items():
        if kind and values.ndim > 1:
            packed = GGMLQuantizationType[kind]
            writer.add_tensor(name, quants.quantize(values, packed), raw_dtype=packed)
        else:
            writer.add_tensor(name, values)
    _finish(writer)
    return path


def write_adapter(path, pairs, alpha, architecture="llama"):
    """A LoRA adapter; `pairs` are (A of shape (r, in), B of shape (out, r)) by weight name."""
    from gguf import GGUFType, GGUFWriter

    writer = GGUFWriter(path, architecture)
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (a, b) in pairs.items():
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    _finish(writer)
    return path


def write_mamba(path, layers=2):
    """A recurrent model."""
    inner, state, kernel, rank = 2 * WIDTH, 16, 4, 4
    writer = _writer(path, "mamba", layers)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_tensor("token_embd.weight", noise(1, VOCABULARY, WIDTH) * 6)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
    decay = -np.tile(np.arange(1, state + 1, dtype=np.float32), (inner, 1))
    for i in range(layers):
        block = f"blk.{i}"
        tensors = {
            "attn_norm.weight": np.ones(WIDTH, dtype=np.float32),
            "ssm_in.weight": noise(i, 2 * inner, WIDTH),
            "ssm_conv1d.weight": noise(20 + i, inner, kernel),
            "ssm_conv1d.bias": noise(30 + i, inner),
            "ssm_x.weight": noise(40 + i, rank + 2 * state, inner),
            "ssm_dt.weight": noise(50 + i, inner, rank),
            "ssm_dt.bias": noise(60 + i, inner),
            "ssm_a": decay,
            "ssm_d": np.ones(inner, dtype=np.float32),
            "ssm_out.weight": noise(70 + i, WIDTH, inner),
        }
        for name, values in tensors.items():
            writer.add_tensor(f"{block}.{name}", values)
    _finish(writer)
    return path


def _feed_forward(writer, block, seed):
    for n, name in enumerate(("ffn_gate", "ffn_up", "ffn_down")):
        shape = (WIDTH, 2 * WIDTH) if name == "ffn_down" else (2 * WIDTH, WIDTH)
        writer.add_tensor(f"{block}.{name}.weight", noise(seed + n, *shape))


def _attention(writer, block, seed, kv_heads=HEADS):
    shared = WIDTH * kv_heads // HEADS
    for n, (name, rows) in enumerate(
        (("q", WIDTH), ("k", shared), ("v", shared), ("output", WIDTH))
    ):
        writer.add_tensor(f"{block}.attn_{name}.weight", noise(seed + n, rows, WIDTH))


def write_gemma(path, window, layers=4):
    """A model whose every other layer sees only the last `window` tokens (Gemma 2)."""
    writer = _writer(path, "gemma2", layers)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    writer.add_sliding_window(window)
    writer.add_attn_logit_softcapping(50.0)
    writer.add_final_logit_softcapping(30.0)
    ones = np.ones(WIDTH, dtype=np.float32)
    writer.add_tensor("token_embd.weight", noise(1, VOCABULARY, WIDTH))
    writer.add_tensor("output_norm.weight", 6 * ones)
    for i in range(layers):
        block = f"blk.{i}"
        for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            writer.add_tensor(f"{block}.{name}.weight", ones)
        _attention(writer, block, 10 * i, HEADS // 2)
        _feed_forward(writer, block, 100 + 10 * i)
    _finish(writer)
    return path


def write_lfm(path, layers=4):
    """A hybrid model: short convolutions and attention in turn (LFM 2)."""
    writer = _writer(path, "lfm2", layers)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv([HEADS * (i % 2) for i in range(layers)])
    writer.add_shortconv_l_cache(3)
    ones = np.ones(WIDTH, dtype=np.float32)
    writer.add_tensor("token_embd.weight", noise(1, VOCABULARY, WIDTH) * 6)
    writer.add_tensor("token_embd_norm.weight", ones)
    for i in range(layers):
        block = f"blk.{i}"
        writer.add_tensor(f"{block}.attn_norm.weight", ones)
        writer.add_tensor(f"{block}.ffn_norm.weight", ones)
        _feed_forward(writer, block, 100 + 10 * i)
        if i % 2:
            _attention(writer, block, 10 * i)
            for name in ("attn_q_norm", "attn_k_norm"):
                writer.add_tensor(f"{block}.{name}.weight", ones[: WIDTH // HEADS])
        else:
            writer.add_tensor(f"{block}.shortconv.conv.weight", noise(10 * i, WIDTH, 3) * 3)
            writer.add_tensor(
                f"{block}.shortconv.in_proj.weight", noise(10 * i + 1, 3 * WIDTH, WIDTH)
            )
            writer.add_tensor(f"{block}.shortconv.out_proj.weight", noise(10 * i + 2, WIDTH, WIDTH))
    _finish(writer)
    return path
