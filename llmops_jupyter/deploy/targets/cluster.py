"""A Ray cluster as a place to compute: one engine to a node, requests handed out one by one.

Requests go to actors of our own rather than through blocks of a data set: each answer is in the journal as soon as it is
there, a model stays loaded through all steps of a run, and what a lost node had not answered goes to the others.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.targets.computing import Computer
from llmops_jupyter.deploy.weights import facts_of
from llmops_jupyter.errors import (
    DeployError,
    LLMOpsError,
    MissingDependencyError,
    OptionError,
    missing_dependency,
)

if TYPE_CHECKING:
    from llmops_jupyter.config import Settings
    from llmops_jupyter.deploy.targets.crew import Crew
    from llmops_jupyter.models import Model

LOCAL, AUTO = "local", "auto"
KNOCK_S = 10.0
_ADDRESS = re.compile(r"(ray://)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}")
# Bytes of Ray's object store where we begin a cluster: requests and answers are small.
STORE_BYTES = 100 << 20


def open_place(on: str, settings: Settings) -> Cluster:
    """A cluster by its address.

    Args:
        on: ``ray://HOST:PORT`` (Ray's client), ``HOST:PORT`` or ``auto`` for a cluster that this machine belongs to,
            ``local`` for one that is begun here and ends with the work.
        settings: of the workspace that asks.

    Raises:
        OptionError: it is no address.
        MissingDependencyError: Ray is not installed.
        DeployError: the cluster cannot be reached, or is of another release of Ray.
    """
    if on not in (LOCAL, AUTO) and not _ADDRESS.fullmatch(str(on)):
        raise OptionError(
            f"{on!r:.80} is no place to compute. Write --on local, --on auto, or --on ray://HOST:10001."
        )
    ray = library()
    return Cluster(ray, settings, begun=connect(ray, on))


def library() -> Any:
    """Ray, which reports nothing to anybody.

    Raises:
        MissingDependencyError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as e:
        raise missing() from e
    return ray


def missing() -> MissingDependencyError:
    return missing_dependency("ray", "Computing on a cluster", "ray")


def connect(ray: Any, on: str) -> bool:
    """Connect to a cluster; whether it was done here, and is to be undone here.

    Raises:
        DeployError: it cannot be reached.
    """
    if ray.is_initialized():
        return False
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if on == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        if on not in (LOCAL, AUTO):
            _knock(on)  # Ray itself tries for minutes
        ray.init(address=on, **options)
    except (RuntimeError, ValueError, OverflowError, OSError) as e:
        why = (str(e).strip().splitlines() or [type(e).__name__])[0].rstrip(".")
        # A cluster that wants a token says nothing to a client without one.
        hint = " Where it wants a token, set RAY_AUTH_MODE and RAY_AUTH_TOKEN here."
        raise DeployError(
            f"The Ray cluster {on!r} cannot be used: {why}. Look whether it runs (ray status), with the release "
            f"{ray.__version__} of Ray and this Python on all nodes.{hint}"
        ) from e
    return True


def _knock(on: str) -> None:
    """Raise an OSError where nobody listens."""
    host, _, port = on.removeprefix("ray://").rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), KNOCK_S):
        return


class Cluster:
    """A Ray cluster that this process is connected to; a `Place`.

    Args:
        ray: the library.
        settings: of the workspace that asks.
        begun: disconnect in the end.
    """

    def __init__(self, ray: Any, settings: Settings, *, begun: bool) -> None:
        self._ray, self._settings, self._begun = ray, settings, begun
        self._crews: dict[str, Crew] = {}

    def computers(self, model: Model) -> Crew:
        """One for each node, with the model loaded."""
        from llmops_jupyter.deploy.targets.crew import Crew

        if model.sha256 not in self._crews:
            self._crews[model.sha256] = Crew(self._ray, self._maker(model), self._nodes())
        return self._crews[model.sha256]

    def close(self) -> None:
        for crew in self._crews.values():
            crew.close()
        self._crews.clear()
        if self._begun:
            self._ray.shutdown()

    def _maker(self, model: Model) -> Callable[[int], Any]:
        """Makes an actor that answers so many requests at once."""
        facts = {**facts_of(model), "path": str(model.path.absolute())}
        settings = {
            "context_length": self._settings.context_length,
            "backend": self._settings.backend,
        }

        def make(together: int) -> Any:
            kind = self._ray.remote(
                num_cpus=1, max_concurrency=together, scheduling_strategy="SPREAD"
            )
            return kind(Computer).remote(facts, settings)

        return make

    def _nodes(self) -> int:
        found = [n for n in self._ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1]
        if not found:
            raise DeployError(
                "No node of the Ray cluster has a CPU to compute with. Add one: ray start"
            )
        return len(found)


def told(error: BaseException) -> LLMOpsError:
    """An error of an actor as one of ours."""
    cause = getattr(error, "cause", None)
    found = cause if isinstance(cause, BaseException) else error
    if isinstance(found, LLMOpsError):
        return found
    words = str(found).strip().splitlines() or [""]
    last = next((w.strip() for w in reversed(words) if w.strip()), type(found).__name__)
    if "No module named" in str(found):
        return DeployError(
            f"A node of the cluster lacks something: {last}. Install the same release of llmops-jupyter on all nodes."
        )
    return DeployError(f"A node of the cluster failed: {last}. Look at its log: ray logs")
