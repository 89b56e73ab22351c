"""What came of runs: adapters in the registry, compared with their base, and written for use elsewhere."""

from __future__ import annotations

import builtins
import shutil
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.data import Dataset
from llmops_jupyter.errors import (
    EngineError,
    LLMOpsError,
    ModelError,
    OptionError,
    UnknownNameError,
)
from llmops_jupyter.finetune import locks
from llmops_jupyter.finetune.job import Job
from llmops_jupyter.finetune.runs import RUNNING, Run, Runs
from llmops_jupyter.models.model import Model
from llmops_jupyter.store import Store, open_store

if TYPE_CHECKING:
    from llmops_jupyter.data import Datasets
    from llmops_jupyter.engine.engines import Engines
    from llmops_jupyter.evaluation import Evaluation
    from llmops_jupyter.finetune.comparing import Outcome
    from llmops_jupyter.finetune.exporting import Exported
    from llmops_jupyter.models import Models

Tell = Callable[[str], None]
FILES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


def silent(_: str) -> None:
    """Nobody is told."""


class Adapters:
    """Runs as they are now, and the adapters that they made."""

    def __init__(
        self,
        store: Store,
        models: Callable[[], Models],
        data: Callable[[], Datasets],
        engines: Engines,
        evaluation: Callable[[], Evaluation],
    ) -> None:
        self._store, self._models, self._data = store, models, data
        self._engines, self._evaluation = engines, evaluation
        self._runs = Runs(store)

    def get(self, name: str | None = None) -> Run:
        """A run as it is now, by its id or by the name of its adapter; the newest if none is named.

        Raises:
            UnknownNameError: there is none.
        """
        return self._with_adapter(self._runs.get(self._find(name)))

    def _find(self, name: str | None) -> str:
        """The id of a run; an alias of an adapter stands for a version of it."""
        if name is not None and "@" in name:
            with suppress(LLMOpsError):  # it is said below what there is
                name = self._models().adapter(name).ref
        return self._runs.find(name)

    def list(self, limit: int | None = None) -> builtins.list[Run]:
        """The newest runs, or all, without their curves, newest first."""
        return [self._with_adapter(run) for run in self._runs.list(limit)]

    def compare(
        self,
        name: str | None = None,
        *,
        metric: Any = None,
        general: Any = None,
        tell: Tell = silent,
    ) -> Outcome:
        """Base and adapter of a run side by side: on its eval rows, and on a general set.

        Args:
            name: of the run or its adapter; the newest if not given.
            metric: of the answers; exact for short ones, else ROUGE-L. Their loss is compared too.
            general: a data set that has nothing to do with the task: what was forgotten of it.
            tell: told how far it is.

        Raises:
            OptionError: the run has made no adapter yet.
            DataError: it had no eval rows.
        """
        from llmops_jupyter.finetune.comparing import compare

        run = self.get(name)
        if not run.adapter:
            raise OptionError(
                f"The run {run.id} has made no adapter ({run.status}). %finetune status {run.id}"
            )
        adapter = self._engines.adapter(run.adapter, run.model, 1.0)
        general = None if general is None else self._kept_rows(general, f"{run.name}.general")
        return compare(
            run,
            self._evaluation(),
            self._engines.engine(run.model),
            [(str(adapter.path), 1.0)],
            self._data().get,
            metric=metric,
            general=general,
            tell=tell,
        )

    def remove(self, name: str, *, adapter: bool = False) -> Run:
        """Delete the record and the folder of a run: checkpoints, log and curve.

        Its adapter stays and can be used; what `compare` and an export to Ollama need of the run (its rows, its
        system message) goes.

        Args:
            name: of the run or its adapter.
            adapter: delete the adapter too.

        Raises:
            UnknownNameError: there is none.
            OptionError: it is running.
        """
        from llmops_jupyter.finetune import blobs

        run = self.get(name)
        if run.status == RUNNING:
            raise OptionError(
                f"The run {run.id} is running. Stop it first: %finetune stop {run.id}"
            )
        if run.folder.is_dir():
            with locks.held(run.folder, locks.CHANGING):
                self._runs.remove(run.id)
            shutil.rmtree(run.folder, ignore_errors=True)
        else:
            self._runs.remove(run.id)
        if adapter and run.adapter:
            with suppress(UnknownNameError):  # it was taken off the list before
                blobs.remove(self._models(), self._models().get(run.adapter), self._store)
        return run

    def _with_adapter(self, run: Run) -> Run:
        """The run, whose adapter is registered once it has one; a run in the background has nobody else."""
        if self._store.read_only or not _has_more(run):
            return run
        # Others may look at this moment too, and one of all registers it.
        with locks.held(run.folder, locks.CHANGING):
            run = self._runs.get(run.id)
            return self._registered(run) if _has_more(run) else run

    def _registered(self, run: Run) -> Run:
        from llmops_jupyter.finetune import blobs, recorded
        from llmops_jupyter.finetune.peftfolder import read_peft
        from llmops_jupyter.finetune.provenance import provenance_of

        standin = run.folder / recorded.STAND_IN
        folder = _peft(run)
        try:
            base = self._models().get(run.model)
        except UnknownNameError:
            return run  # it was taken off the list; once it is back, so is the adapter
        path = standin
        if not standin.is_file():
            provenance = provenance_of(folder)
            assert provenance is not None
            kept = blobs.keep(read_peft(folder), self._store, base, provenance)
            path = kept.gguf
            recorded.record(self._engines, base, run, self._runs, kept.sha256)
        command = f"finetune run {run.name} {run.data} -m {run.model}"
        adapter = self._models().add_copy(path, run.name, base, command)
        self._runs.made(run.id, adapter.ref)
        return replace(run, adapter=adapter.ref)

    def export(
        self,
        name: str | None,
        folder: str | Path,
        to: str = "adapter",
        *,
        kind: str | None = None,
        merged: bool = False,
        scale: float = 1.0,
        overwrite: bool = False,
        check: bool = True,
        tell: Tell = silent,
    ) -> Exported:
        """Write an adapter for use elsewhere; see `exporting.export`.

        Args:
            name: of the adapter or its run; the newest run's if not given.
            folder: to be made.
            to: 'adapter' (GGUF and PEFT), 'gguf' (merged into one file), 'ollama' or 'vllm'.
            kind: of the weights of a merged file.
            merged: for ollama and vllm, merge the adapter instead of writing it beside the model.
            scale: of the adapter.
            overwrite: replace an earlier export in the folder.
            check: measure what was written against this engine.
            tell: told each step.

        Raises:
            UnknownNameError, OptionError, ModelError: as for `exporting.export`.
        """
        from llmops_jupyter.finetune.exporting import export

        adapter, base = self._pair(name)
        return export(
            self._models(),
            base,
            adapter,
            to,
            folder,
            scale=scale,
            kind=kind,
            merged=merged,
            system=self._system_of(adapter) if to == "ollama" else "",
            overwrite=overwrite,
            check=check,
            progress=tell,
        )

    def _pair(self, name: str | None) -> tuple[Model, Model]:
        """An adapter and the model that it was trained on."""
        models = self._models()
        known = {m.name for m in models.adapters()}
        if name is None or name.partition("@")[0] not in known:
            run = self.get(name)
            if not run.adapter:
                raise OptionError(f"The run {run.id} has made no adapter yet ({run.status}).")
            name = run.adapter
        adapter = models.adapter(name)
        for model in models.list():
            if model.sha256 == adapter.parent:
                return adapter, model
        raise ModelError(
            f"The model that {adapter.ref} was trained on is not registered (sha256 "
            f"{adapter.parent[:12]}…). Add it: %model add PATH"
        )

    def _system_of(self, adapter: Model) -> str:
        """The system message that the adapter's examples had, if the run's folder is there."""
        for run in self._runs.list():
            if run.adapter == adapter.ref:
                with suppress(EngineError):
                    return str(Job.read(run.folder).format.get("system", ""))
        return ""

    def _rows(self, data: Any, name: str, drafts: ExitStack) -> Dataset:
        """A data set; other rows are one in memory, until it is known that they can be learned from."""
        from llmops_jupyter.data import Datasets

        if isinstance(data, Dataset):
            return data
        if isinstance(data, str) and not data.endswith(FILES):
            return self._data().get(data)
        store = drafts.enter_context(closing(open_store(":memory:")))
        return Datasets(store).add(name, data)

    def _kept_rows(self, data: Any, name: str) -> Dataset:
        with ExitStack() as drafts:
            return self._kept(self._rows(data, name, drafts))

    def _kept(self, data: Dataset) -> Dataset:
        """The data set in this workspace."""
        if data._store is self._store:  # noqa: SLF001
            return data
        return self._data().add(data.name, data, note="to learn from", source=data.source)


def _peft(run: Run) -> Path:
    """The adapter that the last sitting of a run made."""
    from llmops_jupyter.finetune.keeping import PEFT

    return run.folder / str(run.facts.get("made", "")) / PEFT


def _has_more(run: Run) -> bool:
    """Whether a run is over and made an adapter that is not registered yet."""
    from llmops_jupyter.finetune.recorded import STAND_IN

    made = (run.folder / STAND_IN).is_file() or _peft(run).is_dir()
    return run.is_over and not run.adapter and made
