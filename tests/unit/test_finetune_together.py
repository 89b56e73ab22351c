"""Several threads and processes at one run: nobody gets an error, and each thing is made once."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace

import pytest
from adapter_files import kept, write_model
from filelock import FileLock
from lora_models import lora

import llmops_jupyter as lo
from llmops_jupyter.cli import program
from llmops_jupyter.commands import finetune
from llmops_jupyter.errors import EngineError, OptionError, UnknownNameError
from llmops_jupyter.finetune import exporting, job, keeping, launching, locks, stage
from llmops_jupyter.finetune.peftfolder import write_peft
from llmops_jupyter.finetune.provenance import Provenance
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.runs import Runs
from llmops_jupyter.finetune.training import Progress

TOGETHER = 6


@pytest.fixture
def base(ws, tmp_path):
    return ws.models.add(write_model(tmp_path / "tiny.gguf"), name="tiny")


def ended(ws, begun_run, base, run, name, seed=3):
    """A run that has just come to its end; nobody has looked yet."""
    _, folder, events = begun_run(ws, run, name)
    with ws.store.write() as conn:
        conn.execute("UPDATE finetune_runs SET model = ? WHERE id = ?", (base.ref, run))
    origin = Provenance(base_name=base.ref, base_sha256=base.sha256, run=run)
    write_peft(lora(seed=seed), folder / "a" / "peft", base_model=base.ref, provenance=origin)
    events.add({"kind": "adapter", "folder": "a"})
    events.add({"kind": "end", "ended": "finished", "step": 1})
    return run


def at_once(work, count=TOGETHER):
    gate = Barrier(count)

    def one(number):
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_the_same_adapter_is_kept_by_many_threads_at_once(ws, base):
    found = at_once(lambda _: kept(ws, base))
    assert {one.sha256 for one in found} == {found[0].sha256}
    assert sorted(p.name for p in found[0].gguf.parent.iterdir()) == [
        f"{found[0].sha256}-peft",
        f"{found[0].sha256}.gguf",
    ]


def test_a_run_that_ends_while_many_look_is_registered_once(ws, begun_run, base):
    ended(ws, begun_run, base, "r1", "par")
    opened = [lo.open(ws.path) for _ in range(2)]
    try:
        several = [ws, *opened] * 2
        found = at_once(lambda i: several[i].finetune.get("r1").adapter)
    finally:
        for one in opened:
            one.close()
    assert found == ["par@1"] * TOGETHER
    assert [m.ref for m in ws.models.adapters()] == ["par@1"]


def test_of_two_that_go_on_with_a_run_one_does(ws, begun_run, base, monkeypatch):
    begun_run(ws, "r1", "par")
    (job_folder := ws.finetune.get("r1").folder) / job.PROCESS
    (job_folder / job.PROCESS).write_text('{"pid": 0, "started": 0}')
    given = job.Job.read(job_folder)
    with ws.store.write() as conn:
        conn.execute("UPDATE finetune_runs SET model = ? WHERE id = 'r1'", (base.ref,))
    monkeypatch.setattr(
        job.Job, "read", lambda folder: type(given)(**{**vars(given), "model_sha256": base.sha256})
    )
    started = []

    def launch(folder):
        started.append(folder)
        job.mark_process(folder)

    monkeypatch.setattr(launching, "launch", launch)

    def resume(_):
        with lo.open(ws.path) as one:
            try:
                return one.finetune.resume("r1").status
            except OptionError as e:
                return str(e)

    said = at_once(resume)
    assert len(started) == 1
    assert said.count("running") == 1
    assert sum("is running" in text for text in said) == TOGETHER - 1


def test_a_second_process_leaves_a_run_to_the_first(ws, begun_run):
    _, folder, _ = begun_run(ws, "r1", "par")
    noted = (folder / job.PROCESS).read_text()
    with FileLock(str(folder / locks.TRAINING)):
        done = subprocess.run(
            [sys.executable, "-m", "llmops_jupyter.finetune.worker", str(folder)],
            capture_output=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert b"at work" in done.stderr
    assert (folder / job.PROCESS).read_text() == noted
    assert not (folder / job.EVENTS).exists()


def test_a_folder_that_is_busy_is_said_so(tmp_path):
    with (
        FileLock(str(tmp_path / locks.CHANGING)),
        pytest.raises(EngineError, match="Another process is at work"),
        locks.held(tmp_path, locks.CHANGING, patience=0),
    ):
        pytest.fail("two hold it")


def test_each_sitting_of_a_run_keeps_an_adapter_of_its_own(base, tmp_path):
    given = job.Job("r", "par", Recipe(), str(base.path), base.ref, base.sha256, "llama")
    (tmp_path / "adapter-10" / "peft").mkdir(parents=True)  # one that was cut short
    (tmp_path / "adapter-10" / "peft" / "README.md").write_text("half")
    first, second = (keeping.keep(tmp_path, given, lora(), Progress(step=10)) for _ in range(2))
    assert (first["folder"], second["folder"]) == ("adapter-10.2", "adapter-10.3")
    for made in (first, second):
        assert (tmp_path / made["folder"] / keeping.GGUF).is_file()
        assert (tmp_path / made["folder"] / keeping.PEFT / "adapter_config.json").is_file()


def test_a_version_names_the_run_that_made_it(ws, begun_run, base):
    ended(ws, begun_run, base, "r1", "two")
    assert ws.finetune.get("two").adapter == "two@1"
    ended(ws, begun_run, base, "r2", "two", seed=4)
    assert ws.finetune.get("two").adapter == "two@2"
    ws.models.alias("two@1", "old")
    for ref, run in (("two", "r2"), ("two@1", "r1"), ("two@2", "r2"), ("two@old", "r1")):
        assert ws.finetune.get(ref).id == run
        assert ws.finetune.wait(ref).id == run
    with pytest.raises(UnknownNameError, match="no run 'two@9'"):
        ws.finetune.get("two@9")


def test_a_run_is_removed_and_its_adapter_stays_unless_it_is_to_go_too(ws, begun_run, base):
    for number, name in enumerate(("one", "two")):
        ended(ws, begun_run, base, f"r{number}", name, seed=number + 3)
    one, two = ws.finetune.get("one"), ws.finetune.get("two")
    context = SimpleNamespace(workspace=ws)
    said = finetune.remove_(context, {"run": "one", "with_adapter": False}).views
    assert said == ("r0 and its checkpoints are gone, the adapter one@1 stays",)
    assert not one.folder.exists()
    assert ws.models.adapter("one").path.is_file()
    path = ws.models.adapter("two").path
    finetune.remove_(context, {"run": two.id, "with_adapter": True})
    assert ws.finetune.list() == []
    assert ws.store.rows("SELECT * FROM finetune_events") == []
    assert [m.ref for m in ws.models.adapters()] == ["one@1"]
    assert not path.exists()
    assert not path.with_name(f"{path.stem}-peft").exists()


def test_the_system_message_of_the_rows_goes_only_where_one_can_be(
    ws, begun_run, base, monkeypatch
):
    ended(ws, begun_run, base, "r1", "par")
    folder = ws.finetune.get("par").folder
    values = json.loads((folder / job.JOB).read_text())
    (folder / job.JOB).write_text(json.dumps({**values, "format": {"system": "Be brief."}}))
    given = {}
    monkeypatch.setattr(
        exporting, "export", lambda *a, **more: given.setdefault(a[3], more["system"])
    )
    for to in exporting.TARGETS:
        ws.finetune.export("par", "out", to)
    assert given == {"gguf": "", "adapter": "", "vllm": "", "ollama": "Be brief."}


def test_a_run_that_goes_on_is_not_removed(ws, begun_run):
    _, folder, _ = begun_run(ws, "r1", "par")
    with pytest.raises(OptionError, match="Stop it first"):
        ws.finetune.remove("par")
    assert folder.is_dir()


def test_the_last_words_of_a_killed_process_are_no_warning(ws, begun_run):
    _, folder, _ = begun_run(ws, "r1", "par")
    (folder / job.PROCESS).write_text('{"pid": 0, "started": 0}')
    warned = "x.py:3: UserWarning: old\n  warnings.warn('old')\n[W1 Context.cpp] slow\n"
    for log, words in (
        (f"Bus error\n{warned}", "from outside: Bus error. Go on"),
        (warned, "from outside. Go on"),
    ):
        (folder / job.LOG).write_text(log)
        with pytest.raises(EngineError, match=words):
            ws.finetune.wait("r1")


def test_an_interrupt_in_a_terminal_says_how_to_go_on(ws, begun_run, monkeypatch, capsys):
    begun_run(ws, "r1", "par")
    monkeypatch.setattr(stage.time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(stage.Finetune, "resume", lambda self, *_, **__: self.get("r1"))
    assert program.run(["finetune", "resume", "par"]) == program.INTERRUPTED
    assert capsys.readouterr().err == (
        "interrupted · stops after this step; go on with: llmops finetune resume par\n"
    )


def test_where_there_are_no_runs_it_is_said(ws):
    with pytest.raises(UnknownNameError, match="There are no runs yet"):
        Runs(ws.store).find(None)
