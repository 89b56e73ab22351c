"""What a workspace's deployments can do with engines of others."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.manifest import FILE
from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.models.endpoint import Endpoint

if TYPE_CHECKING:
    from llmops_jupyter.deploy.bundle import Bundle
    from llmops_jupyter.deploy.rooms import Rooms
    from llmops_jupyter.deploy.targets.rayserve import RayService
    from llmops_jupyter.deploy.targets.target import Target
    from llmops_jupyter.models import Model

TARGETS = ("vllm", "ray")


class Targets(ABC):
    """Bundles elsewhere; a part of `Deploy`."""

    _rooms: Rooms

    @abstractmethod
    def open(self, reference: str) -> Bundle:
        """The bundle of a release; see `Deploy.open`."""

    def export(
        self,
        bundle: str | os.PathLike[str] | Bundle,
        target: str,
        folder: str | os.PathLike[str],
        **options: Any,
    ) -> Target:
        """Write a bundle for another engine; the folder appears whole or not at all.

        Args:
            bundle: reference of a release, folder of a bundle, or an opened one.
            target: 'vllm', see `targets.vllm.export`; or 'ray', see `targets.rayserve.export`.
            folder: to be made.
            options: of the target.

        Raises:
            OptionError, DeployError, ModelError: it cannot be written; nothing was left.
        """
        from llmops_jupyter.deploy.targets import rayserve, vllm

        if target not in TARGETS:
            raise OptionError(
                f"There is no target {target!r:.40}.{did_you_mean(str(target), TARGETS)} Targets: {', '.join(TARGETS)}."
            )
        write: Any = {"vllm": vllm.export, "ray": rayserve.export}[target]
        try:
            made: Target = write(self._opened(bundle), folder, **options)
        except TypeError as e:
            if "unexpected keyword" not in str(e):
                raise
            name = str(e).rpartition("argument ")[2]
            raise OptionError(f"The target {target} has no option {name}. Leave it out.") from e
        return made

    def ray(self, bundle: str | os.PathLike[str] | Bundle, **options: Any) -> RayService:
        """Put a bundle into service on a Ray cluster; see `targets.rayserve.start`."""
        from llmops_jupyter.deploy.targets.rayserve import start

        return start(self._opened(bundle), **options)

    def use(
        self,
        name: str,
        url: str | None = None,
        *,
        model: str | None = None,
        key_env: str = "",
        as_: str | None = None,
    ) -> Model:
        """Register a deployment that is served as a model, so that all that runs on models runs on it.

        Args:
            name: of the deployment.
            url: where it is served; left out, where this user's servers serve it.
            model: its id in requests; its name if left out.
            key_env: variable of the environment that holds the key.
            as_: name of the model; ``NAME-served`` if left out.

        Raises:
            OptionError: nobody serves it here, or something cannot be used.
        """
        from llmops_jupyter.deploy.serving.process import servers

        if url is None:
            found = {one.name: one for one in servers()}
            if name not in found:
                raise OptionError(
                    f"{name!r:.60} is not served on this machine.{did_you_mean(name, found)} Serve it (%deploy serve {name}), "
                    f"or say where it is: %deploy use {name} http://HOST:8000/v1"
                )
            url = found[name].address
        made = Endpoint(url, model or name, key_env)
        return self._rooms.models().add_endpoint(as_ or f"{name}-served", made)

    def _opened(self, given: str | os.PathLike[str] | Bundle) -> Bundle:
        from llmops_jupyter.deploy.bundle import Bundle
        from llmops_jupyter.deploy.opening import open_bundle

        if isinstance(given, Bundle):
            return given
        if (Path(given).expanduser() / FILE).is_file():
            return open_bundle(given)
        return self.open(os.fspath(given))
