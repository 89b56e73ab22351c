"""Opening a model without what it does not need, and the user's own use of llama-cpp-python beside it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading

import pytest

import llmops_jupyter as lo
from llmops_jupyter.engine import native
from llmops_jupyter.engine.opening import open_engine
from llmops_jupyter.errors import ModelError, ModelFormatError
from llmops_jupyter.models import read_metadata

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)

OURS = "from llmops_jupyter.engine import native; native.library()"
# llama.cpp says on standard error that there is no such file, unless it is kept silent.
FAIL = (
    "import llama_cpp as l; "
    "assert not l.llama_model_load_from_file(b'no-such-file', l.llama_model_default_params())"
)


def ran(*lines, warnings="error"):
    """Standard output and error of a fresh Python that ran some lines without fault."""
    words = [sys.executable, "-W", warnings, "-c", "\n".join(lines)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    "use",
    [
        "from llama_cpp import Llama",
        "from llama_cpp.llama import Llama",
        "from llama_cpp import llama_cpp as low; import llama_cpp.llama_grammar",
        "import llama_cpp._logger",
        "import llama_cpp, importlib; importlib.reload(llama_cpp)",
        "import llama_cpp.llama_cpp, pickle; pickle.loads(pickle.dumps(llama_cpp.llama_batch))",
        "import llama_cpp, inspect; inspect.getsource(llama_cpp)",
        "import importlib.resources as r; r.files('llama_cpp')",
        "from llama_cpp import *",
    ],
)
def test_the_package_is_whole_and_silent_after_our_engine(use):
    look = "import llama_cpp; print(type(llama_cpp), dir(llama_cpp))"
    same = "assert llama_cpp.Llama is llama_cpp.llama.Llama and native.library() is llama_cpp.llama_cpp"
    plain, _ = ran(use, look)
    assert ran(OURS, use, look, same, FAIL) == (plain, "")


def test_the_package_alone_is_not_silent():
    """Or the test above could not fail."""
    assert "no-such-file" in ran("import llama_cpp", FAIL, warnings="ignore")[1]


@pytest.mark.parametrize("first", ["import llama_cpp", "from llama_cpp.llama import Llama"])
def test_our_engine_takes_the_package_that_is_there(first):
    same = "assert native.library() is llama_cpp.llama_cpp"
    assert ran("import llama_cpp", first, OURS, same, FAIL) == ("", "")


def test_the_package_that_fails_to_import_can_be_imported_again():
    out, err = ran(
        OURS,
        "import sys; sys.modules['jinja2'] = None",
        "try:\n    import llama_cpp\nexcept ImportError as e:\n    print(e.name)",
        "del sys.modules['jinja2']",
        FAIL,
        "l.Llama",
    )
    assert (out.strip(), err) == ("jinja2", "")


def test_a_thread_that_meets_the_stand_in_gets_the_package():
    """It is held while a part is imported, so that the other thread is sure to meet it."""
    out, err = ran(
        "import sys, threading, time",
        "from llmops_jupyter.engine import bindings, native",
        "met, done, import_module = threading.Event(), [], bindings.importlib.import_module",
        "class Slow:",
        "    def find_spec(self, name, path=None, target=None):",
        "        if name == 'llama_cpp._ctypes_extensions' and not met.is_set():",
        "            met.set(); time.sleep(0.3)",
        "sys.meta_path.insert(0, Slow())",
        "def use():",
        "    met.wait()",
        "    import llama_cpp",
        "    assert type(llama_cpp) is bindings._StandIn",
        "    from llama_cpp.llama import Llama",
        "    done.append((llama_cpp.__version__, llama_cpp.Llama, Llama))",
        "user = threading.Thread(target=use); user.start()",
        "native.library(); user.join()",
        "import llama_cpp",
        "assert type(llama_cpp) is not bindings._StandIn and len(done) == 1",
        "assert done[0][:2] == (llama_cpp.__version__, llama_cpp.Llama)",
        FAIL,
    )
    assert (out, err) == ("", "")


def test_a_schema_becomes_a_grammar_without_the_package():
    out, _ = ran(
        "from llmops_jupyter.engine.sampler import grammar_of",
        "import sys; print('root' in grammar_of({'type': 'integer'}), 'llama_cpp' in sys.modules)",
    )
    assert out.split() == ["True", "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere psutil has to tell")
def test_memory_and_drives_are_known_without_loading_psutil():
    resource = pytest.importorskip("resource")
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        pytest.skip("there is a limit of the address space, and psutil tells what is left of it")
    out, _ = ran(
        "from pathlib import Path",
        "from llmops_jupyter.models.memory import available_memory",
        "from llmops_jupyter.store.location import is_network_drive",
        "available_memory(); is_network_drive(Path.cwd())",
        "import sys; print('psutil' in sys.modules)",
    )
    assert out.split() == ["False"]


FIRST_PROMPT = """
import json, sys
import llmops_jupyter as lo
with lo.open(sys.argv[1], worker_idle_s=0.1) as ws:
    prompt = ws.prompts.scratch("Say hi.")
    text = ws.prompts.run(prompt, model="smollm2", max_tokens=4, temperature=0).text
    loaded = [name for name in sys.argv[2:] if name in sys.modules]
    print(json.dumps([text, ws.engine.status()["loaded"][0]["worker"], loaded]))
