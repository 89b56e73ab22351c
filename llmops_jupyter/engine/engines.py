"""The loaded models of a workspace: opened when they are asked for, recorded, replayed."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.config import Settings
from llmops_jupyter.engine import backend
from llmops_jupyter.engine.cassette import Cassette, begin_recording, end_recording, playing
from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.engine.replay import RecordingEngine, ReplayEngine
from llmops_jupyter.errors import (
    EngineError,
    ModelError,
    ModelMemoryError,
    OptionError,
    UnknownNameError,
)
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from llmops_jupyter.engine.divergence import Divergence
    from llmops_jupyter.engine.placing import Place
    from llmops_jupyter.engine.saved import Usage
    from llmops_jupyter.engine.tune import Tuning
    from llmops_jupyter.models import Model, Models
    from llmops_jupyter.models.endpoint import Endpoint

DEFAULT_CONTEXT = 4096
# What an engine is kept under: the model's digest, and what it was opened with. With something else it is
# opened anew.
Key = tuple[Any, ...]
# Where the engines of a workspace compute while something runs elsewhere.
_PLACE: ContextVar[tuple[Engines, Place] | None] = ContextVar("place", default=None)


class Engines:
    """Loaded models of a workspace; as many stay loaded as fit.

    Args:
        store: where is kept what was measured of models.
        models: the registered models; made when they are first needed.
        settings: those that hold now.
        places: opens what is named after `on`; the workspace plugs this in.
    """

    def __init__(
        self,
        store: Store,
        models: Callable[[], Models],
        settings: Callable[[], Settings],
        places: Callable[[str], Place] | None = None,
    ) -> None:
        self._places = places
        self._store = store
        self._models = models
        self._settings = settings
        self._loaded: dict[Key, Engine] = {}
        # Why an engine is not where the setting `worker` wants it.
        self._notes: dict[Key, tuple[str, ...]] = {}
        # Digests of adapters and models that were found to belong together.
        self._fitting: set[tuple[str, str]] = set()
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
        found = self._models().resolve(model)
        placed = _PLACE.get()
        if placed is not None and placed[0] is self and found.endpoint is None:
            from llmops_jupyter.engine.placing import PlacedEngine

            computers = placed[1].computers(self._models().check_unchanged(found))
            return PlacedEngine(found, computers, lambda: self._here(found))
        live = self._here(found)
        if self._mode == "record" and self._cassette is not None:
            return RecordingEngine(live, self._cassette)
        return live

    @contextlib.contextmanager
    def at(self, on: str | None) -> Iterator[None]:
        """Have engines that are asked for meanwhile compute elsewhere; None leaves everything here.

        It holds for this thread. Endpoints compute elsewhere anyway, and are asked from here.

        Raises:
            OptionError: there is no such place, or a cassette records or plays.
            MissingDependencyError, EngineError: what it needs is not installed, or it cannot be reached.
        """
        if on is None:
            yield
            return
        if self._places is None or self._mode != "live":
            raise OptionError(
                f"Nothing is computed on {on!r:.80} while a cassette records or plays. Run it without --on."
            )
        place = self._places(on)
        token = _PLACE.set((self, place))
        try:
            yield
        finally:
            _PLACE.reset(token)
            place.close()

    def status(self) -> dict[str, Any]:
        """What is loaded and where, other shared workers, and whether a cassette records or plays."""
        found: dict[str, Any] = {"mode": self._mode}
        if self._cassette is not None:
            found["cassette"] = str(self._cassette.path)
        found["loaded"] = loaded = [
            _noted(engine.status(), self._notes.get(key, ()))
            for key, engine in list(self._loaded.items())
        ]
        found["saved"] = self._saved()
        if self._settings().worker == "shared":
            from llmops_jupyter.engine.worker.sharing import workers

            here = {status.get("pid") for status in loaded}
            found["others"] = [other for other in workers() if other["pid"] not in here]
        return found

    def memory_of(self, model: str) -> int | None:
        """Bytes that a model takes with one sequence; None for an endpoint, or where it is not known."""
        from llmops_jupyter.models.memory import estimate

        try:
            found = self._models().resolve(model)
        except UnknownNameError:
            return None  # a cassette may answer for a model that is not here
        if found.endpoint is not None:
            return None
        wanted = self._settings().context_length or DEFAULT_CONTEXT
        n_ctx = min(wanted, found.metadata.context_length or wanted)
        return estimate(found.metadata, n_ctx).total

    def record(self, path: str | Path, *, process: bool = False) -> Path:
        """Record every call from now on into a new cassette; `process` see `begin_recording`."""
        self._cassette, self._mode = begin_recording(path, self, process=process), "record"
        return self._cassette.path

    def replay(self, path: str | Path, *, process: bool = False) -> Path:
        """Answer every call from a cassette from now on; with `process` as one with all of this process, see `playing`."""
        self._cassette, self._mode = (playing if process else Cassette.load)(path), "replay"
        end_recording(self)
        return self._cassette.path

    def played(self, kind: str, model: Model, request: Mapping[str, Any]) -> Any:
        """What a cassette has for something other than a call of the engine; None if none plays.

        Raises:
            ReplayError: it has no recording of this.
        """
        if self._mode != "replay" or self._cassette is None:
            return None
        return self._cassette.take(kind, model.sha256, request)

    def keep(self, kind: str, model: Model, request: Mapping[str, Any], response: Any) -> None:
        """Record what `played` will give, if a cassette records."""
        if self._mode == "record" and self._cassette is not None:
            self._cassette.add(kind, model.sha256, request, response)

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

        return tune(self._models(), self._store, name, threads=self._settings().threads, **options)

    def tunings(self) -> dict[str, dict[str, Any]]:
        """What the last tuning of each model came to, by the model's hash; see `Tuning.kept`."""
        from llmops_jupyter.engine import remembered

        return remembered.tunings(self._store)

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

        return register_copy(
            self._models(),
            name,
            kind,
            name=copy_name,
            threads=self._settings().threads,
            progress=progress,
        )

    def adapter_follows(self, copy: str, adapter: str, scale: float = 1.0) -> Divergence:
        """Whether an adapter does on a copy what it does on the model that the copy was made from."""
        from llmops_jupyter.engine.tuning import adapter_follows

        return adapter_follows(self._models(), self._store, copy, adapter, scale)

    def adapter(self, ref: str, model: str | None, scale: float) -> Model:
        """The registered adapter, if it may be used with this model; not asked where a cassette plays.

        Raises:
            UnknownNameError, ModelError: there is no such adapter; or it was trained on another model; or the
                model is a copy on which it was not found to do the same as on the parent.
        """
        found = self._models().adapter(ref)
        if self._mode == "replay":
            return found
        try:
            base = self._models().resolve(model)
        except UnknownNameError:
            return found  # `engine` says which models there are
        self._check_fits(found, base)
        if base.parent and found.metadata.base_sha256 != base.sha256:
            from llmops_jupyter.engine.tuning import check_follows

            check_follows(self._store, base, found, scale)
        return found

    def base_for(self, ref: str) -> str | None:
        """The model that a registered adapter was trained on, where the default model is neither it nor a copy."""
        models = self._models()
        try:
            adapter = models.adapter(ref)
            trained_on = adapter.metadata.base_sha256 or adapter.parent
        except (UnknownNameError, ModelError):
            return None  # `adapter` says why
        try:
            default = models.resolve(None)
        except UnknownNameError:
            default = None
        if not trained_on or (default and trained_on in (default.sha256, default.parent)):
            return None
        own = [m for m in models.list() if m.sha256 == trained_on]
        return own[-1].ref if own else None

    def _check_fits(self, adapter: Model, base: Model) -> None:
        if (pair := (adapter.sha256, base.sha256)) not in self._fitting:
            from llmops_jupyter.engine.fitting import check_fits

            check_fits(self._models(), adapter, base)
            self._fitting.add(pair)

    def clear_prefixes(self) -> Usage:
        """Delete the beginnings of prompts that are saved on disk, of all models and all notebooks.

        The models that are loaded here forget those in memory too; what another notebook's hold is not saved
        any more. Returns what there was on disk.
        """
        from llmops_jupyter.engine.saved import SavedStates, default_folder

        with self._lock:
            for engine in self._loaded.values():
                forget = getattr(engine, "forget_prefixes", None)
                if forget is not None:
                    with contextlib.suppress(EngineError):  # its worker is gone
                        forget()
        return SavedStates(default_folder(), 0).clear()

    def close(self) -> None:
        """Free the loaded models."""
        with self._lock:
            for engine in self._loaded.values():
                engine.close()
            self._loaded.clear()

    def _saved(self) -> dict[str, Any]:
        """What is saved on disk of prompts, by all notebooks."""
        from llmops_jupyter.engine.saved import MEGABYTE, SavedStates, default_folder

        states = SavedStates(default_folder(), self._settings().prefix_cache_mb * MEGABYTE)
        used = states.usage()
        facts = {"entries": used.entries, "bytes": used.bytes, "most": states.most}
        return _noted({**facts, "folder": str(states.folder)}, states.notes)

    def _replay(self, model: str | None, cassette: Cassette) -> Engine:
        # Where the model is not installed, the cassette itself says which one answered.
        if model in cassette.models and not self._models().has(model):
            return ReplayEngine(cassette, model, cassette.models[model]["digest"])
        try:
            found = self._models().resolve(model)
        except UnknownNameError:
            if model or len(cassette.models) != 1:
                raise
            ((name, facts),) = cassette.models.items()
            return ReplayEngine(cassette, name, facts["digest"])
        return ReplayEngine(cassette, found.name, found.sha256)

    def _here(self, model: Model) -> Engine:
        with self._lock:
            return self._load(model)

    def _load(self, model: Model) -> Engine:
        if model.endpoint is not None:
            return self._connect(model, model.endpoint)
        return self._open(model)

    def _connect(self, model: Model, endpoint: Endpoint) -> Engine:
        """The engine of an endpoint; nothing is sent before it is asked something."""
        from llmops_jupyter.engine.remote import RemoteEngine

        key: Key = (model.sha256, json.dumps(endpoint.as_dict(), sort_keys=True))
        found: Engine | None = self._loaded.get(key)
        if found is None or not getattr(found, "alive", True):
            found = RemoteEngine(endpoint, model_name=model.name)
            self._loaded[key], self._notes[key] = found, ()
        return found

    def _open(self, model: Model) -> Engine:
        """The engine of a file on this machine."""
        from llmops_jupyter.engine.worker.sharing import open_engine
        from llmops_jupyter.engine.worker.spec import FACTORY, Spec
        from llmops_jupyter.models import check_family, preflight

        settings = self._settings()
        wanted = settings.context_length or DEFAULT_CONTEXT
        n_ctx = min(wanted, model.metadata.context_length or wanted)
        threads, batch = self._tuned(model)
        runs_on, notes = backend.choose(model, settings.backend)
        place = (settings.worker, settings.prefix_cache_mb, runs_on, settings.energy)
        key = (model.sha256, n_ctx, threads, batch, *place)
        # The worker of an engine may have died; another one takes its place.
        if key in self._loaded and getattr(self._loaded[key], "alive", True):
            return self._loaded[key]
        self._models().check_unchanged(model)
        check_family(model.metadata)
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
                prefix_cache_mb=settings.prefix_cache_mb,
                factory=backend.FACTORY if runs_on == backend.MLX else FACTORY,
                energy=settings.energy,
            ),
            mode=settings.worker,
            idle_s=settings.worker_idle_s,
            before_load=lambda: preflight(model.metadata, n_ctx),
        )
        self._loaded[key], self._notes[key] = opened.engine, (*notes, *opened.notes)
        return opened.engine

    def _make_room(self, model: Model, n_ctx: int) -> None:
        """Close dead engines and other loads of the model, and the rest if they leave no room.

        Engines of endpoints take no memory worth the name, and are opened again with the next prompt.
        """
        from llmops_jupyter.models import preflight

        for key, engine in list(self._loaded.items()):
            if key[0] == model.sha256 or not getattr(engine, "alive", True):
                self._loaded.pop(key).close()
        try:
            if self._loaded:
                preflight(model.metadata, n_ctx)
        except ModelMemoryError:
            for key in list(self._loaded):
                self._loaded.pop(key).close()

    def _tuned(self, model: Model) -> tuple[int | None, int | None]:
        """Threads and batch: as set, else those that tuning found best."""
        from llmops_jupyter.engine import remembered
        from llmops_jupyter.engine.cores import default_threads

        threads = self._settings().threads
        found = remembered.setting_of(self._store, model.sha256)
        if found is None:
            return threads, None
        return threads or min(found.threads, default_threads()), found.batch


def _noted(status: Mapping[str, Any], notes: Iterable[str]) -> dict[str, Any]:
    """A status with more notes."""
    every = [*status.get("notes", ()), *notes]
    return {**status, **({"notes": every} if every else {})}
