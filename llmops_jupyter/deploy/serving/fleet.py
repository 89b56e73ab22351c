"""The releases in service: which one a unit gets, and how another one takes its place while requests run.

What is live is looked up several times a second. A release is loaded before it gets its first request, and closed after its
last one; what was live before stays loaded, so that a roll-back takes no time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy import promoting, releases
from llmops_jupyter.deploy.releases import Live, Release
from llmops_jupyter.deploy.serving.loaded import Loaded, Opens, load, opened
from llmops_jupyter.errors import DeployError, LLMOpsError
from llmops_jupyter.prompts.splitting import UNIT

if TYPE_CHECKING:
    from llmops_jupyter.workspace import Workspace

LOG = logging.getLogger(__name__)
POLL_S, CHECK_S, AGAIN_S = 0.2, 2.0, 10.0


@dataclass(frozen=True)
class State:
    """What is in service at one time: the slots, and the loaded releases by number."""

    live: Live
    loaded: Mapping[int, Loaded]
    standby: int | None = None


@dataclass(frozen=True)
class Taken:
    """A release that a request has got, and what its trace says of that."""

    loaded: Loaded
    attributes: Mapping[str, str]


class Fixed:
    """A bundle that is served as it is."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.name = loaded.bundle.name
        self.problem = ""

    @contextmanager
    def take(self, unit: str, pinned: str = "") -> Iterator[Taken]:
        """The release for one request of a unit."""
        del unit, pinned
        self._loaded.take()
        try:
            yield Taken(self._loaded, self._loaded.attributes)
        finally:
            self._loaded.leave()

    def refs(self) -> dict[str, str]:
        """The releases in service by their slots."""
        return {releases.LIVE: self._loaded.ref}

    def any(self) -> Loaded:
        """The release that is live."""
        return self._loaded

    def close(self) -> None:
        """Close it once its last request has ended."""
        self._loaded.retire()


class Fleet:
    """The releases of a deployment that are in service.

    Args:
        project: workspace in which the deployment is; its store has the traces.
        name: of the deployment.
        opens: opens the workspace of a bundle.
        options: of each `Loaded`.
    """

    def __init__(
        self, project: Workspace, name: str, *, opens: Opens = opened, **options: Any
    ) -> None:
        self.name = name
        self.problem = ""
        self._project, self._opens = project, opens
        self._options = {"purse": project.prompts.find_purse, **options}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._failed, self._again = -1, 0.0
        self._checked = time.monotonic()
        now = releases.live(project.store, name)
        if now.release is None:
            releases.releases(project.store, name)  # says what there is
            raise DeployError(
                f"Nothing of {name!r} is live, so there is nothing to serve. Promote a release: %deploy promote {name}"
            )
        self._state = State(now, {})
        self._state = self._with(now)
        self._thread = threading.Thread(target=self._follow, name="releases", daemon=True)
        self._thread.start()

    @contextmanager
    def take(self, unit: str, pinned: str = "") -> Iterator[Taken]:
        """The release for one request of a unit; `pinned` is the reference of one that is live or canary."""
        with self._lock:
            state = self._state
            release = self._pinned(state, pinned) or state.live.release_of(unit)
            loaded = state.loaded[release.number]
            loaded.take()
        try:
            attributes = dict(loaded.attributes)
            if state.live.canary is not None:
                attributes[UNIT] = state.live.unit_hash(unit)
            yield Taken(loaded, attributes)
        finally:
            loaded.leave()

    def refs(self) -> dict[str, str]:
        """The releases in service by their slots."""
        now = self._state.live
        slots = {releases.LIVE: now.release, releases.CANARY: now.canary}
        return {slot: one.ref for slot, one in slots.items() if one is not None}

    def any(self) -> Loaded:
        """The release that is live."""
        state = self._state
        assert state.live.release is not None
        return state.loaded[state.live.release.number]

    def look(self) -> bool:
        """Take over what has changed since the last look; whether something did.

        Where the new release cannot be loaded, what is in service stays so, and `problem` says why.
        """
        store = self._project.store
        changed = releases.changed(store, self.name)
        if changed == self._state.live.changed:
            self.problem = ""
            return False
        if changed == self._failed and time.monotonic() < self._again:
            return False
        now = releases.live(store, self.name)
        if now.release is None:
            return False
        try:
            state = self._with(now)
        except (LLMOpsError, OSError) as e:
            self._failed, self._again = now.changed, time.monotonic() + AGAIN_S
            self.problem = f"{_refs(now)} cannot be loaded: {' '.join(str(e).split())}"
            LOG.warning("%s; %s goes on", self.problem, _refs(self._state.live))
            return False
        with self._lock:
            before, self._state = self._state, state
        self.problem = ""
        LOG.warning("%s is in service, after %s", _refs(now), _refs(before.live))
        self._retire(before, state)
        return True

    def check_canary(self) -> None:
        """Have the rules of the canary decide, if one is in service; what they say is done."""
        if self._state.live.canary is None or time.monotonic() - self._checked < CHECK_S:
            return
        self._checked = time.monotonic()
        decision = self._project.deploy.check(self.name)
        if decision.action != "keep":
            LOG.warning("the canary: %s, %s", decision.action, decision.reason)

    def close(self) -> None:
        """Look no more, and close the releases once their requests have ended."""
        self._ended.set()
        self._thread.join(timeout=5)
        for loaded in self._state.loaded.values():
            loaded.retire()

    def _follow(self) -> None:
        while not self._ended.wait(POLL_S):
            for act in (self.check_canary, self.look):
                self._try(act)

    def _try(self, act: Callable[[], Any]) -> None:
        """Do something that must not end the thread, whatever happens to the store."""
        try:
            act()
        except LLMOpsError as e:
            self.problem = " ".join(str(e).split())
        except Exception as e:  # the server goes on with what it has
            self.problem = f"{type(e).__name__}: {e}"
            LOG.exception("looking at releases failed")

    def _with(self, now: Live) -> State:
        """The state in which what is live now is loaded; what is loaded already is used."""
        wanted = {one.number: one for one in (now.release, now.canary) if one is not None}
        log = reversed(promoting.history(self._project.store, self.name, limit=-1))
        standby = promoting.before(log)
        loaded: dict[int, Loaded] = {}
        for number, release in wanted.items():
            loaded[number] = self._state.loaded.get(number) or self._load(release)
        if standby is not None and standby in self._state.loaded:
            loaded.setdefault(standby, self._state.loaded[standby])
        return State(now, loaded, standby)

    def _load(self, release: Release) -> Loaded:
        return load(
            Path(release.folder), release.ref, release.digest, opens=self._opens, **self._options
        )

    def _retire(self, before: State, after: State) -> None:
        kept = set(map(id, after.loaded.values()))
        for loaded in before.loaded.values():
            if id(loaded) not in kept:
                loaded.retire()

    @staticmethod
    def _pinned(state: State, ref: str) -> Release | None:
        slots = (state.live.release, state.live.canary)
        return next((one for one in slots if one is not None and one.ref == ref), None)


def _refs(now: Live) -> str:
    parts = [one.ref for one in (now.release, now.canary) if one is not None]
    return " with the canary ".join(parts) or "nothing"
