"""Our trainer on the work of `finetune`; prints what it measured as JSON."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

from llmops_jupyter.engine.distance import Predictions, compare, predict
from llmops_jupyter.finetune.ggufadapter import write_gguf
from llmops_jupyter.finetune.packing import Tokens, pack
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.trainers.pytorch import TorchLearner
from llmops_jupyter.finetune.training import Material, Training
from llmops_jupyter.models import read_metadata

PROMPTS, LAST = 50, 8


def main(folder: Path, precision: str) -> dict[str, Any]:
    work = json.loads((folder / "work.json").read_text("utf-8"))
    train, evals = (
        [[Tokens(tuple(s["ids"]), s["learned"])] for s in work[part]] for part in ("train", "eval")
    )
    recipe = Recipe(
        rank=work["rank"],
        alpha=work["alpha"],
        batch_size=work["batch"],
        learning_rate=work["rate"],
        max_steps=work["steps"],
        warmup=0,
        precision=precision,
        looks=0,
        save_every=1e6,
        epochs=100,
    )
    learner = TorchLearner(Path(work["gguf"]), "llama", recipe)
    sequences = [example[-1] for example in [*evals, *train][:PROMPTS]]
    base = _apart(work, learner, sequences)
    times: list[float] = []
    kept = folder / f"ours-{precision}"
    kept.mkdir()
    training = Training(
        learner,
        Material(train, evals),
        recipe,
        kept,
        budget=2048,
        tell=lambda event: times.append(event["seconds"]) if event["kind"] == "step" else None,
        width=learner.width,
    )
    done = training.run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    loss = training.eval_loss()
    metadata = read_metadata(work["gguf"])
    adapter = write_gguf(
        learner.lora(), kept / "adapter.gguf", heads=metadata.heads, kv_heads=metadata.kv_heads
    )
    return {
        "steps": np.diff([0.0, *times]).tolist(),
        "peak": peak,
        "eval": loss,
        "read": done.tokens / done.step,
        "plain": done.plain / done.step,
        "base": base,
        "served": _apart(work, learner, sequences, adapter),
        **(_packed(learner, training) if precision == "float32" else {}),
    }


def _apart(
    work: dict[str, Any],
    learner: TorchLearner,
    sequences: list[Tokens],
    adapter: Path | None = None,
) -> float:
    theirs = Predictions.of([(s.ids, learner.logprobs(s.ids, LAST)) for s in sequences])
    worn = [] if adapter is None else [(adapter, 1.0)]
    texts = [s.ids for s in sequences]
    served = predict(work["gguf"], texts, adapters=worn, last=LAST, longest=None)
    return compare(theirs, served).mean


def _packed(learner: TorchLearner, training: Training) -> dict[str, float]:
    """How far a packed step is from the same step unpacked, both relative."""
    batch = training.batch(0)
    found = []
    for share in (True, False):
        groups = [batch] if share else [[s] for s in batch]
        loss = sum(learner.learn(pack(group, share=share)) for group in groups)
        gradients = np.concatenate([g.ravel() for g in learner.gradients().values()])
        found.append((loss, gradients))
        learner.step(0.0, 1)
    (loss, ours), (other, theirs) = found
    return {
        "loss_apart": abs(loss - other) / other,
        "gradients_apart": float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
