"""A workspace opens the store, hands out the stages and plugs them together."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_jupyter import config
from llmops_jupyter.config import Settings
from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.engine.replay import Cassette, RecordingEngine, ReplayEngine
from llmops_jupyter.errors import EngineError, UnknownNameError
from llmops_jupyter.privacy import redactor
from llmops_jupyter.store import Store, maintenance, open_store
from llmops_jupyter.tracing import Tracer, Traces, retention

T = TypeVar("T")

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset, Datasets
    from llmops_jupyter.models import Model, Models
    from llmops_jupyter.prompts import Prompts

DEFAULT_CONTEXT = 4096
RECORD, REPLAY = "LLMOPS_RECORD", "LLMOPS_REPLAY"


class Engines:
    """Loaded models of a workspace; one stays loaded at a time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._loaded: dict[tuple[str, int], Engine] = {}
        self._lock = threading.Lock()
        self._cassette: Cassette | None = None
        self._mode = "live"

    def engine(self, model: str | None = None) -> Engine:
        """The engine of a model, loaded if need be. While a cassette plays, no model is loaded.

        Raises:
            UnknownNameError, ModelError: with what there is, or what would fit.
        """
        if self._mode == "replay" and self._cassette is not None:
            return self._replay(model, self._cassette)
        found = self._workspace.models.resolve(model)
        with self._lock:
            live = self._load(found)
        if self._mode == "record" and self._cassette is not None:
            return RecordingEngine(live, self._cassette)
        return live

    def status(self) -> dict[str, Any]:
        """What is loaded, and whether a cassette records or plays."""
        found: dict[str, Any] = {"mode": self._mode}
        if self._cassette is not None:
            found["cassette"] = str(self._cassette.path)
        found["loaded"] = [dict(engine.status()) for engine in self._loaded.values()]
        return found

    def record(self, path: str | Path) -> Path:
        """Record every call from now on into a new cassette."""
        cassette = Cassette(path)
        cassette.save()
        self._cassette, self._mode = cassette, "record"
        return cassette.path

    def replay(self, path: str | Path) -> Path:
        """Answer every call from a cassette from now on."""
        self._cassette, self._mode = Cassette.load(path), "replay"
        return self._cassette.path

    def live(self) -> None:
        """Neither record nor replay."""
        self._cassette, self._mode = None, "live"

    def close(self) -> None:
        """Free the loaded models."""
        with self._lock:
            for engine in self._loaded.values():
                engine.close()
            self._loaded.clear()

    def _replay(self, model: str | None, cassette: Cassette) -> Engine:
        try:
            found = self._workspace.models.resolve(model)
        except UnknownNameError:
            # Where the model is not installed, the cassette itself says which one answered.
            names = [model] if model in cassette.models else [] if model else list(cassette.models)
            if len(names) != 1 or names[0] is None:
                raise
            return ReplayEngine(cassette, names[0], cassette.models[names[0]]["digest"])
        return ReplayEngine(cassette, found.name, found.sha256)

    def _load(self, model: Model) -> Engine:
        from llmops_jupyter.engine.llamacpp import LlamaCppEngine
        from llmops_jupyter.models import check_architecture, preflight

        wanted = self._workspace.settings.context_length or DEFAULT_CONTEXT
        n_ctx = min(wanted, model.metadata.context_length or wanted)
        key = (model.sha256, n_ctx)
        if key in self._loaded:
            return self._loaded[key]
        self._workspace.models.check_unchanged(model)
        check_architecture(model.metadata)
        for other in list(self._loaded):
            self._loaded.pop(other).close()
        preflight(model.metadata, n_ctx)
        self._loaded[key] = LlamaCppEngine(
            model.path,
            model_name=model.name,
            model_digest=model.sha256,
            n_ctx=n_ctx,
            n_threads=self._workspace.settings.threads,
        )
        return self._loaded[key]


