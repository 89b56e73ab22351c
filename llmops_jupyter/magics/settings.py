"""`%config LLMOps`: the settings as traitlets."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from traitlets import Bool, Float, Int, TraitError, Unicode, observe, validate
from traitlets.config import Configurable

from llmops_jupyter import config, workspace
from llmops_jupyter.config import HELP
from llmops_jupyter.errors import LLMOpsError

NAMES = tuple(f.name for f in fields(config.Settings))


class LLMOps(Configurable):
    """Settings of the llmops magics; see `config.Settings`."""

    model = Unicode(help=HELP["model"]).tag(config=True)
    temperature = Float(help=HELP["temperature"]).tag(config=True)
    max_tokens = Int(help=HELP["max_tokens"]).tag(config=True)
    seed = Int(None, allow_none=True, help=HELP["seed"]).tag(config=True)
    context_length = Int(None, allow_none=True, help=HELP["context_length"]).tag(config=True)
    threads = Int(None, allow_none=True, help=HELP["threads"]).tag(config=True)
    backend = Unicode("auto", help=HELP["backend"]).tag(config=True)
    worker = Unicode("shared", help=HELP["worker"]).tag(config=True)
    worker_idle_s = Float(300.0, help=HELP["worker_idle_s"]).tag(config=True)
    prefix_cache_mb = Int(512, help=HELP["prefix_cache_mb"]).tag(config=True)
    stream = Bool(True, help=HELP["stream"]).tag(config=True)
    durable = Bool(False, help=HELP["durable"]).tag(config=True)
    redact = Unicode(help=HELP["redact"]).tag(config=True)
    keep_days = Float(None, allow_none=True, help=HELP["keep_days"]).tag(config=True)
    keep_bytes = Int(None, allow_none=True, help=HELP["keep_bytes"]).tag(config=True)
    exact = Bool(False, help=HELP["exact"]).tag(config=True)
    energy = Unicode("auto", help=HELP["energy"]).tag(config=True)
    deployment = Unicode(help=HELP["deployment"]).tag(config=True)

    def __init__(self, shell: Any) -> None:
        start = config.from_environment()
        # What IPython's own configuration files say wins over the environment.
        named = set(getattr(shell, "config", {}).get("LLMOps", {}))
        self._ready = False
        super().__init__(parent=shell, **{n: getattr(start, n) for n in NAMES if n not in named})
        self._ready = True
        if named:
            chosen = {n: getattr(self, n) for n in NAMES if n in named}
            workspace.set_defaults(override=False, **chosen)

    def update_config(self, chosen: Any) -> None:
        """What `%config` calls; a value that is set again as it is was meant as well."""
        before = {n: getattr(self, n) for n in NAMES}
        super().update_config(chosen)
        again = [
            n for n in chosen.get("LLMOps", {}) if n in NAMES and getattr(self, n) == before[n]
        ]
        if again:
            workspace.set_defaults(**{n: getattr(self, n) for n in again})

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
        if self._ready:
            workspace.set_defaults(**{change["name"]: change["new"]})
