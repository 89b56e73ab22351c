"""What runs on a node of a cluster: one model in an engine of ours, which answers and embeds."""

from __future__ import annotations

import os
import pickle
import pkgutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmops_jupyter.deploy.bundle import WORKSPACE
from llmops_jupyter.deploy.weights import located
from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import DeployError, EngineError


class Computer:
    """A model that is loaded on a node, in the process of an actor.

    Args:
        facts: of the model as a manifest has them (`facts_of`), with ``path``, where it lies on the machine that asks.
        settings: ``context_length`` and ``backend`` of the workspace that asks; threads are the node's own.
    """

    def __init__(self, facts: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        # Nothing can fail here: what an actor raises while it is made comes as words only.
        self._facts, self._settings = dict(facts), dict(settings)
        self._engine: Any = None
        self._lock = threading.Lock()

    def facts(self) -> dict[str, Any]:
        """Load the model; what the engine says of itself, and where it is.

        Raises:
            DeployError: the weights are not on this node, or others are in their place.
        """
        with self._lock:
            if self._engine is None:
                self._engine = self._loaded()
        engine = self._engine
        return {
            "provider": engine.provider,
            "context_length": engine.context_length,
            "node": _node(),
            "pid": os.getpid(),
        }

    def _loaded(self) -> Any:
        from llmops_jupyter import config
        from llmops_jupyter.store import open_store

        facts = self._facts
        found = located(facts, Path(), {"found": {facts["digest"]: facts["path"]}})
        if found is None:
            raise DeployError(
                f"The weights of {facts['name']} (sha256 {str(facts['digest'])[:12]}…) are not on the node {_node()}. Put "
                f"the file where it lies here, {facts['path']!r}, or into a folder in which models are looked for."
            )
        chosen = config.changed(config.from_environment(), worker="off", **self._settings)
        self._workspace = pkgutil.resolve_name(WORKSPACE)(open_store(":memory:"), chosen)
        model = self._workspace.models.add(str(found), name=str(facts["name"]))
        if model.sha256 != facts["digest"]:
            raise DeployError(
                f"{str(found)!r} on the node {_node()} is another file than {facts['name']} here (sha256 "
                f"{model.sha256[:12]}…, not {str(facts['digest'])[:12]}…). Copy it there again."
            )
        return self._workspace.engine.engine(model.name)

    def answer(self, request: Request) -> Finished:
        """The end of a request; a request that fails has its error in it."""
        for path, _ in request.adapters:
            if not Path(path).is_file():
                raise EngineError(
                    f"The adapter {path!r} is not on the node {_node()}. Copy it there, or use a disk that all nodes share."
                )
        events = [e for e in self._engine.generate([request]) if isinstance(e, Finished)]
        return _portable(events[-1])

    def embed(self, texts: Sequence[str]) -> Any:
        """Vectors of texts."""
        return self._engine.embed(list(texts))


def _portable(event: Finished) -> Finished:
    """The event as it can be sent: an error that cannot be goes as its words."""
    if event.error is None:
        return event
    try:
        pickle.loads(pickle.dumps(event.error))  # noqa: S301 - our own, just written
    except Exception:  # noqa: BLE001 - whatever an exception's own methods raise
        return replace(event, error=EngineError(f"{type(event.error).__name__}: {event.error}"))
    return event


def _node() -> str:
    import platform

    return platform.node()
