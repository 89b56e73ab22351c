"""Sentence-transformers folders of BERT models, written as GGUF files and checked against NumPy.

Weights keep their values up to the chosen kind; position embeddings are cut to the longest text that the
model was made for, so that the engine knows its window.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import ModelArchitectureError, ModelError, missing_dependency
from llmops_jupyter.models.folders import CONFIG, MODULES, WEIGHTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
KIND = "Q8_0"
KINDS = ("F32", "F16", "Q8_0")
# From this cosine on a file does what the folder does.
LEAST = 0.999
TRIALS = (
    "The library opens at ten.",
    "Wo ist der Bahnhof? Zwei Straßen weiter, links.",
    "def add(a: int, b: int) -> int: return a + b",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen. " * 12,
    "1,234.5 kg — 99 %",
    "ünïcödé \u4f60\u597d \U0001f642",
)
_OUTER = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm": "token_embd_norm",
}
_INNER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


@dataclass(frozen=True)
class SentenceFolder:
    """What a folder says of its model; `window` is the longest text in tokens, start and end included."""

    path: Path
    layers: int
    width: int
    heads: int
    inner: int
    epsilon: float
    window: int
    pooling: str
    tokens: tuple[str, ...]


def cache_folder() -> Path:
    """Where imported files lie: they can be made again."""
    import platformdirs

    return platformdirs.user_cache_path("llmops-jupyter") / "models"


def read_folder(path: Path) -> SentenceFolder:
    """What a folder says.

    Raises:
        ModelArchitectureError: it is no BERT model, or has something that a GGUF file cannot do.
        ModelError: a file is missing or cannot be read.
    """
    config = _json(path / CONFIG)
    if (
        config.get("model_type") != "bert"
        or config.get("position_embedding_type", "absolute") != "absolute"
    ):
        raise ModelArchitectureError(
            f"{str(path)!r} is a {config.get('model_type', 'model of unknown kind')!r} model; folders of BERT "
            "models can be imported. Use a GGUF file of this model."
        )
    if config.get("hidden_act", "gelu") != "gelu":
        raise ModelArchitectureError(
            f"{str(path)!r} has the activation {config['hidden_act']!r}, not gelu."
        )
    tokenizer = _json(path / "tokenizer_config.json")
    if not tokenizer.get("do_lower_case", True):
        raise ModelArchitectureError(
            f"{str(path)!r} tells capital letters apart, which the tokenizer of GGUF files of this kind does "
            "not. Use an uncased model."
        )
    for module in _json(path / MODULES):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise ModelArchitectureError(
                f"{str(path)!r} has a step {kind!r} that a GGUF file cannot do."
            )
    try:
        positions = int(config["max_position_embeddings"])
        window = _json(path / "sentence_bert_config.json", {}).get("max_seq_length") or positions
        return SentenceFolder(
            path,
            int(config["num_hidden_layers"]),
            int(config["hidden_size"]),
            int(config["num_attention_heads"]),
            int(config["intermediate_size"]),
            float(config["layer_norm_eps"]),
            min(int(window), positions),
            _pooling(path),
            _vocabulary(path),
        )
    except (KeyError, TypeError, ValueError) as e:
        raise ModelError(
            f"{str(path / CONFIG)!r} lacks something ({e!r}). Download the model again."
        ) from e


def convert(
    path: Path, target: Path, *, kind: str = KIND, progress: Callable[[str], None] | None = None
) -> Path:
    """Write a folder's model as a GGUF file; it is there whole or not at all.

    Args:
        path: of the folder.
        target: of the file.
        kind: of the weights: F32, F16 or Q8_0.
        progress: told how far it is.

    Raises:
        ModelError: see `read_folder`.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, PoolingType, TokenType

    folder, weights = read_folder(path), load_weights(path)
    special = {t for t in folder.tokens if t.startswith("[") and t.endswith("]")}
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    writer = GGUFWriter(part, "bert")
    try:
        writer.add_name(path.parent.name if path.name == "model" else path.name)
        writer.add_context_length(folder.window)
        writer.add_embedding_length(folder.width)
        writer.add_feed_forward_length(folder.inner)
        writer.add_block_count(folder.layers)
        writer.add_head_count(folder.heads)
        writer.add_layer_norm_eps(folder.epsilon)
        writer.add_causal_attention(False)
        writer.add_pooling_type(PoolingType.MEAN if folder.pooling == "mean" else PoolingType.CLS)
        writer.add_tokenizer_model("bert")
        writer.add_token_type_count(2)
        writer.add_token_list([_phantom(t, special) for t in folder.tokens])
        kinds = [TokenType.CONTROL if t in special else TokenType.NORMAL for t in folder.tokens]
        writer.add_token_types(kinds)
        places = {token: i for i, token in enumerate(folder.tokens)}
        writer.add_bos_token_id(places["[CLS]"])
        writer.add_eos_token_id(places["[SEP]"])
        writer.add_sep_token_id(places["[SEP]"])
        writer.add_unk_token_id(places["[UNK]"])
        writer.add_pad_token_id(places["[PAD]"])
        writer.add_mask_token_id(places["[MASK]"])
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(True)
        writer.add_add_sep_token(False)
        named = gguf_tensors(folder, weights)
        for number, (name, values) in enumerate(named.items(), 1):
            _add(writer, name, values, kind, GGMLQuantizationType)
            if progress is not None:
                progress(f"importing: {number}/{len(named)} tensors")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _add(writer: Any, name: str, values: NDArray[np.float32], kind: str, types: Any) -> None:
    """A tensor: matrices in the chosen kind, vectors and small tables in F32."""
    from gguf import quants

    is_matrix = values.ndim == 2 and values.shape[1] % 32 == 0 and values.shape[0] > 2
    if not is_matrix or name.startswith("position") or kind == "F32":
        writer.add_tensor(name, values)
        return
    made = types[kind]
    writer.add_tensor(name, quants.quantize(values, made), raw_dtype=made)


