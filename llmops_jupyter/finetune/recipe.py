"""How a model is fine-tuned: one record, with defaults that evidence speaks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from llmops_jupyter.errors import OptionError, did_you_mean

PRECISIONS = ("auto", "float32", "bfloat16")
SWITCHES = ("auto", "on", "off")
LEARNED = ("all", "last")
TARGETS = ("all", "attention", "mlp")
QUANTIZATIONS = ("none", "nf4")
# What settings were called before, by which runs of then are kept.
EARLIER = {"evals": "looks"}


def _(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Recipe:
    """The settings of a fine-tuning run.

    Low-rank factors on all linear layers match full fine-tuning on data of this size, those on attention
    alone do not; the learning rate is about ten times that of full fine-tuning, hardly depends on the rank,
    and small batches do better (Schulman et al., "LoRA Without Regret", 2025). Only answers are learned.
    """

    rank: int = _(16, "rank of the adapter: more holds more and takes more memory")
    alpha: float = _(32.0, "what the adapter is multiplied with, over the rank")
    rslora: bool = _(False, "divide alpha by the root of the rank, for high ranks")
    targets: str = _("all", "layers that learn: all linear ones, attention, or mlp")
    dropout: float = _(0.0, "share of the adapter's inputs left out at random")
    learning_rate: float | None = _(None, "at its highest; by the width of the model if not given")
    epochs: float = _(3.0, "times that all examples are seen")
    max_steps: int | None = _(None, "steps at most, whatever the epochs")
    batch_size: int = _(8, "examples for one step")
    warmup: float = _(0.05, "share of the steps in which the learning rate rises")
    weight_decay: float = _(0.0, "pull of the factors to zero")
    max_grad_norm: float = _(1.0, "gradients longer than this are cut to it")
    learn: str = _("all", "answers of a conversation that are learned: all, or the last")
    max_length: int | None = _(
        None, "longest example in tokens; the model's own limit if not given"
    )
    packing: str = _("auto", "examples that begin alike are read together: auto, on, off")
    tokens_per_pass: int | None = _(None, "tokens read at once; by the memory if not given")
    checkpointing: str = _("auto", "compute activations twice to save memory: auto, on, off")
    precision: str = _("auto", "of the base weights: float32, bfloat16, or what is faster here")
    quantize: str = _("none", "nf4 packs the base weights on CUDA; they are then not those served")
    eval_share: float = _(0.1, "share of the examples that is set apart where no others are named")
    looks: int = _(2, "looks at the eval examples in an epoch")
    patience: int = _(3, "looks without a better loss after which it stops; 0 never stops early")
    save_every: float = _(60.0, "seconds between checkpoints; there is one at each look too")
    samples: int = _(3, "eval prompts that are answered before and after")
    seed: int = _(0, "another seed gives another order and other first factors")

    def __post_init__(self) -> None:
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise OptionError(f"{name} is a number, not {value!r}.")
            if not low <= value <= high:
                raise OptionError(f"{name} must be between {low:g} and {high:g}, not {value:g}.")
        for name in _WHOLE:
            value = getattr(self, name)
            if value is not None and value != int(value):
                raise OptionError(f"{name} is a whole number, not {value:g}.")
            if value is not None:
                object.__setattr__(self, name, int(value))
        if not isinstance(self.rslora, bool):
            raise OptionError(f"rslora is true or false, not {self.rslora!r}.")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise OptionError(
                    f"{name} is one of {', '.join(choices)}, not {getattr(self, name)!r}."
                )

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe with these settings; others keep their defaults.

        Raises:
            OptionError: there is no such setting, or it cannot have that value.
        """
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise OptionError(
                    f"A recipe has no {name!r}.{did_you_mean(name, known)} It has: {', '.join(sorted(known))}."
                )
        return cls(**values)

    @classmethod
    def from_kept(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe of an earlier run, whose settings may have the names of an earlier version."""
        return cls.from_dict({EARLIER.get(name, name): value for name, value in values.items()})

    def rate_for(self, width: int) -> float:
        """The learning rate at its highest, for a model of `width` numbers for each token.

        Without one of its own it is 5e-4 · (2000 / width)^0.78: ten times 5e-5, and higher for narrower
        models, as the authors of "LoRA Without Regret" fitted it over 14 models.
        """
        if self.learning_rate is not None:
            return self.learning_rate
        return float(5e-4 * (2000 / max(width, 1)) ** 0.78)

    def steps_for(self, examples: int) -> int:
        """Steps that all epochs over `examples` take."""
        each = math.ceil(examples / self.batch_size)
        steps = max(1, round(each * self.epochs))
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def rate_at(self, step: int, steps: int, highest: float) -> float:
        """The learning rate of a step, the first being 0: a linear rise, then a linear fall to zero."""
        rise = max(1, round(self.warmup * steps)) if self.warmup else 0
        if step < rise:
            return highest * (step + 1) / (rise + 1)
        return highest * max(0.0, (steps - step) / max(1, steps - rise))


_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("rank", 1, 1024),
    ("alpha", 1e-3, 1e5),
    ("dropout", 0, 0.9),
    ("learning_rate", 1e-9, 1),
    ("epochs", 1e-3, 1000),
    ("max_steps", 1, 10**7),
    ("batch_size", 1, 10**5),
    ("warmup", 0, 0.9),
    ("weight_decay", 0, 1),
    ("max_grad_norm", 1e-6, 1e6),
    ("max_length", 8, 10**7),
    ("tokens_per_pass", 16, 10**7),
    ("eval_share", 0, 0.9),
    ("looks", 0, 1000),
    ("patience", 0, 1000),
    ("save_every", 0, 10**6),
    ("samples", 0, 50),
    ("seed", 0, 2**63 - 1),
)
_WHOLE = (
    "rank",
    "max_steps",
    "batch_size",
    "max_length",
    "tokens_per_pass",
    "looks",
    "patience",
    "samples",
    "seed",
)
# What can be chosen from, by setting.
CHOICES = {
    "targets": TARGETS,
    "learn": LEARNED,
    "packing": SWITCHES,
    "checkpointing": SWITCHES,
    "precision": PRECISIONS,
    "quantize": QUANTIZATIONS,
}
# How a setting is written on a command line.
KINDS = {
    f.name: "flag" if f.type == "bool" else str(f.type).partition(" ")[0].replace("str", "text")
    for f in fields(Recipe)
}
