"""What a worker loads, and what makes two clients want the same one."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

from llmops_jupyter.engine.protocol import Engine

PACKAGE, BINDING = "llmops-jupyter", "llama-cpp-python"
FACTORY = "llmops_jupyter.engine.llamacpp:LlamaCppEngine"
# Variables that decide where and how the native library computes.
NATIVE = ("CUDA_", "HIP_", "ROCR_", "GGML_", "LLAMA_")


def version(package: str) -> str:
    """The version of an installed package; '' if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


# Of the code that runs, even if the package is replaced while it does.
VERSION = version(PACKAGE)


@dataclass(frozen=True)
class Spec:
    """A model and how to load it; the arguments of LlamaCppEngine.

    `metadata` is what the file's header says, if it was read already. `factory` names what makes the
    engine, as "module:callable".
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

    def load(self) -> Engine:
        """The engine, loaded in this process; raises what the factory raises."""
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

        The model is named by its content, so its path, name and header are left out. The environment's folder
        stands for the build of the native library, which the version does not tell.
        """
        given = os.environ if environ is None else environ
        settings = self.value()
        del settings["path"], settings["model_name"], settings["metadata"]
        native = {k: v for k, v in given.items() if k.startswith(NATIVE)}
        parts = [VERSION, version(BINDING), sys.prefix, settings, native]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
