"""A workspace opens the store, hands out the stages and plugs them together."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_jupyter import config
from llmops_jupyter.config import Settings
from llmops_jupyter.engine.cassette import RECORD, REPLAY
from llmops_jupyter.engine.engines import Engines
from llmops_jupyter.privacy import redactor
from llmops_jupyter.store import Store, maintenance, open_store
from llmops_jupyter.tracing import Provenance, Tracer, Traces, retention

T = TypeVar("T")

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset, Datasets
    from llmops_jupyter.deploy.stage import Deploy
    from llmops_jupyter.engine.placing import Place
    from llmops_jupyter.evaluation import Evaluation
    from llmops_jupyter.finetune.stage import Finetune
    from llmops_jupyter.guard import Guard
    from llmops_jupyter.guard.check import Embed, Judge
    from llmops_jupyter.models import Models
    from llmops_jupyter.monitor import Monitor
    from llmops_jupyter.prompts import Prompts
    from llmops_jupyter.prompts.spending import Purse
    from llmops_jupyter.rag import Rag


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
        self.engine = Engines(store, lambda: self.models, self._settings_of_engines, self._place)
        self._stages: dict[str, Any] = {}
        if not store.read_only:
            retention.mark_interrupted(store)
            self._forget()
        if os.environ.get(REPLAY):
            self.engine.replay(os.environ[REPLAY], process=True)
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
                lambda: self.data,
                lambda: self.settings,
                self.engine.adapter,
                self.engine.base_for,
                lambda documents: self.rag.source(documents),  # noqa: PLW0108 - made when it is used
                lambda policy: self.guard.pipeline(policy),  # noqa: PLW0108 - likewise
                self._purse,
                self.engine.at,
            ),
        )

    @property
    def guard(self) -> Guard:
        from llmops_jupyter.guard import Guard

        return self._stage(
            "guard",
            lambda: Guard(
                self.tracer,
                self.traces,
                data=lambda: self.data,
                embed=self._embed,
                judge=self._judge,
            ),
        )

    @property
    def evaluation(self) -> Evaluation:
        from llmops_jupyter.evaluation import Evaluation

        return self._stage(
            "evaluation",
            lambda: Evaluation(
                lambda: self.prompts,
                self.tracer,
                self.engine,
                lambda: self.data,
                self.engine.memory_of,
            ),
        )

    @property
    def rag(self) -> Rag:
        from llmops_jupyter.rag import Rag

        return self._stage(
            "rag",
            lambda: Rag(
                self.tracer,
                lambda name: self.engine.engine(name),  # noqa: PLW0108 - looked up when it is used
                lambda: self.models,
                lambda: self.data,
                lambda: self.prompts,
                self.engine.at,
            ),
        )

    @property
    def finetune(self) -> Finetune:
        from llmops_jupyter.finetune.stage import Finetune

        return self._stage(
            "finetune",
            lambda: Finetune(
                self.store,
                lambda: self.models,
                lambda: self.data,
                self.engine,
                lambda: self.evaluation,
            ),
        )

    @property
    def monitor(self) -> Monitor:
        from llmops_jupyter.monitor import Monitor

        return self._stage(
            "monitor",
            lambda: Monitor(
                self.store,
                self.tracer,
                self.traces,
                self.engine,
                data=lambda: self.data,
                prompts=lambda: self.prompts,
                evaluation=lambda: self.evaluation,
                rag=lambda: self.rag,
            ),
        )

    @property
    def deploy(self) -> Deploy:
        from llmops_jupyter.deploy.rooms import Rooms
        from llmops_jupyter.deploy.stage import Deploy

        return self._stage(
            "deploy",
            lambda: Deploy(
                Rooms(
                    self.store,
                    self.tracer,
                    models=lambda: self.models,
                    data=lambda: self.data,
                    prompts=lambda: self.prompts,
                    guard=lambda: self.guard,
                    rag=lambda: self.rag,
                    evaluation=lambda: self.evaluation,
                    monitor=lambda: self.monitor,
                )
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

    def collect(self, name: str, traces: Sequence[str]) -> tuple[Dataset, int]:
        """Add traces to a data set by their ids, as its next version; see `Datasets.collect`.

        Raises:
            UnknownNameError: there is no such trace; nothing was added.
        """
        found = [self.traces.get(trace).row() for trace in dict.fromkeys(traces)]
        cleaned = [{**self.tracer.clean(row), "trace_id": row["trace_id"]} for row in found]
        return self.data.collect(name, cleaned)

    def configure(self, **changes: Any) -> Settings:
        """Change settings of this workspace; see `Settings`. They hold from now on."""
        settings = config.changed(self.settings, **changes)
        if "redact" in changes:
            self.redact(changes["redact"])
        self.settings = settings
        if "durable" in changes:
            self.store.set_durable(settings.durable)
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
        """Write prompts, aliases, data sets, suites and guard policies as reviewable text; see `exchange`."""
        from llmops_jupyter import exchange

        return exchange.write(self, folder)

    def import_(self, folder: str | Path) -> dict[str, int]:
        """Read what `export` wrote; merges by content. Returns how many were new, by kind."""
        from llmops_jupyter import exchange

        return exchange.read(self, folder)

    def close(self) -> None:
        """Free models and close the file. Safe to call twice."""
        if "monitor" in self._stages:
            self._stages["monitor"].close()
        self.traces.close()
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

    def _settings_of_engines(self) -> Settings:
        """Ours; nothing of a prompt goes to the disk where the store is in memory or leaves something out."""
        if self.path is None or self._redact:
            return replace(self.settings, prefix_cache_mb=0)
        return self.settings

    def _embed(self) -> Embed | None:
        """Vectors of texts by the embedding model that an index would get; None if there is none."""
        from llmops_jupyter.rag.embedding import Embedder

        name = self.rag.default_embedder()
        return Embedder(name, self.engine.engine(name)).embed if name else None

    def _judge(self) -> Judge:
        """Questions about texts, decided by a model that was checked on the question's examples."""
        from llmops_jupyter.evaluation.judges.asked import asked_of

        return asked_of(self.engine, self.store)

    def _place(self, on: str) -> Place:
        """The machines of a Ray cluster, for engines that are to compute there."""
        from llmops_jupyter.deploy.targets.cluster import open_place

        return open_place(on, self._settings_of_engines())

    def _purse(self) -> Purse | None:
        """Who keeps the budgets, if there are any; asked at every call, so it costs next to nothing then."""
        if self.store.row("SELECT 1 FROM budgets WHERE ended_at IS NULL LIMIT 1") is None:
            return None
        return self.monitor.purse

    def _stage(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._stages:
            self._stages[name] = make()
        stage: T = self._stages[name]
        return stage

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


def opened_workspace() -> Workspace | None:
    """The workspace opened last, if it is open still; none is opened."""
    workspace = _process.current
    return None if workspace is None or workspace.store.closed else workspace


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
