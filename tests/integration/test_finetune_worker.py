"""The training process: the learner that a job asks for."""

from __future__ import annotations

import pytest
from learners import KINDS, PEFT_WARNS, SMALL, sequences
from tiny_models import write_llama

from llmops_jupyter.errors import ModelChangedError
from llmops_jupyter.finetune.job import Events, Job
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.training import Material
from llmops_jupyter.finetune.worker import Session

pytestmark = pytest.mark.filterwarnings(PEFT_WARNS)
PARTS = {"torch": "peft", "mlx": "mlx_lm"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("twice", [False, True])
def test_activations_are_computed_twice_where_the_plan_says_so(tmp_path, kind, twice):
    pytest.importorskip(PARTS[kind])
    file = write_llama(tmp_path / "tiny.gguf", kv_heads=2)
    job = Job(
        run="1",
        name="tiny",
        recipe=Recipe(**SMALL),
        model=str(file),
        model_ref="tiny",
        model_sha256="",
        architecture="llama",
        trainer=kind,
        plan={"checkpointing": twice},
    )
    job.write(tmp_path / "run", Material([[one] for one in sequences()]))
    learner = Session(tmp_path / "run", Events(tmp_path / "run"))._learner()
    assert learner.facts["trainer"] == kind
    assert learner.facts["checkpointing"] is twice


def test_a_base_that_is_another_file_by_now_is_not_trained(tmp_path):
    file = write_llama(tmp_path / "tiny.gguf", kv_heads=2)
    job = Job("1", "tiny", Recipe(**SMALL), str(file), "tiny", "0" * 64, "llama")
    job.write(tmp_path / "run", Material([[one] for one in sequences()]))
    events = Events(tmp_path / "run")
    with pytest.raises(ModelChangedError, match="another file now"):
        Session(tmp_path / "run", events).run()
    assert [e["kind"] for e in events.since(0)[0]] == ["phase"]
