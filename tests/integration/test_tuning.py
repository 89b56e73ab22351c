"""Quantised copies of the bundled model: made, judged, compared under an adapter, and registered."""

from __future__ import annotations

import functools
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
from tiny_models import write_adapter

import llmops_jupyter as lo
from llmops_jupyter.engine import child, quantize, remembered, tuning
from llmops_jupyter.engine.divergence import diverge
from llmops_jupyter.engine.perplexity import bundled_text, compare, judge
from llmops_jupyter.engine.speed import Setting, measure
from llmops_jupyter.engine.tune import settings_to_try
from llmops_jupyter.errors import (
    EngineError,
    LLMOpsError,
    ModelArchitectureError,
    ModelError,
    OptionError,
)
from llmops_jupyter.models import read_metadata

pytestmark = pytest.mark.model
TEXT, SHORT = bundled_text()[:4500], bundled_text()[:2600]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("copies")


# A copy of one kind is the same whenever it is made, and reads the same text in the same way.
judged_once = functools.cache(judge)


@pytest.fixture(autouse=True)
def copies(folder, monkeypatch):
    """Copies lie in a folder of these tests, not in the user's cache; each is judged once, and not at every setting."""
    monkeypatch.setattr(tuning, "copies_folder", lambda: folder)
    monkeypatch.setattr(tuning, "measure", functools.partial(measure, budget_s=0.1))
    monkeypatch.setattr(tuning, "judge", judged_once)
    monkeypatch.setattr(tuning, "settings_to_try", lambda *given: settings_to_try(*given)[:1])
    return folder


@pytest.fixture(scope="module")
def copy_of(folder, model_path):
    """A copy of the bundled model, each kind made once."""

    def made(kind):
        path = folder / f"{kind}.gguf"
        return path if path.exists() else quantize.quantize(model_path, path, kind, threads=1)

    return made


@pytest.fixture(scope="module")
def original(model_path):
    return judge(model_path, TEXT, threads=1)


@pytest.fixture
def adapter(tmp_path):
    """An adapter that moves the bundled model noticeably."""
    rng = np.random.default_rng(3)
    pairs = {
        f"blk.{layer}.attn_output.weight": (
            rng.normal(0, 0.05, (4, 576)).astype(np.float32),
            rng.normal(0, 0.05, (576, 4)).astype(np.float32),
        )
        for layer in (5, 15, 25)
    }
    return write_adapter(tmp_path / "style.gguf", pairs, alpha=64.0)


def test_a_copy_is_registered_with_its_parent_and_how_it_was_made(ws, model_path):
    parent = ws.models.add(model_path, name="smollm2")
    copy = ws.engine.quantize("smollm2", "q8_0")
    assert copy.ref == "smollm2-q8_0@1"
    assert copy.metadata.quantization == "Q8_0"
    assert copy.parent == parent.sha256
    assert copy.source == "model quantize smollm2@1 Q8_0"
    assert ws.models.get("smollm2-q8_0").parent == parent.sha256
    assert ws.engine.quantize("smollm2", "Q8_0", copy_name="fast").path == copy.path


def test_a_lost_copy_says_how_it_is_made_again(ws, model_path):
    ws.models.add(model_path, name="smollm2")
    copy = ws.engine.quantize("smollm2", "Q8_0", copy_name="fast")
    copy.path.unlink()
    with pytest.raises(ModelError, match="%model quantize smollm2@1 Q8_0 --name fast"):
        ws.models.check_unchanged(copy)


def test_q8_0_keeps_the_perplexity_and_q4_0_loses_a_lot(original, copy_of):
    kept = compare(original, judge(copy_of("Q8_0"), TEXT, threads=1))
    lost = compare(original, judge(copy_of("Q4_0"), TEXT, threads=1))
    assert 0.98 < kept.value < 1.02
    assert lost.low > 1.05
    assert kept.tokens == lost.tokens > 800


