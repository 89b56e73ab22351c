"""Files of what was learned: the adapter for llama.cpp, the same for PEFT, and where both are from."""

from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmops_jupyter.finetune.job import Job
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.provenance import Provenance
from llmops_jupyter.finetune.training import NO_LOSS, Progress

FOLDER, GGUF, PEFT = "adapter", "adapter.gguf", "peft"


def keep(folder: Path, job: Job, lora: Lora, done: Progress) -> dict[str, Any]:
    """Write both forms of an adapter into a folder in that of its run; returns facts about it.

    Each sitting makes one of its own: one from before may be registered, or was cut short by a kill.

    Raises:
        ModelArchitectureError: the adapter cannot be exported.
        StoreFullError, StoreError: a file cannot be written; the checkpoints are untouched.
    """
    from importlib.metadata import version

    from llmops_jupyter.finetune.ggufadapter import write_gguf
    from llmops_jupyter.finetune.peftfolder import write_peft
    from llmops_jupyter.models import read_metadata

    provenance = Provenance(
        base_name=job.model_ref,
        base_sha256=job.model_sha256,
        data=job.data,
        data_hash=job.data_hash,
        eval_data=job.eval_data,
        recipe=job.recipe.as_dict(),
        run=job.run,
        made_at=job.made_at,
        package_version=version("llmops-jupyter"),
    )
    target = _fresh(folder, done.step)
    base = read_metadata(job.model)
    write_gguf(
        lora,
        target / GGUF,
        heads=base.heads,
        kv_heads=base.kv_heads,
        provenance=provenance,
    )
    write_peft(lora, target / PEFT, base_model=job.weights or job.model_ref, provenance=provenance)
    return {
        "folder": target.name,
        "parameters": lora.parameters,
        "size": (target / GGUF).stat().st_size,
        "best_step": done.best_step,
        "best": None if done.best == NO_LOSS else done.best,
    }


def _fresh(folder: Path, step: int) -> Path:
    """A new folder, named by the step; by another number too where a sitting came no further than one before."""
    for number in itertools.count(1):
        made = folder / (f"{FOLDER}-{step}" if number == 1 else f"{FOLDER}-{step}.{number}")
        with suppress(FileExistsError):
            made.mkdir()
            break
    return made
