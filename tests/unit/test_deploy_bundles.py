"""Bundles: what is in them, that they are the same for the same, that they open anywhere, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from deploy_fakes import add_adapter, add_index, plugged, project

import llmops_jupyter as lo
from llmops_jupyter.deploy import environment, folders, indexes, manifest
from llmops_jupyter.deploy.manifest import File, Manifest
from llmops_jupyter.deploy.opening import open_bundle
from llmops_jupyter.errors import DeployError, ModelChangedError, OptionError, UnknownNameError


@pytest.fixture
def home(tmp_path):
    return tmp_path / "project"


@pytest.fixture
def ws(home):
    with project(home) as workspace:
        yield workspace


def full(workspace, home, **options):
    """A release with everything in it."""
    add_index(workspace, home)
    add_adapter(workspace, home)
    given = {"adapters": ["style:0.5"], "rag": "manual", "guard": "standard", "temperature": 0}
    return workspace.deploy.build("support", model="tiny", **{**given, **options})


def sealed(folder, **changes):
    """Write a manifest with these parts in the place of a bundle's, with the digest that it then has."""
    read = manifest.read(folder)
    (folder / manifest.FILE).write_text(replace(read, **changes).text())


def test_a_bundle_has_all_that_a_deployment_runs_on(ws, home):
    ws.evaluation.run("support:model=tiny", "qa", ["exact"])
    run = ws.evaluation.run("support:model=tiny", "qa", ["exact"])
    ws.prompts.save("support", "good {{ context }} {{ q }}")
    release = full(ws, home, weights="copy", evidence=run)
    read = open_bundle(release.folder).manifest
    assert read.prompt["ref"] == "support@2"
    assert read.settings["temperature"] == 0
    assert read.settings["adapters"] == [["style", 0.5]]
    assert (read.settings["rag"], read.settings["guard"]) == ("manual", "standard")
    assert read.model["digest"] == ws.models.get("tiny").sha256
    assert read.model["quantization"] == "F16"
    assert read.model["architecture"] == "llama"
    assert read.adapters[0]["provenance"]["base_sha256"] == read.model["digest"]
    assert "made_at" not in json.dumps(dict(read.adapters[0]))
    assert read.embedder["name"] == "words"
    assert read.index["passages"] == 3
    assert read.evaluation["outcome"] == "measured"
    assert "exact" in read.evaluation["summary"]
    names = {p.relative_to(release.folder).as_posix() for p in release.folder.rglob("*.*")}
    assert names >= {
        "prompt/prompt.json",
        "guard/policy.yaml",
        "index/passages.jsonl",
        "index/vectors.f32",
        "adapter/style.gguf",
        "model/tiny.gguf",
        "model/words.gguf",
        "evaluation/report.json",
        "evaluation/report.md",
        "environment.json",
    }
    assert read.built["store"] == {"runs": [run.id]}


def test_the_lock_has_python_the_platform_packages_and_the_build_of_llama_cpp(ws):
    lock = open_bundle(ws.deploy.build("support", model="tiny").folder).lock
    assert lock["python"].startswith("3.")
    assert lock["packages"]["jinja2"]
    assert lock["platform"]["system"]
    assert lock["llama_cpp"] is None or lock["llama_cpp"]["version"]
    other = {**lock, "python": "3.0.1", "packages": {**lock["packages"], "numpy": "0.1"}}
    told = environment.differences(other, lock)
    assert told[0].startswith("python: 3.0.1 there")
    assert any(line.startswith("numpy: 0.1 there") for line in told)
    assert environment.differences(lock, lock) == []


def test_the_same_inputs_are_the_same_release(ws, home):
    first = full(ws, home)
    again = ws.deploy.build("support", **{**_same(), "model": "tiny"})
    assert again.ref == first.ref == "support@1"
    assert again.digest == first.digest
    assert again.folder == first.folder


def _same():
    return {"adapters": ["style:0.5"], "rag": "manual", "guard": "standard", "temperature": 0}


