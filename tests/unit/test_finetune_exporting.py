"""What other programs are given does what the base model does with the adapter."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from lora_models import (
    CHATML,
    PROVENANCE,
    adapted,
    logprobs_of,
    lora,
    transformers_model,
    vocabulary,
    write_base,
)

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")
pytest.importorskip("torch", reason="needs torch (extra finetune)")
pytest.importorskip("transformers", reason="needs transformers (extra finetune)")
pytest.importorskip("peft", reason="needs peft (extra finetune)")

import peft
import torch
import transformers

from llmops_jupyter.engine.distance import LAST, Predictions, compare, predict
from llmops_jupyter.errors import ModelArchitectureError, ModelError, ModelMemoryError, OptionError
from llmops_jupyter.finetune import exporting, huggingface, ollama, whole
from llmops_jupyter.finetune.blobs import keep, register
from llmops_jupyter.finetune.exporting import export
from llmops_jupyter.finetune.peftfolder import read_peft
from llmops_jupyter.finetune.provenance import provenance_of
from llmops_jupyter.models.memory import MemoryLimit
from llmops_jupyter.models.model import sha256_of

TEXTS = ["Where is my order?", "the thin thing", "1 + 1 = 2"]
TOKENS = tuple(range(40, 60))
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("llama") / "tiny.gguf", transformers_model())


@pytest.fixture
def base(ws, file):
    return ws.models.add(file, name="tiny")


@pytest.fixture
def learned():
    return lora(size=0.08, rslora=True)


@pytest.fixture
def shop(ws, base, learned):
    origin = dataclasses.replace(PROVENANCE, base_name=base.ref, base_sha256=base.sha256)
    return register(ws.models, keep(learned, ws.store, base, origin).gguf, "shop", base, "made")


@pytest.fixture
def give(ws, base, shop, tmp_path):
    def run(to, adapter=shop, folder="out", **more):
        return export(
            ws.models, base, adapter, to, tmp_path / folder, prompts=TEXTS, threads=1, **more
        )

    return run


def wanted(learned, scale=1.0):
    return logprobs_of(adapted(transformers_model(), learned, scale), TOKENS)[-LAST:]


def close(found, expected):
    return np.abs(found - expected).max() < 0.1


def test_one_file_holds_both(give, learned, tmp_path):
    done = give("gguf", scale=0.5)
    assert list(done.files) == ["shop.gguf"]
    path = done.folder / "shop.gguf"
    assert done.size == path.stat().st_size
    assert close(predict(path, [TOKENS], threads=1).logprobs, wanted(learned, 0.5))
    assert done.check.mean < 1e-3
    assert done.check.prompts == 3
    assert provenance_of(path).data == "shop@3"
    assert str(done).startswith(f"gguf: {tmp_path / 'out'} (1 files, ")
    assert "KL 0.0" in str(done)


def test_the_adapter_goes_as_it_was_kept(give, shop, learned):
    done = give("adapter")
    assert sorted(done.files) == [
        "adapter.gguf",
        "peft/README.md",
        "peft/adapter_config.json",
        "peft/adapter_model.safetensors",
    ]
    assert sha256_of(done.folder / "adapter.gguf") == shop.sha256
    assert done.check is None
    assert read_peft(done.folder / "peft").rslora


def test_a_scale_becomes_a_part_of_the_adapter(give, base, learned):
    done = give("adapter", scale=0.5)
    found = predict(base.path, [TOKENS], adapters=[(done.folder / "adapter.gguf", 1.0)], threads=1)
    assert close(found.logprobs, wanted(learned, 0.5))
    assert done.check.mean < 1e-3
    loaded = peft.PeftModel.from_pretrained(transformers_model(), done.folder / "peft").eval()
    assert close(logprobs_of(loaded, TOKENS)[-LAST:], wanted(learned, 0.5))


def test_ollama_gets_the_model_and_the_adapter_beside_it(give, base, shop):
    done = give("ollama", system='Say "please".')
    assert sorted(done.files) == ["Modelfile", "adapter.gguf", "model.gguf"]
    assert sha256_of(done.folder / "model.gguf") == base.sha256
    assert sha256_of(done.folder / "adapter.gguf") == shop.sha256
    assert (done.folder / "Modelfile").read_text() == (
        "FROM ./model.gguf\n"
        "ADAPTER ./adapter.gguf\n"
        f'TEMPLATE """{ollama.CHATML}"""\n'
        'SYSTEM """Say "please"."""\n'
        'PARAMETER stop "<|im_end|>"\n'
    )
    assert done.notes == ("Run in its folder: ollama create shop -f Modelfile",)


def test_ollama_gets_one_merged_file_or_the_base_alone(give, base, learned):
    done = give("ollama", merged=True, kind="Q8_0")
    text = (done.folder / "Modelfile").read_text()
    assert "ADAPTER" not in text
    assert sorted(done.files) == ["Modelfile", "model.gguf"]
    assert 1e-6 < done.check.mean < 0.05
    found = predict(done.folder / "model.gguf", [TOKENS], threads=1).logprobs
    assert np.abs(found - wanted(learned)).max() < 2.0
    alone = give("ollama", adapter=None, folder="alone")
    assert sha256_of(alone.folder / "model.gguf") == base.sha256
    assert "ADAPTER" not in (alone.folder / "Modelfile").read_text()


def test_a_template_is_given_to_ollama_only_if_it_writes_the_same():
    assert ollama.chatml(CHATML) == (True, "")
    opening = "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}"
    assert ollama.chatml(opening + CHATML) == (True, "Be kind")
    text = ollama.modelfile(model="./m", template=opening + CHATML, stops=[])
    assert text.splitlines()[-1] == 'SYSTEM "Be kind"'
    for other in (
        CHATML.replace("<|im_end|>", "</s>"),
        CHATML.replace("+ '\n' }}{% endfor", "}}{% endfor"),
        CHATML + "{{ '<think>' }}",
        "{% if messages|length > 2 %}" + CHATML + "{% endif %}",
        "{% if messages[0]['role'] == 'system' %}{{ '!' }}{% endif %}" + CHATML,
        "{% if messages[0]['role'] != 'system' and messages|length > 1 %}{{ '!' }}{% endif %}"
        + CHATML,
        "{{ raise_exception('no system') }}",
        "{{ ",
    ):
        assert ollama.chatml(other) == (False, ""), other
        assert "TEMPLATE" not in ollama.modelfile(model="./m", template=other, stops=[])
    for bad in ('three """ quotes', 'at its "end"'):
        with pytest.raises(ModelError, match="quote"):
            ollama.modelfile(model="./m", template=None, stops=[], system=bad)


