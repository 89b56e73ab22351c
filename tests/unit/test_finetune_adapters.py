"""Adapters as files: what llama.cpp and PEFT read is what was learned, and knows where it is from."""

from __future__ import annotations

import dataclasses
import errno
import json
import math

import numpy as np
import pytest
from lora_models import (
    HEADS,
    KV_HEADS,
    PROVENANCE,
    adapted,
    logprobs_of,
    lora,
    transformers_model,
    write_base,
)

from llmops_jupyter.engine.distance import LAST, predict
from llmops_jupyter.errors import (
    ModelArchitectureError,
    ModelError,
    ModelFormatError,
    OptionError,
)
from llmops_jupyter.finetune import ggufwriting, names
from llmops_jupyter.finetune import tensors as tensors_module
from llmops_jupyter.finetune.ggufadapter import read_gguf, write_gguf
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.peftfolder import read_peft, write_peft
from llmops_jupyter.finetune.provenance import provenance_of
from llmops_jupyter.models import read_metadata

SHAPE = {"heads": HEADS, "kv_heads": KV_HEADS}
TOKENS = tuple(range(40, 60))
# llama.cpp keeps keys and values in F16; log-probabilities of these models reach down to -50.
CLOSE = 0.1
# transformers 5.24 warns of a name that peft 0.21 still uses.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


@pytest.fixture
def native():
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")
    pytest.importorskip("torch", reason="needs torch (extra finetune)")
    pytest.importorskip("transformers", reason="needs transformers (extra finetune)")


def same(first, second, rtol=0):
    assert first.architecture == second.architecture
    assert math.isclose(first.scale, second.scale, rel_tol=1e-6)
    assert first.factors.keys() == second.factors.keys()
    for module, (a, b) in first.factors.items():
        for one, other in zip((a, b), second.factors[module], strict=True):
            assert np.allclose(one, other, rtol=rtol, atol=rtol / 1000), module


def raw_of(path):
    from gguf import GGUFReader

    return {t.name: np.array(t.data) for t in GGUFReader(path).tensors}


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("rslora", [False, True])
def test_llama_cpp_computes_what_the_factors_say(native, tmp_path, architecture, rslora):
    model = transformers_model(architecture)
    base = write_base(tmp_path / "base.gguf", model, architecture)
    adapter = lora(architecture, rslora=rslora, size=0.08)
    path = write_gguf(adapter, tmp_path / "adapter.gguf", **SHAPE)
    plain = predict(base, [TOKENS], threads=1).logprobs
    assert np.abs(plain - logprobs_of(model, TOKENS)[-LAST:]).max() < CLOSE
    for scale in (1.0, -0.5):
        found = predict(base, [TOKENS], adapters=[(path, scale)], threads=1).logprobs
        wanted = logprobs_of(adapted(transformers_model(architecture), adapter, scale), TOKENS)
        assert np.abs(found - wanted[-LAST:]).max() < CLOSE
        assert np.abs(found - plain).max() > 1.0


@pytest.mark.parametrize("rslora", [False, True])
def test_peft_computes_what_the_factors_say(tmp_path, rslora):
    pytest.importorskip("torch", reason="needs torch (extra finetune)")
    peft = pytest.importorskip("peft", reason="needs peft (extra finetune)")
    adapter = lora(rslora=rslora)
    folder = write_peft(adapter, tmp_path / "peft", base_model="tiny", provenance=PROVENANCE)
    loaded = peft.PeftModel.from_pretrained(transformers_model(), folder).eval()
    found = logprobs_of(loaded, TOKENS)
    assert np.abs(found - logprobs_of(adapted(transformers_model(), adapter), TOKENS)).max() < 1e-4
    assert np.abs(found - logprobs_of(transformers_model(), TOKENS)).max() > 1.0


def test_peft_adapts_only_the_layers_that_were_trained(tmp_path):
    pytest.importorskip("torch", reason="needs torch (extra finetune)")
    peft = pytest.importorskip("peft", reason="needs peft (extra finetune)")
    full = lora()
    kept = {m: v for m, v in full.factors.items() if ".1." in m or m.endswith("up_proj")}
    adapter = dataclasses.replace(full, factors=kept)
    folder = write_peft(adapter, tmp_path / "peft", base_model="tiny")
    loaded = peft.PeftModel.from_pretrained(transformers_model(), folder)
    changed = {n.split(".lora_")[0] for n, _ in loaded.named_parameters() if "lora_A" in n}
    assert changed == {f"base_model.model.{m}" for m in kept}
    only = dataclasses.replace(full, factors={m: v for m, v in kept.items() if ".1." in m})
    folder = write_peft(only, tmp_path / "second", base_model="tiny")
    loaded = peft.PeftModel.from_pretrained(transformers_model(), folder)
    changed = {n.split(".lora_")[0] for n, _ in loaded.named_parameters() if "lora_A" in n}
    assert changed == {f"base_model.model.{m}" for m in only.factors}


