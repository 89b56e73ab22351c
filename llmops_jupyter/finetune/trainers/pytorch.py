"""Learning on torch with PEFT: processors, and CUDA with the dequantised base in bfloat16."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError, missing_dependency
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.packing import Pack
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.trainers import weights
from llmops_jupyter.finetune.trainers.learner import BETAS, EPSILON, Arrays
from llmops_jupyter.finetune.trainers.loss import answer_loss
from llmops_jupyter.finetune.trainers.targets import chosen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRIAL_ROWS = 512


class TorchLearner:
    """A base model on torch, with a LoRA adapter of PEFT; see `Learner`.

    Args:
        path: the GGUF file that is served.
        architecture: GGUF's name of its architecture.
        recipe: rank, targets, precision and the like.
        folder: the Hugging Face folder that the file was made from, if its weights are to come from there.

    Raises:
        ModelArchitectureError: the model cannot be loaded, or has no layers that could learn.
        MissingDependencyError: torch, transformers or peft is not installed.
    """

    def __init__(
        self, path: Path, architecture: str, recipe: Recipe, *, folder: Path | None = None
    ) -> None:
        try:
            import peft
            import torch
        except ImportError as e:
            raise missing_dependency(e.name or "torch", "Fine-tuning", "finetune") from e
        self._torch = torch
        self._recipe, self._architecture = recipe, architecture
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        packed = recipe.quantize == "nf4"
        if packed and self.device.type != "cuda":
            raise OptionError("NF4 weights need a CUDA device. Leave quantize out on this machine.")
        self.dtype = self._chosen_dtype()
        base = weights.load(path, self.dtype, folder=folder, packed=packed).to(self.device)
        base.requires_grad_(requires_grad=False)
        self._targets = _targets(base, recipe.targets)
        torch.manual_seed(recipe.seed)
        config = peft.LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            use_rslora=recipe.rslora,
            target_modules=list(self._targets),
            task_type="CAUSAL_LM",
        )
        self._model = peft.get_peft_model(base, config)
        self._base = base
        self._factors = {n: p for n, p in self._model.named_parameters() if p.requires_grad}
        self._optimizer = torch.optim.AdamW(
            self._factors.values(),
            lr=0.0,
            betas=BETAS,
            eps=EPSILON,
            weight_decay=recipe.weight_decay,
        )
        self._windows = _windows(base.config)
        self._head = _head_of(base)
        self.checkpoints = recipe.checkpointing == "on"

    @property
    def checkpoints(self) -> bool:
        """Whether activations are computed a second time instead of being kept."""
        return self._checkpoints

    @checkpoints.setter
    def checkpoints(self, wanted: bool) -> None:
        self._checkpoints = wanted
        # transformers changed the names in its version 5.
        kind = (
            "activation" if hasattr(self._base, "activation_checkpointing_enable") else "gradient"
        )
        if wanted:
            getattr(self._base, f"{kind}_checkpointing_enable")({"use_reentrant": False})
        else:
            getattr(self._base, f"{kind}_checkpointing_disable")()

    @property
    def facts(self) -> Mapping[str, Any]:
        return {
            "trainer": "torch",
            "device": self.device.type,
            "precision": str(self.dtype).removeprefix("torch."),
            "parameters": sum(p.numel() for p in self._factors.values()),
            "modules": len(self._targets),
            "checkpointing": self.checkpoints,
            "quantize": self._recipe.quantize,
        }

    @property
    def shares(self) -> bool:
        kinds = set(getattr(self._base.config, "layer_types", None) or ())
        plain = {"full_attention", "sliding_attention"}
        return kinds <= plain and not _is_recurrent(self._base.config)

    @property
    def width(self) -> int:
        """Numbers for each token between layers."""
        return int(self._base.config.get_text_config().hidden_size)

    def learn(self, pack: Pack) -> float:
        self._model.train()
        loss = self._loss_of(pack)
        loss.backward()
        return float(loss.detach())

    def step(self, rate: float, learned: int) -> float:
        torch = self._torch
        factors = list(self._factors.values())
        for factor in factors:
            if factor.grad is not None:
                factor.grad /= max(learned, 1)
        length = torch.nn.utils.clip_grad_norm_(factors, self._recipe.max_grad_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(length)

    def loss(self, pack: Pack) -> float:
        self._model.eval()
        with self._torch.no_grad():
            return float(self._loss_of(pack))

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        """The gradients that have been added up since the last step, by the factor's name."""
        return {
            name: factor.grad.float().cpu().numpy().copy()
            for name, factor in self._factors.items()
            if factor.grad is not None
        }

    def answer(self, prompt: Sequence[int], most: int, ends: Sequence[int]) -> list[int]:
        torch = self._torch
        self._model.eval()
        ids = torch.tensor([list(prompt)], device=self.device)
        with torch.no_grad():
            made = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=most,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=list(ends),
                pad_token_id=ends[0],
            )
        found: list[int] = made[0, len(prompt) :].tolist()
        return found[:-1] if found and found[-1] in ends else found

    def logprobs(self, ids: Sequence[int], last: int) -> NDArray[np.float32]:
        torch = self._torch
        self._model.eval()
        with torch.no_grad():
            hidden = self._hidden(torch.tensor([list(ids)], device=self.device))[-last:]
            found: NDArray[np.float32] = (
                torch.log_softmax(self._head(hidden).float(), dim=-1).cpu().numpy()
            )
        return found

    def lora(self) -> Lora:
        pairs: dict[str, dict[str, NDArray[np.float32]]] = {}
        for name, factor in self._factors.items():
            module, which = _module_of(name)
            values = factor.detach().float().cpu().numpy().copy()
            pairs.setdefault(module, {})[which] = values
        recipe = self._recipe
        return Lora(
            architecture=self._architecture,
            rank=recipe.rank,
            alpha=recipe.alpha,
            factors={module: (pair["A"], pair["B"]) for module, pair in pairs.items()},
            rslora=recipe.rslora,
            dropout=recipe.dropout,
        )

    def put(self, lora: Lora) -> None:
        torch = self._torch
        with torch.no_grad():
            for name, factor in self._factors.items():
                module, which = _module_of(name)
                factor.copy_(torch.from_numpy(lora.factors[module]["AB".index(which)]))

    def state(self) -> dict[str, NDArray[Any]]:
        torch = self._torch
        found: dict[str, NDArray[Any]] = {"random": torch.get_rng_state().numpy().copy()}
        if self.device.type == "cuda":
            found["random.cuda"] = torch.cuda.get_rng_state(self.device).numpy().copy()
        for name, factor in self._factors.items():
            found[f"factor.{name}"] = factor.detach().cpu().numpy().copy()
            for key, value in self._optimizer.state.get(factor, {}).items():
                found[f"{key}.{name}"] = value.detach().cpu().numpy().copy()
        return found

    def restore(self, state: Arrays) -> None:
        torch = self._torch
        # A state from before the first step has no moments, and gradients are in none.
        self._optimizer.state.clear()
        self._optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, factor in self._factors.items():
                factor.copy_(torch.from_numpy(state[f"factor.{name}"].copy()))
                moments = {
                    key: torch.from_numpy(state[f"{key}.{name}"].copy())
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"{key}.{name}" in state
                }
                if moments:
                    # Adam counts its steps on the processor wherever the rest is.
                    self._optimizer.state[factor] = {
                        key: value if key == "step" else value.to(self.device)
                        for key, value in moments.items()
                    }
        torch.set_rng_state(torch.from_numpy(state["random"].copy()))
        if "random.cuda" in state:
            torch.cuda.set_rng_state(torch.from_numpy(state["random.cuda"].copy()), self.device)

    def _loss_of(self, pack: Pack) -> Any:
        torch = self._torch
        ids = torch.from_numpy(pack.ids)[None].to(self.device)
        positions = torch.from_numpy(pack.positions)[None].to(self.device)
        hidden = self._hidden(ids, positions, self._masks(pack))
        sources = torch.from_numpy(pack.sources).to(self.device)
        return answer_loss(
            hidden[sources],
            self._head,
            torch.from_numpy(pack.targets).to(self.device),
            torch.from_numpy(pack.weights).to(self.device),
        )

    def _hidden(self, ids: Any, positions: Any = None, mask: Any = None) -> Any:
        """The last hidden states, shape (tokens, width)."""
        inner = self._base.get_decoder()
        given: dict[str, Any] = {"input_ids": ids, "use_cache": False}
        if mask is not None:
            given |= {"attention_mask": mask, "position_ids": positions}
        return inner(**given).last_hidden_state[0]

    def _masks(self, pack: Pack) -> Any:
        """What each token sees, as the model takes it; None where that is all before it."""
        if len(pack.above) == 1 and not any(self._windows.values()):
            return None
        made = {
            kind: self._mask(self._torch.from_numpy(pack.sees(window)))
            for kind, window in self._windows.items()
        }
        return made if len(made) > 1 else next(iter(made.values()))

    def _mask(self, seen: Any) -> Any:
        """A mask for each head; attention in plain torch adds it to the scores."""
        torch = self._torch
        seen = seen[None, None].to(self.device)
        if self._base.config._attn_implementation != "eager":  # noqa: SLF001 - has no public name
            return seen
        hidden = torch.finfo(self.dtype).min
        return torch.zeros(seen.shape, dtype=self.dtype, device=self.device).masked_fill(
            ~seen, hidden
        )

    def _chosen_dtype(self) -> Any:
        torch = self._torch
        if self._recipe.precision != "auto":
            return getattr(torch, self._recipe.precision)
        if self.device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
        return torch.bfloat16 if _bf16_is_faster(torch) else torch.float32