def test_a_copy_of_the_project_elsewhere_builds_the_same_bundle(ws, home, tmp_path):
    first = full(ws, home)
    ws.close()
    other = tmp_path / "elsewhere" / "deeper" / "project"
    shutil.copytree(home, other)
    with lo.open(other / ".llmops" / "llmops.db") as copied:
        plugged(copied)
        shutil.rmtree(other / ".llmops" / "bundles")
        second = copied.deploy.build("support", model="tiny", **_same())
        assert second.digest == first.digest
        assert second.folder != first.folder
        for file in first.folder.rglob("*.*"):
            if file.name != "manifest.json":
                twin = second.folder / file.relative_to(first.folder)
                assert twin.read_bytes() == file.read_bytes()


def test_a_release_in_the_stores_folder_is_found_in_a_copied_project(ws, home, tmp_path):
    ws.deploy.build("support", model="tiny")
    ws.close()
    other = tmp_path / "copy"
    shutil.copytree(home, other)
    with lo.open(other / ".llmops" / "llmops.db") as copied:
        assert copied.deploy.open("support").folder.is_relative_to(other)


def test_nothing_that_is_hashed_names_a_place_of_this_machine_or_a_time(ws, home, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "more.md").write_text("# More\n\nThe outer valve is red.\n")
    add_index(ws, home)
    ws.rag.add("manual", outside / "more.md")
    release = ws.deploy.build("support", model="tiny", rag="manual")
    for file in release.folder.rglob("*.*"):
        text = file.read_bytes()
        if file.name == "manifest.json":
            value = json.loads(text)
            text = json.dumps({k: v for k, v in value.items() if k not in manifest.TOLD}).encode()
        assert str(tmp_path).encode() not in text, file
        assert b"created_at" not in text, file
    documents = (release.folder / indexes.DOCUMENTS).read_text()
    assert '"outside/more.md"' in documents
    assert '"docs/pumps.md"' in documents


def test_a_bundle_that_carries_its_weights_is_the_same_release_as_one_that_names_them(ws):
    named = ws.deploy.build("support", model="tiny")
    carried = ws.deploy.build("support", model="tiny", weights="copy")
    linked = ws.deploy.build("support", model="tiny", weights="link")
    assert named.digest == carried.digest == linked.digest
    assert len({named.folder, carried.folder, linked.folder}) == 3
    file = linked.folder / "model" / "tiny.gguf"
    assert file.stat().st_ino == ws.models.get("tiny").path.stat().st_ino
    assert "found" not in manifest.read(carried.folder).weights


def test_each_input_has_a_say_in_the_digest(ws, home):
    add_adapter(ws, home)
    found = {
        ws.deploy.build("support", model="tiny", **options).digest
        for options in (
            {},
            {"temperature": 0.5},
            {"guard": "standard"},
            {"adapters": ["style"]},
            {"adapters": ["style:0.5"]},
        )
    }
    ws.prompts.save("support", "better {{ q }}")
    found.add(ws.deploy.build("support", model="tiny").digest)
    assert len(found) == 6


def test_line_ends_of_a_policy_make_no_other_bundle(ws):
    text = "name: p\ninput:\n  - {check: secrets, action: deny}\n"
    ws.guard.add("p", text)
    first = ws.deploy.build("support", model="tiny", guard="p")
    with ws.store.write() as conn:
        conn.execute("UPDATE policies SET content = ?", (text.replace("\n", "\r\n"),))
    assert ws.deploy.build("support", model="tiny", guard="p").digest == first.digest


