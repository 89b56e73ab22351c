"""torch on the weights of a GGUF file of the architecture llama, as a program: what the numbers should be.

`python -m benchmarks.dense PATH THREADS` answers `score`. It is run by the Python of an environment in which
torch, transformers and gguf are. All weights are unpacked to 32 bits.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.child import serve

LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def load(path: str) -> Any:
    """The model of transformers with the weights of the file."""
    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize
    from transformers import LlamaConfig, LlamaForCausalLM

    reader = GGUFReader(path)
    arrays = {t.name: dequantize(t.data, t.tensor_type) for t in reader.tensors}

    def number(key: str) -> Any:
        return reader.get_field(f"llama.{key}").contents()

    heads, groups = int(number("attention.head_count")), int(number("attention.head_count_kv"))
    config = LlamaConfig(
        vocab_size=len(arrays["token_embd.weight"]),
        hidden_size=int(number("embedding_length")),
        intermediate_size=int(number("feed_forward_length")),
        num_hidden_layers=int(number("block_count")),
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=int(number("context_length")),
        rms_norm_eps=float(number("attention.layer_norm_rms_epsilon")),
        rope_theta=float(number("rope.freq_base")),
        tie_word_embeddings="output.weight" not in arrays,
    )
    state = {}
    for name, array in arrays.items():
        values = torch.tensor(array, dtype=torch.float32)
        if ".attn_q." in name or ".attn_k." in name:
            values = _unpermuted(values, heads if ".attn_q." in name else groups)
        state[_name(name)] = values
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.to_empty(device="cpu")
    model.load_state_dict(state, strict=True)
    # What is computed from the configuration is not in the file.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.float().eval()


def _name(name: str) -> str:
    whole = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    if name in whole:
        return whole[name]
    _, number, part, kind = name.split(".")
    return f"model.layers.{number}.{LAYER[part]}.{kind}"


def _unpermuted(values: Any, heads: int) -> Any:
    """The rows of a query or key matrix in the order of transformers."""
    half = values.shape[0] // heads // 2
    return values.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(values.shape)


def score(model: Any, items: Sequence[tuple[list[int], list[list[int]]]]) -> list[list[float]]:
    """Log-probability of each label, given as tokens, after its prompt."""
    import torch

    found = []
    with torch.inference_mode():
        for prompt, labels in items:
            found.append([])
            for label in labels:
                ids = torch.tensor([[*prompt, *label[:-1]]])
                known = model(ids).logits[0, len(prompt) - 1 :].log_softmax(-1)
                found[-1].append(sum(float(known[i, token]) for i, token in enumerate(label)))
    return found


def main() -> None:
    import torch

    torch.set_num_threads(int(sys.argv[2]))
    model = load(sys.argv[1])
    serve(score=lambda items: score(model, items))


if __name__ == "__main__":
    main()
