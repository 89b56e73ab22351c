"""Models and adapters in a bundle: what they are, and their files or where they are looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_jupyter.deploy.folders import MODES, REFERENCE, Filling
from llmops_jupyter.errors import DeployError, ModelError, OptionError, did_you_mean
from llmops_jupyter.models import Model, Models
from llmops_jupyter.models.model import GGUF, MLX
from llmops_jupyter.store import Store

FOLDER = "model"


@dataclass
class Weights:
    """How the weights of a bundle are there, gathered model by model."""

    mode: str
    found: dict[str, str]

    @classmethod
    def of(cls, mode: str) -> Weights:
        """For a bundle whose weights are copied, linked to, or named.

        Raises:
            OptionError: there is no such way.
        """
        if mode not in MODES:
            near = did_you_mean(str(mode), MODES)
            raise OptionError(f"Weights are {', '.join(MODES)}, not {mode!r:.40}.{near}")
        return cls(mode, {})

    def add(self, model: Model, models: Models, filling: Filling) -> dict[str, Any]:
        """Bring a model in; what the manifest says of it.

        Raises:
            ModelError, DeployError: its file is gone, has changed, or cannot be brought in.
        """
        facts = facts_of(model)
        if model.endpoint is None:
            models.check_unchanged(model)
            filling.value(f"{FOLDER}/{model.name}.json", model.metadata.as_dict())
            if self.mode == REFERENCE:
                self.found[model.sha256] = str(model.path.absolute())
            else:
                self._bring(model, filling)
        return facts

    def _bring(self, model: Model, filling: Filling) -> None:
        if model.format == GGUF:
            path = f"{FOLDER}/{model.name}.gguf"
            made = filling.place(path, model.path, self.mode, weight=True)
            if made.sha256 != model.sha256:
                raise DeployError(
                    f"{str(model.path)!r} no longer has the content that was registered as {model.ref}. Register it anew: "
                    f"%model add {model.path} --name {model.name}"
                )
            return
        for file in sorted(p for p in model.path.iterdir() if p.is_file()):
            filling.place(f"{FOLDER}/{model.name}/{file.name}", file, self.mode, weight=True)

    def as_dict(self, filling: Filling) -> dict[str, Any]:
        """What the manifest tells of the weights; places of this machine only where they are not carried."""
        files = {path: vars(file) for path, file in sorted(filling.weights.items())}
        told: dict[str, Any] = {"mode": self.mode, "files": files}
        return {**told, "found": self.found} if self.mode == REFERENCE else told


def facts_of(model: Model) -> dict[str, Any]:
    """What a manifest says of a model: never where it lies, and of an endpoint never a key."""
    metadata = model.metadata
    facts: dict[str, Any] = {"name": model.name, "format": model.format, "digest": model.sha256}
    if model.endpoint is not None:
        return {**facts, "endpoint": model.endpoint.as_dict()}
    return {
        **facts,
        "quantization": metadata.quantization,
        "architecture": metadata.architecture,
        "parameters": metadata.parameters,
        "size": model.size,
        "context_length": metadata.context_length,
        "licence": metadata.licence,
        "parent": model.parent,
        "file": f"{FOLDER}/{model.name}" + ("" if model.format == MLX else ".gguf"),
    }


def adapter_facts(
    adapter: Model, scale: float, base: Model, models: Models, store: Store, filling: Filling
) -> dict[str, Any]:
    """Bring an adapter in, which is small and always carried; what the manifest says of it.

    On a copy of the model that it was trained on, what was measured of the two goes along.

    Raises:
        DeployError, ModelError: its file is gone or has changed.
    """
    from llmops_jupyter.engine.remembered import divergences_of
    from llmops_jupyter.finetune.provenance import provenance_of

    models.check_unchanged(adapter)
    path = f"adapter/{adapter.name}.gguf"
    made = filling.place(path, adapter.path, "copy")
    if made.sha256 != adapter.sha256:
        raise DeployError(
            f"{str(adapter.path)!r} no longer has the content that was registered as {adapter.ref}. Export it again, or "
            "train it again."
        )
    try:
        origin = provenance_of(adapter.path)
    except ModelError:
        origin = None
    told: Mapping[str, Any] = {} if origin is None else vars(origin)
    kept = ("base_name", "base_sha256", "data", "data_hash", "eval_data", "recipe")
    follows = divergences_of(store, base.sha256, adapter.sha256) if base.parent else {}
    return {
        "name": adapter.name,
        "digest": adapter.sha256,
        "scale": scale,
        "file": path,
        "follows": {f"{of:g}": found.as_dict() for of, found in sorted(follows.items())},
        "provenance": {name: told[name] for name in kept if told.get(name)},
    }


def located(
    facts: Mapping[str, Any], folder: Path, weights: Mapping[str, Any], given: Path | None = None
) -> Path | None:
    """Where the weights of a model are: in the bundle, where they are said to be, or where they were registered.

    None for an endpoint, and where they are nowhere. Files outside the bundle are known by size here, and by their
    digest when they are registered.
    """
    if "endpoint" in facts:
        return None
    if given is not None:
        return given
    name = str(facts["file"])
    carried = weights.get("files") or {}
    # Only what the manifest lists was checked; a name that leads elsewhere is none of these.
    if name in carried or any(path.startswith(f"{name}/") for path in carried):
        return folder / name
    found = (weights.get("found") or {}).get(facts["digest"])
    if found and _fits(Path(found), facts):
        return Path(found)
    return _discovered(facts)


def _fits(path: Path, facts: Mapping[str, Any]) -> bool:
    try:
        return path.is_dir() or path.stat().st_size == facts["size"]
    except OSError:
        return False


def _discovered(facts: Mapping[str, Any]) -> Path | None:
    """A file of this machine with these weights: of their size, and then of their digest."""
    from llmops_jupyter.models import sources
    from llmops_jupyter.models.model import sha256_of

    if facts.get("format") != GGUF:
        return None
    for candidate in sources.survey(None).candidates:
        if not candidate.path.is_dir() and _fits(candidate.path, facts):
            try:
                if sha256_of(candidate.path) == facts["digest"]:
                    return candidate.path
            except ModelError:
                continue
    return None
