"""The file of a model whose weights do not matter, and adapters of it that are kept in a store."""

from __future__ import annotations

import dataclasses

from lora_models import HEADS, INNER, KV_HEADS, LAYERS, PROVENANCE, SHAPES, WIDTH, lora

from llmops_jupyter.finetune.blobs import keep


def write_model(path, seed=0, width=WIDTH):
    """A whole model of the right shapes; its weights do not matter here."""
    import numpy as np
    from gguf import GGUFWriter

    parts = dict(zip(SHAPES, ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up",
                              "ffn_down"), strict=True))  # fmt: skip
    writer = GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_tensor("token_embd.weight", np.full((8, width), seed, np.float16))
    for layer in range(LAYERS):
        for part, (out, inner) in SHAPES.items():
            shape = (out, inner * width // WIDTH)
            writer.add_tensor(f"blk.{layer}.{parts[part]}.weight", np.zeros(shape, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def kept(ws, base, seed=3, **more):
    origin = dataclasses.replace(PROVENANCE, base_name=base.ref, base_sha256=base.sha256, **more)
    return keep(lora(seed=seed), ws.store, base, origin)
