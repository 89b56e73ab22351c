"""The stage a workspace hands out: policies, their checks, their thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from llmops_jupyter.errors import OptionError
from llmops_jupyter.guard import named, running
from llmops_jupyter.guard.check import About, Check, Embed, Judge
from llmops_jupyter.guard.functions import FunctionCheck, check_function, identity_of
from llmops_jupyter.guard.guardspan import guarded
from llmops_jupyter.guard.kept import Policies, PolicyVersion
from llmops_jupyter.guard.named import PLACES, Entry
from llmops_jupyter.guard.report import Report
from llmops_jupyter.guard.running import Pipeline
from llmops_jupyter.guard.texts import distinct_texts
from llmops_jupyter.records import Place
from llmops_jupyter.tracing import Tracer, Traces

if TYPE_CHECKING:
    from llmops_jupyter.data import Datasets
    from llmops_jupyter.guard.calibration import Calibration, Tell


class Guard(Policies):
    """The guard policies of a workspace. Wherever one is asked for, give ``"name"``, ``"name@2"`` or ``"name@alias"``."""

    def __init__(
        self,
        tracer: Tracer,
        traces: Traces,
        *,
        data: Callable[[], Datasets],
        embed: Callable[[], Embed | None],
        judge: Callable[[], Judge],
    ) -> None:
        super().__init__(tracer.store)
        self.tracer = tracer
        self.traces = traces
        self._data = data
        self._embed = embed
        self._judge = judge
        self._made: dict[tuple[str, str], Pipeline] = {}

    def pipeline(self, policy: str | PolicyVersion) -> Pipeline:
        """A version of a policy with its checks made.

        Raises:
            UnknownNameError: there is no such policy.
            GuardError, MissingDependencyError: a check is not there, or lacks what it needs.
        """
        version = policy if isinstance(policy, PolicyVersion) else self.get(policy)
        key = version.ref, version.policy.digest
        if key not in self._made:
            embed = self._embed() if running.needs([version.policy], "embed") else None
            judge = self._judge() if running.needs([version.policy], "judge") else None
            self._made[key] = running.made(version, embed, judge)
        return self._made[key]

    def check(
        self,
        text: str,
        policy: str | PolicyVersion,
        place: Place = "input",
        *,
        trace: bool = True,
        **about: Any,
    ) -> Report:
        """What a policy says of one text.

        Args:
            text: any text.
            policy: its reference.
            place: 'input', 'context' or 'output'.
            trace: keep a span with the verdicts.
            about: what checks may know besides: see `About`.

        Raises:
            UnknownNameError: there is no such policy.
            OptionError: there is no such place, or the policy has no checks for it.
        """
        if not isinstance(text, str):
            raise OptionError(
                f"A policy checks a text, not {type(text).__name__}. Give it as one str."
            )
        pipeline = self.pipeline(policy)
        check_place(pipeline, place)
        try:
            known = About(**{**about, "place": place})
        except TypeError as e:
            raise OptionError(
                f"{e}. A check may know: {', '.join(About.__dataclass_fields__)}."
            ) from e
        if not trace:
            return pipeline.check(text, place, known)
        return guarded(pipeline, [text], place, known, self.tracer)[0]

    def calibrate(
        self,
        ref: str,
        benign: Any,
        rate: float | None = None,
        *,
        place: Place = "input",
        column: str | None = None,
        progress: Tell | None = None,
    ) -> Calibration:
        """Set thresholds by harmless texts of your own, as a new version of the policy.

        Empty texts and copies are left out, since they say nothing of texts to come.

        Args:
            ref: of the policy.
            benign: a list of texts, a data set or its reference, a mapping of places to these, or filters of traces such
                as ``{"prompt": "support", "since": "7d"}``.
            rate: share of harmless texts that a check may find something in; left out: what the policy says, else 0.01.
            place: of texts that have none.
            column: of the texts in rows.
            progress: told how far it is.

        Returns:
            A `Calibration`: the new version, each threshold with what it does to these texts, and to texts to come.

        Raises:
            GuardError: there are too few texts for the rate.
        """
        from llmops_jupyter.guard import calibration

        pipeline = self.pipeline(ref)
        if place not in PLACES:
            raise OptionError(f"place is one of {', '.join(PLACES)}, not {place!r:.60}.")
        given = distinct_texts(benign, place, self._data(), self.traces, column)
        texts = given.by_place
        policy, checks, notes = calibration.calibrated(pipeline, given, rate, progress)
        counts = ", ".join(f"{len(some):,} {where} texts" for where, some in texts.items())
        source = f" of {benign}" if isinstance(benign, str) else ""
        version = self.add(
            pipeline.version.name,
            policy,
            note=f"calibrated from {pipeline.ref} on {counts}{source}",
        )
        made = self.pipeline(version)
        return calibration.Calibration(
            policy=version,
            checks=checks,
            n={where: len(some) for where, some in texts.items()},
            whole=calibration.whole(made, texts),
            notes=(*given.notes, *notes),
        )

    def checks(self) -> Sequence[Entry]:
        """The checks that policies can name."""
        return named.entries()

    def register(
        self,
        name: str,
        check: Callable[[str], Any] | Check,
        *,
        places: Sequence[Place] = PLACES,
        summary: str = "",
    ) -> None:
        """Let policies of this process name a check of yours.

        Args:
            name: for policies.
            check: a function from a text to True or False, to a score from 0 to 1, or to a `Finding`; or a `Check`.
            places: texts that it may be asked of.
            summary: what it finds.

        Raises:
            GuardError: one of ours has the name.
            OptionError: it is no function, or a coroutine function.
        """
        from llmops_jupyter.store import aliases

        aliases.check_name("check", name)
        check_function(name, check)
        for place in places:
            if place not in PLACES:
                raise OptionError(f"place is one of {', '.join(PLACES)}, not {place!r:.60}.")
        found = (
            cast("Check", check)
            if hasattr(check, "find")
            else FunctionCheck(name, check, tuple(places))
        )
        self._made.clear()
        named.register(
            Entry(
                name,
                "",
                summary or f"a check of yours, {getattr(check, '__name__', type(check).__name__)}",
                places=tuple(places),
                scored=True,
                replaces=True,
                action="warn",
                maker=lambda: found,
                identity=identity_of(check),
            )
        )

    def guarding(self, policy: str | PolicyVersion) -> tuple[Pipeline, Tracer]:
        """What the decorator of functions needs."""
        return self.pipeline(policy), self.tracer


def check_place(pipeline: Pipeline, place: str) -> None:
    """Raise an OptionError unless a policy has checks for a place."""
    if place not in PLACES:
        raise OptionError(f"place is one of {', '.join(PLACES)}, not {place!r:.60}.")
    if not pipeline.looks_at(place):
        has = [p for p in PLACES if pipeline.looks_at(p)]
        raise OptionError(
            f"The policy {pipeline.ref} has no checks for {place}; it has some for {', '.join(has)}."
        )
