"""Which models can be trained, by what, and which names their adapters can have."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from llmops_jupyter.engine import backend
from llmops_jupyter.errors import ModelError, OptionError, missing_dependency
from llmops_jupyter.models.gguf import check_family
from llmops_jupyter.models.model import GGUF, Model
from llmops_jupyter.store import aliases

if TYPE_CHECKING:
    from llmops_jupyter.finetune.recipe import Recipe
    from llmops_jupyter.models import Models


def trainer_for(wanted: str) -> str:
    """What trains: 'torch' or 'mlx'; 'auto' is MLX where the engine runs on it."""
    if wanted not in ("auto", "torch", "mlx"):
        raise OptionError(f"The trainer is auto, torch or mlx, not {wanted!r}.")
    if wanted != "auto":
        return wanted
    return "mlx" if backend.default() == backend.MLX else "torch"


def base_of(models: Models, ref: str | None, trainer: str) -> Model:
    """The registered model that is to be trained.

    Raises:
        ModelError: it is none that can be, or its file has changed.
        MissingDependencyError: what trains it is not installed.
    """
    base = models.resolve(ref)
    if base.format != GGUF:
        raise ModelError(
            f"{base.ref} is no GGUF file, and only those are fine-tuned: an adapter is learned on the "
            "very weights that are served."
        )
    if base.metadata.kind == "adapter":
        raise ModelError(f"{base.ref} is an adapter. Name its base model with -m.")
    if base.metadata.is_embedder:
        raise ModelError(f"{base.ref} gives vectors and no text. Name another model with -m.")
    check_family(base.metadata)
    packages = ("mlx_lm",) if trainer == "mlx" else ("torch", "transformers", "peft")
    for package in packages:
        if find_spec(package) is None:
            extra = "mlx" if trainer == "mlx" else "finetune"
            raise missing_dependency(package.replace("_", "-"), "Fine-tuning", extra)
    return models.check_unchanged(base)


def check_quantize(recipe: Recipe, trainer: str) -> None:
    """Raise an OptionError if the base is to be packed where nothing reads it packed."""
    if recipe.quantize == "none":
        return
    if trainer == "torch":
        import torch  # asked for by an option that few use

        if torch.cuda.is_available():
            return
    raise OptionError("NF4 weights need a CUDA device. Leave --quantize out on this machine.")


def check_name(models: Models, name: str) -> None:
    """Raise an OptionError if an adapter cannot have the name."""
    aliases.check_name("model", name)
    if any(model.name == name for model in models.list()):
        raise OptionError(f"{name!r} is the name of a model. Choose another one for the adapter.")