def gguf_tensors(
    folder: SentenceFolder, weights: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """The weights by their names in GGUF files.

    Raises:
        ModelError: one is missing.
    """
    wanted = [(old, new) for old, new in _OUTER.items() if old.endswith(".weight")]
    norms = [
        (_join("embeddings.LayerNorm", end), _join("token_embd_norm", end))
        for end in ("weight", "bias")
    ]
    wanted += norms
    for layer in range(folder.layers):
        for old, new in _INNER.items():
            for end in ("weight", "bias"):
                wanted.append((f"encoder.layer.{layer}.{old}.{end}", f"blk.{layer}.{new}.{end}"))
    found = {}
    for old, new in wanted:
        if old not in weights:
            raise ModelError(
                f"{str(folder.path)!r} has no weights {old!r}. Download the model again."
            )
        found[new] = weights[old]
    found["position_embd.weight"] = found["position_embd.weight"][: folder.window]
    return found


def load_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """All weights of a folder in F32, without the name of the model before theirs.

    Raises:
        ModelError: the file cannot be read.
    """
    import numpy as np

    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as e:
        raise missing_dependency("safetensors", "Importing an embedding model", "rag") from e
    try:
        loaded = load_file(path / WEIGHTS)
    except (OSError, SafetensorError) as e:
        raise ModelError(
            f"{str(path / WEIGHTS)!r} cannot be read ({e}). Download the model again."
        ) from e
    return {
        name.removeprefix("bert."): np.ascontiguousarray(values, dtype=np.float32)
        for name, values in loaded.items()
        if values.dtype.kind == "f"
    }


def reference(path: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """The folder's own vectors of texts, of unit length, computed with NumPy (Devlin et al. 2018).

    Raises:
        MissingDependencyError: the package tokenizers is not installed.
    """
    import numpy as np

    try:
        from tokenizers import Tokenizer
    except ImportError as e:
        raise missing_dependency("tokenizers", "Checking an embedding model", "rag") from e
    folder, weights = read_folder(path), load_weights(path)
    named = gguf_tensors(folder, weights)
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.enable_truncation(folder.window)
    tokenizer.no_padding()
    found = []
    for text in texts:
        states = _states(folder, named, np.array(tokenizer.encode(text).ids))
        pooled = states.mean(0) if folder.pooling == "mean" else states[0]
        found.append(pooled / np.linalg.norm(pooled))
    return np.array(found, dtype=np.float32)


def _states(
    folder: SentenceFolder, named: Mapping[str, NDArray[np.float32]], ids: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The last layer; shape (tokens, width)."""
    import numpy as np

    def norm(x: Any, name: str) -> Any:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + folder.epsilon)
        return x * named[f"{name}.weight"] + named[f"{name}.bias"]

    def dense(x: Any, name: str) -> Any:
        return x @ named[f"{name}.weight"].T + named[f"{name}.bias"]

    x = named["token_embd.weight"][ids] + named["token_types.weight"][0]
    x = norm(x + named["position_embd.weight"][: len(ids)], "token_embd_norm")
    size = folder.width // folder.heads
    for layer in range(folder.layers):
        at = f"blk.{layer}"
        q, k, v = (
            dense(x, f"{at}.attn_{n}").reshape(len(ids), folder.heads, size).transpose(1, 0, 2)
            for n in "qkv"
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(size)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        seen = (shares @ v).transpose(1, 0, 2).reshape(len(ids), folder.width)
        x = norm(x + dense(seen, f"{at}.attn_output"), f"{at}.attn_output_norm")
        inner = dense(x, f"{at}.ffn_up")
        inner = inner * (1 + _erf(inner / math.sqrt(2))) / 2
        x = norm(x + dense(inner, f"{at}.ffn_down"), f"{at}.layer_output_norm")
    made: NDArray[np.float32] = x
    return made


def _erf(x: Any) -> Any:
    from scipy.special import erf

    return erf(x)


def _phantom(token: str, special: set[str]) -> str:
    """A token as GGUF files have it: words begin with a mark, their continuations with nothing."""
    if token in special:
        return token
    return token[2:] if token.startswith("##") else f"\u2581{token}"


def _join(*parts: str) -> str:
    return ".".join(parts)


def _pooling(path: Path) -> str:
    for module in _json(path / MODULES):
        if str(module.get("type", "")).endswith("Pooling"):
            modes = _json(path / str(module["path"]) / CONFIG)
            chosen = [name for key, name in POOLINGS.items() if modes.get(key)]
            others = [
                k
                for k, v in modes.items()
                if k.startswith("pooling_mode") and v and k not in POOLINGS
            ]
            if len(chosen) == 1 and not others:
                return chosen[0]
    raise ModelArchitectureError(
        f"{str(path)!r} pools neither by the mean nor by the first token. Use a GGUF file of this model."
    )


def _vocabulary(path: Path) -> tuple[str, ...]:
    try:
        lines = (path / "vocab.txt").read_text("utf-8").split("\n")
    except (OSError, ValueError) as e:
        raise ModelError(
            f"{str(path / 'vocab.txt')!r} cannot be read. Download the model again."
        ) from e
    return tuple(lines[:-1] if lines and not lines[-1] else lines)


def _json(path: Path, default: Any = None) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if default is not None:
            return default
        raise ModelError(f"There is no {str(path)!r}. Download the model again.") from None
    except (OSError, ValueError) as e:
        raise ModelError(f"{str(path)!r} cannot be read ({e}). Download the model again.") from e
