"""What is loaded: an address, or a bundle or deployment that is served for as long as the load lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DeployError, missing_dependency
from llmops_jupyter.models.endpoint import Endpoint

# Looked up when it is asked for, since it needs packages that not everybody has.
SERVING = "llmops_jupyter.deploy.serving.process"


@dataclass(frozen=True)
class Server:
    """Where requests go, and with which key; the key is shown and kept nowhere."""

    endpoint: Endpoint
    key: str = ""

    def __repr__(self) -> str:
        return f"Server({self.endpoint.url})"


@contextmanager
def opened(
    given: str | os.PathLike[str], store: Path | None, *, model: str | None, key_env: str | None
) -> Iterator[Server]:
    """An address as it is; else what is served already, or else is served by a process of its own meanwhile.

    Raises:
        OptionError: the address cannot be used.
        EngineError: the variable of the key is not set.
        DeployError: it cannot be served.
    """
    text = os.fspath(given)
    if "://" in text:
        endpoint = Endpoint(text, model or "?", key_env or "")
        yield Server(endpoint, endpoint.key())
        return
    serving = _serving()
    found = next((s for s in serving.servers() if s.name == text), None)
    if found is not None and key_env:
        endpoint = Endpoint(found.address, model or "?", key_env)
        yield Server(endpoint, endpoint.key())
        return
    if found is not None:
        raise DeployError(
            f"{text} is served already at {found.address}. Measure that: %deploy bench {found.address} --key-env VARIABLE; or "
            f"end it first: %deploy stop {text}"
        )
    folder = Path(text).expanduser()
    started = serving.start(folder if folder.is_dir() else text, store=store, port=0, outlive=False)
    try:
        yield Server(Endpoint(started.address, model or "?"), started.key)
    finally:
        started.stop()


def _serving() -> Any:
    try:
        return import_module(SERVING)
    except ModuleNotFoundError as e:
        raise missing_dependency(str(e.name), "Serving", "serve") from e