def test_a_bundle_opens_and_answers_without_the_projects_store(ws, home, tmp_path):
    ws.prompts.save("support", "{{ context }} {{ q }}")
    release = full(ws, home, weights="copy")
    moved = tmp_path / "shipped"
    shutil.move(release.folder, moved)
    ws.close()
    shutil.rmtree(home)
    shutil.rmtree(tmp_path / "files")
    bundle = open_bundle(moved)
    assert bundle.model_path == moved / "model" / "tiny.gguf"
    assert bundle.adapter_path == moved / "adapter" / "style.gguf"
    assert bundle.adapters == ((bundle.adapter_path, 0.5),)
    assert (bundle.index, bundle.guard, bundle.prompt) == ("manual", "standard@1", "support@1")
    for place in (":memory:", tmp_path / "own.db"):
        with bundle.workspace(place) as own:
            reader = plugged(own)
            done = own.prompts.run(
                bundle.prompt, {"q": "When does the relief valve open?"}, **bundle.settings
            )
            assert done.text == "yes"
            assert "nine bar" in done.hits[0].text
            assert any(v.check == "secrets" for v in done.verdicts)
            assert reader.requests[0].adapters
            root = own.traces.last().spans[0]
            assert root.attributes["llmops.deployment"] == "support"
            assert root.attributes["llmops.deployment.release"] == release.short
    with bundle.workspace(tmp_path / "own.db") as again:
        assert len(again.traces.newest(5)) == 1


def test_the_notebooks_workspace_stays_the_current_one(ws):
    from llmops_jupyter.workspace import current_workspace

    release = ws.deploy.build("support", model="tiny")
    with open_bundle(release.folder).workspace():
        assert current_workspace() is ws
    assert current_workspace() is ws


def test_examples_that_are_a_data_set_travel_along(ws):
    shots = ws.data.add("shots", [{"input": "2+2", "output": "4"}, {"input": "3+3", "output": "6"}])
    ws.prompts.save("sums", "{{ q }}", examples=shots)
    release = ws.deploy.build("sums", model="tiny")
    with open_bundle(release.folder).workspace() as own:
        reader = plugged(own)
        own.prompts.run("sums@1", {"q": "5+5"}, model="tiny")
        assert [m.content for m in reader.requests[0].messages][:4] == ["2+2", "4", "3+3", "6"]


def test_an_endpoint_is_bundled_by_its_address_without_its_key(ws, monkeypatch):
    from llmops_jupyter.models.endpoint import Endpoint

    monkeypatch.setenv("BIG_KEY", "sk-very-secret")
    ws.models.add_endpoint("big", Endpoint("http://localhost:9/v1", "big-model", key_env="BIG_KEY"))
    release = ws.deploy.build("support", model="big")
    read = open_bundle(release.folder).manifest
    assert read.model["endpoint"]["url"] == "http://localhost:9/v1"
    for file in release.folder.rglob("*.*"):
        assert b"sk-very-secret" not in file.read_bytes()
    with open_bundle(release.folder).workspace() as own:
        assert own.models.get("big").endpoint.model == "big-model"


def test_an_index_of_words_needs_no_embedding_model(ws, home):
    (home / "docs").mkdir()
    (home / "docs" / "a.md").write_text("The relief valve opens at nine bar.\n")
    ws.rag.add("words-only", home / "docs", embedder="none")
    release = ws.deploy.build("support", model="tiny", rag="words-only")
    with open_bundle(release.folder).workspace() as own:
        assert own.rag.index("words-only").search("relief valve")[0].source == "docs/a.md"
    assert not (release.folder / indexes.VECTORS).exists()


def test_an_index_that_changes_while_it_is_copied_is_read_again(ws, home, monkeypatch):
    add_index(ws, home)
    (home / "docs" / "late.md").write_text("# Late\n\nThe late gauge is green.\n")
    real, seen = indexes._vectors, []

    def meanwhile(index, rows):
        if not seen:
            seen.append(len(rows))
            ws.rag.add("manual", home / "docs")
        return real(index, rows)

    monkeypatch.setattr(indexes, "_vectors", meanwhile)
    release = ws.deploy.build("support", model="tiny", rag="manual")
    assert seen == [3]
    assert manifest.read(release.folder).index["documents"] == 4
    monkeypatch.setattr(indexes, "_generation", lambda *_: next(counter))
    counter = iter(range(100))
    with pytest.raises(DeployError, match="changes all the time"):
        ws.deploy.build("support", model="tiny", rag="manual")


