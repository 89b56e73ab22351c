"""Runs of fine-tuning, also while they go on, read from the store and from their own logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmops_jupyter.finetune.curves import thinned, thinned_evals
from llmops_jupyter.finetune.runs import RUNNING
from llmops_jupyter.render.lengths import beginning
from llmops_jupyter.server.handles import Handle

if TYPE_CHECKING:
    from llmops_jupyter.finetune.runs import Run

# Runs that are listed, and characters of a sample.
MOST_RUNS, CUT = 50, 4_000


def listed(handle: Handle) -> dict[str, Any]:
    """The newest runs; the curves only of those that go on."""
    stage = handle.workspace.finetune
    runs = [stage.get(r.id) if r.status == RUNNING else r for r in stage.list(MOST_RUNS)]
    return {"items": [_training(run) for run in runs], "next": None}


def training(handle: Handle, run: str) -> dict[str, Any]:
    """A run with its curves and samples."""
    return _training(handle.workspace.finetune.get(run))


def _training(run: Run) -> dict[str, Any]:
    running = run.status == RUNNING
    return {
        "id": run.id,
        "name": run.name,
        "model": run.model,
        "status": run.status,
        "started_at": run.created_at,
        "step": run.step,
        "steps": run.steps,
        "left_s": run.remaining_s if running else None,
        "tokens_per_s": run.tokens_per_s or None,
        "train": [[step, smoothed] for step, _, smoothed in thinned(run.losses)],
        "evaluation": [list(pair) for pair in thinned_evals(run.evals)],
        "samples": [
            {
                "prompt": beginning(s.prompt, CUT),
                "before": beginning(s.before, CUT),
                "after": beginning(s.after, CUT),
            }
            for s in run.samples
        ],
        "words": run.line(),
    }