@pytest.mark.parametrize("merged", [False, True])
def test_vllm_gets_a_folder_that_transformers_loads(give, learned, merged, monkeypatch):
    done = give("vllm", merged=merged, scale=0.5)
    names = set(done.files)
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    config = json.loads((done.folder / "config.json").read_text())
    assert (config["dtype"], config["architectures"]) == ("bfloat16", ["LlamaForCausalLM"])
    assert "quantization_config" not in config
    model = transformers.AutoModelForCausalLM.from_pretrained(done.folder, dtype=torch.float32)
    if not merged:
        model = peft.PeftModel.from_pretrained(model, done.folder / "adapter")
    found = logprobs_of(model.eval(), TOKENS)[-LAST:]
    assert np.abs(found - wanted(learned, 0.5)).max() < 2.0
    assert np.abs(found - wanted(learned, -0.5)).max() > 3.0
    assert done.check.mean < 0.02
    readme = (done.folder / "README.md").read_text()
    command = "vllm serve . --served-model-name "
    command += "shop" if merged else (
        "tiny --enable-lora --max-lora-rank 8 --lora-modules shop=./adapter"
    )  # fmt: skip
    assert f"Serve it with: {command}\n" in readme
    assert done.notes[0] == f"Serve it with: {command}"
    template = (done.folder / "chat_template.jinja").read_text()
    assert template == CHATML
    tokenizer = transformers.AutoTokenizer.from_pretrained(done.folder)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer("the")["input_ids"] == [vocabulary()[0].index(t) for t in ("th", "e")]


def test_texts_that_the_tokenizer_cuts_otherwise_are_counted(give, monkeypatch):
    cut = huggingface.tokenize_folder
    monkeypatch.setattr(
        huggingface, "tokenize_folder", lambda f, texts: [*cut(f, texts)[:-1], (1, 2, 3)]
    )
    done = give("vllm")
    (note,) = [n for n in done.notes if "otherwise" in n]
    assert f"of {len(TEXTS) + len(huggingface.HARD_TEXTS)} texts" in note
    assert note in (done.folder / "README.md").read_text()


