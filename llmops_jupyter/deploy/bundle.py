"""An opened bundle: what it runs, and a workspace of its own in which all of it is there."""

from __future__ import annotations

import json
import os
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy import weights
from llmops_jupyter.deploy.manifest import Manifest
from llmops_jupyter.deploy.releases import SHORT
from llmops_jupyter.errors import DeployError

if TYPE_CHECKING:
    from llmops_jupyter.workspace import Workspace

# The workspace stands above this room, so it is looked up when a bundle is asked for one.
WORKSPACE = "llmops_jupyter.workspace:Workspace"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were checked; see `open_bundle`.

    Args:
        folder: where it lies.
        manifest: what it is made of.
        given: weights of the model that were named when it was opened.
    """

    folder: Path
    manifest: Manifest
    given: Path | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The deployment that it is for."""
        return self.manifest.name

    @property
    def digest(self) -> str:
        """Of all that decides what it answers, as ``sha256:…``."""
        return self.manifest.digest

    @property
    def release(self) -> str:
        """How traces name it: ``support@0123456789ab``."""
        return f"{self.name}@{self.digest.removeprefix('sha256:')[:SHORT]}"

    @property
    def prompt(self) -> str:
        """The reference of the prompt in the bundle's workspace."""
        return f"{self.manifest.prompt['name']}@1"

    @property
    def settings(self) -> dict[str, Any]:
        """Run options, for `prompts.run` in the bundle's workspace."""
        return dict(self.manifest.settings)

    @cached_property
    def model_path(self) -> Path | None:
        """The weights of the model; None for an endpoint.

        Raises:
            DeployError: they are neither in the bundle nor on this machine.
        """
        return self.path_of(self.manifest.model, self.given)

    @property
    def adapter_path(self) -> Path | None:
        """The file of the first adapter; None without one."""
        found = self.manifest.adapters
        return self.file(str(found[0]["file"])) if found else None

    @property
    def adapters(self) -> tuple[tuple[Path, float], ...]:
        """The files of all adapters with their scales."""
        return tuple((self.file(str(a["file"])), float(a["scale"])) for a in self.manifest.adapters)

    @property
    def index(self) -> str | None:
        """The name of the index in the bundle's workspace; None without one."""
        return None if self.manifest.index is None else str(self.manifest.index["name"])

    @property
    def guard(self) -> str | None:
        """The reference of the policy in the bundle's workspace; None without one."""
        return None if self.manifest.guard is None else f"{self.manifest.guard['name']}@1"

    @property
    def lock(self) -> dict[str, Any]:
        """The environment in which it was built."""
        from llmops_jupyter.deploy.building import LOCK

        return dict(self.value(LOCK))

    @property
    def evaluation(self) -> Mapping[str, Any] | None:
        """The report that speaks for it; None without one."""
        told = self.manifest.evaluation
        return None if told is None else dict(self.value(str(told["report"])))

    def path_of(self, facts: Mapping[str, Any], given: Path | None = None) -> Path | None:
        """The weights of a model of the manifest; None for an endpoint.

        Raises:
            DeployError: they are neither in the bundle nor on this machine.
        """
        found = weights.located(facts, self.folder, self.manifest.weights, given)
        if found is None and "endpoint" not in facts:
            raise DeployError(
                f"The weights of {facts['name']} (sha256 {str(facts['digest'])[:12]}…) are not in the bundle "
                f"{str(self.folder)!r} and not found on this machine. Build it with --weights copy, or name them: "
                "open_bundle(FOLDER, model=FILE)"
            )
        return found

    def file(self, path: str) -> Path:
        """One of its files.

        Raises:
            DeployError: the manifest lists none of that name, so that nothing is known of it.
        """
        if path not in self.manifest.files:
            raise DeployError(
                f"The bundle {str(self.folder)!r} has no file {path!r:.100}. Build or copy it again."
            )
        return self.folder / path

    def value(self, path: str) -> Any:
        """The JSON of one of its files."""
        try:
            return json.loads(self.file(path).read_text("utf-8"))
        except (OSError, ValueError) as e:
            raise DeployError(f"{path!r} of the bundle cannot be read: {e}. Copy it again.") from e

    def differences(self) -> list[str]:
        """What of this environment is otherwise than where the bundle was built, and may change answers."""
        from llmops_jupyter.deploy import environment

        return environment.differences(self.lock, environment.lock())

    def workspace(self, path: str | os.PathLike[str] = ":memory:", **settings: Any) -> Workspace:
        """A workspace of the bundle's own, in which prompt, policy, model, adapters and index are there.

        It is not the one that magics use, and neither reads nor writes the project's store. In a file it can be
        opened again, with the traces that it has; a file is of one bundle. Close it, or use it as a context manager.

        Args:
            path: a store's file or folder, or ":memory:".
            settings: as for `lo.open`. Traces say which deployment they are of.

        Raises:
            DeployError: the weights are not there or not those that the bundle was built with, or the file is another
                bundle's.
        """
        from llmops_jupyter import config
        from llmops_jupyter.deploy import restoring
        from llmops_jupyter.store import open_store

        chosen = {"deployment": self.release, **settings}
        made = config.changed(config.from_environment(), **chosen)
        store = open_store(os.fspath(path), durable=made.durable)
        try:
            workspace: Workspace = pkgutil.resolve_name(WORKSPACE)(
                store, made, given=frozenset(chosen)
            )
            restoring.restore(workspace, self)
        except BaseException:
            store.close()
            raise
        return workspace
