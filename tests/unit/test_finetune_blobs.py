"""Adapters in the registry: their files, their versions, and the models that they may be used with."""

from __future__ import annotations

import dataclasses
import errno

import pytest
from adapter_files import kept, write_model
from lora_models import HEADS, KV_HEADS, PROVENANCE, WIDTH, lora

import llmops_jupyter as lo
from llmops_jupyter.engine.divergence import Divergence
from llmops_jupyter.engine.remembered import keep_divergence
from llmops_jupyter.errors import ModelArchitectureError, ModelError, UnknownNameError
from llmops_jupyter.finetune import ggufwriting, peftfolder
from llmops_jupyter.finetune.blobs import blobs_folder, keep, peft_folder, register
from llmops_jupyter.finetune.ggufadapter import write_gguf
from llmops_jupyter.finetune.peftfolder import read_peft
from llmops_jupyter.finetune.provenance import provenance_of
from llmops_jupyter.models.model import sha256_of

COMMAND = "finetune run shop -m tiny"


@pytest.fixture
def base(ws, tmp_path):
    return ws.models.add(write_model(tmp_path / "tiny.gguf"), name="tiny")


def test_an_adapter_is_named_by_its_content_and_kept_in_both_formats(ws, base):
    found = kept(ws, base)
    assert found.gguf == ws.store.path.parent / "blobs" / "sha256" / f"{found.sha256}.gguf"
    assert sha256_of(found.gguf) == found.sha256
    assert found.size == found.gguf.stat().st_size
    assert found.peft == peft_folder(found.gguf)
    assert read_peft(found.peft).factors.keys() == lora().factors.keys()
    assert provenance_of(found.peft) == provenance_of(found.gguf)
    assert provenance_of(found.gguf).base_sha256 == base.sha256
    assert sorted(p.name for p in found.gguf.parent.iterdir()) == [
        f"{found.sha256}-peft",
        f"{found.sha256}.gguf",
    ]
    assert kept(ws, base) == found


def test_each_training_is_the_next_version_and_aliases_name_one(ws, base):
    first = register(ws.models, kept(ws, base).gguf, "shop", base, COMMAND)
    ws.models.alias("shop@1", "production")
    second = register(ws.models, kept(ws, base, seed=4).gguf, "shop", base, COMMAND)
    assert (first.ref, second.ref) == ("shop@1", "shop@2")
    assert ws.models.adapter("shop").ref == "shop@2"
    assert ws.models.adapter("shop@production") == ws.models.adapter("shop@1")
    assert (first.parent, first.source) == (base.sha256, COMMAND)
    assert first.metadata.base_sha256 == base.sha256
    assert [m.ref for m in ws.models.list()] == ["tiny@1"]
    assert ws.engine.adapter("shop@production", "tiny", 1.0).ref == "shop@1"


def test_an_adapter_that_is_gone_is_made_again_by_its_command(ws, base):
    made = register(ws.models, kept(ws, base).gguf, "shop", base, COMMAND)
    made.path.unlink()
    with pytest.raises(ModelError, match="%finetune run shop -m tiny --name shop"):
        ws.models.adapter("shop")


def test_the_adapters_of_a_store_in_memory_go_with_the_process(tmp_path):
    with lo.open(":memory:") as ws:
        base = ws.models.add(write_model(tmp_path / "tiny.gguf"), name="tiny")
        found = kept(ws, base)
        made = register(ws.models, found.gguf, "shop", base, COMMAND)
        assert ws.models.adapter("shop").sha256 == made.sha256 == found.sha256
        assert found.gguf.parent == blobs_folder(ws.store)
        assert tmp_path not in found.gguf.parents


def test_an_adapter_of_another_model_is_refused_with_both_names(ws, base, tmp_path):
    register(ws.models, kept(ws, base).gguf, "shop", base, COMMAND)
    other = ws.models.add(write_model(tmp_path / "other.gguf", seed=1), name="other")
    with pytest.raises(ModelArchitectureError) as e:
        ws.engine.adapter("shop", "other", 1.0)
    text = str(e.value)
    assert f"trained on tiny@1, sha256 {base.sha256[:12]}" in text
    assert f"other@1, sha256 {other.sha256[:12]}" in text
    assert "-m tiny@1" in text
    ws.models.remove("tiny")
    with pytest.raises(ModelArchitectureError, match=r"not registered here.*%model add"):
        ws.engine.adapter("shop", "other", 1.0)


def test_the_wrong_base_is_refused_where_an_adapter_is_registered(ws, base, tmp_path):
    other = ws.models.add(write_model(tmp_path / "other.gguf", seed=1), name="other")
    path = kept(ws, base).gguf
    with pytest.raises(ModelArchitectureError, match="neither that model nor a copy"):
        register(ws.models, path, "shop", other, COMMAND)
    with pytest.raises(UnknownNameError):
        ws.models.adapter("shop")