def test_an_altered_a_missing_and_a_further_file_are_named(ws, home):
    release = full(ws, home)
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
    release = full(ws, home)
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


def test_a_full_disk_leaves_nothing_of_a_bundle(ws, home, monkeypatch):
    def full_disk(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folders, "_through", full_disk)
    with pytest.raises(DeployError, match="disk is full"):
        ws.deploy.build("support", model="tiny", weights="copy")
    place = home / ".llmops" / "bundles"
    assert list(place.iterdir()) == []
    monkeypatch.undo()
    assert ws.deploy.build("support", model="tiny", weights="copy").number == 1


def test_weights_that_will_not_fit_are_refused_before_anything_is_copied(ws, home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DeployError, match="Free space"):
        ws.deploy.build("support", model="tiny", weights="copy")
    assert not (home / ".llmops" / "bundles").exists()
    assert ws.deploy.build("support", model="tiny")


def test_a_folder_that_cannot_be_written_is_said(ws, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DeployError, match="cannot be written"):
        ws.deploy.build("support", model="tiny", folder=tmp_path / "file" / "bundle")
    real = Path.mkdir

    def read_only(self, *args, **kwargs):
        if self.name.endswith(".part"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(DeployError, match="Permission denied"):
        ws.deploy.build("support", model="tiny", folder=tmp_path / "readonly" / "bundle")


def test_an_interrupt_leaves_nothing_and_the_next_build_is_whole(ws, home, monkeypatch):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "_through", pressed)
    with pytest.raises(KeyboardInterrupt):
        ws.deploy.build("support", model="tiny", weights="copy")
    monkeypatch.undo()
    assert list((home / ".llmops" / "bundles").iterdir()) == []
    with pytest.raises(UnknownNameError):
        ws.deploy.releases("support")


def test_what_a_killed_build_left_goes_with_the_next_one(ws, home):
    place = home / ".llmops" / "bundles"
    dead = place / f".support.{folders._machine()}-99999999-aa.part"
    other = place / ".support.00000000-99999999-aa.part"
    for path in (dead, other):
        path.mkdir(parents=True)
        (path / "half").write_text("x")
    ws.deploy.build("support", model="tiny")
    assert not dead.exists()
    assert other.exists()


def test_what_is_no_bundle_is_never_replaced(ws, tmp_path):
    target = tmp_path / "work"
    target.mkdir()
    (target / "thesis.txt").write_text("years")
    with pytest.raises(DeployError, match="no bundle"):
        ws.deploy.build("support", model="tiny", folder=target, overwrite=True)
    ws.deploy.build("support", model="tiny", folder=tmp_path / "out")
    ws.deploy.build("support", model="tiny", folder=tmp_path / "out")
    with pytest.raises(DeployError, match="another bundle"):
        ws.deploy.build("support", model="tiny", temperature=0.1, folder=tmp_path / "out")
    made = ws.deploy.build(
        "support", model="tiny", temperature=0.1, folder=tmp_path / "out", overwrite=True
    )
    assert open_bundle(tmp_path / "out").digest == made.digest
    with pytest.raises(OptionError):
        ws.deploy.build("support", model="tiny", folder=".")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(DeployError, match=r"notes\.txt"):
        ws.deploy.build("support", model="tiny", folder=tmp_path / "out", overwrite=True)
    (target / manifest.FILE).write_text("{}")
    with pytest.raises(DeployError, match="no bundle"):
        ws.deploy.build("support", model="tiny", folder=target, overwrite=True)
    assert (target / "thesis.txt").read_text() == "years"


def test_an_altered_bundle_in_its_own_place_is_built_anew(ws):
    release = ws.deploy.build("support", model="tiny")
    (release.folder / "environment.json").write_text("{}")
    again = ws.deploy.build("support", model="tiny")
    assert again.folder == release.folder
    assert ws.deploy.open("support").digest == release.digest


