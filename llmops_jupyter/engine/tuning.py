"""Making copies of registered models, measuring them, and keeping what was chosen.

Copies lie in the user's cache directory, named by what they were made from, since they can be made again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmops_jupyter.engine import remembered
from llmops_jupyter.engine.cores import default_threads
from llmops_jupyter.engine.divergence import Divergence, diverge
from llmops_jupyter.engine.perplexity import Judged, Ratio, bundled_text, compare, judge
from llmops_jupyter.engine.quantize import BITS, check, fits_rows, kind_of, quantize
from llmops_jupyter.engine.speed import Setting, measure
from llmops_jupyter.engine.tune import (
    DEFAULT_BATCH,
    LOSS,
    Candidate,
    Tuning,
    choose,
    kinds_to_try,
    settings_to_try,
)
from llmops_jupyter.errors import LLMOpsError, ModelError, OptionError
from llmops_jupyter.models import Model, Models, available_memory, read_metadata
from llmops_jupyter.models.model import need_file
from llmops_jupyter.store import Store

Progress = Callable[[str], None]


def copies_folder() -> Path:
    """Where copies are made."""
    import platformdirs

    return platformdirs.user_cache_path("llmops-jupyter") / "models"


def copy_path(model: Model, kind: str) -> Path:
    """Where the copy of this kind lies once it was made."""
    return copies_folder() / f"{model.sha256}-{kind.lower()}.gguf"


def made(model: Model, kind: str, threads: int | None, progress: Progress | None) -> Path:
    """The copy of this kind, made unless it is there already and whole."""
    path = copy_path(model, kind)
    check(model.path, path, kind)
    with contextlib.suppress(ModelError):
        read_metadata(path)
        return path
    return quantize(model.path, path, kind, threads=threads, progress=progress)


def register_copy(
    models: Models,
    ref: str | None,
    kind: str,
    *,
    name: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Model:
    """Make and register a quantised copy, as NAME-KIND unless it is named.

    Raises:
        OptionError, ModelError, EngineError: nothing was registered.
    """
    kind = kind_of(kind)
    model = models.check_unchanged(need_file(models.resolve(ref), "quantised"))
    path = made(model, kind, threads, progress)
    return models.add_copy(
        path, name or f"{model.name}-{kind.lower()}", model, f"model quantize {model.ref} {kind}"
    )


def adapter_follows(
    models: Models, store: Store, copy_ref: str, adapter_ref: str, scale: float = 1.0
) -> Divergence:
    """Compare a copy with its parent under an adapter, and keep the result.

    Raises:
        ModelError: the copy's parent is not registered, or the adapter does not fit.
    """
    copy, adapter = models.get(copy_ref), models.adapter(adapter_ref)
    parents = [m for m in models.list() if copy.parent and m.sha256 == copy.parent]
    if not parents:
        raise ModelError(
            f"{copy.ref} is not a copy of a registered model. Make one with: "
            "%model quantize NAME KIND"
        )
    found = diverge(parents[0].path, copy.path, (adapter.path, scale), bundled_text())
    remembered.keep_divergence(store, copy.sha256, adapter.sha256, scale, found)
    return found


def check_follows(store: Store, copy: Model, adapter: Model, scale: float) -> None:
    """Refuse an adapter on a copy on which it was not found to do the same as on the parent.

    What was found of a scale holds for those between it and 0 as well.

    Raises:
        ModelError: it was not measured, or it does something else; says what to run.
    """
    known = remembered.divergences_of(store, copy.sha256, adapter.sha256)
    if any(d.follows and min(0, s) <= scale <= max(0, s) for s, d in known.items()):
        return
    weighted = adapter.ref if scale == 1 else f"{adapter.ref}:{scale:g}"
    if scale in known:
        raise ModelError(
            f"The adapter {weighted} does something else on {copy.ref} than on the model that this is a "
            f"copy of ({known[scale]}). Run it on that model, or make a copy that is closer to it with: "
            "%model quantize NAME Q8_0"
        )
    raise ModelError(
        f"{copy.ref} is a copy, and it is not known whether the adapter {weighted} does the same on it as "
        f"on its parent. Measure it with: %model check {copy.ref} {weighted}"
    )


@dataclass(frozen=True)
class _Tuner:
    """One tuning in progress."""

    model: Model
    text: str
    loss: float
    setting: Setting
    say: Progress
    # Copies that this tuning made; those that are not registered go when it ends.
    fresh: list[Path] = field(default_factory=list)

    def candidates(self, kinds: Iterable[str], notes: list[str]) -> Iterator[Candidate]:
        """The model as it is, then each copy that can be made and run."""
        metadata = self.model.metadata
        own = self._judged(self.model.path, metadata.quantization)
        yield self._candidate(self.model.path, metadata.quantization, own, None)
        for kind in kinds:
            found = self._copy(kind, own)
            if isinstance(found, Candidate):
                yield found
            else:
                notes.append(f"{kind} was left out: {found}")

    def _copy(self, kind: str, own: Judged) -> Candidate | LLMOpsError:
        """The copy as measured, or why it cannot be: the others are tried all the same."""
        path = copy_path(self.model, kind)
        try:
            if not path.exists():
                self.fresh.append(path)
            made(self.model, kind, self.setting.threads, self.say)
            judged = self._judged(path, kind)
            return self._candidate(path, kind, judged, compare(own, judged))
        except LLMOpsError as e:
            return e

    def further(self, best: Candidate, settings: Iterable[Setting]) -> list[Candidate]:
        """The best one with other settings."""
        path = self.model.path if best.is_original else copy_path(self.model, best.kind)
        tried = list(settings)
        speeds = measure(path, tried, progress=lambda text: self.say(f"{best.kind}: {text}"))
        return [replace(best, speed=speed) for speed in speeds]

    def _judged(self, path: Path, kind: str) -> Judged:
        self.say(f"{kind}: reading the text for its perplexity")
        return judge(path, self.text, threads=self.setting.threads)

    def _candidate(self, path: Path, kind: str, judged: Judged, ratio: Ratio | None) -> Candidate:
        (speed,) = measure(path, [self.setting], progress=lambda text: self.say(f"{kind}: {text}"))
        return Candidate(kind, path.stat().st_size, judged.perplexity, ratio, speed)


def tune(
    models: Models,
    store: Store,
    ref: str | None = None,
    *,
    text: str | None = None,
    loss: float = LOSS,
    only: Iterable[str] | None = None,
    register: bool = True,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Measure a model and copies of it on this machine, and choose by the rule of `engine.tune`.

    Args:
        models: those of the workspace.
        store: where settings are remembered.
        ref: a registered model; None is the default.
        text: what perplexity is measured on; None is a bundled text in English.
        loss: perplexity that may be lost, as a share.
        only: kinds of copies to try; None takes those that fit the model and the memory.
        register: register the chosen copy as NAME-KIND and remember its threads and batch.
        threads: use so many and try no others.
        progress: gets a line for each step.

    Raises:
        OptionError, ModelError, EngineError: the model as it is cannot be measured.
    """
    if not 0 <= loss <= 10:
        raise OptionError("The loss that is allowed lies between 0 and 10 (1,000 %).")
    model = models.check_unchanged(need_file(models.resolve(ref), "tuned"))
    kinds = _kinds(model, only)
    start = Setting(threads or default_threads(), DEFAULT_BATCH)
    tuner = _Tuner(model, text or bundled_text(), loss, start, progress or (lambda _: None))
    try:
        tuning = _measured(
            tuner, kinds, threads, "the bundled text" if text is None else "your text"
        )
        remembered.keep_tuning(store, model.sha256, {"candidates": tuning.kept()})
        return _kept(models, store, tuner, tuning) if register else tuning
    finally:
        for path in tuner.fresh:
            path.unlink(missing_ok=True)


