"""Variants of a prompt side by side: tried with the same values, compared, kept as versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import LLMOpsError, OptionError, TemplateError, UnknownNameError
from llmops_jupyter.prompts.candidates import Candidate
from llmops_jupyter.prompts.content import Content
from llmops_jupyter.prompts.lineup import Lineup
from llmops_jupyter.prompts.rows import Rows
from llmops_jupyter.prompts.stopping import Stop
from llmops_jupyter.prompts.trials import Round, Sample, Trial
from llmops_jupyter.prompts.working import Worker
from llmops_jupyter.tracing.tracer import placed

if TYPE_CHECKING:
    from llmops_jupyter.prompts.stage import Prompts

MOST_ROUNDS, MOST_ROWS = 50, 50
NUMBER, LETTER = "llmops.playground.round", "llmops.playground.variant"
BUSY = "It runs already. Stop it, or wait for its end."
Told = Callable[[], None]


@dataclass(frozen=True)
class Value:
    """What a variable of the templates gets: what a variable of the notebook holds, if one is named, else a text."""

    text: str = ""
    variable: str = ""


class Playground(Lineup):
    """Up to four candidates, which are tried with the same values.

    A try is a run as that of a cell: it leaves a trace, with the place of the cell in which the playground was made.
    A candidate whose content is a version of `name` runs as that version. They run one after the other, so that their
    times can be compared.

    Args:
        prompts: the stage of a workspace.
        name: see `Lineup`.
        variables: the notebook's; what `values` does not name comes from there.

    Raises:
        UnknownNameError: there is no such version.
    """

    def __init__(
        self,
        prompts: Prompts,
        name: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(prompts, name)
        self.variables: Mapping[str, Any] = {} if variables is None else variables
        self.values: dict[str, Value] = {}
        self.rounds: list[Round] = []
        self.sample: Sample | None = None
        self._stop: Stop | None = None
        self._count = 0
        self._worker = Worker("llmops-playground")

    @property
    def busy(self) -> bool:
        """Whether something runs in the background."""
        return self._stop is not None

    @property
    def stopping(self) -> bool:
        """Whether what runs was told to end."""
        return self._stop is not None and self._stop.asked

    def value(self, name: str) -> Any:
        """What a variable gets.

        Raises:
            UnknownNameError: the notebook has no such variable.
            TemplateError: nothing was given, and the notebook has no variable of that name.
        """
        given = self.values.get(name)
        if given is not None and given.variable:
            if given.variable not in self.variables:
                raise UnknownNameError(
                    f"The notebook has no variable {given.variable!r}, which {name} is to have. Choose "
                    "another one, or type a value."
                )
            return self.variables[given.variable]
        if given is not None and given.text:
            return given.text
        if given is None and name in self.variables:
            return self.variables[name]
        raise TemplateError(
            f"{{{{ {name} }}}} has no value. Type one, or choose a variable of the notebook."
        )

    def run(self, key: str | None = None) -> Round:
        """Try one candidate or all, and return when they have answered.

        Raises:
            LLMOpsError: it cannot begin.
            KeyboardInterrupt: it was interrupted; the round keeps what there is.
        """
        made = self._begin(key)
        try:
            self._try(made, Stop(), raises=True, changed=lambda: None)
        finally:
            self._end()
        return made

    def start(self, key: str | None = None, changed: Told = lambda: None) -> Round:
        """Try one candidate or all in the background.

        Args:
            key: the letter of one.
            changed: called in the background whenever something has come.

        Raises:
            LLMOpsError: it cannot begin.
        """
        made = self._begin(key)
        self._do(lambda stop: self._try(made, stop, raises=False, changed=changed), changed)
        return made

    def start_sample(self, data: str, rows: int = 5, changed: Told = lambda: None) -> Sample:
        """Run all candidates over the first rows of a data set, in the background.

        Args:
            data: a data set's reference, or the name of a variable that holds rows.
            rows: how many, at most 50.
            changed: as for `start`.
        """
        if self.busy:
            raise OptionError(BUSY)
        held = self.variables.get(data) if data.isidentifier() else None
        found = self.prompts.rows_of(data if held is None else held).pairs
        count = max(1, min(rows, MOST_ROWS))
        for candidate in self.candidates:
            candidate.content.digest  # noqa: B018 - what cannot be parsed is told before anything runs
        made = Sample(data, found[:count], tuple(self.candidates))
        self.sample = made

        def answer(stop: Stop, candidate: Candidate) -> None:
            self._map(made, candidate, stop, changed)

        self._do(lambda stop: made.run(lambda c, _: answer(stop, c), stop, changed), changed)
        return made

    def stop(self) -> None:
        """End what runs in the background; what has come is kept. Nothing happens if nothing runs."""
        stop = self._stop
        if stop is not None:
            stop.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until nothing runs in the background; whether that is so now."""
        return self._worker.wait(seconds)

    def close(self) -> None:
        """End what runs, and the thread."""
        self.stop()
        self._worker.close()

    def recall(self, number: int) -> Round:
        """Put the candidates of an earlier round back as they were."""
        for found in self.rounds:
            if found.number == number:
                self.candidates = [trial.candidate for trial in found.trials]
                return found
        raise UnknownNameError(f"There is no round {number} here any more.")

    def _begin(self, key: str | None) -> Round:
        """A new round; what can be known to fail is told before."""
        if self.busy:
            raise OptionError(BUSY)
        chosen = self.candidates if key is None else [self.candidate(key)]
        wanted: dict[str, None] = {}
        for candidate in chosen:
            candidate.content.digest  # noqa: B018 - a template that cannot be parsed raises its error
            wanted.update(dict.fromkeys(candidate.names()))
        values = {name: self.value(name) for name in wanted}
        trials = []
        for candidate in chosen:
            version = self._known(candidate)
            trials.append(Trial(candidate, version.ref if version is not None else ""))
        self._count += 1
        made = Round(self._count, trials, values)
        self.rounds = [*self.rounds[1 - MOST_ROUNDS :], made]
        return made

    def _do(self, work: Callable[[Stop], None], changed: Told) -> None:
        """Have the thread do something that can be stopped."""
        stop = self._stop = Stop()

        def do() -> None:
            try:
                with placed(self._place):
                    work(stop)
            finally:
                self._end()
                changed()

        self._worker.do(do)

    def _end(self) -> None:
        self._stop = None

    def _try(self, made: Round, stop: Stop, *, raises: bool, changed: Told) -> None:
        for trial in made.trials:
            error: BaseException | None = None
            try:
                stop.check()
                self._answer(made, trial, stop, changed)
            except (KeyboardInterrupt, Exception) as e:
                error = e
                if raises and not isinstance(e, LLMOpsError):
                    raise
            finally:
                trial.end(error)
                changed()

    def _answer(self, made: Round, trial: Trial, stop: Stop, changed: Told) -> None:
        """One candidate's run."""
        trial.status = "running"
        changed()
        candidate = trial.candidate
        prompt: str | Content = trial.ref or candidate.content
        values = {name: made.values[name] for name in candidate.names()}
        run = self.prompts.stream(prompt, values, use_defaults=False, **candidate.settings)
        run.obey(stop)
        run.note(NUMBER, made.number)
        run.note(LETTER, candidate.key)
        stop.check()
        try:
            with run:
                trial.trace_id = run.trace_id
                for _ in run:
                    trial.completion = run.completion
                    changed()
        finally:
            if trial.trace_id:
                trial.completion = run.completion

    def _map(self, made: Sample, candidate: Candidate, stop: Stop, changed: Told) -> None:
        """One candidate's answers to the rows of a sample."""

        def told(progress: object) -> None:
            made.progress = f"{candidate.key}: {progress}"
            changed()
            stop.check()

        def kept(table: Any) -> None:
            made.tables[candidate.key] = table

        version = self._known(candidate)
        shared = {n: self.value(n) for n in candidate.names() if not _has(made.rows, n)}
        made.tables[candidate.key] = self.prompts.map(
            candidate.content if version is None else version,
            Rows(made.rows),
            variables=shared,
            use_defaults=False,
            progress=told,
            partial=kept,
            **candidate.settings,
        )


def _has(rows: Sequence[tuple[str, Mapping[str, Any]]], name: str) -> bool:
    """Whether each row has a column."""
    return all(name in row for _, row in rows)