def test_a_folder_that_peft_saved_is_read(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch (extra finetune)")
    peft = pytest.importorskip("peft", reason="needs peft (extra finetune)")
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"])
    model = peft.get_peft_model(transformers_model(), config).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "saved")
    found = read_peft(tmp_path / "saved", architecture="llama")
    assert (found.rank, found.scale, len(found.factors)) == (4, 2.0, 4)
    held = model.base_model.model.model.layers[1].mlp.down_proj.lora_A["default"].weight
    a, b = found.factors["model.layers.1.mlp.down_proj"]
    assert np.array_equal(a, held.float().detach().numpy())
    assert not b.any()
    with pytest.raises(ModelArchitectureError, match="architecture"):
        read_peft(tmp_path / "saved")


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("rslora", [False, True])
def test_an_adapter_comes_back_from_both_formats(tmp_path, architecture, rslora):
    adapter = lora(architecture, rslora=rslora, dropout=0.1)
    path = write_gguf(adapter, tmp_path / "a.gguf", **SHAPE, half=False)
    same(read_gguf(path, **SHAPE), adapter)
    same(read_gguf(write_gguf(adapter, tmp_path / "b.gguf", **SHAPE), **SHAPE), adapter, 1e-3)
    found = read_peft(write_peft(adapter, tmp_path / "peft", base_model="tiny"))
    same(found, adapter)
    assert (found.rslora, found.dropout, found.rank) == (rslora, 0.1, 4)


def test_only_queries_and_keys_of_a_llama_change_their_order(tmp_path):
    adapter = lora()
    held = raw_of(write_gguf(adapter, tmp_path / "a.gguf", **SHAPE, half=False))
    for part, moved in (("q", True), ("k", True), ("v", False), ("output", False)):
        name = {"output": "o"}.get(part, part)
        a, b = adapter.factors[f"model.layers.1.self_attn.{name}_proj"]
        assert np.array_equal(held[f"blk.1.attn_{part}.weight.lora_a"], a)
        assert np.array_equal(held[f"blk.1.attn_{part}.weight.lora_b"], b) is not moved
    plain = lora("qwen2")
    held = raw_of(write_gguf(plain, tmp_path / "b.gguf", **SHAPE, half=False))
    b = plain.factors["model.layers.1.self_attn.q_proj"][1]
    assert np.array_equal(held["blk.1.attn_q.weight.lora_b"], b)


def test_a_layer_of_lower_rank_keeps_the_scale(tmp_path):
    adapter = lora()
    thin = {
        m: (a[:2], b[:, :2]) if "q_proj" in m else (a, b) for m, (a, b) in adapter.factors.items()
    }
    mixed = dataclasses.replace(adapter, factors=thin)
    wanted = {m: mixed.scale * b @ a for m, (a, b) in thin.items()}
    gguf = read_gguf(write_gguf(mixed, tmp_path / "a.gguf", **SHAPE, half=False), **SHAPE)
    peft = read_peft(write_peft(mixed, tmp_path / "peft", base_model="tiny"))
    for found in (gguf, peft):
        for module, (a, b) in found.factors.items():
            assert np.allclose(found.scale * b @ a, wanted[module], atol=1e-6)
    # llama.cpp divides alpha by the rank of each tensor itself.
    held = raw_of(tmp_path / "a.gguf")
    a, b = held["blk.0.attn_q.weight.lora_a"], held["blk.0.attn_q.weight.lora_b"]
    own = names.to_transformers_rows(b, HEADS)
    assert np.allclose(
        mixed.alpha / 2 * own @ a, wanted["model.layers.0.self_attn.q_proj"], atol=1e-6
    )


