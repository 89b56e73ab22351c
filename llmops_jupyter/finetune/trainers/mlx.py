"""Learning on MLX: Apple silicon with the packed weights that are served, and processors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.mlx.loaded import load_folder
from llmops_jupyter.engine.mlx.weights import load_gguf, obstacle
from llmops_jupyter.errors import ModelArchitectureError, OptionError, missing_dependency
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.names import (
    QUERIES,
    is_permuted,
    to_gguf_rows,
    to_transformers_rows,
)
from llmops_jupyter.finetune.packing import Pack, Tokens, pack
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.trainers.learner import BETAS, EPSILON, Arrays
from llmops_jupyter.finetune.trainers.loss import CHUNK
from llmops_jupyter.finetune.trainers.mlxloss import answer_loss
from llmops_jupyter.finetune.trainers.opened import LowRank, Opened
from llmops_jupyter.finetune.trainers.targets import chosen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

READ = 512  # tokens of a prompt that are read at once
MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}


class MlxLearner:
    """A base model on MLX, with a LoRA adapter; see `Learner`. For the thread that made it.

    Args:
        path: the GGUF file or the MLX folder that is served.
        architecture: GGUF's name of its architecture.
        recipe: rank, targets, precision and the like.
        folder: the Hugging Face folder that the file was made from, if its weights are to come from there.

    Raises:
        ModelArchitectureError: the model cannot be loaded, or has no layers that could learn.
        MissingDependencyError: mlx-lm is not installed.
    """

    def __init__(
        self, path: Path, architecture: str, recipe: Recipe, *, folder: Path | None = None
    ) -> None:
        try:
            import mlx.core as mx
            import mlx_lm  # noqa: F401 - the models' code comes from it
            from mlx.optimizers import AdamW
        except ImportError as e:
            raise missing_dependency("mlx-lm", "Fine-tuning on MLX", "mlx") from e
        if recipe.quantize == "nf4":
            raise OptionError("NF4 weights need a CUDA device. Leave quantize out on this machine.")
        self._recipe, self._architecture = recipe, architecture
        source = folder or path
        self.device = str(mx.default_device().type).rpartition(".")[2]
        self.dtype = self._chosen_dtype()
        model = _load(source)
        model.set_dtype(self.dtype)
        model.freeze()
        self._file = source.is_file()
        self._random = mx.random.key(recipe.seed)
        self._opened = Opened(model, lambda names: chosen(names, recipe.targets), self._made)
        self._factors = {
            f"{name}.{which}": factor
            for name, layer in self._opened.factors.items()
            for which, factor in (("A", layer.a), ("B", layer.b))
        }
        self._gradients: dict[str, Any] = {}
        self._optimizer = AdamW(
            0.0, list(BETAS), EPSILON, recipe.weight_decay, bias_correction=True
        )
        self._optimizer.init(self._factors)
        mx.eval(self._factors, self._optimizer.state)
        self.checkpoints = recipe.checkpointing == "on"

    @property
    def checkpoints(self) -> bool:
        """Whether activations are computed a second time instead of being kept."""
        return self._opened.checkpoints

    @checkpoints.setter
    def checkpoints(self, wanted: bool) -> None:
        self._opened.checkpoints = wanted

    @property
    def facts(self) -> Mapping[str, Any]:
        return {
            "trainer": "mlx",
            "device": self.device,
            "precision": str(self.dtype).rpartition(".")[2],
            "parameters": sum(factor.size for factor in self._factors.values()),
            "modules": len(self._opened.factors),
            "checkpointing": self.checkpoints,
            "quantize": self._recipe.quantize,
        }

    @property
    def shares(self) -> bool:
        return self._opened.shares

    @property
    def width(self) -> int:
        """Numbers for each token between layers."""
        return self._opened.width

    def learn(self, pack: Pack) -> float:
        import mlx.core as mx

        if not pack.learned:
            return 0.0
        keys = iter(self._drawn())
        for layer in self._opened.factors.values():
            layer.key = next(keys)
        self._opened.learning = True
        try:
            loss, slopes = mx.value_and_grad(self._loss_of)(self._factors, pack)
        finally:
            self._opened.learning = False
            self._opened.set(self._factors)
            for layer in self._opened.factors.values():
                layer.key = None
        for name, slope in slopes.items():
            before = self._gradients.get(name)
            self._gradients[name] = slope if before is None else before + slope
        mx.eval(loss, self._gradients, self._random)
        return float(loss)

    def step(self, rate: float, learned: int) -> float:
        import mlx.core as mx
        from mlx.optimizers import clip_grad_norm

        if not self._gradients:
            return 0.0
        mean = {name: slope / max(learned, 1) for name, slope in self._gradients.items()}
        cut, length = clip_grad_norm(mean, self._recipe.max_grad_norm)
        self._optimizer.learning_rate = rate
        self._factors = self._optimizer.apply_gradients(cut, self._factors)
        mx.eval(self._factors, self._optimizer.state, length)
        self._opened.set(self._factors)
        self._gradients = {}
        return float(length)

    def loss(self, pack: Pack) -> float:
        return float(self._loss_of(self._factors, pack, learns=False)) if pack.learned else 0.0

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        """The gradients that have been added up since the last step, by the factor's name."""
        return {name: self._in_order(name, slope) for name, slope in self._gradients.items()}

    def answer(self, prompt: Sequence[int], most: int, ends: Sequence[int]) -> list[int]:
        import mlx.core as mx

        cache = self._opened.cache()
        *before, last = prompt
        for begin in range(0, len(before), READ):
            self._opened.model(mx.array([before[begin : begin + READ]]), cache=cache)
            mx.eval([kept.state for kept in cache])
        found: list[int] = []
        while len(found) < most:
            logits = self._opened.model(mx.array([[last]]), cache=cache)
            last = int(mx.argmax(logits[0, -1]))
            if last in ends:
                break
            found.append(last)
        return found

    def logprobs(self, ids: Sequence[int], last: int) -> NDArray[np.float32]:
        import mlx.core as mx
        import numpy as np

        hidden = self._opened.hidden(pack([Tokens(tuple(ids), len(ids))]))[-last:]
        rows = []
        for begin in range(0, len(hidden), CHUNK):
            logits = self._opened.head(hidden[begin : begin + CHUNK]).astype(mx.float32)
            rows.append(np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True)))
        return np.concatenate(rows)

    def lora(self) -> Lora:
        recipe = self._recipe
        whole = {name: self._in_order(name, factor) for name, factor in self._factors.items()}
        return Lora(
            architecture=self._architecture,
            rank=recipe.rank,
            alpha=recipe.alpha,
            factors={n: (whole[f"{n}.A"], whole[f"{n}.B"]) for n in self._opened.factors},
            rslora=recipe.rslora,
            dropout=recipe.dropout,
        )

    def put(self, lora: Lora) -> None:
        import mlx.core as mx

        for name in self._factors:
            module, _, which = name.rpartition(".")
            values = lora.factors[module]["AB".index(which)]
            heads = self._heads_turned(name)
            self._factors[name] = mx.array(to_gguf_rows(values, heads) if heads else values)
        self._opened.set(self._factors)

    def state(self) -> dict[str, NDArray[Any]]:
        import numpy as np

        kept = self._optimizer.state
        found: dict[str, NDArray[Any]] = {
            "random": np.array(self._random),
            "step": np.array(kept["step"]),
        }
        for name, factor in self._factors.items():
            found[f"factor.{name}"] = np.array(factor)
            for moment, key in MOMENTS.items():
                found[f"{key}.{name}"] = np.array(kept[name][moment])
        return found

    def restore(self, state: Arrays) -> None:
        import mlx.core as mx

        self._random = mx.array(state["random"])
        self._factors = {name: mx.array(state[f"factor.{name}"]) for name in self._factors}
        self._opened.set(self._factors)
        self._gradients = {}
        kept = self._optimizer.state
        kept["step"] = mx.array(state["step"])
        for name in self._factors:
            kept[name] = {m: mx.array(state[f"{key}.{name}"]) for m, key in MOMENTS.items()}

    def _loss_of(self, factors: Mapping[str, Any], packed: Pack, *, learns: bool = True) -> Any:
        import mlx.core as mx

        self._opened.set(factors)
        hidden = self._opened.hidden(packed)
        return answer_loss(
            hidden[mx.array(packed.sources)],
            self._opened.head,
            mx.array(packed.targets),
            mx.array(packed.weights),
            learns=learns,
        )

    def _drawn(self) -> Any:
        """A random key for each layer of this pass."""
        import mlx.core as mx

        self._random, key = mx.random.split(self._random)
        return mx.random.split(key, len(self._opened.factors))

    def _made(self, base: Any, count: int) -> LowRank:
        """A linear layer with the first factors that the seed gives."""
        import mlx.core as mx

        recipe = self._recipe
        scale = recipe.alpha / (math.sqrt(recipe.rank) if recipe.rslora else recipe.rank)
        key = mx.random.split(mx.random.key(recipe.seed), count + 1)[count]
        return LowRank(base, recipe.rank, scale, recipe.dropout, key)

    def _in_order(self, name: str, factor: Any) -> NDArray[np.float32]:
        """A factor, or its gradient, with rows in the order of transformers."""
        import numpy as np

        found: NDArray[np.float32] = np.array(factor)
        heads = self._heads_turned(name)
        return to_transformers_rows(found, heads) if heads else found

    def _heads_turned(self, name: str) -> int:
        """Heads of a factor whose rows have GGUF's order here; 0 if they have that of transformers."""
        module, _, which = name.rpartition(".")
        if not (self._file and which == "B" and is_permuted(self._architecture, module)):
            return 0
        args = self._opened.model.args
        return int(
            args.num_attention_heads if module.endswith(QUERIES) else args.num_key_value_heads
        )

    def _chosen_dtype(self) -> Any:
        import mlx.core as mx

        wanted = self._recipe.precision
        if wanted == "auto":
            wanted = "bfloat16" if self.device == "gpu" else "float32"
        return getattr(mx, wanted)


def _load(source: Path) -> Any:
    """The mlx-lm model of a GGUF file or a folder."""
    if source.is_dir():
        return load_folder(source)
    why = obstacle(source)
    if why is not None:
        raise ModelArchitectureError(
            f"MLX cannot hold {source.name!r} without loss: {why}. Name the Hugging Face folder that it was "
            "made from: --weights FOLDER"
        )
    return load_gguf(source)
