"""`%config LLMOps`: the settings as traitlets."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Float, Int, TraitError, Unicode, observe, validate
from traitlets.config import Configurable

from llmops_jupyter import config
from llmops_jupyter.config import HELP
from llmops_jupyter.errors import LLMOpsError

if TYPE_CHECKING:
    from llmops_jupyter.magics.session import Session
    from llmops_jupyter.workspace import Workspace

NAMES = tuple(f.name for f in fields(config.Settings))


class LLMOps(Configurable):
    """Settings of the llmops magics; see `config.Settings`."""

    model = Unicode(help=HELP["model"]).tag(config=True)
    temperature = Float(help=HELP["temperature"]).tag(config=True)
    max_tokens = Int(help=HELP["max_tokens"]).tag(config=True)
    seed = Int(None, allow_none=True, help=HELP["seed"]).tag(config=True)
    context_length = Int(None, allow_none=True, help=HELP["context_length"]).tag(config=True)
    threads = Int(None, allow_none=True, help=HELP["threads"]).tag(config=True)
    stream = Bool(True, help=HELP["stream"]).tag(config=True)
    durable = Bool(False, help=HELP["durable"]).tag(config=True)
    redact = Unicode(help=HELP["redact"]).tag(config=True)
    keep_days = Float(None, allow_none=True, help=HELP["keep_days"]).tag(config=True)
    keep_bytes = Int(None, allow_none=True, help=HELP["keep_bytes"]).tag(config=True)

    def __init__(self, session: Session, **kwargs: Any) -> None:
        start = config.from_environment()
        self._session = session
        self._ready = False
        super().__init__(**{n: getattr(start, n) for n in NAMES}, **kwargs)
        self._ready = True

    def apply(self, workspace: Workspace) -> None:
        """Give a workspace that was just opened the settings of this kernel."""
        changes = {n: getattr(self, n) for n in NAMES}
        changed = {n: v for n, v in changes.items() if getattr(workspace.settings, n) != v}
        if changed:
            workspace.configure(**changed)

    @validate(*NAMES)
    def _check(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        try:
            config.changed(config.Settings(), **{name: value})
            if name == "redact":
                from llmops_jupyter.privacy import redactor

                redactor(value)
        except LLMOpsError as e:
            # traitlets takes a value back only for its own kind of error.
            raise TraitError(str(e)) from e
        return value

    @observe(*NAMES)
    def _changed(self, change: Any) -> None:
        workspace = self._session.opened
        if self._ready and workspace is not None:
            workspace.configure(**{change["name"]: change["new"]})
