"""Whether an adapter belongs to a model: asked before anything is loaded."""

from __future__ import annotations

from pathlib import Path

from llmops_jupyter.errors import ModelArchitectureError
from llmops_jupyter.models import Model, Models
from llmops_jupyter.models.header import read_header
from llmops_jupyter.models.model import GGUF

EMBEDDING = "token_embd"
SHOWN = 12


def check_fits(models: Models, adapter: Model, base: Model) -> None:
    """Refuse an adapter on a model that it was not trained on, and that is no copy of that one.

    An adapter that does not say what it was trained on is let through if its shapes fit.

    Raises:
        ModelArchitectureError: it says that it was trained on another model, or a layer has another shape.
        ModelError: a file cannot be read.
    """
    check_base(models, adapter.ref, adapter.metadata.base_sha256, base)
    if adapter.format == GGUF and base.format == GGUF:
        check_shapes(adapter.ref, adapter.path, base)


def check_base(models: Models, name: str, trained_on: str, base: Model) -> None:
    """Refuse an adapter called `name` of which is known on which model it was trained, by its sha256.

    Raises:
        ModelArchitectureError: that is neither this model nor the one that this is a copy of.
    """
    if not trained_on or trained_on in (base.sha256, base.parent):
        return
    own = [m for m in models.list() if m.sha256 == trained_on]
    what = f"{own[-1].ref}, sha256" if own else "a model that is not registered here, with sha256"
    advice = f"Run it with -m {own[-1].ref}" if own else "Register that model with %model add PATH"
    raise ModelArchitectureError(
        f"The adapter {name} was trained on {what} {trained_on[:SHOWN]}…, and {base.ref}, sha256 "
        f"{base.sha256[:SHOWN]}…, is neither that model nor a copy of it. {advice}, or train an adapter of "
        f"{base.ref}: %finetune run"
    )


def check_shapes(name: str, path: Path, base: Model) -> None:
    """Refuse factors for which the model has no place; llama.cpp's own words for that tell little.

    Raises:
        ModelArchitectureError: a layer is missing or has another shape.
        ModelError: a file cannot be read.
    """
    shapes = {t.name: t.shape for t in read_header(base.path).tensors}
    for tensor in read_header(path).tensors:
        layer, _, part = tensor.name.rpartition(".")
        if (
            part not in ("lora_a", "lora_b")
            or layer.startswith(EMBEDDING)
            or len(tensor.shape) != 2
        ):
            continue
        shape = shapes.get(layer)
        if shape is None:
            raise ModelArchitectureError(
                f"The adapter {name} changes {layer!r}, which {base.ref} does not have. Use it with "
                "its own base model."
            )
        axis = 0 if part == "lora_a" else 1
        if len(shape) < 2 or tensor.shape[axis] != shape[axis]:
            raise ModelArchitectureError(
                f"The adapter {name} is for a model of another size: its factor of {layer!r} has "
                f"{tensor.shape[axis]} {'columns' if axis == 0 else 'rows'}, and the weights of {base.ref} "
                f"have the shape {' x '.join(map(str, shape))}. Use it with its own base model."
            )
