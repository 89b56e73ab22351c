"""LoRA adapters on MLX: folders of mlx-lm and GGUF files, several at once with their scales."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_jupyter.engine.adapters import stamped
from llmops_jupyter.engine.mlx.weights import PERMUTED, module_of
from llmops_jupyter.engine.prefixes import Adapter, Adapters, Content
from llmops_jupyter.errors import ModelArchitectureError, ModelError

WEIGHTS, CONFIG = "adapters.safetensors", "adapter_config.json"
ROTATED = ("q_proj", "k_proj")


@dataclass(frozen=True)
class Delta:
    """What an adapter adds to a linear layer: x @ a @ b * scale; a is (in, rank), b is (rank, out)."""

    a: Any
    b: Any
    scale: float


class Adapted:
    """A linear layer with what the adapters in use add to it."""

    def __init__(self, base: Any) -> None:
        self.base = base
        self.deltas: tuple[Delta, ...] = ()

    def __call__(self, x: Any) -> Any:
        found = self.base(x)
        for delta in self.deltas:
            found = found + (delta.scale * ((x @ delta.a) @ delta.b)).astype(found.dtype)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)


class ModelAdapters:
    """The adapters of one model, and which of them are in use.

    Args:
        model: of mlx-lm.
        architecture: of the model.
        file: whether the model is a GGUF file, whose rows of queries and keys may be in another order.
    """

    def __init__(self, model: Any, architecture: str, *, file: bool) -> None:
        self._model = model
        self._architecture = architecture
        self._file = file
        self._used: Adapters = ()
        self._layers: dict[str, Adapted] = {}
        self._loaded: dict[Content, dict[str, Delta]] = {}

    def use(self, adapters: Adapters) -> None:
        """Compute with these adapters from now on.

        Raises:
            ModelError: a file cannot be read, has changed, or is no adapter of this model.
        """
        if adapters == self._used:
            return
        wanted: dict[str, list[Delta]] = {}
        for adapter in adapters:
            for path, delta in self._deltas(adapter).items():
                scaled = Delta(delta.a, delta.b, delta.scale * adapter.scale)
                wanted.setdefault(path, []).append(scaled)
        for path in wanted:
            self._adapt(path)
        for path, layer in self._layers.items():
            layer.deltas = tuple(wanted.get(path, ()))
        self._used = adapters

    def _adapt(self, path: str) -> None:
        if path not in self._layers:
            parent, _, name = path.rpartition(".")
            place = self._find(parent)
            self._layers[path] = layer = Adapted(getattr(place, name))
            setattr(place, name, layer)

    def _find(self, path: str) -> Any:
        found = self._model
        for part in path.split("."):
            found = found[int(part)] if part.isdigit() else getattr(found, part)
        return found

    def _deltas(self, adapter: Adapter) -> dict[str, Delta]:
        known = self._loaded.get(adapter.content)
        if known is not None:
            return known
        path = Path(adapter.path)
        found = _of_gguf(path, self._architecture) if path.suffix == ".gguf" else _of_folder(path)
        if stamped(adapter.path, adapter.scale) != adapter:
            raise ModelError(f"The adapter {adapter.path!r} was changed meanwhile. Run again.")
        if not found:
            raise ModelError(
                f"The adapter {adapter.path!r} holds no LoRA weights. Name another one."
            )
        permuted = self._architecture == PERMUTED and self._file != (path.suffix == ".gguf")
        for module, delta in found.items():
            self._check(module, delta, adapter.path)
            if permuted and module.endswith(ROTATED):
                found[module] = Delta(delta.a, self._reordered(module, delta.b), delta.scale)
        self._loaded[adapter.content] = found
        return found

    def _check(self, module: str, delta: Delta, path: str) -> None:
        try:
            base = self._find(module)
            rows, columns = base.weight.shape
        except (AttributeError, IndexError, KeyError, ValueError) as e:
            raise _foreign(path, f"the model has no layer {module!r}") from e
        if hasattr(base, "bits"):
            columns = columns * 32 // base.bits
        if delta.a.shape[0] != columns or delta.b.shape[1] != rows:
            raise _foreign(path, f"the layer {module!r} has another shape")

    def _reordered(self, module: str, b: Any) -> Any:
        """The columns of b in the order of the model's rows."""
        import mlx.core as mx

        args = self._model.args
        queries = module.endswith(ROTATED[0])
        heads = args.num_attention_heads if queries else args.num_key_value_heads
        rank, width = b.shape
        # Neighbours are halves of a head elsewhere, and the way back is the other way round.
        halves = (2, width // heads // 2) if self._file else (width // heads // 2, 2)
        return mx.contiguous(b.reshape(rank, heads, *halves).swapaxes(2, 3).reshape(rank, width))


def _of_folder(path: Path) -> dict[str, Delta]:
    """The deltas of an adapter folder of mlx-lm."""
    import mlx.core as mx

    folder = path if path.is_dir() else path.parent
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        scale = float(config["lora_parameters"]["scale"])
        weights: Any = mx.load(str(folder / WEIGHTS if path.is_dir() else path))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as e:
        raise ModelError(
            f"{str(path)!r} is no adapter of mlx-lm ({e}). Name its folder, with {WEIGHTS} and {CONFIG}."
        ) from e
    kind = config.get("fine_tune_type", "lora")
    if kind != "lora":
        raise ModelArchitectureError(
            f"The adapter {str(path)!r} is of the kind {kind!r}; only LoRA adapters can be put on and off. "
            "Fuse it with: mlx_lm.fuse"
        )
    a, b = (
        {k.removesuffix(end): v for k, v in weights.items() if k.endswith(end)}
        for end in (".lora_a", ".lora_b")
    )
    return {name: Delta(a[name], b[name], scale) for name in a.keys() & b.keys()}


def _of_gguf(path: Path, architecture: str) -> dict[str, Delta]:
    """The deltas of a GGUF adapter."""
    import mlx.core as mx

    from llmops_jupyter.models.header import read_header

    header = read_header(path)
    values = header.values
    if values.get("general.type") != "adapter":
        raise ModelArchitectureError(f"{str(path)!r} is a whole model. Name a LoRA adapter.")
    if values.get("general.architecture") != architecture:
        raise _foreign(str(path), f"it is for the architecture {values['general.architecture']!r}")
    if any(t.type not in (0, 1) for t in header.tensors):
        raise ModelArchitectureError(
            f"The adapter {str(path)!r} is quantised. Convert it again with --outtype f16."
        )
    alpha = float(values.get("adapter.lora.alpha") or 0)
    weights: Any = mx.load(str(path), format="gguf")
    found: dict[str, Delta] = {}
    for name in _named(weights, ".weight.lora_a"):
        module = module_of(name)
        if module is None or f"{name}.weight.lora_b" not in weights:
            raise _foreign(str(path), f"there is no place for its tensor {name!r}")
        a, b = weights[f"{name}.weight.lora_a"], weights[f"{name}.weight.lora_b"]
        found[module] = Delta(a.T, b.T, alpha / a.shape[0] if alpha else 1.0)
    return found


def _named(weights: dict[str, Any], end: str) -> Sequence[str]:
    return [name.removesuffix(end) for name in weights if name.endswith(end)]


def _foreign(path: str, why: str) -> ModelArchitectureError:
    return ModelArchitectureError(
        f"The adapter {path!r} does not fit: {why}. Use it with its own base model."
    )