def _measured(tuner: _Tuner, kinds: Sequence[str], threads: int | None, text: str) -> Tuning:
    notes: list[str] = []
    candidates = tuple(tuner.candidates(kinds, notes))
    best = choose(candidates, tuner.loss)
    cores = tuner.setting.threads
    settings = settings_to_try(cores, tuner.setting)
    settings = tuple(s for s in settings if threads is None or s.threads == threads)
    further = tuple(tuner.further(best, settings))
    return Tuning(
        model=tuner.model.ref,
        candidates=candidates,
        settings=further,
        chosen=choose((best, *further), tuner.loss),
        loss=tuner.loss,
        text=text,
        registered="",
        notes=tuple(notes),
    )


def _kinds(model: Model, only: Iterable[str] | None) -> list[str]:
    if only is None:
        return list(kinds_to_try(model.metadata, available_memory().bytes))
    kinds = [kind_of(kind) for kind in dict.fromkeys(only)]
    bad = [kind for kind in kinds if not fits_rows(model.metadata, kind)]
    if bad:
        good = ", ".join(kind for kind in BITS if fits_rows(model.metadata, kind))
        raise OptionError(f"The rows of {model.ref} cannot be cut for {bad[0]}. Kinds: {good}.")
    return [kind for kind in kinds if kind != model.metadata.quantization]


def _kept(models: Models, store: Store, tuner: _Tuner, tuning: Tuning) -> Tuning:
    """Register what was chosen, remember its settings, and check which adapters follow."""
    model, chosen = tuner.model, tuning.chosen
    if chosen.is_original:
        if not tuning.busy:
            remembered.keep_setting(store, model.sha256, chosen.speed.setting)
        return replace(tuning, registered=model.name)
    copy = register_copy(models, model.ref, chosen.kind)
    tuner.fresh[:] = [path for path in tuner.fresh if path != copy.path]
    if not tuning.busy:
        remembered.keep_setting(store, copy.sha256, chosen.speed.setting)
    notes = list(tuning.notes)
    architecture = model.metadata.architecture
    for adapter in models.adapters():
        trained_on = adapter.metadata.base_sha256 or model.sha256
        if adapter.metadata.architecture != architecture or trained_on != model.sha256:
            continue
        tuner.say(f"{adapter.ref}: comparing the copy with its parent")
        try:
            found = adapter_follows(models, store, copy.ref, adapter.ref)
        except LLMOpsError as e:
            notes.append(f"The adapter {adapter.ref} could not be compared: {e}")
            continue
        says = "may be used with the copy" if found.follows else "is not to be used with the copy"
        notes.append(f"The adapter {adapter.ref} {says}: {found}.")
    return replace(tuning, registered=copy.name, notes=tuple(notes))