class Workspace:
    """Everything that belongs to one store. Use it as a context manager, or close it."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self._redact: str | Callable[[str], str] = settings.redact
        self.tracer = Tracer(store, redact=redactor(self._redact))
        self.traces = Traces(store, self.tracer)
        self.engine = Engines(self)
        self._stages: dict[str, Any] = {}
        if not store.read_only:
            retention.mark_interrupted(store)
            self._forget()
        if os.environ.get(REPLAY):
            self.engine.replay(os.environ[REPLAY])
        elif os.environ.get(RECORD):
            self.engine.record(os.environ[RECORD])

    @property
    def path(self) -> Path | None:
        """The store's file; None in memory."""
        return self.store.path

    @property
    def models(self) -> Models:
        from llmops_jupyter.models import Models

        return self._stage("models", lambda: Models(self.store))

    @property
    def data(self) -> Datasets:
        from llmops_jupyter.data import Datasets

        return self._stage("data", lambda: Datasets(self.store))

    @property
    def prompts(self) -> Prompts:
        from llmops_jupyter.prompts import Prompts

        return self._stage(
            "prompts",
            lambda: Prompts(self.store, self.tracer, self.engine, self.data, lambda: self.settings),
        )

    def data_from_traces(self, name: str, *, limit: int = 200, **filters: Any) -> Dataset:
        """A data set from traces, for instance ``score="thumb=down"``; filters as for `traces.newest`."""
        return self.data.from_rows_of_traces(name, self.traces.rows(limit, **filters))

    def configure(self, **changes: Any) -> Settings:
        """Change settings of this workspace; see `Settings`."""
        settings = config.changed(self.settings, **changes)
        if "redact" in changes:
            self.redact(changes["redact"])
        self.settings = settings
        return settings

    def redact(self, rule: str | Callable[[str], str]) -> None:
        """What to take out of traces before they are written: '', 'pii', kinds, or a function."""
        self.tracer.redact = redactor(rule)
        self._redact = rule
        if isinstance(rule, str):
            self.settings = replace(self.settings, redact=rule)

    def backup(self, target: str | Path) -> Path:
        """A consistent copy of the store while it is in use."""
        return maintenance.backup(self.store, target)

    def check(self) -> list[str]:
        """Faults of the file; empty when there are none."""
        return maintenance.check(self.store)

    def export(self, folder: str | Path) -> list[Path]:
        """Write prompts, aliases and data sets as reviewable text."""
        from llmops_jupyter.data import export_dataset

        target = Path(folder).expanduser()
        try:
            (target / "prompts").mkdir(parents=True, exist_ok=True)
            written = self.prompts.export(target / "prompts")
            (target / "data").mkdir(exist_ok=True)
            for latest in self.data.list():
                for dataset in self.data.history(latest.name):
                    made = export_dataset(dataset, target / "data")
                    written += made if isinstance(made, list) else [made]
        except OSError as e:
            raise EngineError(f"{str(target)!r} cannot be written: {e.strerror}.") from e
        return written

    def import_(self, folder: str | Path) -> dict[str, int]:
        """Read what `export` wrote; merges by content. Returns how many were new, by kind."""
        from llmops_jupyter.data import import_dataset

        source = Path(folder).expanduser()
        if not source.is_dir():
            raise UnknownNameError(f"There is no folder {str(source)!r}. Name an exported one.")
        prompts = self.prompts.import_(source / "prompts")
        before = {(d.name, d.version) for n in self.data.list() for d in self.data.history(n.name)}
        for path in sorted((source / "data").glob("*.json")):
            import_dataset(self.data, path)
        after = {(d.name, d.version) for n in self.data.list() for d in self.data.history(n.name)}
        return {"prompts": len(prompts), "data": len(after - before)}

    def close(self) -> None:
        """Free models and close the file. Safe to call twice."""
        self.engine.close()
        self.store.close()
        if _current.get("workspace") is self:
            del _current["workspace"]

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Workspace({str(self.path) if self.path else ':memory:'!r})"

    def _stage(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._stages:
            self._stages[name] = make()
        stage: T = self._stages[name]
        return stage

    def _forget(self) -> None:
        days, size = self.settings.keep_days, self.settings.keep_bytes
        if days is None and size is None:
            return
        age = None if days is None else f"{days}d"
        self.traces.prune(older_than=age, max_bytes=size)


_current: dict[str, Workspace] = {}


def open_workspace(
    path: str | Path | None = None, *, read_only: bool = False, **settings: Any
) -> Workspace:
    """Open the workspace of the working directory, or of a file or folder.

    The workspace opened last is the one that `trace`, `span` and the magics use.

    Args:
        path: a file, a folder, ":memory:", or None for the working directory's.
        read_only: for looking only; nothing is written.
        settings: see `Settings`; they win over `LLMOPS_*` variables.
    """
    made = config.changed(config.from_environment(), **settings)
    store = open_store(path, read_only=read_only, durable=made.durable)
    try:
        workspace = Workspace(store, made)
    except BaseException:
        store.close()
        raise
    if not read_only:
        _current["workspace"] = workspace
    return workspace


def current_workspace() -> Workspace:
    """The workspace opened last; the working directory's is opened if none is."""
    workspace = _current.get("workspace")
    if workspace is None or workspace.store.closed:
        workspace = open_workspace()
    return workspace


def environment_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings before any workspace is open."""
    return config.from_environment(environ)
