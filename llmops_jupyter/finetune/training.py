"""The training loop: steps, looks at the eval examples, checkpoints, an early end, and what is told of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DataError, EngineError
from llmops_jupyter.finetune import checkpoints
from llmops_jupyter.finetune.packing import Pack, Tokens, pack, passes
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.trainers.learner import Learner

Tell = Callable[[Mapping[str, Any]], None]
SMOOTHED = 0.8
NO_LOSS = float("inf")


@dataclass
class Progress:
    """Where a run is; kept in each checkpoint.

    Args:
        step: steps taken.
        best: the lowest loss on the eval examples, and the step of that look.
        worse: looks since then.
        smoothed: running mean of the training loss.
        seconds: time spent on steps, over all sittings.
        tokens: tokens read for them, shared ones once; `plain` counts those of the examples one by one.
    """

    step: int = 0
    best: float = NO_LOSS
    best_step: int = 0
    worse: int = 0
    smoothed: float = NO_LOSS
    seconds: float = 0.0
    tokens: int = 0
    plain: int = 0
    ended: str = ""


@dataclass(frozen=True)
class Material:
    """What is learned from and what is looked at: the sequences of each example."""

    train: Sequence[Sequence[Tokens]]
    evals: Sequence[Sequence[Tokens]] = ()

    def __post_init__(self) -> None:
        if not self.train:
            raise DataError("There are no examples to learn from. Check the data set.")


@dataclass
class Training:
    """One run of a recipe; `run` can be called again after an interrupt, from the last checkpoint.

    Args:
        learner: what computes gradients and takes steps.
        material: the examples.
        recipe: the settings.
        folder: where checkpoints are kept.
        budget: tokens read in one pass at most, but at least one example.
        tell: gets each event, a mapping with a 'kind'.
        stopped: asked before each step whether somebody wants the run to end.
        width: numbers for each token between layers, for the default learning rate.
    """

    learner: Learner
    material: Material
    recipe: Recipe
    folder: Path
    budget: int
    tell: Tell
    width: int
    stopped: Callable[[], bool] = lambda: False
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        recipe = self.recipe
        self.steps = recipe.steps_for(len(self.material.train))
        self.highest = recipe.rate_for(self.width)
        self._share = recipe.packing != "off" and self.learner.shares
        each = max(1, -(-len(self.material.train) // recipe.batch_size))
        self._look = max(1, round(each / recipe.looks)) if recipe.looks else 0
        self._saved = time.monotonic()

    def run(self) -> Progress:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            StoreFullError: a checkpoint cannot be written; the one before is whole.
            EngineError: a loss is no number.
        """
        self._resume()
        if self.progress.step == 0 and self.material.evals and not self.progress.ended:
            self._evaluate(first=True)
        while not self.progress.ended:
            if self.progress.step >= self.steps:
                self.progress.ended = "finished"
            elif self.stopped():
                self.progress.ended = "stopped"
            else:
                self._step()
        self._save()
        return self.progress

    def order(self, epoch: int) -> list[int]:
        """The examples of an epoch in the order in which they come; it follows from the seed alone."""
        import numpy as np

        made = np.random.default_rng([self.recipe.seed, epoch])
        return [int(i) for i in made.permutation(len(self.material.train))]

    def batch(self, step: int) -> list[Tokens]:
        """The sequences of a step, the first being 0."""
        count, size = len(self.material.train), self.recipe.batch_size
        each = -(-count // size)
        epoch, place = divmod(step, each)
        chosen = self.order(epoch)[place * size : (place + 1) * size]
        return [sequence for i in chosen for sequence in self.material.train[i]]

    def _packs(self, sequences: Sequence[Tokens]) -> Iterator[Pack]:
        """What is read in one pass after the other; a recurrent model cannot tell examples apart in one."""
        if self.learner.shares:
            groups = passes(sequences, self.budget, share=self._share)
        else:
            groups = [[sequence] for sequence in sequences]
        for group in groups:
            yield pack(group, share=self._share)

    def _step(self) -> None:
        at, began = self.progress, time.monotonic()
        sequences = self.batch(at.step)
        loss, learned, read = 0.0, 0, 0
        for packed in self._packs(sequences):
            loss += self.learner.learn(packed)
            learned += packed.learned
            read += packed.tokens
        loss /= max(learned, 1)
        rate = self.recipe.rate_at(at.step, self.steps, self.highest)
        length = self.learner.step(rate, learned)
        if not (loss < NO_LOSS and length < NO_LOSS):
            raise EngineError(
                f"The loss is no longer a number at step {at.step + 1}. Run with a lower learning rate: "
                f"--learning-rate {self.highest / 5:.1g}"
            )
        at.step += 1
        at.seconds += time.monotonic() - began
        at.tokens += read
        at.plain += sum(len(s.ids) for s in sequences)
        at.smoothed = (
            loss if at.smoothed == NO_LOSS else SMOOTHED * at.smoothed + (1 - SMOOTHED) * loss
        )
        self._tell(
            "step", loss=loss, smoothed=at.smoothed, rate=rate, gradient=length, learned=learned
        )
        self._look_and_save()

    def _look_and_save(self) -> None:
        at = self.progress
        looks = bool(self._look and self.material.evals)
        if looks and (at.step % self._look == 0 or at.step == self.steps):
            self._evaluate()
            self._save()
        elif time.monotonic() - self._saved >= self.recipe.save_every:
            self._save()

    def _evaluate(self, *, first: bool = False) -> None:
        """Look at the eval examples, and keep what is learned if it is the best so far."""
        at = self.progress
        loss = self.eval_loss()
        if not loss < NO_LOSS:
            raise EngineError(
                f"The loss of the eval examples is no number at step {at.step}. Run with --precision float32"
                f"{'' if first else f' or a lower learning rate: --learning-rate {self.highest / 5:.1g}'}"
            )
        # The base is no look at what was learned: the best of these is kept even if it is worse than that.
        better = not first and loss < at.best
        if better:
            at.best, at.best_step, at.worse = loss, at.step, 0
            checkpoints.save_best(self.folder, self.learner.lora())
        elif not first:
            at.worse += 1
            if self.recipe.patience and at.worse >= self.recipe.patience and at.step < self.steps:
                at.ended = "early"
        self._tell("eval", loss=loss, best=better)

    def eval_loss(self) -> float:
        """Mean loss of the learned tokens of all eval examples, in nats."""
        sequences = [s for example in self.material.evals for s in example]
        total, learned = 0.0, 0
        for packed in self._packs(sequences):
            total += self.learner.loss(packed)
            learned += packed.learned
        return total / max(learned, 1)

    def _resume(self) -> None:
        found = checkpoints.load(self.folder)
        if found is None:
            return
        state, facts = found
        self.learner.restore(state)
        self.progress = Progress(**facts)
        self.progress.ended = "" if self.progress.ended == "stopped" else self.progress.ended
        self._tell("resumed")

    def _save(self) -> None:
        checkpoints.save(self.folder, self.learner.state(), asdict(self.progress))
        self._saved = time.monotonic()

    def _tell(self, kind: str, **values: Any) -> None:
        at = self.progress
        self.tell(
            {
                "kind": kind,
                "step": at.step,
                "steps": self.steps,
                "seconds": round(at.seconds, 3),
                "tokens": at.tokens,
                **values,
            }
        )


def as_line(event: Mapping[str, Any]) -> str:
    """An event as a line of JSON."""
    return json.dumps(event, ensure_ascii=False, allow_nan=False)
