"""The stage a workspace hands out: start, watch, stop and resume runs, and compare what came of them."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.data.examples import Format, find_format
from llmops_jupyter.engine.cores import default_threads
from llmops_jupyter.errors import EngineError, ModelError, OptionError, UnknownNameError
from llmops_jupyter.finetune import job, launching, locks, material, planning, recorded
from llmops_jupyter.finetune.adapters import Adapters, Tell, silent
from llmops_jupyter.finetune.bases import base_of, check_name, check_quantize, trainer_for
from llmops_jupyter.finetune.job import Job
from llmops_jupyter.finetune.planning import Plan
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.runs import FAILED, RUNNING, Run
from llmops_jupyter.finetune.tokens import Encoder, encoder_of
from llmops_jupyter.models.memory import available_memory
from llmops_jupyter.models.model import GGUF, Model
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset, Datasets
    from llmops_jupyter.data.preparing.prepared import Prepared
    from llmops_jupyter.engine.engines import Engines
    from llmops_jupyter.evaluation import Evaluation
    from llmops_jupyter.models import Models

FOLDER = "finetune"
LOOK_S = 0.25


class Finetune(Adapters):
    """Fine-tuning in a workspace."""

    def __init__(
        self,
        store: Store,
        models: Callable[[], Models],
        data: Callable[[], Datasets],
        engines: Engines,
        evaluation: Callable[[], Evaluation],
    ) -> None:
        super().__init__(store, models, data, engines, evaluation)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def run(self, data: Any, name: str, *, tell: Tell = silent, **options: Any) -> Run:
        """Train an adapter and wait for it; arguments as for `start`.

        Returns:
            the run; `adapter` is the registered adapter, to be used as ``--adapter NAME``.

        Raises:
            EngineError: training failed; the message says why and how to go on.
            KeyboardInterrupt: the run was asked to stop, and keeps what it has; `resume` goes on.
        """
        return self.wait(self.start(data, name, tell=tell, **options).id, tell=tell)

    def start(
        self,
        data: Any,
        name: str,
        *,
        model: str | None = None,
        evals: Any = None,
        recipe: Recipe | None = None,
        format: str = "auto",  # noqa: A002 - the option's name
        prompt: str | None = None,
        answer: str | None = None,
        system: str = "",
        weights: str | Path | None = None,
        trainer: str = "auto",
        tell: Tell = silent,
        **settings: Any,
    ) -> Run:
        """Start to train an adapter in a process of its own, and return at once.

        Args:
            data: a data set, its name, or rows, which become a version of the data set ``NAME``.
            name: of the adapter; an adapter of that name gets a new version.
            model: the base, a registered GGUF file; the default model if not given.
            evals: a data set to look at; a share of `data` is set apart if not given.
            recipe: the settings; those that evidence speaks for if not given.
            format: 'chat', 'completion', 'text', or 'auto'.
            prompt: the column of what is asked.
            answer: the column of answers.
            system: the system message of examples that have none.
            weights: a Hugging Face folder with the same model, where its architecture cannot be read from
                GGUF.
            trainer: 'torch', 'mlx', or 'auto', which is MLX on Apple silicon.
            settings: of the recipe, such as ``rank=8``; they win over `recipe`.
            tell: gets lines of progress, and remarks on rows that were left out.

        Raises:
            OptionError: a setting cannot be used.
            DataError: rows cannot be learned from; the first ones are named.
            ModelError: the base cannot be trained, or has changed since it was registered.
            ModelMemoryError: it does not fit into memory.
            StoreFullError: there is no room for checkpoints.
        """
        check_name(self._models(), name)
        chosen = replace(recipe or Recipe(), **_checked(settings))
        kind = trainer_for(trainer)
        base = base_of(self._models(), model, kind)
        check_quantize(chosen, kind)
        given_weights = "" if weights is None else str(_existing(weights))
        run = _run_id()
        folder = self._folder(run)
        with ExitStack() as drafts:
            train = self._rows(data, name, drafts)
            looked = None if evals is None else self._rows(evals, f"{name}.eval", drafts)
            form = find_format(
                train.columns, kind=format, prompt=prompt, answer=answer, system=system
            )
            tell("reading examples")
            context = base.metadata.context_length
            with encoder_of(base.path, context, chosen.learn) as encoder:
                made = material.prepare(
                    list(train.items()),
                    None if looked is None else list(looked.items()),
                    form,
                    encoder,
                    chosen,
                    tell=tell,
                )
                ends = encoder.ends
            for note in made.notes:
                tell(note)
            plan = self._plan(base, chosen, made)
            tell(plan.sentence())
            launching.check_space(folder, chosen, base)
            # All of it or nothing: the data sets, the folder, and the run.
            with launching.whole(folder), self._store.write():
                train = self._kept(train)
                looked = None if looked is None else self._kept(looked)
                given = replace(
                    _job_of(run, name, chosen, base, train, looked, form),
                    trainer=kind,
                    weights=given_weights,
                    ends=ends,
                    samples=made.samples,
                    made_at=self._store.now(),
                    threads=default_threads(),
                    plan=plan.as_dict(),
                )
                given.write(folder, made.material)
                self._runs.add(given, folder)
        if not recorded.play(self._engines, base, given, folder):
            self._launch(run, folder)
        return self.get(run)

    def prepare(
        self, data: Any, name: str | None = None, *, model: str | None = None, **options: Any
    ) -> Prepared:
        """Clean rows for fine-tuning, and check them by a model's chat template and context.

        Args:
            data: a data set, its name, or rows.
            name: of the cleaned data set.
            model: whose template and tokens are used; the default one if not given, none where none is
                there.
            options: as for `data.Datasets.prepare`.

        Raises:
            UnknownNameError, ModelError: the model that was named is not there, or cannot be read.
            DataError, OptionError: as for `data.Datasets.prepare`.
        """
        with self._masker(model) as masker:
            return self._data().prepare(data, name, masker=masker, **options)

    @contextmanager
    def _masker(self, model: str | None) -> Iterator[Encoder | None]:
        """What reads examples as a model does; none where no model was named and none can be had."""
        try:
            base = self._models().resolve(model)
            if base.format != GGUF or find_spec("llama_cpp") is None:
                raise ModelError(
                    f"{base.ref} has no tokens that can be read here. Name a GGUF file, and install "
                    'llama-cpp-python: pip install "llmops-jupyter[llama]"'
                )
        except (UnknownNameError, ModelError):
            if model:
                raise
            yield None
            return
        with encoder_of(base.path, base.metadata.context_length) as encoder:
            yield encoder

    def plan(
        self,
        data: Any,
        *,
        model: str | None = None,
        evals: Any = None,
        recipe: Recipe | None = None,
        trainer: str = "auto",
        **columns: Any,
    ) -> Plan:
        """What a run would take, without one; nothing is kept.

        Args:
            data: as for `start`, like `model`, `evals`, `recipe` and `trainer`.
            model: the base.
            evals: what it would be looked at with.
            recipe: the settings.
            trainer: what would train.
            columns: format, prompt, answer and system.

        Raises:
            LLMOpsError: as `start`.
        """
        columns.pop("weights", None)
        kind = columns.pop("format", "auto")
        chosen = recipe or Recipe()
        base = base_of(self._models(), model, trainer_for(trainer))
        check_quantize(chosen, trainer_for(trainer))
        context = base.metadata.context_length
        with ExitStack() as drafts, encoder_of(base.path, context, chosen.learn) as encoder:
            rows = self._rows(data, "plan", drafts)
            looked = None if evals is None else self._rows(evals, "plan-eval", drafts)
            form = find_format(rows.columns, kind=kind, **columns)
            items = None if looked is None else list(looked.items())
            made = material.prepare(list(rows.items()), items, form, encoder, chosen)
        return self._plan(base, chosen, made)

    def watch(self, name: str | None = None) -> Iterator[Run]:
        """A run again and again while it goes on, and at last how it ended."""
        run = self._find(name)
        while True:
            now = self.get(run)
            yield now
            if now.status != RUNNING:
                return
            time.sleep(LOOK_S)

    def wait(
        self,
        name: str | None = None,
        *,
        tell: Tell = silent,
        shown: Callable[[Run], None] | None = None,
    ) -> Run:
        """Wait for a run to end; `tell` gets a line of progress, and `shown` the run, when it changes.

        Raises:
            EngineError: it failed, or its process died.
            KeyboardInterrupt: it was asked to stop meanwhile.
        """
        run, now, said = self._find(name), None, "starting"
        try:
            for now in self.watch(run):
                line = now.line()
                if line != said:
                    tell(line)
                    said = line
                    if shown is not None:
                        shown(now)
        except KeyboardInterrupt as e:
            with suppress(OptionError):  # it has ended meanwhile
                name = self.stop(run).name
                hint = f"stops after this step; go on with: %finetune resume {name}"
                tell(f"{said} · {hint}")
                e.args = (hint,)  # for who shows no progress
            raise
        assert now is not None
        return launching.or_raise(now)

    def stop(self, name: str | None = None) -> Run:
        """Ask a run to end after the step that it takes; what was best is kept as an adapter."""
        run = self.get(name)
        if run.status != RUNNING:
            raise OptionError(
                f"The run {run.id} is not running ({run.status}). %finetune list shows all runs."
            )
        (run.folder / job.STOP).touch()
        return run

    def resume(self, name: str | None = None, *, tell: Tell = silent) -> Run:
        """Go on with a run that was stopped, was killed or failed, from its last checkpoint.

        Raises:
            OptionError: it is running, or came to its end.
            ModelChangedError: the base has changed since.
        """
        run = _to_go_on(self.get(name))
        given = Job.read(run.folder)
        base = self._models().check_unchanged(self._models().get(run.model))
        if base.sha256 != given.model_sha256:
            raise ModelError(
                f"{run.model} is another file now than when the run began. Start a new one: %finetune run"
            )
        # Another notebook may go on with it at this moment: whoever comes second finds it running.
        with locks.held(run.folder, locks.CHANGING):
            _to_go_on(self._runs.get(run.id))
            tell(f"going on with {run.id}")
            (run.folder / job.STOP).unlink(missing_ok=True)
            self._runs.begin_again(run.id)
            self._launch(run.id, run.folder)
        return self.get(run.id)

    def _plan(self, base: Model, recipe: Recipe, made: material.Prepared) -> Plan:
        found = planning.plan(
            base.metadata,
            recipe,
            made.material.train,
            available_memory(),
            evals=made.material.evals,
            bytes_each=2 if recipe.precision == "bfloat16" else 4,
            speed=planning.speed_here(),
            share=recipe.packing != "off",
        )
        return replace(found, notes=made.notes)

    def _launch(self, run: str, folder: Path) -> None:
        try:
            launching.launch(folder)
        except EngineError as e:
            self._runs.mark(run, FAILED, str(e))
            raise

    def _folder(self, run: str) -> Path:
        if self._store.path is not None:
            return self._store.path.parent / FOLDER / run
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="llmops-finetune-")
        return Path(self._temporary.name) / run


def _job_of(
    run: str,
    name: str,
    recipe: Recipe,
    base: Model,
    train: Dataset,
    looked: Dataset | None,
    form: Format,
) -> Job:
    """What a run does, and with which versions of what."""
    return Job(
        run=run,
        name=name,
        recipe=recipe,
        model=str(base.path.absolute()),
        model_ref=base.ref,
        model_sha256=base.sha256,
        architecture=base.metadata.architecture,
        data=train.ref,
        data_hash=train.content_hash,
        eval_data="" if looked is None else looked.ref,
        eval_hash="" if looked is None else looked.content_hash,
        format={"kind": form.kind, "columns": list(form.columns), "system": form.system},
    )


def _to_go_on(run: Run) -> Run:
    """The run, if it can be gone on with."""
    if run.status == RUNNING:
        raise OptionError(f"The run {run.id} is running. %finetune status {run.id} shows it.")
    if run.status in ("finished", "early"):
        raise OptionError(
            f"The run {run.id} has come to its end; its adapter is {run.adapter or run.name}."
        )
    return run


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    Recipe.from_dict(settings)
    return dict(settings)


def _existing(folder: str | Path) -> Path:
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise OptionError(f"There is no folder {str(path)!r}. Name a Hugging Face model folder.")
    return path


def _run_id() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
