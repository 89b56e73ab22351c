"""Registered models: what they take, what adapters they have, what tuning them came to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.engines import DEFAULT_CONTEXT
from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.models.memory import estimate
from llmops_jupyter.server.handles import Handle

if TYPE_CHECKING:
    from llmops_jupyter.models import Model
    from llmops_jupyter.workspace import Workspace


def listed(handle: Handle) -> dict[str, Any]:
    """The models by name; versions that are not the newest have their number behind it."""
    workspace = handle.workspace
    models = workspace.models.list()
    newest = {m.name: m.version for m in models}
    adapters = workspace.models.adapters()
    runs = _runs(workspace)
    tunings = workspace.engine.tunings()
    facts = _Facts(
        default=_default(workspace, models),
        memory={one["model"]: one["memory"] for one in handle.workers.loaded()},
        context=workspace.settings.context_length or DEFAULT_CONTEXT,
    )
    items = []
    for model in models:
        own = [a for a in adapters if model.sha256 in (a.parent, a.metadata.base_sha256)]
        items.append(
            {
                **facts.of(model, model.name if newest[model.name] == model.version else model.ref),
                "adapters": [_adapter(a, runs) for a in own],
                "tuned": _tuned(model, models, tunings.get(model.sha256)),
            }
        )
    known = {m.sha256 for m in models}
    items += [
        {**facts.of(a, a.ref), "kind": "adapter", "adapters": [_adapter(a, runs)], "tuned": []}
        for a in adapters
        if not known & {a.parent, a.metadata.base_sha256}
    ]
    return {"items": items, "next": None}


class _Facts:
    """What is said of a model, given what holds for all."""

    def __init__(self, default: str, memory: Mapping[str, int | None], context: int) -> None:
        self._default, self._memory, self._context = default, memory, context

    def of(self, model: Model, name: str) -> dict[str, Any]:
        metadata = model.metadata
        loaded = model.name in self._memory
        return {
            "name": name,
            "kind": "embedder" if metadata.is_embedder else model.format,
            "architecture": metadata.architecture,
            "quantization": metadata.quantization,
            "size": model.size if model.endpoint is None else None,
            "context": metadata.context_length or None,
            "memory": self._memory.get(model.name) or self._expected(model),
            "loaded": loaded,
            "is_default": model.ref == self._default,
            "missing": model.endpoint is None and not os.path.lexists(model.path),
        }

    def _expected(self, model: Model) -> int | None:
        """Bytes that it would take with one sequence."""
        if model.endpoint is not None or not model.metadata.tensor_bytes:
            return None
        length = min(self._context, model.metadata.context_length or self._context)
        return estimate(model.metadata, length).total


def _default(workspace: Workspace, models: Sequence[Model]) -> str:
    """The model that runs where none is named: the chosen one, else the only one; '' if that is open."""
    try:
        chosen = workspace.models.default()
    except LLMOpsError:
        chosen = None
    if chosen is not None:
        return chosen.ref
    answering = {m.name: m.ref for m in models if not m.metadata.is_embedder}
    return next(iter(answering.values())) if len(answering) == 1 else ""


def _runs(workspace: Workspace) -> dict[str, str]:
    """The run that made each adapter."""
    rows = workspace.store.rows("SELECT adapter, id FROM finetune_runs WHERE adapter != ''")
    return {row[0]: row[1] for row in rows}


def _adapter(adapter: Model, runs: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": adapter.name,
        "version": adapter.version,
        "aliases": list(adapter.aliases),
        "run": runs.get(adapter.ref),
        "saved_at": adapter.added_at,
    }


def _tuned(
    model: Model, models: Sequence[Model], tuning: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """What tuning measured of the model and its copies; else the copies that are registered."""
    if tuning is None:
        return [
            {
                "copy": copy.ref,
                "size": copy.size,
                "tokens_per_s": None,
                "perplexity": None,
                "chosen": False,
            }
            for copy in models
            if copy.parent == model.sha256
        ]
    return [
        {
            "copy": one["kind"],
            "size": one["size"],
            "tokens_per_s": one["tokens_per_s"],
            "perplexity": _perplexity(one),
            "chosen": one["chosen"],
        }
        for one in tuning["candidates"]
    ]


def _perplexity(one: Mapping[str, Any]) -> dict[str, Any]:
    """With the interval of its ratio to the model as it is, which is that of the paired comparison."""
    value, ratio = one["perplexity"], one["ratio"]
    low = high = None
    if ratio is not None:
        low, high = (value / ratio[0] * end for end in ratio[1:])
    return {"value": value, "low": low, "high": high, "n": one["tokens"]}
