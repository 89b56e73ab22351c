"""Models on this machine: where they are, what they are, and whether they fit into memory."""

from llmops_jupyter.models.gguf import GGUFMetadata, check_architecture, read_metadata
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
    "discover",
    "estimate",
    "find",
    "preflight",
    "read_metadata",
    "survey",
]
