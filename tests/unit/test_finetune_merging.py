"""A merged model does what the base model does with the adapter, and keeps all else of it."""

from __future__ import annotations

import dataclasses
import errno

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

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")
pytest.importorskip("torch", reason="needs torch (extra finetune)")
pytest.importorskip("transformers", reason="needs transformers (extra finetune)")

from llmops_jupyter.engine.distance import LAST, compare, predict
from llmops_jupyter.engine.quantize import quantize
from llmops_jupyter.errors import EngineError, ModelArchitectureError, ModelError, OptionError
from llmops_jupyter.finetune import ggufwriting, merging, whole
from llmops_jupyter.finetune.ggufadapter import write_gguf
from llmops_jupyter.finetune.merging import check_merged, merge
from llmops_jupyter.finetune.provenance import provenance_of
from llmops_jupyter.models import read_metadata
from llmops_jupyter.models.header import read_header

SHAPE = {"heads": HEADS, "kv_heads": KV_HEADS}
PROMPTS = [tuple(range(n, n + 20)) for n in (40, 90, 140, 190)]
SMALL = {"size": 0.08}


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def base(request, tmp_path_factory):
    architecture = request.param
    path = tmp_path_factory.mktemp(architecture) / "base.gguf"
    return write_base(path, transformers_model(architecture), architecture), architecture


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("llama") / "base.gguf", transformers_model())


def packed(base, kind, folder):
    return quantize(base, folder / f"base-{kind}.gguf", kind, threads=1)


def tensors_of(path):
    from gguf import GGUFReader

    return {t.name: (int(t.tensor_type), bytes(t.data)) for t in GGUFReader(path).tensors}


@pytest.mark.parametrize("scale", [1.0, -0.5])
def test_the_merged_model_computes_w_plus_b_a(base, tmp_path, scale):
    path, architecture = base
    adapter = lora(architecture, rslora=True, **SMALL)
    made = merge(path, adapter, tmp_path / "merged.gguf", scale=scale)
    assert (made.changed, made.kind, made.size) == (14, "F32", made.path.stat().st_size)
    wanted = logprobs_of(adapted(transformers_model(architecture), adapter, scale), PROMPTS[0])
    found = predict(made.path, PROMPTS[:1], threads=1).logprobs
    assert np.abs(found - wanted[-LAST:]).max() < 0.1
    gguf = write_gguf(adapter, tmp_path / "adapter.gguf", **SHAPE)
    assert check_merged(path, (gguf, scale), made.path, prompts=PROMPTS, threads=1).mean < 1e-3
    assert check_merged(path, (gguf, -scale), made.path, prompts=PROMPTS, threads=1).mean > 0.1


def test_of_few_bits_the_changed_weights_are_kept_in_eight(llama, tmp_path):
    few = packed(llama, "Q4_1", tmp_path)
    kept = ("self_attn.q_proj", "mlp.down_proj")
    adapter = lora(parts=kept, **SMALL)
    made = merge(few, adapter, tmp_path / "merged.gguf")
    before, after = tensors_of(few), tensors_of(made.path)
    assert list(before) == list(after)
    changed = {n for n in before if before[n] != after[n]}
    assert changed == {f"blk.{i}.{p}.weight" for i in (0, 1) for p in ("attn_q", "ffn_down")}
    assert {after[n][0] for n in changed} == {8}
    gguf = write_gguf(adapter, tmp_path / "adapter.gguf", **SHAPE)
    found = check_merged(few, (gguf, 1.0), made.path, prompts=PROMPTS, threads=1)
    four = merge(few, adapter, tmp_path / "four.gguf", kind="Q4_1", threads=1)
    lost = check_merged(few, (gguf, 1.0), four.path, prompts=PROMPTS, threads=1)
    assert found.mean < 0.02
    assert lost.mean > 3 * found.mean
    assert {k: v[0] for k, v in tensors_of(four.path).items()} == {
        k: v[0] for k, v in before.items()
    }


@pytest.mark.parametrize(("kind", "number"), [("Q8_0", 8), ("F16", 1), ("BF16", 30)])
def test_a_base_of_enough_bits_keeps_its_kind(llama, tmp_path, kind, number):
    own = packed(llama, kind, tmp_path)
    made = merge(own, lora(**SMALL), tmp_path / "merged.gguf")
    assert made.kind == kind
    assert tensors_of(made.path)["blk.0.attn_q.weight"][0] == number


def test_a_kind_can_be_chosen_for_all_weights(llama, tmp_path):
    lines = []
    made = merge(llama, lora(**SMALL), tmp_path / "m.gguf", kind="q5_1", progress=lines.append)
    assert made.kind == "Q5_1"
    assert {v[0] for k, v in tensors_of(made.path).items() if "ffn_up" in k} == {7}
    assert lines[0].startswith("merging: ")
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]
    with pytest.raises(OptionError, match="Q5_1"):
        merge(llama, lora(), tmp_path / "n.gguf", kind="Q5_7")