"""


@pytest.mark.model
def test_the_first_prompt_loads_into_the_kernel_nothing_that_only_a_model_needs(
    runtime, model_path, tmp_path, monkeypatch
):
    monkeypatch.setenv("LLMOPS_WORKER", "shared")
    with lo.open(tmp_path) as ws:
        ws.models.add(model_path, "smollm2")
    heavy = ["numpy", "jinja2", "asyncio", "llama_cpp", "llama_cpp.llama_cpp", "gguf", "jsonschema"]
    words = [sys.executable, "-c", FIRST_PROMPT, str(tmp_path), *heavy]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    text, worker, loaded = json.loads(done.stdout)
    assert text
    assert (worker, loaded) == ("shared", [])


@pytest.mark.model
def test_every_model_that_is_read_is_freed_or_used(model_path, monkeypatch):
    """Two engines of one file at once, then closed: as many models freed as loaded."""
    lib = native.library()
    loaded, freed = [], []
    load, free = lib.llama_model_load_from_file, lib.llama_model_free
    monkeypatch.setattr(
        lib, "llama_model_load_from_file", lambda *given: loaded.append(load(*given)) or loaded[-1]
    )
    monkeypatch.setattr(lib, "llama_model_free", lambda model: freed.append(model) or free(model))
    known = read_metadata(model_path).as_dict()
    texts = []

    def use():
        engine = open_engine(
            str(model_path), model_name="m", model_digest="d", n_ctx=256, rows=1, metadata=known
        )
        texts.append(engine.count_tokens("The sky is blue."))
        engine.close()

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 2
    assert texts[0] == texts[1] > 1
    assert sorted(loaded) == sorted(freed)
    assert native._ahead == {}


def test_a_file_that_is_no_model_is_told_as_without_reading_ahead(tmp_path):
    path = tmp_path / "letter.gguf"
    path.write_text("Dear reader")
    with pytest.raises(ModelFormatError, match=r"letter\.gguf"):
        open_engine(str(path), model_name="m", model_digest="d")
    assert native._ahead == {}
    with pytest.raises(ModelError, match=r"cannot load 'letter\.gguf'") as plain:
        native.load_model(path, None)
    native.read_ahead(path, None)
    with pytest.raises(ModelError) as ahead:
        native.load_model(path, None)
    assert (type(ahead.value), str(ahead.value)) == (type(plain.value), str(plain.value))
    assert native._ahead == {}


LEAVE = """
import json, os, sys
from llmops_jupyter.engine import native
from llmops_jupyter.engine.llamacpp import LlamaCppEngine
from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.records import Sampling

freed, lib = [], native.library()
lib.llama_free = lib.llama_model_free = freed.append
engine = LlamaCppEngine(sys.argv[1], model_name="m", model_digest="d", n_ctx=512, n_threads=1)
answer = engine.generate([Request("r", text="The sky is", sampling=Sampling(max_tokens=400))])
next(answer)
engine.leave()
*_, end = answer
engine.close()
print(json.dumps([end.finish_reason, str(end.error), engine.alive, freed]), flush=True)
os._exit(0)
"""


@pytest.mark.model
def test_an_engine_that_leaves_ends_what_runs_and_frees_nothing(model_path):
    words = [sys.executable, "-c", LEAVE, str(model_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    reason, error, alive, freed = json.loads(done.stdout)
    assert (reason, alive, freed) == ("error", False, [])
    assert "closed" in error
