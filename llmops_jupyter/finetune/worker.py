"""The training process: ``python -m llmops_jupyter.finetune.worker FOLDER``.

It is a process of its own, in its own session: the notebook stays usable, an interrupt or a restart of the
kernel does not reach it, and lack of memory ends only it. What it does it tells in the run's folder.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_jupyter.engine.distance import Adapter, Predictions, compare, predict
from llmops_jupyter.errors import EngineError, LLMOpsError, ModelChangedError
from llmops_jupyter.finetune import checkpoints, job, locks
from llmops_jupyter.finetune.job import Events, Job
from llmops_jupyter.finetune.tokens import encoder_of
from llmops_jupyter.finetune.training import Progress, Training
from llmops_jupyter.models.model import sha256_of

if TYPE_CHECKING:
    from llmops_jupyter.finetune.trainers.learner import Learner
    from llmops_jupyter.finetune.trainers.mlx import MlxLearner
    from llmops_jupyter.finetune.trainers.pytorch import TorchLearner

TEXT_TOKENS = 128
# Of each prompt the last tokens are compared, of very long ones the beginning.
COMPARED, COMPARED_LENGTH, COMPARED_PROMPTS = 8, 1024, 16
# Mean KL of what is trained and what is served, in nats, above which they are not the same model. The file's
# own weights differ by how the engine rounds activations; those of a folder were rounded to make the file.
SAME, SAME_FOLDER = 0.05, 0.5
ANSWER_TOKENS = 48
# A sitting that has just ended may hold its lock for a moment.
WAITS_S = 3.0


def main(folder: Path) -> int:
    """Do the job in a folder; 0 if it came to an end, 1 if it failed."""
    # A terminal's Ctrl-C is for who waits; that one says so with the file `stop` if the run is to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TQDM_DISABLE"] = "1"
    try:
        with locks.held(folder, locks.TRAINING, WAITS_S):
            job.mark_process(folder)
            return _work(folder, Events(folder))
    except EngineError as e:
        # Nothing is told: the run is that of the other process.
        print(e, file=sys.stderr)
        return 1


def _work(folder: Path, events: Events) -> int:
    try:
        done = Session(folder, events).run()
    except LLMOpsError as e:
        events.add({"kind": "error", "error": type(e).__name__, "text": str(e)})
        return 1
    except Exception as e:  # noqa: BLE001 - told to whoever waits; the log has where it was
        traceback.print_exc()
        text = f"{type(e).__name__}: {' '.join(str(e).split())}"
        if isinstance(e, MemoryError) or "out of memory" in text.lower():
            text += " Use a smaller pass (--tokens-per-pass) or --checkpointing on."
        events.add({"kind": "error", "error": "EngineError", "text": f"Training failed: {text}"})
        return 1
    events.add({"kind": "end", "ended": done.ended, "step": done.step})
    return 0


class Session:
    """One sitting of a run, from loading to what came of it."""

    def __init__(self, folder: Path, events: Events) -> None:
        self.folder, self.events = folder, events
        self.job = Job.read(folder)
        self.material = job.read_material(folder)

    def run(self) -> Progress:
        self._say("loading")
        self._check_file()
        learner = self._learner()
        self.events.add({"kind": "facts", **learner.facts})
        first = checkpoints.load(self.folder) is None
        if first:
            self._check_base(learner)
            self._answer(learner, "before")
        self._say("training")
        training = Training(
            learner,
            self.material,
            self.job.recipe,
            self.folder,
            budget=int(self.job.plan["budget"]),
            tell=self.events.add,
            width=learner.width,
            stopped=(self.folder / job.STOP).exists,
        )
        done = training.run()
        if done.step:
            self._keep(learner, done)
        return done

    def _check_file(self) -> None:
        """Whether the base is still the file that the run began with."""
        wanted = self.job.model_sha256
        if wanted and sha256_of(Path(self.job.model)) != wanted:
            raise ModelChangedError(
                f"{self.job.model!r} is another file now than when the run began. Register it again and start a new "
                "run: %finetune run"
            )

    def _learner(self) -> Learner:
        made = self._made()
        if self.job.plan.get("checkpointing"):
            made.checkpoints = True
        return made

    def _made(self) -> MlxLearner | TorchLearner:
        given = self.job
        folder = Path(given.weights) if given.weights else None
        if given.trainer == "mlx":
            from llmops_jupyter.finetune.trainers.mlx import MlxLearner

            return MlxLearner(Path(given.model), given.architecture, given.recipe, folder=folder)
        import torch

        from llmops_jupyter.finetune.trainers.pytorch import TorchLearner

        if given.threads:
            torch.set_num_threads(given.threads)
        return TorchLearner(Path(given.model), given.architecture, given.recipe, folder=folder)

    def _check_base(self, learner: Learner) -> None:
        """Whether what is trained is what is served."""
        self._say("comparing the weights with those that are served")
        ids = self._text()
        kl = self._apart(learner, [ids], len(ids))
        limit = SAME_FOLDER if self.job.weights else SAME
        if not kl <= limit:
            where = self.job.weights or self.job.model
            raise EngineError(
                f"The weights that would be trained ({where}) do not answer like those that are served: "
                f"mean KL {kl:.3f} over {len(ids)} tokens, at most {limit} is allowed. "
                "Name the Hugging Face folder that the model was made from: --weights FOLDER"
            )
        self.events.add({"kind": "base", "kl": round(kl, 6), "tokens": len(ids)})

    def _text(self) -> tuple[int, ...]:
        """Tokens of the examples themselves, to compare on."""
        longest = max(
            (s for example in self.material.train[:50] for s in example), key=lambda s: len(s.ids)
        )
        return longest.ids[:TEXT_TOKENS]

    def _answer(self, learner: Learner, when: str) -> None:
        if not self.job.samples:
            return
        self._say(f"answering samples {when}")
        with encoder_of(Path(self.job.model), 0) as encoder:
            for number, sample in enumerate(self.job.samples):
                ids = learner.answer(sample.ids, ANSWER_TOKENS, self.job.ends)
                text = encoder.text(ids)
                self.events.add({"kind": "sample", "when": when, "number": number, "text": text})

    def _keep(self, learner: Learner, done: Progress) -> None:
        """Make files of what was learned: the best look at the eval examples, or the last step."""
        if done.step == 0:
            return
        lora = checkpoints.load_best(self.folder) or learner.lora()
        learner.put(lora)
        self._answer(learner, "after")
        self._say("writing the adapter")
        from llmops_jupyter.finetune.keeping import GGUF, keep

        made = keep(self.folder, self.job, lora, done)
        self.events.add({"kind": "adapter", **made})
        self._compare(learner, self.folder / made["folder"] / GGUF)

    def _compare(self, learner: Learner, adapter: Path) -> None:
        """How far what is served is from what was trained, on prompts of the examples."""
        self._say("comparing the served adapter with the trained one")
        examples = [*self.material.evals, *self.material.train][:COMPARED_PROMPTS]
        texts = [example[-1].ids[:COMPARED_LENGTH] for example in examples]
        kl = self._apart(learner, texts, COMPARED, [(adapter, 1.0)])
        if not math.isfinite(kl):
            highest = self.job.recipe.rate_for(learner.width)
            raise EngineError(
                "What was learned is too large for the adapter's file: with it, the served model's answers are "
                f"no numbers. Run with a lower learning rate: --learning-rate {highest / 5:.1g}"
            )
        self.events.add({"kind": "served", "kl": round(kl, 6), "prompts": len(texts)})

    def _apart(
        self,
        learner: Learner,
        texts: Sequence[Sequence[int]],
        last: int,
        adapters: Sequence[Adapter] = (),
    ) -> float:
        """The mean KL of what is served from what the learner expects, over the last tokens of texts, in nats."""
        theirs = Predictions.of(
            [(ids, learner.logprobs(ids, min(last, len(ids)))) for ids in texts]
        )
        served = predict(
            self.job.model,
            texts,
            adapters=adapters,
            threads=self.job.threads or None,
            last=last,
            longest=None,
        )
        return compare(theirs, served).mean

    def _say(self, text: str) -> None:
        self.events.add({"kind": "phase", "text": text})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
