"""The worker processes that have models loaded, as this user's kernels share them."""

from __future__ import annotations

import threading
import time
from typing import Any

from llmops_jupyter.engine.worker.folder import DoubtError, runtime_folder
from llmops_jupyter.engine.worker.sharing import workers
from llmops_jupyter.errors import LLMOpsError

# Asking takes a connection to each, so several who look share one answer.
FRESH_S = 3.0


class Workers:
    """Which shared workers run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: list[dict[str, Any]] = []
        self._until = 0.0

    def loaded(self) -> list[dict[str, Any]]:
        """Model, resident memory and process of each worker that has loaded one."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._found = self._ask()
                self._until = time.monotonic() + FRESH_S
            return self._found

    def stamp(self) -> tuple[tuple[str, int], ...]:
        """What differs when a worker has come or gone; it costs a look into one folder."""
        try:
            keys = sorted(runtime_folder().glob("*.key"))
            return tuple((key.name, key.stat().st_mtime_ns) for key in keys)
        except (DoubtError, OSError):
            return ()

    def _ask(self) -> list[dict[str, Any]]:
        try:
            found = workers()
        except (LLMOpsError, DoubtError, OSError):
            return []
        return [
            {
                "model": str(status.get("model", "")),
                "memory": _whole(status.get("memory")),
                "process_id": _whole(status.get("pid")) or 0,
            }
            for status in found
            if status.get("state") == "ready"
        ]


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