def test_a_prompt_with_an_adapter_of_another_model_does_not_run(ws, base, tmp_path):
    register(ws.models, kept(ws, base).gguf, "shop", base, COMMAND)
    ws.models.add(write_model(tmp_path / "other.gguf", seed=1), name="other")
    ws.prompts.save("p", "Hello")
    with pytest.raises(ModelArchitectureError, match="trained on tiny@1"):
        ws.prompts.run("p", model="other", adapters=["shop"])


def test_where_no_model_is_named_an_adapter_says_which_it_is_for(ws, base, tmp_path):
    register(ws.models, kept(ws, base).gguf, "shop", base, COMMAND)
    assert ws.engine.base_for("shop") is None, "it is the only one"
    ws.models.add(write_model(tmp_path / "other.gguf", seed=1), name="other")
    assert ws.engine.base_for("shop") == "tiny@1", "several, and no default"
    ws.models.use("other")
    assert ws.engine.base_for("shop") == "tiny@1"
    assert ws.engine.base_for("no-such") is None
    ws.prompts.save("p", "Hello")
    ws.prompts.save("q", "Hello you")
    ws.prompts.keep_defaults(ws.prompts.get("q"), {"model": "other"})
    version = ws.prompts.get("p")
    options = ws.prompts._options(
        version, version.content, {"adapters": ["shop"]}, use_defaults=True
    )
    assert options.model == "tiny@1"
    assert "model" not in options.defaults(), "it is found again"
    for prompt, chosen in (("q", {}), ("p", {"model": "other"})):
        with pytest.raises(ModelArchitectureError, match="trained on tiny@1"):
            ws.prompts.run(prompt, adapters=["shop"], **chosen)
    ws.models.use("tiny")
    assert ws.engine.base_for("shop") is None


def test_on_a_copy_an_adapter_of_the_parent_is_measured_and_one_of_the_copy_is_not(
    ws, base, tmp_path
):
    copy = ws.models.add_copy(write_model(tmp_path / "copy.gguf", 2), "quick", base, "made")
    of_parent = register(ws.models, kept(ws, base).gguf, "shop", base, COMMAND)
    of_copy = register(ws.models, kept(ws, copy, seed=4).gguf, "own", copy, COMMAND)
    with pytest.raises(ModelError, match="%model check quick@1 shop@1"):
        ws.engine.adapter("shop", "quick", 1.0)
    keep_divergence(ws.store, copy.sha256, of_parent.sha256, 1.0, Divergence(0.001, 0.001, 1.0))
    assert ws.engine.adapter("shop", "quick", 1.0).ref == "shop@1"
    assert ws.engine.adapter("own", "quick", 1.0).sha256 == of_copy.sha256
    with pytest.raises(ModelArchitectureError, match="trained on quick@1"):
        ws.engine.adapter("own", "tiny", 1.0)


def test_an_adapter_from_elsewhere_is_taken_by_its_shapes(ws, base, tmp_path):
    path = write_gguf(lora(), tmp_path / "foreign.gguf", heads=HEADS, kv_heads=KV_HEADS)
    ws.models.add(path, name="foreign")
    assert ws.engine.adapter("foreign", "tiny", 1.0).ref == "foreign@1"
    ws.models.add(write_model(tmp_path / "wide.gguf", width=2 * WIDTH), name="wide")
    with pytest.raises(ModelArchitectureError, match=r"another size.*64 columns.*wide@1"):
        ws.engine.adapter("foreign", "wide", 1.0)
    deep = lora()
    pair = deep.factors["model.layers.1.self_attn.o_proj"]
    deep = dataclasses.replace(deep, factors={"model.layers.7.self_attn.o_proj": pair})
    ws.models.add(write_gguf(deep, tmp_path / "deep.gguf", heads=4, kv_heads=2), name="deep")
    with pytest.raises(ModelArchitectureError, match="does not have"):
        ws.engine.adapter("deep", "tiny", 1.0)
    long = dataclasses.replace(deep, factors={"model.layers.0.mlp.up_proj": pair})
    ws.models.add(write_gguf(long, tmp_path / "long.gguf", heads=4, kv_heads=2), name="long")
    with pytest.raises(ModelArchitectureError, match="64 rows"):
        ws.engine.adapter("long", "tiny", 1.0)


def test_the_files_of_a_pair_are_read_once(ws, base, monkeypatch):
    from llmops_jupyter.engine import fitting

    register(ws.models, kept(ws, base).gguf, "shop", base, COMMAND)
    ws.engine.adapter("shop", "tiny", 1.0)
    read = []
    monkeypatch.setattr(fitting, "check_fits", lambda *given: read.append(given))
    assert ws.engine.adapter("shop", "tiny", 0.5).ref == "shop@1"
    assert read == []


def test_another_architecture_is_refused(ws, base):
    with pytest.raises(ModelArchitectureError, match="'qwen2'"):
        keep(lora("qwen2"), ws.store, base, PROVENANCE)


def test_a_full_disk_leaves_nothing(ws, base, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for module, name in ((ggufwriting, "_pieces"), (peftfolder, "write_tensors")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            with pytest.raises(ModelError, match="disk is full"):
                kept(ws, base)
        assert list(blobs_folder(ws.store).iterdir()) == []