def test_a_copy_is_measured_with_each_setting(copy_of):
    first, second = measure(copy_of("Q4_0"), [Setting(1, 512), Setting(1, 128)], budget_s=0.1)
    assert (first.setting, second.setting) == (Setting(1, 512), Setting(1, 128))
    for rate in (first.reading, first.writing, first.batched, second.reading):
        assert 0 < rate.low <= rate.median <= rate.high
        assert rate.repetitions >= 3


@pytest.mark.parametrize("busy", [False, True])
def test_tuning_registers_the_chosen_copy_and_remembers_the_settings_of_a_quiet_machine(
    ws, model_path, folder, monkeypatch, busy
):
    monkeypatch.setattr("llmops_jupyter.engine.tune.BUSY", -1.0 if busy else 1000.0)
    ws.models.add(model_path, name="smollm2")
    said = []
    found = ws.engine.tune("smollm2", text=SHORT, only=["q8_0"], progress=said.append)
    assert [c.kind for c in found.candidates] == ["Q4_1", "Q8_0"]
    assert any("Q8_0: measuring" in line for line in said)
    model = ws.models.get(found.registered)
    kept = None if busy else found.chosen.speed.setting
    assert remembered.setting_of(ws.store, model.sha256) == kept
    ws.engine.engine(found.registered)
    (loaded,) = ws.engine.status()["loaded"]
    assert loaded["model"] == found.registered
    # A copy that was not chosen does not stay behind.
    made = tuning.copy_path(ws.models.get("smollm2"), "Q8_0")
    assert made.exists() == (found.chosen.kind == "Q8_0")


def test_tuning_without_registering_leaves_nothing_behind(tmp_path, ws, model_path, monkeypatch):
    monkeypatch.setattr(tuning, "copies_folder", lambda: tmp_path / "none")
    ws.models.add(model_path, name="smollm2")
    found = ws.engine.tune("smollm2", text=SHORT, only=["Q4_0"], register=False)
    assert found.registered == ""
    assert [m.name for m in ws.models.list()] == ["smollm2"]
    assert list((tmp_path / "none").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "says"), [("q8", "Did you mean 'Q8_0'"), ("Q4_K_M", "Choose Q8_0")]
)
def test_a_kind_that_cannot_be_is_refused_before_anything_is_written(
    kind, says, model_path, tmp_path
):
    with pytest.raises(OptionError, match=says):
        quantize.quantize(model_path, tmp_path / "new" / "copy.gguf", kind)
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_is_not_quantised(adapter, tmp_path):
    with pytest.raises(ModelArchitectureError, match="base model"):
        quantize.quantize(adapter, tmp_path / "copy.gguf", "Q8_0")


def test_a_model_is_not_written_over_itself(model_path, tmp_path):
    copy = shutil.copy(model_path, tmp_path / "own.gguf")
    with pytest.raises(OptionError, match="cannot replace"):
        quantize.quantize(copy, copy, "Q8_0")


def test_a_full_disk_is_told_beforehand(model_path, tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match="Free space"):
        quantize.quantize(model_path, tmp_path / "copy.gguf", "Q8_0")


def children():
    return [p for p in psutil.Process().children() if child.MODULE in " ".join(p.cmdline())]


def test_an_interrupt_ends_the_child_and_leaves_nothing(model_path, tmp_path, monkeypatch):
    monkeypatch.setattr(child, "TICK_S", 0.01)
    with pytest.raises(KeyboardInterrupt):
        quantize.quantize(
            model_path,
            tmp_path / "copy.gguf",
            "Q8_0",
            threads=1,
            progress=lambda _: signal.raise_signal(signal.SIGINT),
        )
    assert children() == []
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_is_killed_leaves_the_caller_and_an_older_copy(
    model_path, tmp_path, monkeypatch
):
    monkeypatch.setattr(child, "TICK_S", 0.01)
    target = tmp_path / "copy.gguf"
    target.write_bytes(b"older")

    def kill(_):
        for process in children():
            process.kill()

    with pytest.raises(EngineError, match="run it again"):
        quantize.quantize(model_path, target, "Q8_0", threads=1, progress=kill)
    assert target.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["copy.gguf"]


