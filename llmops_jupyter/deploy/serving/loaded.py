"""A release that is in service: its bundle, opened, and how many requests it has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.config import DEPLOYMENT, RELEASE
from llmops_jupyter.deploy.releases import SHORT

if TYPE_CHECKING:
    from llmops_jupyter.deploy.bundle import Bundle
    from llmops_jupyter.engine.protocol import Engine
    from llmops_jupyter.prompts.content import Content, Examples
    from llmops_jupyter.prompts.options import Options
    from llmops_jupyter.prompts.registry import PromptVersion
    from llmops_jupyter.prompts.spending import Purse
    from llmops_jupyter.workspace import Workspace

# Opens the workspace of a bundle.
Opens = Callable[["Bundle"], "Workspace"]


def opened(bundle: Bundle) -> Workspace:
    """The workspace of a bundle, in memory: what is written during serving goes to another store."""
    return bundle.workspace()


@dataclass(eq=False)
class Loaded:
    """A release in service.

    Args:
        bundle: that it is.
        workspace: of the bundle.
        ref: by which people name it: ``support@3``, or of a bundle that is no release ``support@0123456789ab``.
        only_template: whether only the bundle's own prompt is answered.
        timeout: seconds that an answer takes at most.
        purse: who keeps the budgets.
    """

    bundle: Bundle
    workspace: Workspace
    ref: str
    only_template: bool = False
    timeout: float | None = None
    purse: Callable[[], Purse | None] = lambda: None
    requests: int = 0
    retired: bool = False
    closed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @cached_property
    def version(self) -> PromptVersion:
        """The bundle's prompt."""
        return self.workspace.prompts.get(self.bundle.prompt)

    @property
    def content(self) -> Content:
        return self.version.content

    @cached_property
    def options(self) -> Options:
        """The bundle's settings."""
        settings = dict(self.bundle.settings)
        made = self.workspace.prompts.resolved(self.bundle.prompt, **settings)
        if made.timeout is not None:
            self.timeout = min(made.timeout, self.timeout or made.timeout)
        return made

    @property
    def short(self) -> str:
        """By which traces name it."""
        return self.bundle.digest.removeprefix("sha256:")[:SHORT]

    @property
    def attributes(self) -> Mapping[str, str]:
        """What each trace says of it."""
        return {DEPLOYMENT: self.bundle.name, RELEASE: self.short}

    @property
    def holds_back(self) -> bool:
        """Whether an answer may be changed once it is there, so that none of it is sent before."""
        options = self.options
        guarded = options.guard is not None and options.guard.policy.holds_back("output")
        documents = options.documents
        return guarded or (documents is not None and (documents.only or documents.quote))

    @property
    def embedder(self) -> str | None:
        """The name of the model that embeds; None without one."""
        facts = self.bundle.manifest.embedder
        return None if facts is None else str(facts["name"])

    def engine(self, name: str | None = None) -> Engine:
        """The engine of the bundle's model, or of another one of it; opened anew where its worker has died."""
        return self.workspace.engine.engine(name or self.options.model)

    def examples(self, examples: Examples) -> Sequence[Mapping[str, Any]]:
        """The rows of the prompt's examples."""
        if not examples.dataset:
            return examples.rows
        name = examples.dataset.partition("@")[0]
        found = self.workspace.data.find(name, examples.dataset_hash)
        return list((found or self.workspace.data.get(name)).rows())

    def warm(self) -> None:
        """Load all that the first request needs.

        Raises:
            LLMOpsError: something of it cannot be loaded.
        """
        self.engine()
        if self.embedder is not None:
            self.engine(self.embedder)
        if self.options.documents is not None:
            self.workspace.prompts.find_source(self.options.documents)

    def take(self) -> None:
        """A request begins."""
        with self.lock:
            self.requests += 1

    def leave(self) -> None:
        """A request has ended; the last one of a retired release closes it, in a thread, for others go on meanwhile."""
        with self.lock:
            self.requests -= 1
            last = self.retired and self.requests == 0 and not self.closed
            self.closed = self.closed or last
        if last:
            threading.Thread(target=self.workspace.close, name="closing").start()

    def retire(self) -> None:
        """Take no more requests; it is closed once the last one has ended."""
        with self.lock:
            self.retired = True
            last = self.requests == 0 and not self.closed
            self.closed = self.closed or last
        if last:
            self.workspace.close()


def load(
    folder: Path,
    ref: str,
    digest: str | None = None,
    *,
    model: Path | None = None,
    opens: Opens = opened,
    **options: Any,
) -> Loaded:
    """Open a bundle and load its model.

    Raises:
        DeployError: it is not whole, or not the one with this digest.
        LLMOpsError: its model cannot be loaded.
    """
    from llmops_jupyter.deploy.opening import open_bundle
    from llmops_jupyter.errors import DeployError

    bundle = open_bundle(folder, model=model)
    if digest is not None and bundle.digest != digest:
        raise DeployError(
            f"{str(folder)!r} holds another bundle than {ref} (sha256 {digest.removeprefix('sha256:')[:SHORT]}…). Put it "
            "back, or build it again."
        )
    workspace = opens(bundle)
    try:
        made = Loaded(bundle, workspace, ref or bundle.release, **options)
        made.warm()
    except BaseException:
        workspace.close()
        raise
    return made
