"""A workspace opens the store, hands out the stages and plugs them together."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_jupyter import config
from llmops_jupyter.config import Settings
from llmops_jupyter.engine.cassette import Cassette, begin_recording, end_recording
from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.engine.replay import RecordingEngine, ReplayEngine
from llmops_jupyter.errors import EngineError, ModelMemoryError, UnknownNameError
from llmops_jupyter.privacy import redactor
from llmops_jupyter.store import Store, maintenance, open_store
from llmops_jupyter.tracing import Provenance, Tracer, Traces, retention

T = TypeVar("T")

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset, Datasets
    from llmops_jupyter.engine.divergence import Divergence
    from llmops_jupyter.engine.tune import Tuning
    from llmops_jupyter.models import Model, Models
    from llmops_jupyter.prompts import Prompts

DEFAULT_CONTEXT = 4096
RECORD, REPLAY = "LLMOPS_RECORD", "LLMOPS_REPLAY"
# What an engine is kept under: digest, context, threads, batch and place; with another of them it is
# loaded anew.
Key = tuple[str, int, int | None, int | None, str]


class Engines:
    """Loaded models of a workspace; as many stay loaded as fit."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._loaded: dict[Key, Engine] = {}
        # Why an engine is not where the setting `worker` wants it.
        self._notes: dict[Key, tuple[str, ...]] = {}
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
        """What is loaded and where, other shared workers, and whether a cassette records or plays."""
        found: dict[str, Any] = {"mode": self._mode}
        if self._cassette is not None:
            found["cassette"] = str(self._cassette.path)
        found["loaded"] = loaded = [
            {
                **engine.status(),
                **({"notes": list(notes)} if (notes := self._notes.get(key)) else {}),
            }
            for key, engine in self._loaded.items()
        ]
        if self._workspace.settings.worker == "shared":
            from llmops_jupyter.engine.worker.sharing import workers

            here = {status.get("pid") for status in loaded}
            found["others"] = [other for other in workers() if other["pid"] not in here]
        return found

    def record(self, path: str | Path, *, process: bool = False) -> Path:
        """Record every call from now on into a new cassette; `process` see `begin_recording`."""
        self._cassette, self._mode = begin_recording(path, self, process=process), "record"
        return self._cassette.path

    def replay(self, path: str | Path) -> Path:
        """Answer every call from a cassette from now on."""
        self._cassette, self._mode = Cassette.load(path), "replay"
        end_recording(self)
        return self._cassette.path

    def live(self) -> None:
        """Neither record nor replay."""
        end_recording(self)
        self._cassette, self._mode = None, "live"

    def tune(self, name: str | None = None, **options: Any) -> Tuning:
        """Measure a model and copies of it, choose by a stated rule, and register the choice.

        Args:
            name: a registered model; None is the default.
            options: `text`, `loss`, `only`, `register` and `progress`; see `engine.tuning.tune`.
        """
        from llmops_jupyter.engine.tuning import tune

        owner = self._workspace
        return tune(owner.models, owner.store, name, threads=owner.settings.threads, **options)

    def quantize(
        self,
        name: str,
        kind: str,
        *,
        copy_name: str | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Model:
        """Make a copy of a model with weights of another kind and register it, as NAME-KIND if unnamed."""
        from llmops_jupyter.engine.tuning import register_copy

        owner = self._workspace
        return register_copy(
            owner.models,
            name,
            kind,
            name=copy_name,
            threads=owner.settings.threads,
            progress=progress,
        )

    def adapter_follows(self, copy: str, adapter: str, scale: float = 1.0) -> Divergence:
        """Whether an adapter does on a copy what it does on the model that the copy was made from."""
        from llmops_jupyter.engine.tuning import adapter_follows

        return adapter_follows(self._workspace.models, self._workspace.store, copy, adapter, scale)

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
        from llmops_jupyter.engine.worker.sharing import open_engine
        from llmops_jupyter.engine.worker.spec import Spec
        from llmops_jupyter.models import check_architecture, preflight

        settings = self._workspace.settings
        wanted = settings.context_length or DEFAULT_CONTEXT
        n_ctx = min(wanted, model.metadata.context_length or wanted)
        threads, batch = self._tuned(model)
        key = (model.sha256, n_ctx, threads, batch, settings.worker)
        # The worker of an engine may have died; another one takes its place.
        if key in self._loaded and getattr(self._loaded[key], "alive", True):
            return self._loaded[key]
        self._workspace.models.check_unchanged(model)
        check_architecture(model.metadata)
        self._make_room(model, n_ctx)
        opened = open_engine(
            Spec(
                path=str(model.path.absolute()),
                model_name=model.name,
                model_digest=model.sha256,
                n_ctx=n_ctx,
                n_threads=threads,
                n_batch=batch,
                metadata=model.metadata.as_dict(),
            ),
            mode=settings.worker,
            idle_s=settings.worker_idle_s,
            before_load=lambda: preflight(model.metadata, n_ctx),
        )
        self._loaded[key], self._notes[key] = opened.engine, opened.notes
        return opened.engine

    def _make_room(self, model: Model, n_ctx: int) -> None:
        """Close dead engines and other loads of the model, and the rest if they leave no room."""
        from llmops_jupyter.models import preflight

        for key, engine in list(self._loaded.items()):
            if key[0] == model.sha256 or not getattr(engine, "alive", True):
                self._loaded.pop(key).close()
        try:
            preflight(model.metadata, n_ctx)
        except ModelMemoryError:
            for key in list(self._loaded):
                self._loaded.pop(key).close()

    def _tuned(self, model: Model) -> tuple[int | None, int | None]:
        """Threads and batch: as set, else those that tuning found best."""
        from llmops_jupyter.engine import remembered
        from llmops_jupyter.engine.cores import default_threads

        threads = self._workspace.settings.threads
        found = remembered.setting_of(self._workspace.store, model.sha256)
        if found is None:
            return threads, None
        return threads or min(found.threads, default_threads()), found.batch


class Workspace:
    """Everything that belongs to one store. Use it as a context manager, or close it."""

    def __init__(
        self, store: Store, settings: Settings, *, given: frozenset[str] = frozenset()
    ) -> None:
        self.store = store
        self.settings = settings
        self.given = given  # settings that were named when it was opened
        self._redact: str | Callable[[str], str] = settings.redact
        self.tracer = Tracer(store, redact=redactor(self._redact), provenance=_process.provenance)
        self.traces = Traces(store, self.tracer)
        self.engine = Engines(self)
        self._stages: dict[str, Any] = {}
        if not store.read_only:
            retention.mark_interrupted(store)
            self._forget()
        if os.environ.get(REPLAY):
            self.engine.replay(os.environ[REPLAY])
        elif os.environ.get(RECORD):
            self.engine.record(os.environ[RECORD], process=True)

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
            lambda: Prompts(
                self.store,
                self.tracer,
                self.engine,
                self.data,
                lambda: self.settings,
                self.models.adapter,
            ),
        )

    def data_from_traces(self, name: str, *, limit: int = 200, **filters: Any) -> Dataset:
        """A data set from traces, for instance ``score="thumb=down"``; filters as for `traces.newest`."""
        # Traces may be older than the redaction rule that holds now.
        found = (
            {**self.tracer.clean(row), "trace_id": row["trace_id"]}
            for row in self.traces.rows(limit, **filters)
        )
        return self.data.from_rows_of_traces(name, found)

    def configure(self, **changes: Any) -> Settings:
        """Change settings of this workspace; see `Settings`. They hold from now on."""
        settings = config.changed(self.settings, **changes)
        if "redact" in changes:
            self.redact(changes["redact"])
        self.settings = settings
        if "durable" in changes:
            self._set_durable(settings.durable)
        if {"keep_days", "keep_bytes"} & set(changes) and not self.store.read_only:
            self._forget()
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
                    written += export_dataset(dataset, target / "data")
        except OSError as e:
            raise EngineError(f"{str(target)!r} cannot be written: {e.strerror}.") from e
        return written

    def import_(self, folder: str | Path) -> dict[str, int]:
        """Read what `export` wrote; merges by content. Returns how many were new, by kind.

        Everything is read and checked first; a fault in one file leaves nothing of any of them.
        """
        from llmops_jupyter.data import read_exported
        from llmops_jupyter.prompts import read_exported as read_prompts

        source = Path(folder).expanduser()
        if not source.is_dir():
            raise UnknownNameError(f"There is no folder {str(source)!r}. Name an exported one.")
        datasets = [read_exported(path) for path in sorted((source / "data").glob("*.json"))]
        prompts = read_prompts(source / "prompts")
        # Data sets go first: examples of prompts refer to them, by content.
        new_data = sum(dataset.add_to(self.data) for dataset in datasets)
        new_prompts = self.prompts.import_(prompts)
        return {"prompts": len(new_prompts), "data": new_data}

    def close(self) -> None:
        """Free models and close the file. Safe to call twice."""
        self.engine.live()
        self.engine.close()
        self.store.close()
        _process.opened.discard(self)
        if _process.current is self:
            _process.current = None

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

    def _set_durable(self, durable: bool) -> None:
        store = self.store
        store.durable = durable
        if store.read_only:
            return
        with store.lock:
            writer = store.writer()
            if not writer.in_transaction:
                writer.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")

    def _forget(self) -> None:
        days, size = self.settings.keep_days, self.settings.keep_bytes
        if days is None and size is None:
            return
        age = None if days is None else timedelta(days=days)
        self.traces.prune(older_than=age, max_bytes=size)