def test_a_child_ends_with_its_caller(model_path):
    values = {"path": str(model_path), "text": bundled_text(), "threads": 1}
    request = {"function": "llmops_jupyter.engine.perplexity:judge_here", "values": values}
    with subprocess.Popen([sys.executable, "-m", child.MODULE], stdin=subprocess.PIPE) as running:
        running.stdin.write(json.dumps(request).encode() + b"\n")
        running.stdin.close()
        assert running.wait(30) == 1


def test_an_error_of_the_child_is_raised_here_as_its_own_kind(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.raises(LLMOpsError) as caught:
        judge(broken, TEXT, threads=1)
    with pytest.raises(type(caught.value)):
        read_metadata(broken)


def test_a_fault_of_the_child_is_told_as_it_was():
    with pytest.raises(EngineError, match=r"sqrt failed \(TypeError: .*keyword"):
        child.call("math:sqrt", {"x": 1})


def test_an_adapter_follows_to_a_close_copy_and_not_to_a_poor_one(ws, model_path, adapter, copy_of):
    ws.models.add(model_path, name="smollm2")
    ws.models.add(adapter, name="style")
    copy = ws.engine.quantize("smollm2", "Q8_0")
    found = ws.engine.adapter_follows(copy.ref, "style")
    assert found.effect > 3 * found.with_adapter
    assert found.follows
    kept = remembered.divergences_of(ws.store, copy.sha256, ws.models.adapter("style").sha256)
    assert kept == {1.0: found}
    poor = diverge(model_path, copy_of("Q4_0"), (adapter, 1.0), TEXT, threads=1)
    assert not poor.follows


def test_a_copy_takes_an_adapter_once_the_two_were_compared(
    ws, capsys, model_path, adapter, copy_of
):
    from llmops_jupyter.cli import main

    parent = ws.models.add(model_path, name="smollm2")
    ws.models.add(adapter, name="style")
    ws.models.add_copy(copy_of("Q8_0"), "quick", parent, "model quantize smollm2 Q8_0")
    ws.models.add_copy(copy_of("Q4_0"), "poor", parent, "model quantize smollm2 Q4_0")
    said = {"model": "quick", "adapters": "style", "max_tokens": 2}
    prompt = ws.prompts.scratch("Hello")
    with pytest.raises(ModelError, match="%model check quick@1 style@1"):
        ws.prompts.run(prompt, **said)
    assert main(["models", "check", "quick@1", "style@1"]) == 0
    assert "style@1 may be used with quick@1" in capsys.readouterr().out
    assert ws.prompts.run(prompt, **said).usage.output_tokens > 0
    assert main(["models", "check", "poor", "style"]) == 0
    assert "style is not to be used with poor" in capsys.readouterr().out
    with pytest.raises(ModelError, match="does something else"):
        ws.prompts.run(prompt, **{**said, "model": "poor"})


def test_a_model_that_is_no_copy_has_no_adapters_to_compare(ws, model_path, adapter):
    ws.models.add(model_path, name="smollm2")
    ws.models.add(adapter, name="style")
    with pytest.raises(ModelError, match="%model quantize"):
        ws.engine.adapter_follows("smollm2", "style")


def test_the_terminal_quantises_and_tunes(capsys, model_path, tmp_path):
    from llmops_jupyter.cli import main

    with lo.open() as ws:
        ws.models.add(model_path, name="smollm2")
    (tmp_path / "own.txt").write_text(SHORT, "utf-8")
    assert main(["models", "quantize", "smollm2", "q8_0", "--name", "quick"]) == 0
    assert "quick@1" in capsys.readouterr().out
    line = ["models", "tune", "smollm2", "--only", "Q8_0", "--no-register"]
    assert main([*line, "--text", str(tmp_path / "own.txt"), "--allow-loss", "3"]) == 0
    said = capsys.readouterr().out
    assert "Q4_1 (as it is)" in said
    assert "at most 3.0% more perplexity" in said
    assert main([*line, "--text", str(tmp_path / "none.txt")]) == 1
    assert "cannot be read" in capsys.readouterr().err
