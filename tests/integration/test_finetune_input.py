"""What cannot be trained is refused before a process is started, and leaves nothing behind."""

from __future__ import annotations

import errno
from importlib import util

import pytest
from finetunes import ROWS, needs_trainer
from tiny_chats import write_chat
from tiny_embedders import write_bert

from llmops_jupyter.cli import program
from llmops_jupyter.commands import finetune
from llmops_jupyter.errors import (
    DataError,
    MissingDependencyError,
    ModelChangedError,
    ModelError,
    ModelMemoryError,
    OptionError,
    StoreFullError,
    UnknownNameError,
)
from llmops_jupyter.finetune import bases, launching, stage
from llmops_jupyter.finetune.job import Job
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.runs import Runs
from llmops_jupyter.models.memory import MemoryLimit

needs_trainer()
LONG = "word " * 60


@pytest.fixture
def tuning(ws, tiny_chat, monkeypatch):
    """A workspace whose runs are not started; in the end nothing is left of what was refused."""
    ws.models.add(tiny_chat, name="tiny")
    ws.models.use("tiny")
    monkeypatch.setattr(launching, "launch", lambda folder: pytest.fail("a process was started"))
    yield ws
    assert ws.finetune.list() == []
    assert ws.data.list() == []
    assert ws.models.adapters() == []
    assert not (ws.path.parent / stage.FOLDER).exists()


@pytest.fixture
def begun(ws, tiny_chat, monkeypatch):
    """Start a run without its process; returns its job, and what was told."""
    ws.models.add(tiny_chat, name="tiny")
    monkeypatch.setattr(launching, "launch", lambda folder: None)

    def begin(*given, **options):
        told = []
        run = ws.finetune.start(*given, tell=told.append, **options)
        return Job.read(run.folder), stage.job.read_material(run.folder), told

    return begin


class Shell:
    """Where a command runs: a workspace, and no variables."""

    def __init__(self, workspace):
        self.workspace, self.variables = workspace, {}

    def progress(self):
        return lambda _: None


def options_of(*words):
    """What the option table makes of a line."""
    return vars(program.build().parse_args(["finetune", *words]))


def test_looks_in_an_epoch_are_no_eval_data(ws, tiny_chat, monkeypatch):
    ws.models.add(tiny_chat, name="tiny")
    monkeypatch.setattr(launching, "launch", lambda folder: None)
    shell = Shell(ws)
    shell.variables = {"rows": ROWS, "held": [{"question": "What is 50?", "answer": "It is even."}]}
    words = ("run", "par", "rows", "--looks", "4", "--eval", "held", "--background")
    run = ws.finetune.get(finetune.run_(shell, options_of(*words)).value["run"])
    assert (run.recipe.looks, run.eval_data) == (4, "par.eval@1")


