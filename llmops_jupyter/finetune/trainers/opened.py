"""A model of mlx-lm, opened for learning: low-rank factors, packs in one pass, activations computed twice.

The code of the model stays as it is. mlx-lm's models ask a cache for the mask and for the position at which
they go on; a pass over a pack gives them a `Reading` in its place, whose mask is the pack's tree and whose
position is a number for each token. Whether a model computes with these what it computes for each example
alone is tried when it is opened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmops_jupyter.errors import ModelArchitectureError
from llmops_jupyter.finetune.packing import Pack, Tokens, pack

ROTARY = ("rope", "rotary_emb")
# Where models keep what computes hidden states.
INNER = ("model", "transformer", "backbone")
SHARED = 3
TRIED = (Tokens((1, 2, 3, 4, 5, 6), 1), Tokens((1, 2, 3, 6, 7), 1))


class LowRank:
    """A linear layer W that computes with W + scale · B A; a has the shape (rank, in), b (out, rank).

    Dropout draws from a key of its own, so that a layer that is computed twice leaves out the same.
    """

    def __init__(self, base: Any, rank: int, scale: float, dropout: float, key: Any) -> None:
        import mlx.core as mx

        self.base = base
        rows, columns = base.weight.shape
        if hasattr(base, "bits"):
            columns = columns * 32 // base.bits
        # As PEFT: uniform with this bound (Kaiming with a = √5), and zeros.
        bound = 1 / math.sqrt(columns)
        self.a = mx.random.uniform(-bound, bound, (rank, columns), key=key)
        self.b = mx.zeros((rows, rank))
        self.key: Any = None
        self._scale, self._dropout = scale, dropout

    def __call__(self, x: Any) -> Any:
        import mlx.core as mx

        found, kept = self.base(x), x
        if self.key is not None and self._dropout:
            stays = mx.random.bernoulli(1 - self._dropout, x.shape, key=self.key)
            kept = x * stays.astype(x.dtype) / (1 - self._dropout)
        return found + (self._scale * ((kept @ self.a.T) @ self.b.T)).astype(found.dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)


class Places:
    """The position of each token of a pass, in place of the one at which a cache goes on."""

    def __init__(self, positions: Any) -> None:
        self.positions = positions


class Turned:
    """Rotary positions that need not follow each other."""

    def __init__(self, base: Any) -> None:
        self.base = base

    def __call__(self, x: Any, offset: Any = 0) -> Any:
        if not isinstance(offset, Places):
            return self.base(x, offset=offset)
        # The kernel takes an offset for each row of a batch, so each token becomes one.
        return self.base(x.transpose(2, 1, 0, 3), offset=offset.positions).transpose(2, 1, 0, 3)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)


class Reading:
    """What a layer takes for its cache while a pack is read; nothing is kept."""

    def __init__(self, packed: Pack, places: Places, window: int, masks: dict[int, Any]) -> None:
        self.offset = places
        self._pack, self._window, self._masks = packed, window, masks

    def make_mask(
        self, count: int, window_size: int | None = None, *, return_array: bool = False
    ) -> Any:
        """Which token sees which, as an array (count, count)."""
        import mlx.core as mx

        del count, return_array
        window = window_size or self._window
        if window not in self._masks:
            self._masks[window] = mx.array(self._pack.sees(window))
        return self._masks[window]

    def update_and_fetch(self, keys: Any, values: Any) -> tuple[Any, Any]:
        """All keys and values there are: those of this pass."""
        return keys, values


class Block:
    """A layer whose activations are computed a second time for the gradients, if `opened` says so."""

    def __init__(self, base: Any, learning: Sequence[LowRank], opened: Opened) -> None:
        self.base = base
        self._learning, self._opened = learning, opened

    def __call__(self, x: Any, *args: Any, **options: Any) -> Any:
        if not (self._opened.checkpoints and self._opened.learning):
            return self.base(x, *args, **options)
        import mlx.core as mx

        def read(factors: Sequence[tuple[Any, Any]], states: Any) -> Any:
            for layer, (a, b) in zip(self._learning, factors, strict=True):
                layer.a, layer.b = a, b
            return self.base(states, *args, **options)

        # Only what is handed in gets gradients.
        return mx.checkpoint(read)([(layer.a, layer.b) for layer in self._learning], x)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)


class Inner:
    """What computes hidden states, or gives those that the head is asked about."""

    def __init__(self, base: Any) -> None:
        self.base = base
        self.given: Any = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.base(*args, **options) if self.given is None else self.given

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)


class Opened:
    """A model of mlx-lm with factors on chosen linear layers.

    Args:
        model: of mlx-lm.
        chosen: gets the names of all linear layers, as transformers has them, and gives those that learn.
        made: gets a linear layer and how many were made before, and gives it with factors.

    Raises:
        ModelArchitectureError: its parts are not where they are with other models.
    """

    def __init__(
        self,
        model: Any,
        chosen: Callable[[list[str]], list[str]],
        made: Callable[[Any, int], LowRank],
    ) -> None:
        self.model = model
        self.checkpoints = False
        self.learning = False
        self.factors: dict[str, LowRank] = {}
        host = getattr(model, "language_model", model)
        name = next((n for n in INNER if hasattr(getattr(host, n, None), "layers")), None)
        if name is None:
            raise ModelArchitectureError(
                f"mlx-lm's {type(model).__module__} has its layers in a place unknown to the trainer. "
                "Choose another base model; docs/finetune.md lists those tried."
            )
        self._host = host
        self._exchange(dict(host.named_modules()), chosen, made)
        inner = getattr(host, name)
        layers = inner.get("layers", inner.layers)
        for place, layer in enumerate(layers):
            own = [f for p, f in self.factors.items() if p.startswith(f"{name}.layers.{place}.")]
            layers[place] = Block(layer, own, self)
        self._inner = Inner(inner)
        setattr(host, name, self._inner)
        self.windows = self._found_windows()
        self.shares = False
        alone = [self.hidden(pack([sequence])) for sequence in TRIED]
        self.width = int(alone[0].shape[-1])
        self.shares = True
        self.shares = self._gives_the_same(alone)

    def _exchange(
        self,
        modules: Mapping[str, Any],
        chosen: Callable[[list[str]], list[str]],
        made: Callable[[Any, int], LowRank],
    ) -> None:
        """Put ours in place of linear layers and of rotary positions."""
        from mlx import nn

        linear = [n for n, m in modules.items() if isinstance(m, nn.Linear | nn.QuantizedLinear)]
        for count, path in enumerate(sorted(chosen(linear), key=_place)):
            self.factors[path] = made(modules[path], count)
        rotary = {p: Turned(m) for p, m in modules.items() if p.rpartition(".")[2] in ROTARY}
        for path, module in {**self.factors, **rotary}.items():
            parent, _, name = path.rpartition(".")
            setattr(modules[parent], name, module)

    def cache(self) -> list[Any]:
        """A fresh cache for writing."""
        from mlx_lm.models.cache import make_prompt_cache

        found: list[Any] = make_prompt_cache(self.model)
        return found

    def hidden(self, packed: Pack) -> Any:
        """The last hidden states, shape (tokens, width)."""
        import mlx.core as mx

        ids = mx.array(packed.ids)[None]
        if len(packed.above) == 1 and not (self.shares and any(self.windows or ())):
            return self._inner(ids)[0]
        assert self.shares, "this model reads each example alone"
        places, masks = Places(mx.array(packed.positions)), dict[int, Any]()
        readings = [Reading(packed, places, window, masks) for window in self.windows or ()]
        return self._inner(ids, cache=readings)[0]

    def head(self, states: Any) -> Any:
        """From hidden states to logits as the model does it, with what some put behind the last layer."""
        import mlx.core as mx

        self._inner.given = states[None]
        try:
            return self._host(mx.zeros((1, len(states)), dtype=mx.int32))[0]
        finally:
            self._inner.given = None

    def set(self, factors: Mapping[str, Any]) -> None:
        """Compute with these factors, named after their layers with .A and .B behind."""
        for path, layer in self.factors.items():
            layer.a, layer.b = factors[f"{path}.A"], factors[f"{path}.B"]

    def _found_windows(self) -> list[int] | None:
        """How far back each layer sees, 0 for all; None where a layer keeps something else than keys."""
        from mlx_lm.models.cache import KVCache, RotatingKVCache

        found = []
        for kept in self.cache():
            if type(kept) not in (KVCache, RotatingKVCache):
                return None
            found.append(int(kept.max_size) if isinstance(kept, RotatingKVCache) else 0)
        return found

    def _gives_the_same(self, alone: Sequence[Any]) -> bool:
        """Whether sequences that are read together give what each gives alone."""
        import mlx.core as mx

        if self.windows is None:
            return False
        try:
            together = self.hidden(pack(TRIED))
            mx.eval(together)
        except Exception:  # noqa: BLE001 - whatever the model does with a cache, it cannot with a reading
            return False
        # A pack has the shared beginning, then the rest of the first, then that of the second.
        wanted = mx.concatenate([alone[0], alone[1][SHARED:]])
        allowed = 1e-3 if together.dtype == mx.float32 else 5e-2
        return bool(mx.abs(together - wanted).max() < allowed * mx.abs(wanted).max())


def _place(path: str) -> list[str]:
    """Sorts layer 2 before layer 10."""
    return [part.zfill(6) for part in path.split(".")]
