"""Bundles that are not whole, or not what they say: refused with what is wrong, and nothing outside of them is opened."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import pytest
from deploy_fakes import add_index, project, whole

from llmops_jupyter.deploy import manifest
from llmops_jupyter.deploy.manifest import File
from llmops_jupyter.deploy.opening import open_bundle
from llmops_jupyter.errors import DeployError


@pytest.fixture
def home(tmp_path):
    return tmp_path / "project"


@pytest.fixture
def ws(home):
    with project(home) as workspace:
        yield workspace


def sealed(folder, **changes):
    """Write a manifest with these parts in the place of a bundle's, with the digest that it then has."""
    read = manifest.read(folder)
    (folder / manifest.FILE).write_text(replace(read, **changes).text())


def test_an_altered_a_missing_and_a_further_file_are_named(ws, home):
    release = whole(ws, home)
    (release.folder / "prompt" / "prompt.json").write_text("{}")
    (release.folder / "guard" / "policy.yaml").unlink()
    (release.folder / "extra.txt").write_text("x")
    with pytest.raises(DeployError) as e:
        open_bundle(release.folder)
    assert "'prompt/prompt.json' altered" in str(e.value)
    assert "'guard/policy.yaml' missing" in str(e.value)
    assert "'extra.txt' not of the bundle" in str(e.value)
    with pytest.raises(DeployError, match="not whole"):
        ws.deploy.promote("support")


def test_a_file_of_the_same_size_with_another_byte_is_found(ws):
    release = ws.deploy.build("support", model="tiny", weights="copy")
    weights = release.folder / "model" / "tiny.gguf"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DeployError, match=r"'model/tiny.gguf' altered"):
        open_bundle(release.folder)
    assert open_bundle(release.folder, check=False)


def test_a_manifest_that_was_altered_is_refused(ws):
    release = ws.deploy.build("support", model="tiny")
    path = release.folder / manifest.FILE
    path.write_text(path.read_text().replace('"temperature": 0.7', '"temperature": 0.9'))
    value = json.loads(path.read_text())
    value["settings"]["temperature"] = 1.5
    path.write_text(json.dumps(value))
    with pytest.raises(DeployError, match="was altered"):
        open_bundle(release.folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "{", "null", '{"format": 99}', '{"format": 1}', "\xff", "[" * 100_000]
)
def test_rubbish_for_a_manifest_is_refused(tmp_path, text):
    (tmp_path / manifest.FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(DeployError):
        open_bundle(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "/etc/passwd", "a/../../evil", "~/evil", "C:/evil", "a\\..\\evil", "", "."),
        *("a//b", "a/./b", "manifest.json", "con", "a/nul.txt", "a\0b", "dots./a", "a/"),
    ],
)
def test_paths_that_lead_out_of_the_bundle_are_refused(ws, name):
    release = ws.deploy.build("support", model="tiny")
    files = {**manifest.read(release.folder).files, name: File("0" * 64, 1)}
    sealed(release.folder, files=files)
    with pytest.raises(DeployError, match="which no bundle has"):
        open_bundle(release.folder)


def test_two_names_for_one_file_on_some_disks_are_refused(ws):
    release = ws.deploy.build("support", model="tiny")
    files = {**manifest.read(release.folder).files, "Environment.json": File("0" * 64, 1)}
    sealed(release.folder, files=files)
    with pytest.raises(DeployError, match="one file on some disks"):
        open_bundle(release.folder)


def test_links_are_not_followed(ws, tmp_path):
    release = ws.deploy.build("support", model="tiny")
    lock = release.folder / "environment.json"
    (tmp_path / "same.json").write_bytes(lock.read_bytes())
    lock.unlink()
    lock.symlink_to(tmp_path / "same.json")
    with pytest.raises(DeployError, match="links are not followed"):
        open_bundle(release.folder)
    lock.unlink()
    shutil.move(tmp_path / "same.json", lock)
    (release.folder / "guard").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(DeployError, match="links are not followed"):
        open_bundle(release.folder)
    (release.folder / "guard").unlink()
    whole = release.folder / manifest.FILE
    shutil.move(whole, tmp_path / "m.json")
    whole.symlink_to(tmp_path / "m.json")
    with pytest.raises(DeployError, match="is a link"):
        open_bundle(release.folder)


def test_facts_that_name_files_outside_are_never_opened(ws, home, tmp_path):
    release = whole(ws, home)
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    read = manifest.read(release.folder)
    out = os.path.relpath(tmp_path / "secret", release.folder / "data")
    sealed(release.folder, data=(out,))
    with pytest.raises(DeployError, match="has no file"):
        open_bundle(release.folder).workspace()
    sealed(release.folder, data=(), adapters=({**read.adapters[0], "file": str(secret)},))
    with pytest.raises(DeployError, match="has no file"):
        open_bundle(release.folder).workspace()
    sealed(
        release.folder,
        adapters=read.adapters,
        model={**read.model, "file": str(secret), "digest": "0" * 64},
    )
    with pytest.raises(DeployError, match="not found on this machine"):
        open_bundle(release.folder).workspace()


def test_weights_that_are_gone_or_others_are_named(ws, tmp_path):
    release = ws.deploy.build("support", model="tiny")
    bundle = open_bundle(release.folder)
    other = tmp_path / "files" / "words.gguf"
    ws.models.get("tiny").path.unlink()
    with pytest.raises(DeployError, match="--weights copy"):
        bundle.workspace()
    if other.exists():
        with pytest.raises(DeployError, match="not what the bundle was built with"):
            open_bundle(release.folder, model=other).workspace()


def test_a_store_with_content_of_its_own_or_of_another_bundle_is_refused(ws, tmp_path):
    first = open_bundle(ws.deploy.build("support", model="tiny").folder)
    second = open_bundle(ws.deploy.build("support", model="tiny", temperature=0.1).folder)
    first.workspace(tmp_path / "one.db").close()
    with pytest.raises(DeployError, match="another bundle"):
        second.workspace(tmp_path / "one.db")
    with pytest.raises(DeployError, match="content of its own"):
        first.workspace(ws.path)


def test_the_index_is_missing(ws, home):
    add_index(ws, home)
    ws.rag.index("manual").vectors.delete()
    with pytest.raises(DeployError, match="index 'manual' cannot be put into a bundle"):
        ws.deploy.build("support", model="tiny", rag="manual")
    release = ws.deploy.build("other", "support", model="tiny")
    read = manifest.read(release.folder)
    sealed(
        release.folder,
        index={"name": "x", "vectors": 0, "settings": {}, "width": 0, "embedder_digest": ""},
    )
    with pytest.raises(DeployError, match=r"has no file 'index/documents\.jsonl'"):
        open_bundle(release.folder).workspace()
    assert read.index is None
