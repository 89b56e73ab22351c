"""Bundles: what is in them, that they are the same for the same, and that they open anywhere."""

from __future__ import annotations

import json
import shutil

import pytest
from deploy_fakes import WHOLE, add_adapter, add_index, plugged, project, whole

import llmops_jupyter as lo
from llmops_jupyter.deploy import environment, indexes, manifest
from llmops_jupyter.deploy.manifest import Manifest
from llmops_jupyter.deploy.opening import open_bundle
from llmops_jupyter.errors import DeployError


@pytest.fixture
def home(tmp_path):
    return tmp_path / "project"


@pytest.fixture
def ws(home):
    with project(home) as workspace:
        yield workspace


def test_a_bundle_has_all_that_a_deployment_runs_on(ws, home):
    ws.evaluation.run("support:model=tiny", "qa", ["exact"])
    run = ws.evaluation.run("support:model=tiny", "qa", ["exact"])
    ws.prompts.save("support", "good {{ context }} {{ q }}")
    release = whole(ws, home, weights="copy", evidence=run)
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
    first = whole(ws, home)
    again = ws.deploy.build("support", model="tiny", **WHOLE)
    assert again.ref == first.ref == "support@1"
    assert again.digest == first.digest
    assert again.folder == first.folder


def test_a_copy_of_the_project_elsewhere_builds_the_same_bundle(ws, home, tmp_path):
    first = whole(ws, home)
    ws.close()
    other = tmp_path / "elsewhere" / "deeper" / "project"
    shutil.copytree(home, other)
    with lo.open(other / ".llmops" / "llmops.db") as copied:
        plugged(copied)
        shutil.rmtree(other / ".llmops" / "bundles")
        second = copied.deploy.build("support", model="tiny", **WHOLE)
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
    release = whole(ws, home, weights="copy")
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


def test_a_store_in_memory_can_build_too(tmp_path):
    from gguf_files import write_gguf

    with lo.open(":memory:") as workspace:
        workspace.models.add(write_gguf(tmp_path / "tiny.gguf"), name="tiny")
        workspace.prompts.save("support", "{{ q }}")
        release = workspace.deploy.build("support", model="tiny")
        assert open_bundle(release.folder).digest == release.digest


def test_settings_that_no_json_has_are_refused():
    with pytest.raises(DeployError, match="JSON"):
        manifest.canonical({"x": float("inf")})
    made = Manifest("a", {}, {}, {})
    assert made.digest == Manifest("a", {}, {}, {}, created_at="now", built={"by": 1}).digest