def test_bad_inputs_are_refused_before_anything_is_written(ws, home):
    for wrong, kind in (
        ({"model": "none"}, UnknownNameError),
        ({"temprature": 0}, OptionError),
        ({"session": "s"}, OptionError),
        ({"weights": "cpy"}, OptionError),
        ({"rag": "none"}, UnknownNameError),
        ({"guard": "none-such"}, UnknownNameError),
        ({"adapters": ["none"]}, UnknownNameError),
        ({"evidence": 3}, OptionError),
    ):
        with pytest.raises(kind):
            ws.deploy.build("support", **{"model": "tiny", **wrong})
    with pytest.raises(OptionError, match="'my-app'"):
        ws.deploy.build("My App", "support", model="tiny")
    with pytest.raises(UnknownNameError):
        ws.deploy.build("suport", model="tiny")
    with pytest.raises(UnknownNameError, match="There is no deployment"):
        ws.deploy.get("support")
    assert not (home / ".llmops" / "bundles").exists()


def test_a_model_whose_file_has_changed_is_not_bundled(ws):
    path = ws.models.get("tiny").path
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ModelChangedError):
        ws.deploy.build("support", model="tiny")


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


def test_a_store_in_memory_can_build_too(tmp_path):
    from gguf_files import write_gguf

    with lo.open(":memory:") as workspace:
        workspace.models.add(write_gguf(tmp_path / "tiny.gguf"), name="tiny")
        workspace.prompts.save("support", "{{ q }}")
        release = workspace.deploy.build("support", model="tiny")
        assert open_bundle(release.folder).digest == release.digest


def test_progress_is_told_of_large_files(tmp_path):
    source = tmp_path / "big"
    source.write_bytes(b"x" * (10 << 20))
    told = []
    made = folders.copied(source, tmp_path / "copy", told.append)
    assert made.size == 10 << 20
    assert made == folders.hashed(tmp_path / "copy", told.append)
    assert any("copying big" in line for line in told)


def test_settings_that_no_json_has_are_refused():
    with pytest.raises(DeployError, match="JSON"):
        manifest.canonical({"x": float("inf")})
    made = Manifest("a", {}, {}, {})
    assert made.digest == Manifest("a", {}, {}, {}, created_at="now", built={"by": 1}).digest


def test_two_processes_that_build_the_same_at_once_both_have_it(ws, home, monkeypatch):
    real = folders.settle

    def late(part, target):
        monkeypatch.setattr(folders, "settle", real)
        ws.deploy.build("support", model="tiny")
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))

    monkeypatch.setattr(folders, "settle", late)
    release = ws.deploy.build("support", model="tiny")
    assert open_bundle(release.folder).digest == release.digest
    assert len(list(release.folder.parent.iterdir())) == 1


def test_a_workspace_whose_making_was_killed_is_made_again(ws, home, tmp_path, monkeypatch):
    from llmops_jupyter.deploy import restoring

    bundle = open_bundle(full(ws, home).folder)
    real = restoring._keep

    def killed(store, digest, *, whole):
        if whole:
            raise KeyboardInterrupt
        real(store, digest, whole=whole)

    with monkeypatch.context() as patched:
        patched.setattr(restoring, "_keep", killed)
        with pytest.raises(KeyboardInterrupt):
            bundle.workspace(tmp_path / "own.db")
    with bundle.workspace(tmp_path / "own.db") as own:
        plugged(own)
        assert len(own.rag.index("manual").search("relief valve", k=8)) == 3
        assert [p.ref for p in own.prompts.list()] == ["support@1"]


def test_a_store_that_is_read_only_builds_nothing(ws, home):
    from llmops_jupyter.errors import StoreReadOnlyError

    ws.prompts.save("support", "x {{ q }}")
    with lo.open(ws.path, read_only=True) as other, pytest.raises(StoreReadOnlyError):
        other.deploy.build("support", model="tiny")
    assert not (home / ".llmops" / "bundles").exists()


def test_numbers_that_are_none_are_written_as_json_has_it(tmp_path):
    filling = folders.Filling(tmp_path)
    filling.value("a.json", {"low": float("-inf"), "rows": [float("nan"), 1.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"low": None, "rows": [None, 1.5]}
