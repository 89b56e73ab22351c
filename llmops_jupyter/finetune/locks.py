"""One at a time in the folder of a run, over threads and processes; a lock goes with whoever holds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmops_jupyter.errors import EngineError

# Held while what came of a run is registered, or a run is gone on with; and by the process that trains.
CHANGING, TRAINING = ".changing.lock", ".training.lock"
PATIENCE_S = 120.0


@contextmanager
def held(folder: Path, name: str, patience: float = PATIENCE_S) -> Iterator[None]:
    """Hold a lock of a run's folder; waits up to `patience` seconds for it.

    Raises:
        EngineError: somebody else holds it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(str(folder / name))
    try:
        lock.acquire(timeout=patience)
    except Timeout as e:
        raise EngineError(
            f"Another process is at work on the run in {str(folder)!r}. Wait for it: %finetune status"
        ) from e
    except (OSError, NotImplementedError) as e:
        raise EngineError(
            f"The folder of the run, {str(folder)!r}, cannot be locked ({e}). Make it writable, or keep the store "
            "on a disk of this machine."
        ) from e
    try:
        yield
    finally:
        lock.release()
