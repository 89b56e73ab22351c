"""Runs in cassettes: what a run told is recorded, and played instead of training.

What is learned differs a little from processor to processor, so a tutorial that is tested by its outputs
plays the run that it was written with. The adapter is not in the cassette, only its digest, under which the
answers that were given with it are found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine import standin
from llmops_jupyter.finetune.job import Events, Job
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.runs import Run, Runs
from llmops_jupyter.models.model import Model

if TYPE_CHECKING:
    from pathlib import Path

    from llmops_jupyter.engine.engines import Engines

KIND = "train"
STAND_IN = "stand-in.gguf"
DIGEST = "adapter_sha256"


def request_of(job: Job) -> dict[str, Any]:
    """What decides a run, as JSON values."""
    usual = Recipe().as_dict()
    given = {k: v for k, v in job.recipe.as_dict().items() if v != usual[k]}
    return {
        "data": job.data_hash,
        "eval": job.eval_hash,
        "format": dict(job.format),
        "recipe": given,
    }


def play(engines: Engines, base: Model, job: Job, folder: Path) -> bool:
    """Write the recorded events of a run into its folder; False if no cassette plays.

    Raises:
        ReplayError: the cassette has no such run.
    """
    found: Mapping[str, Any] | None = engines.played(KIND, base, request_of(job))
    if found is None:
        return False
    standin.write(folder / STAND_IN, job.architecture, found[DIGEST], base.sha256)
    events = Events(folder)
    for event in found["events"]:
        events.add(event)
    return True


def record(engines: Engines, base: Model, run: Run, runs: Runs, digest: str) -> None:
    """Keep what a run told, if a cassette records."""
    job = Job.read(run.folder)
    kept = {"events": runs.events(run.id), DIGEST: digest}
    engines.keep(KIND, base, request_of(job), kept)
