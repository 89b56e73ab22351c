"""A pipeline: declared steps in their order, each kept with what went in, so that it goes on where it was broken off.

Steps that only prove or make something (test, evaluate, gate, package) are not run again on the same inputs. Steps that move
releases (stage, canary, promote) ask where the deployment stands, and do what is left to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.deploy import promoting, releases, runs
from llmops_jupyter.deploy.actors import Actor
from llmops_jupyter.deploy.evidence import Told, merged
from llmops_jupyter.deploy.inputs import Inputs, resolved
from llmops_jupyter.deploy.plan import (
    CANARY,
    EVALUATE,
    GATE,
    MANUAL,
    PACKAGE,
    PROMOTE,
    STAGE,
    TEST,
    Plan,
    check_until,
)
from llmops_jupyter.deploy.promoting import Move
from llmops_jupyter.deploy.proving import Proving
from llmops_jupyter.deploy.releases import Live, Release
from llmops_jupyter.deploy.rooms import Rooms
from llmops_jupyter.deploy.runs import Ledger, PipelineRun, Progress
from llmops_jupyter.deploy.traffic import decided
from llmops_jupyter.errors import DeployError, LLMOpsError
from llmops_jupyter.evaluation.variant import as_variant

if TYPE_CHECKING:
    from llmops_jupyter.deploy.stage import Deploy

Tell = Callable[[str], None]
# Exit codes of the command; 1 is an error.
DONE, LEFT = 0, 3


@dataclass(frozen=True)
class Outcome:
    """What came of a pipeline.

    Args:
        run: with its steps.
        release: that it made; None if it ended before.
        live: where the deployment stands now.
        note: what is left to do; '' for nothing.
    """

    run: PipelineRun
    release: Release | None
    live: Live
    note: str = ""

    @property
    def exit(self) -> int:
        """0 where all was done, 3 where it waits for a canary or a person."""
        return LEFT if self.run.status == runs.WAITING else DONE

    def title(self) -> str:
        """The outcome on one line."""
        made = "" if self.release is None else f" · {self.release.ref} ({self.release.short})"
        return f"{self.run.title()}{made}"

    def as_dict(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        release = self.release
        return {
            **self.run.as_dict(),
            "release": None if release is None else release.ref,
            "digest": None if release is None else release.digest,
            "folder": None if release is None else str(release.folder),
            "live": None if self.live.release is None else self.live.release.ref,
            "note": self.note,
            "exit": self.exit,
        }

    def __str__(self) -> str:
        parts = [self.title(), render.text_table(self.run.rows()), self.note]
        return "\n".join(filter(None, parts))

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [
            f"<p><strong>{render.escaped(self.title())}</strong></p>",
            render.table_html(self.run.rows()),
        ]
        if self.note:
            blocks.append(f"<p><em>{render.escaped(self.note)}</em></p>")
        return render.bundle(str(self), "".join(blocks))


class Pipeline:
    """One run of a pipeline.

    Args:
        deploy: the stage.
        rooms: of the workspace.
        plan: what was declared.
        actor: who runs it.
        tell: shows how far it is.
    """

    def __init__(self, deploy: Deploy, rooms: Rooms, plan: Plan, actor: Actor, tell: Tell) -> None:
        self._deploy, self._rooms, self._plan = deploy, rooms, plan
        self._actor, self._tell = actor, tell
        self._store = rooms.store
        self._inputs: Inputs = resolved(rooms, plan.name, plan.prompt, plan.options)
        self._told: list[Told] = []
        self._release: Release | None = None
        self._changed = 0
        self._note = ""
        self._again = False

    def run(self, *, until: str | None = None, fresh: bool = False, again: bool = False) -> Outcome:
        """Run the declared steps; see `Deploy.run`."""
        steps = self._plan.steps()
        steps = steps[: steps.index(check_until(until, steps)) + 1]
        self._again = again
        keys = self._keys(steps)
        self._changed = releases.changed(self._store, self._plan.name)
        ledger = Ledger(self._store, self._rooms.tracer, self._plan, self._actor)
        status = runs.FAILED
        try:
            status = self._steps(ledger, steps, keys, fresh=fresh)
        except KeyboardInterrupt as e:
            status = runs.INTERRUPTED
            raise KeyboardInterrupt(
                f"what succeeded is kept: run it again to go on with {self._plan.name}"
            ) from e
        finally:
            ledger.finish(status)
        return Outcome(
            runs.run_of(self._store, ledger.run),
            self._release,
            releases.live(self._store, self._plan.name),
            self._note,
        )

    def _keys(self, steps: list[str]) -> dict[str, str]:
        """What goes into each step, by its hash. Everything that can be wrong is found here, before a step runs."""
        plan, inputs, rooms = self._plan, self._inputs, self._rooms
        proving = self._proving(self._tell)
        found = {step: inputs.key(step) for step in steps}
        if TEST in steps:
            cases = [[dict(c.variables), list(c.expect)] for c in plan.cases]
            found[TEST] = inputs.key(TEST, str(cases), list(plan.commands))
        if EVALUATE in steps and plan.evaluate is not None:
            wanted = plan.evaluate
            rooms.evaluation().metrics(list(wanted.metrics))
            content = rooms.data().get(wanted.data).content_hash
            baseline = self._baseline(wanted.baseline)
            found[EVALUATE] = inputs.key(*(EVALUATE, asdict(wanted), content, baseline))
        if GATE in steps and plan.gate is not None:
            found[GATE] = inputs.key(GATE, proving.suites_key(), plan.gate.allow_undecided)
            for rule in plan.gate.rules:
                rooms.monitor().alerts.get(rule)
        if PACKAGE in steps:
            before = [found[step] for step in (EVALUATE, GATE) if step in found]
            found[PACKAGE] = inputs.key(PACKAGE, plan.weights, str(plan.out or ""), before)
        return found

    def _baseline(self, given: str | None) -> str:
        """What a baseline means now; an alias may point elsewhere tomorrow."""
        if given is None:
            return ""
        prompt = as_variant(given).prompt
        return self._rooms.prompts().get(prompt).ref if isinstance(prompt, str) else given

    def _steps(self, ledger: Ledger, steps: list[str], keys: dict[str, str], *, fresh: bool) -> str:
        for step in steps:
            done = None if fresh else self._done(ledger, step, keys[step])
            if done is not None:
                self._tell(f"{step}: the same inputs succeeded before")
                ledger.skip(step, keys[step], done)
                self._take(step, done.result)
                continue
            self._tell(step)
            with ledger.step(step, keys[step]) as progress:
                self._perform(step, progress)
            self._take(step, progress.result)
            if progress.status == runs.WAITING:
                return runs.WAITING
        return runs.OK

    def _done(self, ledger: Ledger, step: str, key: str) -> runs.Step | None:
        """The step as it succeeded on the same inputs, where that is enough."""
        if step not in (TEST, EVALUATE, GATE, PACKAGE):
            return None
        found = ledger.done(step, key)
        if found is None:
            return None
        if step == GATE and self._plan.gate is not None and self._plan.gate.rules:
            return None  # what the monitor says is of now
        if step == PACKAGE:
            try:
                self._deploy.open(str(found.result.get("release", "")))
            except LLMOpsError:
                return None  # it was moved, altered or deleted since
        return found

    def _take(self, step: str, result: Any) -> None:
        """Have the steps after one know what it came to."""
        if result.get("evidence"):
            self._told.append(Told(**result["evidence"]))
        if step == PACKAGE:
            self._release = self._deploy.get(str(result["release"]))

    def _perform(self, step: str, progress: Progress) -> None:
        proving = self._proving(progress.log)
        perform: dict[str, Callable[[], dict[str, Any]]] = {
            TEST: proving.test,
            EVALUATE: proving.evaluate,
            GATE: lambda: proving.gate(progress.result.update),
            PACKAGE: self._package,
            STAGE: self._stage,
            CANARY: self._canary,
            PROMOTE: lambda: self._promote(progress),
        }
        made = perform[step]()
        progress.result.update(made)
        if made.get("summary"):
            progress.log(str(made["summary"]))

    def _proving(self, log: Tell) -> Proving:
        return Proving(self._rooms, self._plan, self._inputs, self._tell, log)

    def _package(self) -> dict[str, Any]:
        from llmops_jupyter.deploy.building import build

        folder, made = build(
            self._rooms,
            self._inputs,
            weights=self._plan.weights,
            out=self._plan.out,
            told=merged(self._told),
            actor=self._actor,
            overwrite=True,  # of a folder that holds an earlier bundle, never of anything else
            tell=self._tell,
        )
        release = releases.add(self._store, self._plan.name, made.digest, folder, made.as_dict())
        return {
            "release": release.ref,
            "digest": release.digest,
            "summary": f"{release.ref} {release.short}: {self._inputs.words()}",
        }

    def _stage(self) -> dict[str, Any]:
        release, now = self._made(), self._now()
        self._check_taken_back(release)
        slot = next((s for s, one in now.slots().items() if one == release), "")
        if slot:
            return {"summary": f"{release.ref} is {slot} already"}
        promoting.stage(self._store, release.deployment, release.number, self._move(release))
        self._moved()
        return {"summary": f"{release.ref} is staged"}

    def _canary(self) -> dict[str, Any]:
        release, now, trial = self._made(), self._now(), self._plan.canary
        assert trial is not None
        self._check_taken_back(release)
        if now.release is None:
            return {"summary": "nothing is live yet, so there is nothing to compare a canary with"}
        if now.release == release:
            return {"summary": f"{release.ref} is live already"}
        rules = trial.rules.as_dict()
        if now.canary == release and (now.weight, dict(now.rules)) == (trial.weight, rules):
            return {"summary": f"{release.ref} is the canary already"}
        move = self._move(release)
        promoting.begin_canary(
            self._store, release.deployment, release.number, trial.weight, rules, move
        )
        self._moved()
        return {"summary": f"{release.ref} gets {trial.weight:.0%} of the units"}

    def _promote(self, progress: Progress) -> dict[str, Any]:
        release, now = self._made(), self._now()
        if now.release == release:
            return {"summary": f"{release.ref} is live"}
        self._check_taken_back(release)
        decision = None
        if now.canary == release:
            decision = decided(self._store, now)
            for finding in decision.findings:
                progress.log(finding.sentence())
            if decision.action == "rollback":
                move = Move(self._actor, decision.reason, decision.as_dict(), self._changed)
                promoting.end_canary(self._store, release.deployment, move)
                raise DeployError(
                    f"The canary {release.ref} was taken back, and nothing was promoted: {decision.reason}."
                )
            if decision.action == "keep":
                return self._wait(progress, f"the canary {release.ref} goes on: {decision.reason}")
        if self._plan.promote == MANUAL:
            return self._wait(
                progress, f"a person promotes it: %deploy promote {release.ref}", again=False
            )
        move = self._move(release, {} if decision is None else {"canary": decision.as_dict()})
        promoting.promote(self._store, release.deployment, release.number, move)
        return {"summary": f"{release.ref} is live"}

    def _wait(self, progress: Progress, why: str, *, again: bool = True) -> dict[str, Any]:
        progress.status = runs.WAITING
        self._note = f"{why}. Run the pipeline again to go on." if again else why
        return {"summary": why}

    def _made(self) -> Release:
        assert self._release is not None
        return self._release

    def _now(self) -> Live:
        return releases.live(self._store, self._plan.name)

    def _move(self, release: Release, more: dict[str, Any] | None = None) -> Move:
        told = merged(self._told)
        evidence: dict[str, Any] = {
            "digest": release.digest,
            "outcome": "none" if told is None else told.outcome,
            "summary": "no evaluation was declared" if told is None else told.summary,
            **({} if told is None else told.numbers),
            **(more or {}),
        }
        return Move(self._actor, f"pipeline {self._plan.name}", evidence, self._changed)

    def _moved(self) -> None:
        """Note our own move, so that only those of others are in the way, also of one right after it."""
        self._changed += 1

    def _check_taken_back(self, release: Release) -> None:
        """Refuse what was rolled back before, so that a job that is repeated does not undo a roll-back.

        Raises:
            DeployError: it was.
        """
        log = promoting.history(self._store, release.deployment, limit=1_000)
        entry = None if self._again else promoting.taken_back(log, release.number)
        if entry is not None:
            why = f": {entry.reason}" if entry.reason else ""
            raise DeployError(
                f"{release.ref} was rolled back by {entry.actor.words()} at {entry.row()['when']}{why}. Change what it is made "
                "of; or, if it is to go live all the same, run the pipeline with --again."
            )