def chat(*turns):
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([], {}, "no rows"),
        (ROWS[:1], {}, "only one example"),
        (ROWS[:1] * 20, {}, "all are the same"),
        (ROWS[:5], {}, r"5 different examples are too few.*--eval-share 0"),
        ([{**r, "answer": r["answer"] + LONG} for r in ROWS], {}, r"longer than 256 tokens.*longer context"),
        (ROWS, {"max_length": 20}, r"longer than 20 tokens.*--max-length, up to 256"),
        (ROWS, {"evals": ROWS[1:]}, "All but one of the examples are eval examples too"),
        (ROWS, {"evals": ROWS}, "All examples are eval examples too"),
        (ROWS, {"evals": [{"question": "Long?", "answer": LONG}]}, "No example of the eval data.*longer than 256"),
        ([{**r, "question": " "} for r in ROWS], {}, "the question is empty"),
        ([{**r, "answer": ""} for r in ROWS], {}, r"40 rows cannot be learned from: row \w+: the answer is empty.*and 35 more"),
        ([*ROWS, {"question": "?", "answer": " "}], {}, "1 row cannot be learned from: row .*empty"),
        ([*ROWS, {"question": 7.5, "answer": ["x"]}], {}, "'answer' holds no text"),
        ([chat(("user", str(n)), ("user", "again"), ("assistant", "x")) for n in range(12)], {}, "out of order: user after user"),
        ([chat(("assistant", str(n)), ("user", "x")) for n in range(12)], {}, "last message is not the assistant's"),
        ([chat(("narrator", str(n)), ("assistant", "x")) for n in range(12)], {}, "role 'narrator'"),
    ],
)  # fmt: skip
def test_rows_that_teach_nothing_are_named(tuning, rows, options, says):
    with pytest.raises(DataError, match=says):
        tuning.finetune.start(rows, "parity", **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rank": 0}, "rank must be between 1 and 1024"),
        ({"lerning_rate": 0.1}, "Did you mean 'learning_rate'"),
        ({"prompt": "asked", "answer": "answer"}, "no column 'asked'"),
        ({"format": "chats"}, "'chats' is none of"),
        ({"format": "chat"}, "none of the known forms"),
        ({"trainer": "jax"}, "auto, torch or mlx"),
        ({"weights": "no-such-folder"}, "no folder"),
        ({"prompt": "answer", "answer": "answer"}, "cannot be both"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(tuning, options, says):
    with pytest.raises(OptionError, match=says):
        tuning.finetune.start(ROWS, "parity", **options)


def test_four_bits_without_cuda_are_refused_before(tuning, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for begin in (tuning.finetune.start, tuning.finetune.plan):
        with pytest.raises(OptionError, match="CUDA"):
            begin(
                ROWS,
                *(["parity"] if begin == tuning.finetune.start else []),
                recipe=Recipe(quantize="nf4"),
            )


@pytest.mark.parametrize(
    ("name", "says"), [("My Adapter", "'my-adapter'"), ("tiny", "name of a model"), ("a@1", "name")]
)
def test_a_name_that_cannot_be_is_refused(tuning, name, says):
    with pytest.raises(OptionError, match=says):
        tuning.finetune.start(ROWS, name)


def test_data_and_models_that_are_not_there_are_named(tuning):
    with pytest.raises(UnknownNameError, match="tickets"):
        tuning.finetune.start("tickets", "parity")
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'"):
        tuning.finetune.start(ROWS, "parity", model="tny")


def test_what_is_no_model_that_answers_is_no_base(tuning, tmp_path):
    from gguf import PoolingType

    tuning.models.add(write_bert(tmp_path / "bert.gguf", PoolingType.MEAN), name="vectors")
    with pytest.raises(ModelError, match="gives vectors"):
        tuning.finetune.start(ROWS, "parity", model="vectors")
    from llmops_jupyter.models.endpoint import Endpoint

    tuning.models.add_endpoint("far", Endpoint("http://127.0.0.1:9/v1", "m"))
    with pytest.raises(ModelError, match="no GGUF file"):
        tuning.finetune.start(ROWS, "parity", model="far")


def test_an_adapter_is_no_base(ws, tiny_chat, tmp_path):
    from tiny_models import WIDTH, noise, write_adapter

    ws.models.add(tiny_chat, name="tiny")
    pairs = {"blk.0.attn_q.weight": (noise(1, 4, WIDTH), noise(2, WIDTH, 4))}
    ws.models.add(write_adapter(tmp_path / "a.gguf", pairs, 4.0), name="worn")
    with pytest.raises(ModelError, match=r"is an adapter"):
        ws.finetune.start(ROWS, "parity", model="worn")
    assert ws.finetune.list() == ws.data.list() == []


def test_a_base_whose_file_has_changed_is_not_trained(tuning, tmp_path):
    path = write_chat(tmp_path / "own.gguf", seed=2)
    tuning.models.add(path, name="own")
    write_chat(path, seed=3)
    with pytest.raises(ModelChangedError, match="own"):
        tuning.finetune.start(ROWS, "parity", model="own")


@pytest.mark.parametrize("package", ["torch", "transformers", "peft"])
def test_what_is_not_installed_is_named_with_the_line_that_installs_it(
    tuning, monkeypatch, package
):
    found = util.find_spec
    monkeypatch.setattr(bases, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(MissingDependencyError, match=rf"{package}.*pip install.*finetune"):
        tuning.finetune.start(ROWS, "parity")


def test_where_memory_is_too_small_it_is_said_how_much_is_needed(tuning, monkeypatch):
    def left(some):
        monkeypatch.setattr(stage, "available_memory", lambda: MemoryLimit(some, "a test"))

    left(600 * 10**6)
    with pytest.raises(ModelMemoryError, match=r"at least \d+ MB; 600 MB are left"):
        tuning.finetune.start(ROWS, "parity")
    metadata = tuning.models.get("tiny").metadata
    for_100 = stage.planning.memory_of(metadata, stage.Recipe(), 100, 4, checkpointing=True)
    left(int(for_100 / stage.planning.SPARE) + 2)
    long = [{**row, "answer": "word " * 30} for row in ROWS]
    with pytest.raises(ModelMemoryError, match=r"\d+ MB are left.*--max-length 10[0-9]"):
        tuning.finetune.start(long, "parity")


def test_where_the_disk_is_full_nothing_is_begun(tuning, monkeypatch):
    usage = launching.shutil.disk_usage
    monkeypatch.setattr(launching.shutil, "disk_usage", lambda p: usage(p)._replace(free=1000))
    with pytest.raises(StoreFullError, match="of disk for checkpoints"):
        tuning.finetune.start(ROWS, "parity")


@pytest.mark.parametrize("written", [Job.write, Runs.add])
def test_a_disk_that_fills_up_while_the_job_is_written_leaves_nothing(tuning, monkeypatch, written):
    def fill(*given):
        written(*given)
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = Job if written is Job.write else Runs
    monkeypatch.setattr(owner, written.__name__, fill)
    with pytest.raises(StoreFullError, match=r"disk is full.*Make room"):
        tuning.finetune.start(ROWS, "parity", evals=[{"question": "What?", "answer": "It."}])


def test_an_estimate_keeps_nothing(tuning):
    plan = tuning.finetune.plan(ROWS)
    assert (plan.steps, plan.tokens > 0, plan.notes) == (15, True, ())
    (note,) = tuning.finetune.plan(ROWS, evals=ROWS[:4]).notes
    assert note.startswith("4 of the examples are eval examples too")
    assert "of memory at most" in plan.sentence()


def test_examples_that_are_too_long_are_left_out_with_a_remark(begun):
    long = {"question": "q", "answer": LONG, "id": "long-one"}
    rows = [{**row, "id": str(n)} for n, row in enumerate(ROWS)]
    _, material, told = begun([long, *rows], "parity", eval_share=0)
    assert len(material.train) == len(ROWS)
    assert any("longer than 256 tokens: 1 example (long-one)" in t for t in told)


def test_eval_rows_that_are_learned_from_too_are_not_learned(ws, begun):
    job, material, told = begun(ROWS, "parity", evals=ROWS[:4])
    assert (len(material.train), len(material.evals)) == (36, 4)
    assert any(t.startswith("4 of the examples are eval examples too") for t in told)
    kept = ws.finetune.get()
    assert [n[:28] for n in kept.notes] == ["4 of the examples are eval e"]
    assert kept.as_dict()["notes"] == list(kept.notes)
    for command in ("status", "show"):
        result = getattr(finetune, f"{command}_")(Shell(ws), {"run": None, "no_compare": True})
        assert kept.notes[0] in result.views
    assert (job.data, job.eval_data) == ("parity@1", "parity.eval@1")
    assert {s.prompt for s in job.samples} <= {row["question"] for row in ROWS[:4]}


def test_without_eval_rows_all_are_learned_and_there_is_nothing_to_look_at(begun):
    job, material, _ = begun(ROWS, "parity", eval_share=0)
    assert (len(material.train), len(material.evals), job.samples) == (40, 0, ())


def test_equal_rows_stay_on_one_side(begun):
    twice = [*ROWS, *ROWS]
    _, material, _ = begun(twice, "parity", eval_share=0.3)
    sides = [{s.ids for e in part for s in e} for part in (material.train, material.evals)]
    assert not sides[0] & sides[1]
    assert len(material.train) + len(material.evals) == 80


def test_a_process_that_cannot_be_started_is_a_failed_run(ws, tiny_chat, monkeypatch):
    ws.models.add(tiny_chat, name="tiny")

    def refuse(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(launching.subprocess, "Popen", refuse)
    with pytest.raises(launching.EngineError, match="No process can be started"):
        ws.finetune.start(ROWS, "parity")
    (run,) = ws.finetune.list()
    assert (run.status, "No process" in run.message) == ("failed", True)
