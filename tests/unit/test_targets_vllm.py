"""A bundle for vLLM: the folder does what the bundle does, or is not there."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml
from lora_models import PROVENANCE, lora, transformers_model, write_base
from shells import Notebook

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")
pytest.importorskip("torch", reason="needs torch (extra finetune)")
pytest.importorskip("transformers", reason="needs transformers (extra finetune)")
pytest.importorskip("peft", reason="needs peft (extra finetune)")

from llmops_jupyter.deploy.opening import open_bundle
from llmops_jupyter.deploy.targets.arguments import check, read_arguments
from llmops_jupyter.errors import DeployError, ModelError, OptionError
from llmops_jupyter.finetune import exporting
from llmops_jupyter.finetune.blobs import keep, register
from llmops_jupyter.models.endpoint import Endpoint

TEXTS = ["Where is my order?", "the thin thing", "1 + 1 = 2"]
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("llama") / "tiny.gguf", transformers_model())


@pytest.fixture
def deploy(ws, file):
    base = ws.models.add(file, name="tiny")
    origin = dataclasses.replace(PROVENANCE, base_name=base.ref, base_sha256=base.sha256)
    kept = keep(lora(size=0.08, rslora=True), ws.store, base, origin)
    register(ws.models, kept.gguf, "shop", base, "made")
    ws.prompts.save("support", "user: {{ q }}")
    return ws.deploy


def written(deploy, folder, **options):
    return deploy.export("support", "vllm", folder, prompts=TEXTS, threads=1, **options)


def test_the_folder_says_how_far_it_is_and_that_it_was_not_started(deploy, tmp_path):
    release = deploy.build("support", model="tiny", temperature=0.3, max_tokens=9, stop=["END"])
    made = written(deploy, tmp_path / "out", arguments="--max-num-seqs 64")
    told = json.loads((tmp_path / "out" / "target.json").read_text())
    assert told["compared_with_llama_cpp"]["mean"] == made.check.mean < 0.05
    assert told["started"] is False
    assert told["bundle"]["digest"] == release.digest
    serve = json.loads((tmp_path / "out" / "serve.json").read_text())
    assert serve["arguments"][:2] == ["--served-model-name", "support"]
    assert serve["arguments"][-2:] == ["--max-num-seqs", "64"]
    read = json.loads((tmp_path / "out" / "model" / "generation_config.json").read_text())
    assert (read["temperature"], read["max_new_tokens"], read["do_sample"]) == (0.3, 9, True)
    assert any("said with each request" in note and "stop" in note for note in made.notes)
    assert any("no request gets more than 9 tokens" in note for note in made.notes)
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "not started under vLLM" in readme
    assert (tmp_path / "out" / "model" / "model.safetensors").stat().st_mode & 0o044


def test_transformers_loads_the_folder_with_template_and_sampling(deploy, tmp_path):
    import transformers

    deploy.build("support", model="tiny", temperature=0)
    written(deploy, tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out" / "model")
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert asked == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    found = transformers.GenerationConfig.from_pretrained(tmp_path / "out" / "model")
    assert found.do_sample is False


def test_an_adapter_lies_beside_the_model_with_arguments_of_its_own(deploy, tmp_path):
    deploy.build("support", model="tiny", adapters=["shop:0.5"])
    made = written(deploy, tmp_path / "out")
    assert "model/adapter/adapter_config.json" in made.files
    words = json.loads((tmp_path / "out" / "serve.json").read_text())["arguments"]
    assert words[:2] == ["--served-model-name", "support-base"]
    assert "support=model/adapter" in words
    service = yaml.safe_load((tmp_path / "out" / "compose.yaml").read_text())["services"]["vllm"]
    assert "support=/model/adapter" in service["command"]


def test_a_merged_adapter_is_in_the_weights(deploy, tmp_path):
    deploy.build("support", model="tiny", adapters=["shop"])
    made = written(deploy, tmp_path / "out", merged=True)
    assert not any("adapter" in name for name in made.files)
    assert made.check.mean < 0.05
    again = written(deploy, tmp_path / "out", merged=True, overwrite=True)
    assert again.files.keys() == made.files.keys()
    check(read_arguments([]))


def test_what_does_something_else_is_not_written(deploy, tmp_path, monkeypatch):
    deploy.build("support", model="tiny")
    monkeypatch.setattr(exporting, "LIMIT", -1.0)
    with pytest.raises(ModelError, match="does something else than"):
        written(deploy, tmp_path / "out")
    assert not [p for p in tmp_path.iterdir() if "out" in p.name]


def test_what_vllm_cannot_have_is_refused_before_anything_is_written(deploy, ws, tmp_path):
    deploy.build("support", model="tiny", adapters=["shop", "shop:0.1"])
    with pytest.raises(DeployError, match="has 2 adapters at once"):
        written(deploy, tmp_path / "out")
    ws.models.add_endpoint("far", Endpoint("http://127.0.0.1:9", "m"))
    deploy.build("support", model="far")
    with pytest.raises(DeployError, match="is an endpoint"):
        written(deploy, tmp_path / "out")
    deploy.build("support", model="tiny")
    with pytest.raises(OptionError, match="has no adapter that could be merged"):
        written(deploy, tmp_path / "out", merged=True)
    with pytest.raises(OptionError, match="no id of a model"):
        written(deploy, tmp_path / "out", served_as="My Model")
    with pytest.raises(OptionError, match="has no option 'replicas'"):
        written(deploy, tmp_path / "out", replicas=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match="no earlier export"):
        written(deploy, tmp_path / "mine", overwrite=True)
    assert not (tmp_path / "out").exists()


def test_a_ray_folder_has_a_bundle_and_a_config(deploy, ws, tmp_path, monkeypatch, capsys):
    deploy.build("support", model="tiny")
    shell = Notebook(ws)
    monkeypatch.chdir(tmp_path)
    shell.run("%deploy export support out --target ray --max-replicas 3 --at /srv/support")
    said = capsys.readouterr().out
    assert "start it there: serve deploy serve.yaml" in said
    assert "does not carry them" in said
    config = yaml.safe_load((tmp_path / "out" / "serve.yaml").read_text())
    (one,) = config["applications"]
    assert one["args"]["bundle"] == "/srv/support/bundle"
    assert one["args"]["max_replicas"] == 3
    assert open_bundle(tmp_path / "out" / "bundle").name == "support"
    with pytest.raises(OptionError, match="without keys everybody could ask"):
        deploy.export("support", "ray", tmp_path / "more", host="0.0.0.0")
    shell.close()
