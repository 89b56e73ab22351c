"""Models on this machine: where they are, what they are, and whether they fit into memory.

A name is loaded when it is first used: the process that runs a model needs few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_jupyter.models.gguf import (
        GGUFMetadata,
        check_architecture,
        check_family,
        read_metadata,
    )
    from llmops_jupyter.models.memory import (
        Estimate,
        MemoryLimit,
        available_memory,
        estimate,
        preflight,
    )
    from llmops_jupyter.models.model import Model
    from llmops_jupyter.models.sources import Candidate, Discovery, Roots, discover, find, survey
    from llmops_jupyter.models.stage import Models

__all__ = [
    "Candidate",
    "Discovery",
    "Estimate",
    "GGUFMetadata",
    "MemoryLimit",
    "Model",
    "Models",
    "Roots",
    "available_memory",
    "check_architecture",
    "check_family",
    "discover",
    "estimate",
    "find",
    "preflight",
    "read_metadata",
    "survey",
]

_HOMES = {
    "gguf": {"GGUFMetadata", "check_architecture", "check_family", "read_metadata"},
    "memory": {"Estimate", "MemoryLimit", "available_memory", "estimate", "preflight"},
    "model": {"Model"},
    "sources": {"Candidate", "Discovery", "Roots", "discover", "find", "survey"},
    "stage": {"Models"},
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
