"""Whole small models that make vectors and scores, and the same computed with NumPy."""

from __future__ import annotations

import numpy as np
from gguf import GGUFWriter, PoolingType, TokenType
from tiny_models import HEADS, WIDTH, noise

CONTEXT, LAYERS = 512, 2
UNKNOWN, START, SEPARATOR = 1, 2, 3
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# fmt: off
WORDS = [
    "cat", "dog", "owl", "bee", "cow", "fox", "hen", "rat", "pig", "ant", "the", "a", "of",
    "in", "on", "under", "sees", "eats", "finds", "hears", "red", "blue", "green", "small",
    "old", "new", "house", "tree", "river", "road",
]
# fmt: on
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
RERANK = "<|im_start|>user\nis {document} what {query} asks?<|im_end|>\n<|im_start|>assistant\n"


def _tokens_of_bert():
    return [*SPECIAL, *("▁" + w for w in WORDS)]


def bert_ids(text):
    """A text of known words as the model reads it, without start and end."""
    return [len(SPECIAL) + WORDS.index(word) for word in text.split()]


def bert_weights(*, head=False):
    """Weights of a BERT model by name, in F32."""
    made = {
        "token_embd.weight": noise(1, len(SPECIAL) + len(WORDS), WIDTH) * 6,
        "token_types.weight": noise(2, 2, WIDTH),
        "position_embd.weight": noise(3, CONTEXT, WIDTH) * 2,
        "token_embd_norm.weight": 1 + noise(4, WIDTH),
        "token_embd_norm.bias": noise(5, WIDTH),
    }
    shapes = {f"attn_{n}": (WIDTH, WIDTH) for n in ("q", "k", "v", "output")}
    shapes |= {"ffn_up": (2 * WIDTH, WIDTH), "ffn_down": (WIDTH, 2 * WIDTH)}
    for i in range(LAYERS):
        for n, (name, shape) in enumerate(shapes.items()):
            made[f"blk.{i}.{name}.weight"] = noise(10 + 20 * i + n, *shape)
            made[f"blk.{i}.{name}.bias"] = noise(100 + 20 * i + n, shape[0])
        for n, name in enumerate(("attn_output_norm", "layer_output_norm")):
            made[f"blk.{i}.{name}.weight"] = 1 + noise(200 + 20 * i + n, WIDTH)
            made[f"blk.{i}.{name}.bias"] = noise(210 + 20 * i + n, WIDTH)
    if head:
        made |= {"cls.weight": noise(300, WIDTH, WIDTH), "cls.bias": noise(301, WIDTH)}
        made |= {"cls.output.weight": noise(302, 1, WIDTH) * 3, "cls.output.bias": noise(303, 1)}
    return made


def write_bert(path, pooling):
    """A BERT model that pools as it is told; one that ranks has a classification head."""
    writer = _writer(path, "bert", pooling)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(_tokens_of_bert())
    kinds = [TokenType.CONTROL] * len(SPECIAL) + [TokenType.NORMAL] * len(WORDS)
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(START)
    writer.add_eos_token_id(SEPARATOR)
    writer.add_sep_token_id(SEPARATOR)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    writer.add_add_sep_token(False)
    return _finish(writer, path, bert_weights(head=pooling == PoolingType.RANK))


def bert_states(weights, ids):
    """The last layer of a BERT model (Devlin et al. 2018, with GELU by its tanh form); (tokens, WIDTH)."""

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = weights["token_embd.weight"][ids] + weights["position_embd.weight"][: len(ids)]
    x = norm(x + weights["token_types.weight"][0], "token_embd_norm")
    for i in range(LAYERS):
        block = f"blk.{i}"
        q, k, v = (
            linear(x, f"{block}.attn_{n}").reshape(len(ids), HEADS, -1).swapaxes(0, 1)
            for n in ("q", "k", "v")
        )
        scores = q @ k.swapaxes(1, 2) / np.sqrt(WIDTH // HEADS)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = (shares @ v).swapaxes(0, 1).reshape(len(ids), WIDTH)
        x = norm(x + linear(mixed, f"{block}.attn_output"), f"{block}.attn_output_norm")
        up = linear(x, f"{block}.ffn_up")
        up = 0.5 * up * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
        x = norm(x + linear(up, f"{block}.ffn_down"), f"{block}.layer_output_norm")
    return x


def bert_score(weights, query, text):
    """What the classification head says of a query with a text."""
    ids = [START, *bert_ids(query), SEPARATOR, *bert_ids(text), SEPARATOR]
    first = bert_states(weights, ids)[0]
    hidden = np.tanh(weights["cls.weight"] @ first + weights["cls.bias"])
    return float((weights["cls.output.weight"] @ hidden + weights["cls.output.bias"])[0])


def write_qwen(path, pooling=None):
    """A decoder (Qwen 3), which may pool; one that ranks says yes or no to a template."""
    ranks = pooling == PoolingType.RANK
    writer = _writer(path, "qwen3", pooling)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_head_count_kv(HEADS)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*byte_letters(), "th", *CONTROL])
    writer.add_token_merges(["t h"])
    writer.add_token_types([TokenType.NORMAL] * 257 + [TokenType.CONTROL] * len(CONTROL))
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(257)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(pooling == PoolingType.LAST)
    weights = {
        "token_embd.weight": noise(1, 257 + len(CONTROL), WIDTH) * 6,
        "output_norm.weight": np.ones(WIDTH),
    }
    if ranks:
        writer.add_classifier_output_labels(["yes", "no"])
        writer.add_chat_template([{"name": "rerank", "template": RERANK}])
        weights["cls.output.weight"] = noise(2, 2, WIDTH)
    for i in range(LAYERS):
        block = f"blk.{i}"
        for name in ("attn_norm", "ffn_norm"):
            weights[f"{block}.{name}.weight"] = np.ones(WIDTH)
        for name in ("attn_q_norm", "attn_k_norm"):
            weights[f"{block}.{name}.weight"] = np.ones(WIDTH // HEADS)
        for n, name in enumerate(("attn_q", "attn_k", "attn_v", "attn_output")):
            weights[f"{block}.{name}.weight"] = noise(20 * i + n, WIDTH, WIDTH)
        for n, name in enumerate(("ffn_gate", "ffn_up", "ffn_down")):
            shape = (WIDTH, 2 * WIDTH) if name == "ffn_down" else (2 * WIDTH, WIDTH)
            weights[f"{block}.{name}.weight"] = noise(100 + 20 * i + n, *shape)
    return _finish(writer, path, weights)


def qwen_ids(text):
    """A text as that decoder reads it: byte by byte, but for its one merge."""
    merged = text.encode().replace(b"th", b"\xff")
    return [256 if byte == 255 else byte for byte in merged]


def qwen_pair(query, text):
    """The template of the decoder that ranks, filled."""
    _, start, end = range(257, 260)
    asked = qwen_ids(f"user\nis {text} what {query} asks?")
    return [start, *asked, end, *qwen_ids("\n"), start, *qwen_ids("assistant\n")]


def byte_letters():
    """The letters that stand for the bytes in byte-level vocabularies (GPT-2), in the bytes' order."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = sorted(set(range(256)) - plain)
    return [chr(b if b in plain else 256 + others.index(b)) for b in range(256)]


def _writer(path, architecture, pooling):
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    return writer


def _finish(writer, path, weights):
    for name, values in weights.items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