def test_numbers_that_sixteen_bits_would_lose_are_kept_in_32(tmp_path):
    from gguf import GGUFReader

    def kinds(adapter):
        path = write_gguf(adapter, tmp_path / "a.gguf", **SHAPE)
        return {t.tensor_type.name for t in GGUFReader(path).tensors}

    assert kinds(lora()) == {"F16"}
    assert kinds(lora(size=1e-6)) == {"F32"}
    assert kinds(lora(size=1e5)) == {"F32"}
    none = {m: (a, 0 * b) for m, (a, b) in lora().factors.items()}
    assert kinds(dataclasses.replace(lora(), factors=none)) == {"F16"}


def test_where_an_adapter_is_from_is_kept_in_each_file(tmp_path):
    path = write_gguf(lora(), tmp_path / "a.gguf", **SHAPE, provenance=PROVENANCE)
    folder = write_peft(lora(), tmp_path / "peft", base_model="tiny", provenance=PROVENANCE)
    for place in (path, folder, folder / "adapter_model.safetensors"):
        assert provenance_of(place) == PROVENANCE
    assert "shop@3" in (folder / "README.md").read_text("utf-8")
    metadata = read_metadata(path)
    assert (metadata.kind, metadata.base_sha256) == ("adapter", PROVENANCE.base_sha256)
    assert type(metadata).from_dict(metadata.as_dict()) == metadata
    old = {k: v for k, v in metadata.as_dict().items() if k != "base_sha256"}
    assert type(metadata).from_dict(old).base_sha256 == ""


def test_a_file_from_elsewhere_says_nothing_of_its_origin(tmp_path):
    assert provenance_of(write_gguf(lora(), tmp_path / "a.gguf", **SHAPE)) is None
    assert provenance_of(write_peft(lora(), tmp_path / "peft", base_model="tiny")) is None
    with pytest.raises(ModelError, match="cannot be read"):
        provenance_of(tmp_path / "none.gguf")


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("model.embed_tokens", "embeddings"),
        ("lm_head", "output that shares them"),
        ("model.layers.0.self_attn.qkv_proj", "fused"),
        ("model.layers.0.mlp.gate_up_proj", "fused"),
        ("model.layers.0.mlp.experts.3.up_proj", "experts"),
        ("model.layers.0.input_layernorm", "norm"),
        ("model.layers.0.something", "no linear layer"),
        ("transformer.h.0.attn.q_proj", "no linear layer"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_reason(tmp_path, module, why):
    adapter = lora()
    a, b = adapter.factors["model.layers.0.self_attn.o_proj"]
    bad = dataclasses.replace(adapter, factors={**adapter.factors, module: (a, b)})
    with pytest.raises(ModelArchitectureError, match=why):
        write_gguf(bad, tmp_path / "a.gguf", **SHAPE)
    assert list(tmp_path.iterdir()) == []


def test_the_output_of_a_model_that_has_its_own_can_be_exported(tmp_path):
    a, b = lora().factors["model.layers.0.self_attn.o_proj"]
    adapter = Lora("llama", 4, 8.0, {"lm_head": (a, b)})
    path = write_gguf(adapter, tmp_path / "a.gguf", **SHAPE, tied=False, half=False)
    same(read_gguf(path, **SHAPE), adapter)
    with pytest.raises(ModelArchitectureError, match="shares"):
        write_gguf(adapter, tmp_path / "b.gguf", **SHAPE)


def test_an_architecture_whose_rows_are_not_known_is_refused(tmp_path):
    with pytest.raises(ModelArchitectureError, match="'mamba'"):
        write_gguf(lora("mamba"), tmp_path / "a.gguf", **SHAPE)
    with pytest.raises(ModelArchitectureError, match="'gpt2'"):
        write_peft(lora("gpt2"), tmp_path / "peft", base_model="tiny")
    assert list(tmp_path.iterdir()) == []


def test_every_architecture_that_is_exported_has_its_names_in_gguf():
    for architecture in names.PERMUTED | names.PLAIN:
        for part in ("self_attn.o_proj", "mlp.down_proj"):
            name = names.gguf_name(architecture, f"model.layers.31.{part}")
            assert names.module_name(architecture, name) == f"model.layers.31.{part}"
    assert names.gguf_name("gemma2", "model.layers.7.mlp.up_proj") == "blk.7.ffn_up"


def test_factors_that_are_no_adapter_are_refused(tmp_path):
    a, b = lora().factors["model.layers.0.self_attn.o_proj"]
    module = "model.layers.0.self_attn.o_proj"
    cases = [
        ({}, "nothing"),
        ({module: (a, b[:, :2])}, "shapes"),
        ({module: (np.vstack([a, a]), np.hstack([b, b]))}, "rank 4"),
        ({module: (a, np.full_like(b, np.nan))}, "not finite"),
    ]
    for factors, why in cases:
        with pytest.raises(ModelArchitectureError, match=why):
            write_gguf(Lora("llama", 4, 8.0, factors), tmp_path / "a.gguf", **SHAPE)
        with pytest.raises(ModelArchitectureError, match=why):
            write_peft(Lora("llama", 4, 8.0, factors), tmp_path / "peft", base_model="tiny")


def test_heads_that_do_not_divide_the_rows_are_refused(tmp_path):
    with pytest.raises(ModelArchitectureError, match="7 heads"):
        write_gguf(lora(), tmp_path / "a.gguf", heads=7, kv_heads=KV_HEADS)
    with pytest.raises(ModelArchitectureError, match="0 heads"):
        write_gguf(lora(), tmp_path / "a.gguf", heads=HEADS, kv_heads=(KV_HEADS,))


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("use_dora", True, "DoRA"),
        ("modules_to_save", ["lm_head"], "whole layers"),
        ("alpha_pattern", {"q_proj": 3}, "alphas"),
        ("rank_pattern", {"q_proj": 3}, "ranks"),
        ("peft_type", "LOHA", "LOHA"),
    ],
)
def test_an_adapter_that_is_more_than_lora_is_refused(tmp_path, key, value, why):
    folder = write_peft(lora(), tmp_path / "peft", base_model="tiny")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ModelArchitectureError, match=why):
        read_peft(folder)


