"""The stage a workspace hands out: bundles, releases, pipelines."""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy import candidates, promoting, releases
from llmops_jupyter.deploy.actors import Actor, actor
from llmops_jupyter.deploy.folders import REFERENCE, Tell, silent
from llmops_jupyter.deploy.promoting import Entry, Move
from llmops_jupyter.deploy.releases import Live, Release
from llmops_jupyter.deploy.rooms import Rooms
from llmops_jupyter.deploy.sizing.stage import Sizing
from llmops_jupyter.deploy.targets.stage import Targets
from llmops_jupyter.errors import DeployError

if TYPE_CHECKING:
    from llmops_jupyter.deploy.bundle import Bundle
    from llmops_jupyter.deploy.pipeline import Outcome
    from llmops_jupyter.deploy.runs import PipelineRun
    from llmops_jupyter.deploy.serving.process import Serving
    from llmops_jupyter.deploy.watching import Decision


class Deploy(Targets, Sizing):
    """Deployments of a workspace. A release is ``"support"`` (the newest), ``"support@3"`` or ``"support@live"``."""

    def __init__(self, rooms: Rooms) -> None:
        super().__init__(rooms)
        self._store = rooms.store

    def build(
        self,
        name: str,
        prompt: str | None = None,
        *,
        evidence: Any = None,
        suites: Sequence[Any] = (),
        weights: str = REFERENCE,
        folder: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        progress: Tell | None = None,
        **options: Any,
    ) -> Release:
        """Build a bundle and register it as a release; the same inputs are the same release.

        Args:
            name: of the deployment.
            prompt: that is deployed; the one of the deployment's name if left out.
            evidence: what speaks for it: evaluation runs, comparisons, gates' reports.
            suites: of gates that are run on it first, about what is deployed whatever variant they name.
            weights: 'reference' names the model by its digest; 'copy' brings its file in, 'link' gives it a second name.
            folder: to be made; one beside the store if left out.
            overwrite: replace another bundle in that folder.
            progress: told how far it is.
            options: as for `prompts.run`: model, adapters, guard, rag and what belongs to it, the fields of `Sampling`.

        Raises:
            DeployError: it cannot be built; nothing was left.
            OptionError, UnknownNameError, ModelError: something of it is not there, or cannot be used.
        """
        from llmops_jupyter.deploy.building import build
        from llmops_jupyter.deploy.evidence import gathered, merged
        from llmops_jupyter.deploy.inputs import resolved
        from llmops_jupyter.finetune.manifest import target_of

        self._check_writable()
        target = None if folder is None else target_of(folder)
        found = [gathered(evidence)]
        inputs = resolved(self._rooms, name, prompt or name, options)
        evaluation = self._rooms.evaluation()
        judged = [replace(evaluation.suite(s), variant=inputs.variant()) for s in suites]
        found.append(gathered([evaluation.gate(s, progress=progress) for s in judged]))
        told = merged([one for one in found if one is not None])
        place, made = build(
            self._rooms,
            inputs,
            weights=weights,
            out=target,
            told=told,
            actor=self._actor(),
            overwrite=overwrite,
            tell=progress or silent,
        )
        return releases.add(self._store, name, made.digest, place, made.as_dict())

    def add(self, folder: str | os.PathLike[str], *, progress: Tell | None = None) -> Release:
        """Register a bundle that was built elsewhere as a release of its deployment.

        Raises:
            DeployError: it is no bundle, or not whole.
        """
        return candidates.registered(self._store, folder, progress or silent)

    def get(self, reference: str) -> Release:
        """A release.

        Raises:
            UnknownNameError: there is none.
        """
        return releases.get(self._store, reference)

    def open(self, reference: str, *, progress: Tell | None = None) -> Bundle:
        """The bundle of a release, checked.

        Raises:
            DeployError: it is not whole, or not the bundle that was registered.
        """
        from llmops_jupyter.deploy.opening import open_bundle

        release = self.get(reference)
        bundle = open_bundle(release.folder, progress=progress)
        if bundle.digest != release.digest:
            raise DeployError(
                f"{str(release.folder)!r} holds another bundle than {release.ref} (sha256 {release.short}…). Put it back, "
                "or build it again."
            )
        return bundle

    def promote(
        self,
        reference: str,
        *,
        canary: float | None = None,
        rules: Any = None,
        expected: str | None = None,
        note: str = "",
        anyway: bool = False,
        evidence: Mapping[str, Any] | None = None,
    ) -> Live:
        """Make a release live, or give it a share of the units.

        Args:
            reference: of the release, or the folder of a bundle; of a bare name the staged one, else the canary, else
                the newest.
            canary: its share of the units between 0 and 1; None makes it live.
            rules: by which the canary is watched; see `watching.read_rules`.
            expected: the release that you believe to be live, such as ``"support@2"``; '' for none.
            note: why, for the log.
            anyway: also without whole evidence: a gate that failed, or was undecided.
            evidence: what it rests on beside what the bundle says, for the log.

        Raises:
            DeployError: its gate did not pass, its bundle is not whole, it is live already, or somebody moved something
                meanwhile; nothing has changed then.
        """
        from llmops_jupyter.deploy.watching import read_rules

        watched = read_rules(rules).as_dict() if canary is not None or rules else {}
        release = candidates.meant(self._store, reference)
        now = self.status(release.deployment)
        candidates.check_expected(self._store, now, expected)
        self.open(release.ref)
        told = candidates.evidence_of(release, anyway=anyway)
        move = Move(self._actor(), note, {**told, **(evidence or {})}, now.changed)
        if canary is None:
            return promoting.promote(self._store, release.deployment, release.number, move)
        return promoting.begin_canary(
            self._store, release.deployment, release.number, canary, watched, move
        )

    def stage(self, reference: str, *, note: str = "") -> Live:
        """Put a release where it waits to be promoted."""
        release = candidates.meant(self._store, reference)
        self.open(release.ref)
        told = candidates.evidence_of(release, anyway=True)
        move = Move(self._actor(), note, told, self.status(release.deployment).changed)
        return promoting.stage(self._store, release.deployment, release.number, move)

    def rollback(
        self,
        name: str,
        *,
        canary: bool = False,
        expected: str | None = None,
        note: str = "",
        evidence: Mapping[str, Any] | None = None,
    ) -> Live:
        """Make live what was live before, in one step; or with `canary` take only the canary back.

        Raises:
            DeployError: nothing was live before, there is no canary, or somebody moved something meanwhile.
        """
        releases.releases(self._store, name)
        now = self.status(name)
        candidates.check_expected(self._store, now, expected)
        move = Move(self._actor(), note, evidence or {}, now.changed)
        if canary:
            return promoting.end_canary(self._store, name, move)
        candidates.check_there(self._store, name)
        return promoting.rollback(self._store, name, move)

    def status(self, name: str) -> Live:
        """What of a deployment is live, staged and canary."""
        return releases.live(self._store, name)

    def list(self) -> builtins.list[Live]:
        """All deployments."""
        return [self.status(name) for name in releases.names(self._store)]

    def releases(self, name: str) -> builtins.list[Release]:
        """The releases of a deployment, newest first."""
        return releases.releases(self._store, name)

    def history(self, name: str, limit: int = 200) -> builtins.list[Entry]:
        """Who moved what, when, and on which evidence; newest first."""
        releases.releases(self._store, name)
        return promoting.history(self._store, name, limit)

    def check(self, name: str, *, act: bool = True) -> Decision:
        """Look at a canary's traffic by its rules, and promote it or take it back if they say so.

        Traffic is what this store has of it: traces of both releases. Look as often as you like: the tests hold at every
        look.

        Raises:
            DeployError: there is no canary.
        """
        from llmops_jupyter.deploy.traffic import decided

        now = self.status(name)
        decision = decided(self._store, now)
        if not act or decision.action == "keep" or now.canary is None:
            return decision
        evidence = decision.as_dict()
        move = Move(self._actor(), decision.reason, evidence, now.changed)
        if decision.action == "rollback":
            promoting.end_canary(self._store, name, move)
        else:
            promoting.promote(self._store, name, now.canary.number, move)
        return decision

    def run(
        self,
        file: str | os.PathLike[str] = "deploy.yaml",
        *,
        until: str | None = None,
        fresh: bool = False,
        again: bool = False,
        folder: str | os.PathLike[str] | None = None,
        progress: Tell | None = None,
    ) -> Outcome:
        """Run a pipeline; steps that succeeded on the same inputs are not run again.

        Args:
            file: YAML, or its text; see `planfile.read_plan`.
            until: the last step that is run.
            fresh: run every step anew.
            again: promote a release that was rolled back before.
            folder: of the bundle; one beside the store if left out.
            progress: told how far it is.

        Raises:
            DeployError: a step failed: which, and why. Nothing was promoted.
        """
        from llmops_jupyter.deploy.pipeline import Pipeline
        from llmops_jupyter.deploy.planfile import read_plan
        from llmops_jupyter.finetune.manifest import target_of

        self._check_writable()
        plan = read_plan(file)
        if folder is not None:
            plan = replace(plan, out=target_of(folder))
        pipeline = Pipeline(self, self._rooms, plan, self._actor(), progress or silent)
        return pipeline.run(until=until, fresh=fresh, again=again)

    def runs(self, name: str, limit: int = 20) -> Sequence[PipelineRun]:
        """The pipelines of a deployment with their steps, newest first."""
        from llmops_jupyter.deploy import runs

        return runs.runs_of(self._store, name, limit)

    def serve(
        self,
        given: str | os.PathLike[str],
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        no_auth: bool = False,
        outlive: bool = False,
        **options: Any,
    ) -> Serving:
        """Serve a deployment, a release, or the folder of a bundle with OpenAI's interface, in a process of its own.

        Args:
            given: a reference: of a bare name what is live, and what becomes so; or a folder.
            host: address to listen at.
            port: to listen at; 0 takes any that is free.
            no_auth: accept everybody on this machine; else a key is made, which the result has.
            outlive: go on when this process ends.
            options: those of `llmops serve`, such as ``max_running=4``.

        Raises:
            DeployError: it cannot be served: the port is taken, nothing is live, the bundle is not whole.
        """
        from llmops_jupyter.deploy.serving.process import start

        return start(
            given,
            store=self._store.path,
            host=host,
            port=port,
            no_auth=no_auth,
            outlive=outlive,
            options=options,
        )

    def ci(self, where: str, file: str | os.PathLike[str] = "deploy.yaml", **options: Any) -> str:
        """A workflow for continuous integration that runs a pipeline from an exported folder; see `templates.template`."""
        from llmops_jupyter.deploy.planfile import read_plan
        from llmops_jupyter.deploy.templates import template

        return template(where, read_plan(file), Path(file), self._rooms, **options)

    def _actor(self) -> Actor:
        return actor(self._rooms.provenance())

    def _check_writable(self) -> None:
        """Refuse a store that is open for reading only, before anything is written elsewhere.

        Raises:
            StoreReadOnlyError: it is.
        """
        with self._store.lock:
            self._store.writer()
