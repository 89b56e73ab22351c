from __future__ import annotations

import dataclasses
import json
import random
import struct

import pytest
from gguf_files import bundled_model, write_gguf

from llmops_jupyter.errors import (
    LLMOpsError,
    ModelArchitectureError,
    ModelError,
    ModelFormatError,
    ModelTruncatedError,
)
from llmops_jupyter.models import GGUFMetadata, check_architecture, read_metadata


def test_metadata_says_what_the_file_holds(tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", file_type=1)
    meta = read_metadata(path)
    assert (meta.architecture, meta.name, meta.kind) == ("llama", "Tiny", "model")
    assert meta.quantization == "F16"
    assert meta.parameters == 2 * 64 * 64
    assert meta.tensor_bytes == 2 * 64 * 64 * 2
    assert (meta.context_length, meta.embedding_length, meta.layers) == (2048, 64, 2)
    assert (meta.heads, meta.kv_heads, meta.key_length, meta.value_length) == (4, (2, 2), 16, 16)
    assert (meta.licence, meta.tokenizer, meta.vocabulary) == ("mit", "gpt2", 5)
    assert meta.chat_template == "{{ messages }}"
    assert meta.size == path.stat().st_size
    assert meta.kv_bytes_per_token == 2 * 2 * (16 + 16) * 2


def test_quantisation_comes_from_the_tensors_where_the_header_is_silent(tmp_path):
    assert read_metadata(write_gguf(tmp_path / "tiny.gguf")).quantization == "F16"


def test_layers_without_attention_take_no_cache(tmp_path):
    path = write_gguf(
        tmp_path / "hybrid.gguf", architecture="jamba", layers=4, kv_heads=[0, 2, 0, 2]
    )
    assert read_metadata(path).kv_bytes_per_token == 4 * 32 * 2


def test_recurrent_models_have_a_state_of_fixed_size(tmp_path):
    extra = {"ssm.inner_size": 128, "ssm.state_size": 16, "ssm.conv_kernel": 4}
    path = write_gguf(tmp_path / "mamba.gguf", architecture="mamba", kv_heads=0, extra=extra)
    meta = read_metadata(path)
    assert meta.kv_bytes_per_token == 0
    assert meta.state_bytes == 2 * (3 * 128 + 16 * 128) * 4


def test_metadata_survives_json_and_other_releases(tmp_path):
    meta = read_metadata(write_gguf(tmp_path / "tiny.gguf"))
    kept = json.loads(json.dumps(meta.as_dict()))
    assert GGUFMetadata.from_dict(kept) == meta
    del kept["sliding_window"]
    kept["from_a_newer_release"] = 1
    assert GGUFMetadata.from_dict(kept) == meta


@pytest.mark.model
def test_the_bundled_model_is_read_as_it_is():
    meta = read_metadata(bundled_model())
    assert (meta.architecture, meta.quantization, meta.licence) == ("llama", "Q4_1", "apache-2.0")
    assert (meta.layers, meta.heads, meta.kv_heads[0]) == (30, 9, 3)
    assert (meta.context_length, meta.vocabulary, meta.parameters) == (8192, 49152, 134_515_008)
    assert meta.kv_bytes_per_token == 23_040
    assert "<|im_start|>" in (meta.chat_template or "")
    check_architecture(meta)


def test_values_agree_with_the_reference_reader(tmp_path):
    from gguf import GGUFReader

    from llmops_jupyter.models.header import read_header

    path = write_gguf(tmp_path / "tiny.gguf")
    reference, header = GGUFReader(path), read_header(path)
    own = {k for k in reference.fields if not k.startswith("GGUF.")}
    assert set(header.values) == own
    for key in own:
        assert header.values[key] == reference.fields[key].contents()
    assert header.data_offset == reference.data_offset
    assert [t.name for t in header.tensors] == [t.name for t in reference.tensors]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"not a model at all, only text", "not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"PK\x03\x04" + b"\0" * 40, "Convert it to GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1"),
        (b"GGUF" + struct.pack("<IQQ", 99, 0, 0), "GGUF version 99"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "does not name its architecture"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 0), "is damaged: 1,099,511,627,776 tensors"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 77), "unknown type 77"),
    ],
)
def test_a_file_that_is_not_gguf_is_a_format_error(tmp_path, content, says):
    path = tmp_path / "odd.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match=says):
        read_metadata(path)


def test_a_file_cut_within_its_weights_is_truncated(tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf")
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ModelTruncatedError, match="cut short"):
        read_metadata(path)


@pytest.mark.parametrize("length", [4, 8, 23, 24, 40, 200, 400])
def test_a_file_cut_within_its_header_is_truncated(tmp_path, length):
    path = write_gguf(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelTruncatedError, match="ends within its header"):
        read_metadata(path)


@pytest.mark.model
def test_a_cut_copy_of_the_bundled_model_is_truncated(tmp_path):
    path = tmp_path / "cut.gguf"
    with bundled_model().open("rb") as file:
        path.write_bytes(file.read(5_000_000))
    with pytest.raises(ModelTruncatedError, match="98,3"):
        read_metadata(path)


def test_a_damaged_header_never_raises_anything_but_our_errors(tmp_path):
    content = write_gguf(tmp_path / "tiny.gguf").read_bytes()
    draw = random.Random(7)
    path = tmp_path / "damaged.gguf"
    refused = 0
    for _ in range(400):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(4, 700)] = draw.randrange(256)
        path.write_bytes(changed)
        try:
            check_architecture(read_metadata(path))
        except LLMOpsError:
            refused += 1
    assert refused > 100


def test_an_absurd_length_is_refused_without_reading_the_file(tmp_path):
    path = tmp_path / "absurd.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 30))
        file.truncate(1 << 31)
    with pytest.raises(ModelFormatError, match="a text of 1,073,741,824 bytes"):
        read_metadata(path)


def test_an_absurd_number_of_layers_is_refused(tmp_path):
    path = write_gguf(tmp_path / "deep.gguf")
    content = path.read_bytes().replace(
        b"llama.block_count" + struct.pack("<II", 4, 2),
        b"llama.block_count" + struct.pack("<II", 4, 4_000_000_000),
    )
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match="4,000,000,000 layers"):
        read_metadata(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ModelError, match="There is no file"):
        read_metadata(tmp_path / "nothing.gguf")
    with pytest.raises(ModelError, match="is a folder"):
        read_metadata(tmp_path)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3", "bert"])
def test_known_text_and_embedding_architectures_pass(architecture):
    meta = GGUFMetadata(architecture=architecture, name="m")
    assert check_architecture(meta) is None


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ("lama", "Did you mean 'llama'"),
        ("from-the-future", "not known to the installed llama.cpp"),
        ("t5", "encoder-decoder"),
        ("llada", "diffusion"),
        ("qwen2vl", "vision"),
        ("wavtokenizer-dec", "audio"),
    ],
)
def test_architectures_that_do_not_run_are_refused(architecture, says):
    with pytest.raises(ModelArchitectureError, match=says):
        check_architecture(GGUFMetadata(architecture=architecture, name="m"))


def test_an_adapter_is_not_a_model(tmp_path):
    meta = read_metadata(write_gguf(tmp_path / "lora.gguf", kind="adapter"))
    with pytest.raises(ModelArchitectureError, match="not a whole model"):
        check_architecture(meta)
    assert check_architecture(dataclasses.replace(meta, kind="model")) is None
