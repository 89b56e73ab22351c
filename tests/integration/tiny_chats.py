"""A whole small model that can be asked and taught: random weights, byte-level tokens, a chat template."""

from __future__ import annotations

import numpy as np
from gguf import GGUFWriter, TokenType
from tiny_embedders import CONTROL, byte_letters
from tiny_models import HEADS, WIDTH, noise

CONTEXT = 256
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOKENS = 257  # the bytes, and one merge of two


def write_chat(path, seed=1, *, layers=2, kv_heads=HEADS // 2, context=CONTEXT, starts=False):
    """A llama model whose answers are noise until it is taught; another seed is another model.

    With `starts` a token is put before any text.
    """
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(TOKENS + len(CONTROL))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*byte_letters(), "th", *CONTROL])
    writer.add_token_merges(["t h"])
    writer.add_token_types([TokenType.NORMAL] * TOKENS + [TokenType.CONTROL] * len(CONTROL))
    writer.add_bos_token_id(TOKENS + 1)
    writer.add_eos_token_id(TOKENS + 2)
    writer.add_add_bos_token(starts)
    writer.add_chat_template(TEMPLATE)
    for name, values in _weights(1000 * seed, layers, WIDTH * kv_heads // HEADS).items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _weights(seed, layers, shared):
    made = {
        "token_embd.weight": noise(seed, TOKENS + len(CONTROL), WIDTH) * 2,
        "output_norm.weight": np.ones(WIDTH),
    }
    shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (shared, WIDTH), "attn_v": (shared, WIDTH)}
    shapes |= {"attn_output": (WIDTH, WIDTH), "ffn_gate": (2 * WIDTH, WIDTH)}
    shapes |= {"ffn_up": (2 * WIDTH, WIDTH), "ffn_down": (WIDTH, 2 * WIDTH)}
    for i in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            made[f"blk.{i}.{name}.weight"] = np.ones(WIDTH)
        for n, (name, shape) in enumerate(shapes.items()):
            made[f"blk.{i}.{name}.weight"] = noise(seed + 10 * (i + 1) + n, *shape)
    return made


def write_folder(folder, seed):
    """A Hugging Face folder of a model of that shape, with weights of its own."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=TOKENS + len(CONTROL),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 2,
        tie_word_embeddings=True,
        initializer_range=0.5,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
