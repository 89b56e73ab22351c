"""Folders of mlx-lm in the registry; nothing here needs MLX."""

from __future__ import annotations

import json

import numpy as np
import pytest

from llmops_jupyter.engine import backend
from llmops_jupyter.errors import (
    MissingDependencyError,
    ModelArchitectureError,
    ModelChangedError,
    ModelError,
    ModelFormatError,
    ModelTruncatedError,
    OptionError,
)

CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 4,
    "max_position_embeddings": 128,
}


def write_safetensors(path, **arrays):
    table, data = {}, b""
    for name, array in arrays.items():
        raw = array.tobytes()
        kind = {"float32": "F32", "uint32": "U32"}[str(array.dtype)]
        offsets = [len(data), len(data) + len(raw)]
        table[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    header = json.dumps(table).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "Tiny Model"
    found.mkdir()
    (found / "config.json").write_text(json.dumps(CONFIG))
    (found / "tokenizer.json").write_text("{}")
    write_safetensors(found / "model.safetensors", **{"a.weight": np.zeros((4, 8), np.float32)})
    return found


def test_a_folder_is_registered_with_what_it_says(ws, folder):
    added = ws.models.add(str(folder))
    assert (added.ref, added.format) == ("tiny-model@1", "mlx")
    metadata = added.metadata
    assert (metadata.architecture, metadata.context_length) == ("llama", 128)
    assert (metadata.parameters, metadata.tensor_bytes) == (32, 128)
    assert (metadata.quantization, metadata.kv_heads) == ("F32", (2, 2))
    assert ws.models.add(str(folder)).ref == added.ref


def test_packed_weights_are_counted_one_by_one(ws, folder):
    (folder / "config.json").write_text(
        json.dumps({**CONFIG, "quantization": {"bits": 4, "group_size": 32}})
    )
    write_safetensors(
        folder / "model.safetensors",
        **{"a.weight": np.zeros((4, 8), np.uint32), "a.scales": np.zeros((4, 2), np.float32)},
    )
    assert ws.models.add(str(folder)).metadata.parameters == 4 * 64


def test_other_content_is_the_next_version_and_is_not_run_as_the_old(ws, folder):
    first = ws.models.add(str(folder), "tiny")
    (folder / "README.md").write_text("what a model card says is no content")
    assert ws.models.check_unchanged(first) == first
    (folder / "config.json").write_text(json.dumps({**CONFIG, "rope_theta": 5.0}))
    with pytest.raises(ModelChangedError, match="%model add"):
        ws.models.check_unchanged(first)
    assert ws.models.add(str(folder), "tiny").ref == "tiny@2"


def test_an_incomplete_folder_says_what_is_missing(ws, folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(ModelTruncatedError, match="cut off"):
        ws.models.add(str(folder))
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ModelFormatError, match="no safetensors file"):
        ws.models.add(str(folder))
    (folder / "model.safetensors").write_bytes(whole)
    index = {"weight_map": {"a.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelTruncatedError, match=r"model-00002-of-00002\.safetensors is missing"):
        ws.models.add(str(folder))
    (folder / "model.safetensors.index.json").unlink()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelFormatError, match=r"no tokenizer\.json"):
        ws.models.add(str(folder))
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFormatError, match="no model"):
        ws.models.add(str(folder))


def test_code_in_a_folder_is_never_run(ws, folder):
    (folder / "config.json").write_text(json.dumps({**CONFIG, "model_file": "evil.py"}))
    with pytest.raises(ModelArchitectureError, match="never run"):
        ws.models.add(str(folder))


def test_a_folder_without_a_model_is_refused(ws, tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        ws.models.add(str(tmp_path))


def test_without_mlx_the_extra_is_named(ws, folder, monkeypatch):
    monkeypatch.setattr(backend, "is_installed", lambda: False)
    ws.models.add(str(folder), "tiny")
    with pytest.raises(MissingDependencyError, match=r"llmops-jupyter\[mlx\]"):
        ws.engine.engine("tiny")


def test_the_default_is_mlx_on_apple_silicon_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(backend, "is_installed", lambda: True)
    monkeypatch.setattr(backend.sys, "platform", "darwin")
    monkeypatch.setattr(backend.platform, "machine", lambda: "arm64")
    assert backend.default() == "mlx"
    monkeypatch.setattr(backend, "is_installed", lambda: False)
    assert backend.default() == "llama.cpp"
    monkeypatch.setattr(backend.sys, "platform", "linux")
    monkeypatch.setattr(backend, "is_installed", lambda: True)
    assert backend.default() == "llama.cpp"


def test_an_unknown_backend_is_refused(ws):
    with pytest.raises(OptionError, match=r"auto, llama.cpp, mlx"):
        ws.configure(backend="mxl")