def test_a_tensor_that_is_no_factor_is_refused(tmp_path):
    folder = write_peft(lora(), tmp_path / "peft", base_model="tiny")
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"
    values = {name: np.ones((64, 1), np.float32)}
    tensors_module.write_tensors(folder / "adapter_model.safetensors", values, {})
    with pytest.raises(ModelArchitectureError, match="lora_magnitude_vector"):
        read_peft(folder, architecture="llama")


def test_damaged_files_are_refused(tmp_path):
    folder = write_peft(lora(), tmp_path / "peft", base_model="tiny")
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    for damaged in (b"", whole[:4], whole[:200], whole[:-1], b"\xff" * 64):
        weights.write_bytes(damaged)
        with pytest.raises(ModelFormatError):
            read_peft(folder)
    with pytest.raises(ModelFormatError, match="no folder of PEFT"):
        read_peft(tmp_path / "none")


def test_a_whole_model_is_no_adapter(tmp_path):
    from gguf_files import write_gguf as write_model

    path = write_model(tmp_path / "model.gguf")
    with pytest.raises(ModelArchitectureError, match="no LoRA adapter"):
        read_gguf(path, **SHAPE)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full:
        def __init__(self, path, *_):
            path.write_bytes(b"half")
            full()

    monkeypatch.setattr(ggufwriting, "_pieces", full)
    with pytest.raises(ModelError, match="disk is full"):
        write_gguf(lora(), tmp_path / "a.gguf", **SHAPE)
    monkeypatch.setattr("llmops_jupyter.finetune.peftfolder.write_tensors", Full)
    with pytest.raises(ModelError, match="disk is full"):
        write_peft(lora(), tmp_path / "peft", base_model="tiny")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_what_was_there(tmp_path, monkeypatch):
    path = write_gguf(lora(), tmp_path / "a.gguf", **SHAPE)
    folder = write_peft(lora(), tmp_path / "peft", base_model="tiny")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ggufwriting, "_pieces", stop)
    monkeypatch.setattr("llmops_jupyter.finetune.peftfolder.write_tensors", stop)
    with pytest.raises(KeyboardInterrupt):
        write_gguf(lora(seed=9), path, **SHAPE)
    with pytest.raises(KeyboardInterrupt):
        write_peft(lora(seed=9), folder, base_model="tiny", overwrite=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_folder_is_replaced_only_when_asked(tmp_path):
    folder = write_peft(lora(), tmp_path / "peft", base_model="tiny")
    with pytest.raises(OptionError, match="not empty"):
        write_peft(lora(seed=9), folder, base_model="tiny")
    same(read_peft(folder), lora())
    write_peft(lora(seed=9), folder, base_model="tiny", overwrite=True)
    same(read_peft(folder), lora(seed=9))
    assert list(tmp_path.iterdir()) == [folder]
