"""What the panel of a fine-tuning run shows: a run as JSON values; the same as text, picture and table."""

from __future__ import annotations

from typing import Any

from llmops_jupyter.commands.finetune import facts_of
from llmops_jupyter.finetune import job
from llmops_jupyter.finetune.curves import thinned, thinned_evals
from llmops_jupyter.finetune.planning import spoken
from llmops_jupyter.finetune.runs import FAILED, INTERRUPTED, RUNNING, Run
from llmops_jupyter.render import table_html, text_table
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.render.lengths import beginning

# Characters of a sample that are sent to the browser at most.
CUT = 4000
GOES_ON = ("stopped", INTERRUPTED, FAILED)


def state_of(run: Run) -> dict[str, Any]:
    """A run without its curve."""
    left = run.remaining_s
    running = run.status == RUNNING
    stopping = running and (run.folder / job.STOP).exists()
    return {
        "id": run.id,
        "name": run.name,
        "model": run.model,
        "data": run.data,
        "status": run.status,
        "phase": "stops after this step" if stopping else run.phase if running else "",
        "step": run.step,
        "steps": run.steps,
        "loss": run.losses[-1][2] if run.losses else None,
        "base": run.evals[0][1] if run.evals else None,
        "best": list(run.best) if run.best else None,
        "speed": round(run.tokens_per_s),
        "left": spoken(left) if running and left is not None and run.step < run.steps else "",
        "message": beginning(run.message, CUT, count=True),
        "facts": [str(fact) for fact in facts_of(run)],
        "samples": samples_of(run),
        "can_stop": running and not stopping,
        "can_resume": run.status in GOES_ON,
    }


def curve_of(run: Run) -> dict[str, Any]:
    """The curve of a run, with as many points as can be told apart."""
    return {
        "id": run.id,
        "steps": max(run.steps, run.step),
        "losses": [list(point) for point in thinned(run.losses)],
        "evals": [list(point) for point in thinned_evals(run.evals)],
        "best": list(run.best) if run.best else None,
    }


def samples_of(run: Run) -> list[dict[str, str]]:
    """What was asked and wanted, and what the model said before and after."""
    return [
        {
            "asked": beginning(sample.prompt, CUT, count=True),
            "wanted": beginning(sample.wanted, CUT, count=True),
            "before": beginning(sample.before, CUT, count=True),
            "after": beginning(sample.after, CUT, count=True),
        }
        for sample in run.samples
    ]


def bundle_of(run: Run) -> dict[str, str]:
    """A run as a saved notebook keeps it: a line, and the curve with the samples in what opens below it."""
    line, samples = f"{run.name} · {run.line()}", samples_of(run)
    facts = "".join(f"<p>{escaped(fact)}</p>" for fact in facts_of(run))
    table = table_html(samples) if samples else ""
    return bundle(
        "\n".join([line, *([text_table(samples)] if samples else [])]),
        f"<details><summary>{escaped(line)}</summary>{_picture(run)}{facts}{table}</details>",
    )


def _picture(run: Run) -> str:
    chart = run.chart()
    if chart is None:
        return ""
    try:
        return f"{chart.page('loss over steps')}<br>"
    except ImportError:  # without matplotlib there is no picture, and all else
        return ""
