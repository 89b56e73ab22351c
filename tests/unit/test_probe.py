"""The trial of the processor's matrix unit: done once for a build, in a child that may die."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")

from llmops_jupyter.cli import doctor
from llmops_jupyter.engine import native, probe


class Library:
    def __init__(self, folder, info):
        self.__file__ = str(folder / "llama_cpp.py")
        (folder / "llama_cpp.py").touch()
        self.info = info

    def llama_print_system_info(self):
        return self.info.encode()

    def llama_supports_gpu_offload(self):
        return False


@pytest.fixture
def trials(monkeypatch, tmp_path):
    """A library with a matrix unit and an empty cache; counts the children."""
    probe.special_formats_work.cache_clear()
    counted = []
    made = Library(tmp_path, "CPU : AMX_INT8 = 1 |")
    monkeypatch.setattr(native, "library", lambda: made)
    monkeypatch.setattr(probe.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    monkeypatch.setattr(probe, "_try_in_child", lambda: counted.append(1) or False)
    yield counted
    probe.special_formats_work.cache_clear()


def test_a_child_that_dies_turns_the_special_formats_off_and_is_not_run_again(trials):
    assert probe.special_formats_work() is False
    probe.special_formats_work.cache_clear()
    assert probe.special_formats_work() is False
    assert len(trials) == 1
    (finding,) = [f for f in doctor.backend() if f.state == doctor.NOTE]
    assert "CMAKE_ARGS" in finding.todo


def test_a_library_without_the_unit_is_not_tried(trials, monkeypatch, tmp_path):
    monkeypatch.setattr(native, "library", lambda: Library(tmp_path, "CPU : AVX2 = 1 |"))
    assert probe.special_formats_work() is True
    assert not trials


def test_a_damaged_note_of_earlier_trials_is_as_none(trials, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "amx.json").write_text("{no json")
    assert probe.special_formats_work() is False
    assert len(trials) == 1


def test_the_trial_model_is_computed_in_a_child(monkeypatch):
    monkeypatch.setattr(probe, "MODULE", "no.such.module")
    assert probe._try_in_child() is False


def test_the_trial_model_can_be_loaded_and_computed(tmp_path):
    from llmops_jupyter.engine.context import Context, Piece, Size

    probe.write_model(tmp_path / "probe.gguf")
    lib = native.library()
    params = lib.llama_model_default_params()
    params.use_extra_bufts = False
    model = lib.llama_model_load_from_file(str(tmp_path / "probe.gguf").encode(), params)
    context = Context(model, Size(1, 256, 64, 4), 1, 1, 64)
    (place,) = context.feed([Piece(0, list(range(1, 33)), 1)])
    assert context.logits(place + 31).std() > 0
    context.free()
    lib.llama_model_free(model)