class _Process:
    """What holds for every workspace of this process: the notebook's settings, and where cells are."""

    def __init__(self) -> None:
        self.defaults: dict[str, Any] = {}
        self.provenance: Callable[[], Provenance] | None = None
        self.opened: weakref.WeakSet[Workspace] = weakref.WeakSet()
        self.current: Workspace | None = None


_process = _Process()


def open_workspace(
    path: str | Path | None = None, *, read_only: bool = False, **settings: Any
) -> Workspace:
    """Open the workspace of the working directory, or of a file or folder.

    The workspace opened last is the one that `trace`, `span` and the magics use.

    Args:
        path: a file, a folder, ":memory:", or None for the working directory's.
        read_only: for looking only; nothing is written.
        settings: see `Settings`; they win over `%config LLMOps` as it stands now, and that over
            `LLMOPS_*` variables. What `%config` sets later wins.
    """
    made = config.changed(config.from_environment(), **{**_process.defaults, **settings})
    store = open_store(path, read_only=read_only, durable=made.durable)
    try:
        workspace = Workspace(store, made, given=frozenset(settings))
    except BaseException:
        store.close()
        raise
    _process.opened.add(workspace)
    if not read_only:
        _process.current = workspace
    return workspace


def current_workspace() -> Workspace:
    """The workspace opened last; the working directory's is opened if none is."""
    workspace = _process.current
    if workspace is None or workspace.store.closed:
        workspace = open_workspace()
    return workspace


def set_defaults(*, override: bool = True, **settings: Any) -> None:
    """Settings for every workspace of this process, open now or opened later.

    Without `override` they leave alone what was named when a workspace was opened.

    Raises:
        OptionError, PrivacyError: a value cannot be used; nothing has changed.
    """
    config.changed(config.Settings(), **settings)
    redactor(settings.get("redact"))
    _process.defaults.update(settings)
    for workspace in list(_process.opened):
        changes = {n: v for n, v in settings.items() if override or n not in workspace.given}
        if changes and not workspace.store.closed:
            workspace.configure(**changes)


def set_provenance(provenance: Callable[[], Provenance] | None) -> None:
    """Who tells the notebook and the cell of root spans, in all workspaces of this process."""
    _process.provenance = provenance
    for workspace in list(_process.opened):
        workspace.tracer.provenance = provenance


def forget_defaults() -> None:
    """Workspaces opened from now on start from the environment alone."""
    _process.defaults.clear()
