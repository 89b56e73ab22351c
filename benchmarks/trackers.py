"""The programs that write traces, ours and MLflow's, each as a process of its own."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import Child, environment
from benchmarks.writers import complete, complete_mlflow

Written = tuple[float, list[float]]  # traces per second, seconds of each call


def mlflow_options(*, background: bool) -> dict[str, str]:
    """As it comes MLflow exports in the background; its documentation offers to switch that off."""
    off = {} if background else {"MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false"}
    return {"MLFLOW_DISABLE_TELEMETRY": "true", **off}


@dataclass(frozen=True)
class Writer:
    """A program that writes traces and prints each id, and how a second connection finds them."""

    name: str
    python: str
    module: str
    file: str
    complete: Callable[[Path], set[str]]
    options: Mapping[str, str] | None = None

    def start(self, folder: Path, count: int, seed: int, errors: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.python, "-m", self.module, str(folder), str(count), str(seed)],
            cwd=folder,
            env=environment(self.options),
            stdout=subprocess.PIPE,
            stderr=errors,
        )


OURS = Writer("ours", sys.executable, "benchmarks.writers", ".llmops/llmops.db", complete)


def mlflow_writer(python: str, *, background: bool) -> Writer:
    return Writer(
        "MLflow as it comes" if background else "MLflow, async off",
        python,
        "benchmarks.mlflow_peer",
        "mlflow.db",
        complete_mlflow,
        mlflow_options(background=background),
    )


class Mlflow:
    """MLflow in a process of its own, warm, with one file for all its traces."""

    def __init__(self, python: str, *, background: bool) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._seed = itertools.count(1000)
        self._child = Child(
            python,
            "benchmarks.mlflow_peer",
            self._folder.name,
            extra=mlflow_options(background=background),
        )
        self.version = self._child.ask("version")

    def write(self, count: int) -> Written:
        """Write traces; those count that a second connection finds whole after the flush."""
        found = self._child.ask("write", count=count, seed=next(self._seed))
        kept = set(found["ids"]) & complete_mlflow(Path(self._folder.name) / "mlflow.db")
        return len(kept) / found["seconds"], found["calls"]

    def search(self, word: str, runs: int, *, spans: bool) -> list[float]:
        """Seconds of each search for the newest 100."""
        return self._child.ask("search", word=word, runs=runs, spans=spans)

    def __enter__(self) -> Mlflow:
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.__exit__(*exc)
        self._folder.cleanup()
