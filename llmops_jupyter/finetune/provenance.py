"""Where an adapter is from: kept inside its files, as texts under one prefix."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import ModelError
from llmops_jupyter.models.gguf import BASE_SHA256
from llmops_jupyter.models.header import read_header

PREFIX = "llmops."
RECIPE = "llmops.recipe"
# The record's fields by the keys that hold them.
KEYS: Mapping[str, str] = {
    "base_name": "llmops.base.name",
    "base_sha256": BASE_SHA256,
    "data": "llmops.data.name",
    "data_hash": "llmops.data.sha256",
    "eval_data": "llmops.eval_data.name",
    "run": "llmops.run",
    "made_at": "llmops.made_at",
    "package_version": "llmops.package_version",
}


@dataclass(frozen=True)
class Provenance:
    """What a training used: the base model's name and sha256, data sets as ``name@2``, recipe, run, time."""

    base_name: str
    base_sha256: str
    data: str = ""
    data_hash: str = ""
    eval_data: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    made_at: str = ""
    package_version: str = ""

    def as_texts(self) -> dict[str, str]:
        """The record as it is kept in files; what is empty is left out."""
        found = {key: getattr(self, name) for name, key in KEYS.items()}
        if self.recipe:
            found[RECIPE] = json.dumps(dict(self.recipe), ensure_ascii=False, sort_keys=True)
        return {key: value for key, value in found.items() if value}

    @classmethod
    def from_texts(cls, values: Mapping[str, Any]) -> Provenance | None:
        """The record from a file's texts; None if the file was not made here."""
        if not isinstance(values.get(BASE_SHA256), str):
            return None
        try:
            recipe = json.loads(values.get(RECIPE) or "{}")
        except (ValueError, TypeError):
            recipe = {}
        own = {name: str(values.get(key, "")) for name, key in KEYS.items()}
        return cls(**own, recipe=recipe if isinstance(recipe, dict) else {})


def provenance_of(path: str | os.PathLike[str]) -> Provenance | None:
    """Where a GGUF file, a safetensors file or a PEFT folder is from; None if it does not say.

    Raises:
        ModelError: it cannot be read.
    """
    from llmops_jupyter.finetune.tensors import read_table
    from llmops_jupyter.models.header import MAGIC

    found = Path(path)
    if found.is_dir():
        return Provenance.from_texts(read_table(found / "adapter_model.safetensors").metadata)
    try:
        with found.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as e:
        raise ModelError(f"{str(path)!r} cannot be read ({e.strerror}). Check the path.") from e
    if start == MAGIC:
        return Provenance.from_texts(read_header(found).values)
    return Provenance.from_texts(read_table(found).metadata)
