"""The process of a run: whether there is room for it, its start, and what to say of its end."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmops_jupyter.engine.worker.process import apart, environment, package_folder, reap
from llmops_jupyter.errors import EngineError, StoreError, StoreFullError
from llmops_jupyter.finetune import job
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.runs import FAILED, INTERRUPTED, Run
from llmops_jupyter.models.memory import megabytes
from llmops_jupyter.models.model import Model


def check_space(folder: Path, recipe: Recipe, base: Model) -> None:
    """Raise a StoreFullError if two checkpoints (the new one stands beside the old) and an adapter do not fit."""
    metadata = base.metadata
    numbers = (
        metadata.layers
        * recipe.rank
        * (8 * metadata.embedding_length + 6 * metadata.feed_forward_length)
    )
    wanted = numbers * 4 * 9
    place = next(p for p in (folder, *folder.parents) if p.is_dir())
    free = shutil.disk_usage(place).free
    if free < wanted:
        raise StoreFullError(
            f"The run needs about {megabytes(wanted)} of disk for checkpoints; {megabytes(free)} are "
            f"free in {str(place)!r}. Make room, or use a lower --rank."
        )


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Where the folder of a run is made: it is there whole, or not at all.

    Raises:
        StoreFullError, StoreError: it cannot be written.
    """
    try:
        yield
    except BaseException as e:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()  # where this would have been the first run
        if not isinstance(e, OSError):
            raise
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError(
                f"The disk is full: the run was not begun, and nothing is left in {str(folder)!r}. Make room and "
                "run it again."
            ) from e
        raise StoreError(
            f"The folder of the run, {str(folder)!r}, cannot be written: {e.strerror or e}. Make it writable."
        ) from e


def launch(folder: Path) -> None:
    """Start the process that trains the run in a folder; it outlives this one.

    Raises:
        EngineError: none can be started.
    """
    try:
        with (folder / job.LOG).open("ab") as log:
            started = subprocess.Popen(  # noqa: S603 - this Python and a module of ours
                [sys.executable, "-m", "llmops_jupyter.finetune.worker", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=package_folder(),
                env=environment(),
                **apart(()),
            )
    except OSError as e:
        raise EngineError(f"No process can be started ({e}). Free memory and run again.") from e
    # Noted here too: until the process has come up and says so itself, it is known to be alive.
    job.mark_process(folder, started.pid)
    reap(started)


def or_raise(run: Run) -> Run:
    """The run itself, if it came to an end.

    Raises:
        EngineError: it failed, or its process is gone; the message says how to go on.
    """
    if run.status == FAILED:
        raise EngineError(f"{run.message} Its log: {run.folder / job.LOG}")
    if run.status == INTERRUPTED:
        last = ""
        with suppress(OSError):
            last = _last_words((run.folder / job.LOG).read_text("utf-8", "replace"))
        raise EngineError(
            f"The process of the run {run.id} was ended from outside{last}. Go on from its last "
            f"checkpoint with: %finetune resume {run.name}"
        )
    return run


def _last_words(log: str) -> str:
    """The last line of a log that is no library's warning, behind a colon; '' if there is none."""
    lines = [line.strip() for line in log.splitlines()]
    said = [s for s in lines if s and "warn" not in s.lower() and not s.startswith("[W")]
    return f": {said[-1]}" if said else ""
