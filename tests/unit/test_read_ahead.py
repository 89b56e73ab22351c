"""Reading a model ahead, with a library that only counts: what is read is used once or freed."""

from __future__ import annotations

import sys
import threading
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmops_jupyter.engine import llamacpp, native, opening
from llmops_jupyter.errors import MissingDependencyError, ModelArchitectureError, ModelError

FILE = Path("some.gguf")


class Library:
    """Loads a number; `fails` is what it says of a file that it cannot load."""

    def __init__(self):
        self.numbers, self.loaded, self.freed = count(1), [], []
        self.fails = ""
        self.go_on = threading.Event()
        self.go_on.set()

    def llama_model_load_from_file(self, path, params):
        self.go_on.wait(20)
        if self.fails:
            native._log.append(self.fails)
            return None
        self.loaded.append(next(self.numbers))
        return self.loaded[-1]

    def llama_model_free(self, model):
        self.freed.append(model)

    def llama_model_default_params(self):
        return SimpleNamespace()

    def llama_supports_gpu_offload(self):
        return False

    def llama_model_is_diffusion(self, model):
        return False

    llama_model_has_encoder = llama_model_has_decoder = llama_model_is_diffusion


@pytest.fixture
def library(monkeypatch):
    made = Library()
    monkeypatch.setattr(native, "library", lambda: made)
    monkeypatch.setattr(native, "special_formats_work", lambda: True)
    yield made
    assert native._ahead == {}, "a model was read ahead and forgotten"


def test_a_model_that_was_read_ahead_is_the_one_that_is_used(library):
    library.go_on.clear()
    native.read_ahead(FILE, None)
    native.read_ahead(FILE, None)
    library.go_on.set()
    found = native.load_model(FILE, None)
    native.forget_ahead(FILE, None)
    assert library.loaded == [found]
    assert library.freed == []


def test_a_model_that_was_read_for_other_layers_is_not_used(library):
    native.read_ahead(FILE, 3)
    found = native.load_model(FILE, None)
    native.forget_ahead(FILE, 3)
    assert sorted([found, *library.freed]) == sorted(library.loaded)
    assert len(library.freed) == 1


def test_a_model_that_nobody_used_is_freed_even_while_it_is_still_read(library):
    library.go_on.clear()
    native.read_ahead(FILE, None)
    threading.Timer(0.05, library.go_on.set).start()
    native.forget_ahead(FILE, None)
    assert library.freed == library.loaded == [1]


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("bad magic", ModelError, "cannot load 'some.gguf': bad magic"),
        (
            "unknown model architecture: 'x'",
            ModelArchitectureError,
            "pip install -U llama-cpp-python",
        ),
    ],
)
def test_an_error_comes_when_the_model_is_wanted_and_only_once(library, said, kind, told):
    library.fails = said
    native.read_ahead(FILE, None)
    with pytest.raises(kind, match=told) as ahead:
        native.load_model(FILE, None)
    with pytest.raises(kind) as plain:
        native.load_model(FILE, None)
    assert str(ahead.value) == str(plain.value)
    native.read_ahead(FILE, None)
    native.forget_ahead(FILE, None)
    library.fails = ""
    assert native.load_model(FILE, None) in library.loaded


def test_engines_that_open_one_file_at_once_share_no_model_and_lose_none(library, monkeypatch):
    used = []
    monkeypatch.setattr(
        llamacpp,
        "LlamaCppEngine",
        lambda path, **_: used.append(native.load_model(Path(path), 0)),
    )
    ready = threading.Barrier(8)

    def use():
        for _ in range(20):
            ready.wait(20)
            opening.open_engine(str(FILE))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(used) == len(set(used)) == 160
    assert sorted([*used, *library.freed]) == library.loaded


def test_an_engine_that_fails_before_it_loads_leaves_no_model_behind(library, monkeypatch):
    def refuse(path, **_):
        raise ModelError("no")

    monkeypatch.setattr(llamacpp, "LlamaCppEngine", refuse)
    with pytest.raises(ModelError, match="no"):
        opening.open_engine(str(FILE))
    assert library.freed == library.loaded == [1]


def test_a_chat_template_that_cannot_be_read_disturbs_nobody_while_opening(library, monkeypatch):
    """It is prepared on a thread; whoever writes with it later is told."""
    monkeypatch.setattr(
        llamacpp, "LlamaCppEngine", lambda path, **_: native.load_model(Path(path), 0)
    )
    for template in ("{% if %}", ["no", "text"]):
        before = set(threading.enumerate())
        opening.open_engine(str(FILE), metadata={"chat_template": template})
        for thread in set(threading.enumerate()) - before:
            thread.join(20)
    assert len(library.loaded) == 2


def test_without_the_library_the_error_is_that_of_opening(monkeypatch):
    monkeypatch.setattr(native, "_library", [])
    for name in [n for n in sys.modules if n.partition(".")[0] == "llama_cpp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    opening.begin(str(FILE), None)
    assert native._ahead == {}
    with pytest.raises(MissingDependencyError, match="llama-cpp-python"):
        native.load_model(FILE, None)
