"""Building a bundle: what stops it leaves nothing, and nothing of anybody else is replaced."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from deploy_fakes import plugged, project, whole

import llmops_jupyter as lo
from llmops_jupyter.deploy import folders, manifest
from llmops_jupyter.deploy.opening import open_bundle
from llmops_jupyter.errors import DeployError, ModelChangedError, OptionError, UnknownNameError


@pytest.fixture
def home(tmp_path):
    return tmp_path / "project"


@pytest.fixture
def ws(home):
    with project(home) as workspace:
        yield workspace


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


def test_progress_is_told_of_large_files(tmp_path):
    source = tmp_path / "big"
    source.write_bytes(b"x" * (10 << 20))
    told = []
    made = folders.copied(source, tmp_path / "copy", told.append)
    assert made.size == 10 << 20
    assert made == folders.hashed(tmp_path / "copy", told.append)
    assert any("copying big" in line for line in told)


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

    bundle = open_bundle(whole(ws, home).folder)
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


def test_what_a_kill_between_two_steps_took_away_comes_back(ws, tmp_path):
    first = ws.deploy.build("support", model="tiny", folder=tmp_path / "out")
    away = tmp_path / f".out.{folders._machine()}-99999999-aa.old"
    (tmp_path / "out").rename(away)
    with folders.begun(tmp_path, "other"):
        assert open_bundle(tmp_path / "out").digest == first.digest
    shutil.copytree(tmp_path / "out", away)
    with folders.begun(tmp_path, "other"):
        assert not away.exists()
    assert open_bundle(tmp_path / "out").digest == first.digest
