"""Small models of transformers with random weights, the same ones in GGUF, and adapters of them."""

from __future__ import annotations

import numpy as np

from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.provenance import Provenance

HEADS, KV_HEADS, LAYERS, WIDTH, INNER = 4, 2, 2, 64, 96
CONTROL = ("<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)
PROVENANCE = Provenance(
    base_name="tiny@1",
    base_sha256="ab" * 32,
    data="shop@3",
    data_hash="cd" * 32,
    eval_data="shop-held@1",
    recipe={"rank": 8, "learning_rate": 2e-4, "name": "Grüße"},
    run="run-7",
    made_at="2026-11-28T10:00:00+00:00",
    package_version="0.1.0",
)
PARTS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
SHAPES = {
    "self_attn.q_proj": (WIDTH, WIDTH),
    "self_attn.k_proj": (WIDTH * KV_HEADS // HEADS, WIDTH),
    "self_attn.v_proj": (WIDTH * KV_HEADS // HEADS, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (INNER, WIDTH),
    "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}


def lora(architecture="llama", rank=4, alpha=8.0, size=0.15, parts=tuple(SHAPES), seed=3, **more):
    """An adapter of all layers that changes the tiny models a lot."""
    draw = np.random.default_rng(seed)
    factors = {}
    for layer in range(LAYERS):
        for part in parts:
            out, inner = SHAPES[part]
            factors[f"model.layers.{layer}.{part}"] = tuple(
                (draw.standard_normal(shape) * size).astype(np.float32)
                for shape in ((rank, inner), (out, rank))
            )
    return Lora(architecture, rank, alpha, factors, **more)


def vocabulary():
    """Byte-level letters, one merge and the control tokens: (tokens, merges)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    letters = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [*sorted(letters.values()), "th", *CONTROL], ["t h"]


def transformers_model(architecture="llama", seed=1):
    """A model of transformers in F32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    kinds = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    }
    config, model = kinds[architecture]
    torch.manual_seed(seed)
    made = model(
        config(
            hidden_size=WIDTH,
            intermediate_size=INNER,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            vocab_size=len(vocabulary()[0]),
            max_position_embeddings=512,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            initializer_range=0.15,
        )
    )
    with torch.no_grad():
        made.model.embed_tokens.weight.normal_(0, 1)
        for name, values in made.named_parameters():
            if name.endswith("bias"):
                values.normal_(0, 0.3)
    return made.eval()


def write_base(path, model, architecture="llama"):
    """The model in GGUF, converted as llama.cpp's converter does it; F32."""
    from gguf import GGUFWriter, TokenType

    tokens, merges = vocabulary()
    writer = GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = [TokenType.CONTROL if t in CONTROL else TokenType.NORMAL for t in tokens]
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens.index(CONTROL[0]))
    writer.add_eos_token_id(tokens.index(CONTROL[1]))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    weights = {k: v.detach().numpy().astype(np.float32) for k, v in model.state_dict().items()}
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"])
    for layer in range(LAYERS):
        old, new = f"model.layers.{layer}", f"blk.{layer}"
        writer.add_tensor(f"{new}.attn_norm.weight", weights[f"{old}.input_layernorm.weight"])
        writer.add_tensor(
            f"{new}.ffn_norm.weight", weights[f"{old}.post_attention_layernorm.weight"]
        )
        for name, part in PARTS.items():
            for end in ("weight", "bias"):
                values = weights.get(f"{old}.{part}.{end}")
                if values is None:
                    continue
                if architecture == "llama" and name in ("attn_q", "attn_k"):
                    heads = HEADS if name == "attn_q" else KV_HEADS
                    half = len(values) // heads // 2
                    cut = values.reshape(heads, 2, half, *values.shape[1:])
                    values = np.ascontiguousarray(cut.swapaxes(1, 2).reshape(values.shape))
                writer.add_tensor(f"{new}.{name}.{end}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def adapted(model, adapter, scale=1.0):
    """The model with W + scale · B A in place of its weights; changed where it is."""
    import torch

    with torch.no_grad():
        for module, (a, b) in adapter.factors.items():
            delta = torch.from_numpy(scale * adapter.scale * (b @ a))
            model.get_submodule(module).weight += delta
    return model


def logprobs_of(model, tokens):
    """Log-probabilities of all next tokens at each place; shape (places, vocabulary)."""
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([list(tokens)])).logits[0].double()
        return torch.log_softmax(logits, dim=-1).numpy()
