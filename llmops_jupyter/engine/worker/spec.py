"""What a worker loads, and what makes two clients want the same one."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from llmops_jupyter.engine import meter
from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.engine.worker.wire import FORM

FACTORY = "llmops_jupyter.engine.opening:open_engine"
# Variables that decide where and how the native library computes.
NATIVE = ("CUDA_", "HIP_", "ROCR_", "GGML_", "LLAMA_")
# Of the code that runs, even if the package is replaced while it does. The package itself stands above us.
VERSION: str = sys.modules["llmops_jupyter"].__version__


def build_of_binding() -> list[Any]:
    """What tells one installation of llama-cpp-python from another; empty if there is none.

    Read from its files, since the package's metadata take longer to read than a model's header.
    """
    try:
        found = importlib.util.find_spec("llama_cpp")
        if found is None or found.origin is None:
            return []
        code = Path(found.origin)
        parts = [p for p in (code, code.parent / "lib") if p.exists()]
        return [found.origin, *(p.stat().st_mtime_ns for p in parts)]
    except (OSError, ValueError):
        return []


@dataclass(frozen=True)
class Spec:
    """A model and how to load it; the arguments of LlamaCppEngine.

    `metadata` is what the file's header says, if it was read already. `factory` names what makes the
    engine, as "module:callable". `energy` says what counts energy; see `engine.energy`.
    """

    path: str
    model_name: str
    model_digest: str
    n_ctx: int | None = None
    n_threads: int | None = None
    n_gpu_layers: int | None = None
    rows: int | None = None
    n_batch: int | None = None
    metadata: Mapping[str, Any] | None = None
    prefix_cache_mb: int = 0
    factory: str = FACTORY
    energy: str = "auto"

    def begin(self) -> None:
        """Begin with what takes longest of `load`, if the factory's module can; errors come there."""
        module = self.factory.partition(":")[0]
        begin = getattr(import_module(module), "begin", None)
        if begin is not None:
            begin(self.path, self.n_gpu_layers)

    def load(self) -> Engine:
        """The engine, loaded in this process; raises what the factory raises."""
        meter.use(self.energy)
        module, _, name = self.factory.partition(":")
        make: Callable[..., Engine] = getattr(import_module(module), name)
        return make(
            self.path,
            model_name=self.model_name,
            model_digest=self.model_digest,
            n_ctx=self.n_ctx,
            n_threads=self.n_threads,
            n_gpu_layers=self.n_gpu_layers,
            rows=self.rows,
            n_batch=self.n_batch,
            metadata=self.metadata,
            prefix_cache_mb=self.prefix_cache_mb,
        )

    def value(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Spec:
        return cls(**value)

    def key(self, environ: Mapping[str, str] | None = None) -> str:
        """Hex digest of all that a client relies on; equal keys may share a worker.

        The model is named by its content, so its path, name and header are left out.
        """
        given = os.environ if environ is None else environ
        settings = self.value()
        del settings["path"], settings["model_name"], settings["metadata"]
        native = {k: v for k, v in given.items() if k.startswith(NATIVE)}
        parts = [VERSION, FORM, build_of_binding(), sys.prefix, settings, native]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