def test_all_keys_are_kept_but_those_that_are_no_longer_true(llama, tmp_path):
    few = packed(llama, "Q4_0", tmp_path)
    made = merge(few, lora(**SMALL), tmp_path / "m.gguf", name="Shop", provenance=PROVENANCE)
    before, after = read_header(few), read_header(made.path)
    ours = PROVENANCE.as_texts()
    assert {k: v for k, v in after.values.items() if k not in ours} == {
        **before.values,
        "general.name": "Shop",
        "general.file_type": 7,
    }
    assert after.lengths == before.lengths
    assert provenance_of(made.path) == PROVENANCE
    # Merged once more, it says only where the last adapter is from.
    again = merge(made.path, lora(**SMALL), tmp_path / "n.gguf")
    assert provenance_of(again.path) is None
    assert read_metadata(again.path).name == "Shop with an adapter"


def test_a_weight_whose_rows_cannot_be_packed_is_kept_in_sixteen_bits(llama, tmp_path, monkeypatch):
    few = packed(llama, "Q4_1", tmp_path)
    monkeypatch.setattr(merging, "SAFE", "TQ1_0")  # packs 256 weights together
    made = merge(few, lora(**SMALL), tmp_path / "m.gguf")
    assert tensors_of(made.path)["blk.0.attn_q.weight"][0] == 1


def test_rows_are_merged_in_pieces(llama, tmp_path, monkeypatch):
    whole_ = merge(llama, lora(), tmp_path / "whole.gguf")
    monkeypatch.setattr(merging, "ROWS", 7)
    monkeypatch.setattr(merging, "CHUNK", 100)
    pieces = merge(llama, lora(), tmp_path / "pieces.gguf")
    first, second = tensors_of(whole_.path), tensors_of(pieces.path)
    for name, (kind, data) in first.items():
        a, b = (np.frombuffer(d, np.float32) for d in (data, second[name][1]))
        assert kind == second[name][0]
        assert np.allclose(a, b, atol=1e-6), name


def test_what_does_not_fit_is_refused(llama, tmp_path):
    adapter = lora()
    pair = adapter.factors["model.layers.0.self_attn.o_proj"]
    for factors, why in (
        ({"model.layers.9.self_attn.o_proj": pair}, "no such weights"),
        ({"model.layers.0.mlp.up_proj": pair}, "shape"),
        ({"lm_head": pair}, "shares"),
    ):
        with pytest.raises(ModelArchitectureError, match=why):
            merge(llama, dataclasses.replace(adapter, factors=factors), tmp_path / "m.gguf")
    with pytest.raises(ModelArchitectureError, match="'qwen2'"):
        merge(llama, lora("qwen2"), tmp_path / "m.gguf")
    with pytest.raises(OptionError, match="replace its base"):
        merge(llama, adapter, llama)
    part = write_gguf(adapter, tmp_path / "adapter.gguf", **SHAPE)
    with pytest.raises(ModelArchitectureError, match="no whole model"):
        merge(part, adapter, tmp_path / "m.gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["adapter.gguf"]


@pytest.mark.parametrize("kind", [None, "Q8_0"])
def test_a_full_disk_or_an_interrupt_leaves_nothing(llama, tmp_path, monkeypatch, kind):
    written = ggufwriting._pieces

    def stopped(error):
        def pieces(entries, alignment):
            yield from list(written(entries, alignment))[:5]
            raise error

        return pieces

    for error, shown in (
        (OSError(errno.ENOSPC, "No space left on device"), ModelError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):
        monkeypatch.setattr(ggufwriting, "_pieces", stopped(error))
        with pytest.raises(shown):
            merge(llama, lora(), tmp_path / "m.gguf", kind=kind)
        assert list(tmp_path.iterdir()) == []


def test_space_is_asked_for_before(llama, tmp_path, monkeypatch):
    usage = whole.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(whole.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match="merged model needs about"):
        merge(llama, lora(), tmp_path / "m.gguf")


def test_only_models_that_read_the_same_are_compared(llama):
    one, two = (predict(llama, PROMPTS[i : i + 1], threads=1) for i in (0, 1))
    same = compare(one, one)
    assert (same.mean, same.agree, same.places, same.prompts) == (0.0, 1.0, LAST, 1)
    with pytest.raises(EngineError, match="different tokens"):
        compare(one, two)
    with pytest.raises(OptionError, match="no token"):
        predict(llama, [""], threads=1)