def _module_of(parameter: str) -> tuple[str, str]:
    """The module that a factor of PEFT belongs to, and which of the two it is, A or B."""
    module, _, which = parameter.partition(".lora_")
    return module.removeprefix("base_model.model."), which[0]


def _bf16_is_faster(torch: Any) -> bool:
    """Whether products of matrices take less time in bfloat16 on this processor, by trying it."""

    def seconds(dtype: Any) -> float:
        a = torch.ones(TRIAL_ROWS, 1024, dtype=dtype)
        b = torch.ones(1024, 1024, dtype=dtype)
        found = []
        for _ in range(5):
            began = time.perf_counter()
            a @ b
            found.append(time.perf_counter() - began)
        return min(found)

    return seconds(torch.bfloat16) < 0.9 * seconds(torch.float32)


def _targets(model: Any, wanted: str) -> list[str]:
    """Names of the linear layers that learn."""
    import torch

    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    return chosen(linear, wanted)


def _windows(config: Any) -> dict[str, int]:
    """The window of each kind of layer, in tokens; 0 sees everything before."""
    config = config.get_text_config()
    window = int(getattr(config, "sliding_window", None) or 0)
    kinds = dict.fromkeys(getattr(config, "layer_types", None) or ())
    if kinds:
        return {kind: window if kind == "sliding_attention" else 0 for kind in kinds}
    used = getattr(config, "use_sliding_window", True)
    return {"full_attention": window if used else 0}


def _is_recurrent(config: Any) -> bool:
    names = ("mamba", "ssm", "rwkv", "recurrent", "conv_kernel")
    return any(name in key for key in config.get_text_config().to_dict() for name in names)


def _head_of(model: Any) -> Callable[[Any], Any]:
    """From hidden states to logits as the model does it, with what some put behind the last layer."""
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    cap = getattr(config, "final_logit_softcapping", None)
    divisor = getattr(config, "logits_scaling", None) or 1.0
    factor = getattr(config, "logit_scale", None) or 1.0

    def logits(states: Any) -> Any:
        found = head(states)
        if factor != 1.0 or divisor != 1.0:
            found = found * (factor / divisor)
        return cap * (found / cap).tanh() if cap else found

    return logits
