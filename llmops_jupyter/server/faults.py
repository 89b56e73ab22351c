"""Which status an error has, and what is said of it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from llmops_jupyter.errors import (
    ConflictError,
    EngineError,
    LLMOpsError,
    MissingDependencyError,
    ModelError,
    PromptError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    UnknownNameError,
)
from llmops_jupyter.server.arguments import BodyTooLargeError
from llmops_jupyter.server.service import ServerBusyError
from llmops_jupyter.store.faults import explain

# The first that fits counts.
STATUSES: tuple[tuple[type[LLMOpsError], int], ...] = (
    (BodyTooLargeError, 413),
    (UnknownNameError, 404),
    (ConflictError, 409),
    (PromptError, 409),
    (StoreReadOnlyError, 403),
    (StoreBusyError, 503),
    (ServerBusyError, 503),
    (StoreFullError, 507),
    (StoreError, 500),
    (MissingDependencyError, 501),
    (EngineError, 500),
    (ModelError, 500),
    (LLMOpsError, 400),
)
RETRY_S = 1


@dataclass(frozen=True)
class Fault:
    """An error as it is answered: `kind` is the name of its class."""

    status: int
    kind: str
    message: str

    def body(self) -> dict[str, dict[str, str]]:
        """As JSON values."""
        return {"error": {"kind": self.kind, "message": self.message}}


def known(error: BaseException | None) -> Fault | None:
    """The fault that one of our errors, or of SQLite's, is; None for others, of which nothing may be told."""
    if isinstance(error, sqlite3.Error):
        error = explain(error, None)
    if not isinstance(error, LLMOpsError):
        return None
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    return Fault(status, type(error).__name__, " ".join(str(error).split()))
