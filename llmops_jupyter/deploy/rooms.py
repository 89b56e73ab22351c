"""What deploying needs of the workspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Provenance, Tracer

if TYPE_CHECKING:
    from llmops_jupyter.data import Datasets
    from llmops_jupyter.evaluation import Evaluation
    from llmops_jupyter.guard import Guard
    from llmops_jupyter.models import Models
    from llmops_jupyter.monitor import Monitor
    from llmops_jupyter.prompts import Prompts
    from llmops_jupyter.rag import Rag


@dataclass(frozen=True)
class Rooms:
    """The store and the other stages, given as functions, so that none is made before it is used."""

    store: Store
    tracer: Tracer
    models: Callable[[], Models]
    data: Callable[[], Datasets]
    prompts: Callable[[], Prompts]
    guard: Callable[[], Guard]
    rag: Callable[[], Rag]
    evaluation: Callable[[], Evaluation]
    monitor: Callable[[], Monitor]

    def provenance(self) -> Provenance | None:
        """The notebook and the cell that runs, where one does."""
        tell = self.tracer.provenance
        return None if tell is None else tell()