def test_a_folder_that_does_something_else_is_not_kept(give, tmp_path, monkeypatch):
    right = huggingface.predict_folder

    def turned(*given):
        found = right(*given)
        return Predictions(found.tokens, found.logprobs[:, ::-1].copy())

    monkeypatch.setattr(huggingface, "predict_folder", turned)
    with pytest.raises(ModelError, match="something else than llama"):
        give("vllm")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_transformers_cannot_read_is_refused(give, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("GGUF model with architecture tiny is not supported yet.\nmore")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(ModelArchitectureError, match=r"not supported yet\. Export it as gguf"):
        give("vllm")
    assert list(tmp_path.iterdir()) == []


def test_memory_and_space_are_asked_for_before(give, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface, "available_memory", lambda: MemoryLimit(1000, "test"))
    with pytest.raises(ModelMemoryError, match="unpacked weights"):
        give("vllm")
    usage = whole.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(whole.shutil, "disk_usage", lambda _: usage)
    for to in ("gguf", "ollama", "vllm"):
        with pytest.raises(ModelError, match="Free space"):
            give(to)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_kept_unless_asked(give, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for to in exporting.TARGETS:
        with pytest.raises(OptionError, match="not empty"):
            give(to)
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    with pytest.raises(OptionError, match="holds no earlier export"):
        give("adapter", overwrite=True)
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="not a folder"):
        give("adapter", folder="file", overwrite=True)


def test_an_earlier_export_is_replaced_unless_somebody_put_files_there(give):
    done = give("ollama")
    again = give("adapter", overwrite=True)
    assert again.folder == done.folder
    assert not (again.folder / "Modelfile").exists()
    (again.folder / "peft" / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"peft/mine\.txt', which no export wrote"):
        give("adapter", overwrite=True)
    assert (again.folder / "peft" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", [".", "..", "", "../here", "/", "~nobody-has-this-name/x"])
def test_a_folder_that_cannot_be_made_is_refused(name, ws, base, shop, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for overwrite in (False, True):
        with pytest.raises(OptionError, match="Name"):
            export(ws.models, base, shop, "adapter", name, overwrite=overwrite)


def test_the_home_folder_has_its_sign(ws, base, shop, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert export(ws.models, base, shop, "adapter", "~/out").folder == tmp_path / "out"


@pytest.mark.parametrize(
    ("to", "more"), [("adapter", {"scale": 0.5}), ("gguf", {}), ("ollama", {"merged": True})]
)
def test_what_does_something_else_is_not_kept_unless_it_is_not_asked(
    give, tmp_path, monkeypatch, to, more
):
    far = dataclasses.replace(give("gguf", folder="first").check, mean=float("nan"))
    monkeypatch.setattr(exporting, "compare", lambda *_: far)
    with pytest.raises(ModelError, match=r"something else than tiny@1.*--no-check"):
        give(to, **more)
    assert not (tmp_path / "out").exists()
    assert give(to, check=False, **more).check is None


def test_options_that_mean_nothing_are_refused(give, ws, base, tmp_path):
    for given, why in (
        ({"to": "olama"}, "Did you mean 'ollama'"),
        ({"to": "gguf", "adapter": None}, "needs an adapter"),
        ({"to": "vllm", "adapter": None, "merged": True}, "needs an adapter"),
        ({"to": "adapter", "kind": "Q8_0"}, "merged GGUF file only"),
        ({"to": "ollama", "kind": "Q8_0"}, "merged GGUF file only"),
        ({"to": "gguf", "system": "Hello"}, "system message"),
        ({"to": "gguf", "scale": float("nan")}, "a number"),
        ({"to": "adapter", "scale": 0}, "other than 0"),
        ({"to": "adapter", "folder": "a\0b"}, "no folder that can be made"),
    ):
        with pytest.raises(OptionError, match=why):
            give(**given)
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_of_another_model_is_not_exported(ws, give, shop, tmp_path):
    path = write_base(tmp_path / "other.gguf", transformers_model(seed=2))
    other = ws.models.add(path, name="other")
    for to in exporting.TARGETS:
        with pytest.raises(ModelArchitectureError, match="trained on tiny@1"):
            export(ws.models, other, shop, to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bundled_prompts_differ_and_are_asked_if_none_are_given(ws, base, shop, tmp_path):
    done = export(ws.models, base, shop, "gguf", tmp_path / "out", threads=1)
    assert (done.check.prompts, done.check.places) == (50, 50 * LAST)
    assert done.check.mean < 1e-3


@pytest.mark.model
def test_on_the_bundled_model_a_random_adapter_is_swapped_and_merged(ws, model_path, tmp_path):
    from llmops_jupyter.finetune import names
    from llmops_jupyter.finetune.lora import Lora
    from llmops_jupyter.models.header import read_header

    base = ws.models.add(model_path, name="smollm2")
    shapes = {t.name: t.shape for t in read_header(model_path).tensors}
    draw = np.random.default_rng(0)
    factors = {}
    for layer in range(base.metadata.layers):
        for part in names.LINEAR:
            module = f"model.layers.{layer}.{part}"
            inner, out = shapes[names.gguf_name("llama", module) + ".weight"]
            a = draw.standard_normal((8, inner)) / np.sqrt(inner)
            b = draw.standard_normal((out, 8)) * 0.04
            factors[module] = (a.astype(np.float32), b.astype(np.float32))
    origin = dataclasses.replace(PROVENANCE, base_name=base.ref, base_sha256=base.sha256)
    kept = keep(Lora("llama", 8, 16.0, factors), ws.store, base, origin)
    shop = register(ws.models, kept.gguf, "shop", base, "made")

    def run(**more):
        # Near ties turn with what is kept of earlier prompts; `exact` computes alike each time.
        options = {"model": "smollm2", "temperature": 0, "max_tokens": 8, "exact": True}
        return str(ws.prompts.run("p", **options, **more))

    ws.prompts.save("p", "Name a colour.")
    plain = run(adapters=[])
    assert run(adapters=[("shop", 1.0)]) != plain
    assert run(adapters=[]) == plain
    texts = exporting.bundled_prompts(12)
    done = export(ws.models, base, shop, "gguf", tmp_path / "out", prompts=texts, threads=1)
    sets = ([(shop.path, 1.0)], [])
    effect = compare(*(predict(model_path, texts, adapters=a, threads=1) for a in sets))
    assert done.check.mean < 0.01
    assert effect.mean > 10 * done.check.mean
