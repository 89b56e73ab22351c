"""The releases in service: which one a unit gets, and how another one takes its place while requests run.

What is live is looked up several times a second. A release is loaded before it gets its first request, and closed after its
last one; what was live before stays loaded, so that a roll-back takes no time. Loading and judging a canary may take long, so
each has a thread of its own, and what is looked up meanwhile counts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy import promoting, releases
from llmops_jupyter.deploy.releases import Live, Release
from llmops_jupyter.deploy.serving.faults import MISSING, Refusal
from llmops_jupyter.deploy.serving.loaded import Loaded, Opens, load, opened
from llmops_jupyter.deploy.serving.loading import Loading
from llmops_jupyter.errors import DeployError, LLMOpsError, ModelMemoryError
from llmops_jupyter.prompts.splitting import UNIT

if TYPE_CHECKING:
    from llmops_jupyter.workspace import Workspace

LOG = logging.getLogger(__name__)
POLL_S, CHECK_S, AGAIN_S = 0.2, 2.0, 10.0
# Judging a canary takes this part of a processor at most: the more traffic there is, the longer it takes.
PACE = 10
LOOKING, JUDGING = "releases", "canary"


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
        self._problems = {LOOKING: "", JUDGING: ""}
        self._project, self._opens = project, opens
        self._options = {"purse": project.prompts.find_purse, **options}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._failed, self._again = -1, 0.0
        self._loading: Loading | None = None
        self._ready: dict[int, Loaded] = {}
        now = releases.live(project.store, name)
        if now.release is None:
            releases.releases(project.store, name)  # says what there is
            raise DeployError(
                f"Nothing of {name!r} is live, so there is nothing to serve. Promote a release: %deploy promote {name}"
            )
        self._state = State(now, {})
        self._load_at_once(now)
        self._threads = [
            threading.Thread(target=self._follow, name=LOOKING, daemon=True),
            threading.Thread(target=self._judge, name=JUDGING, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def problem(self) -> str:
        """What does not go on as it should; '' for nothing."""
        return "; ".join(filter(None, self._problems.values()))

    @contextmanager
    def take(self, unit: str, pinned: str = "") -> Iterator[Taken]:
        """The release for one request of a unit; `pinned` is the reference of one that is live or canary.

        Raises:
            Refusal: the pinned one is in service no more.
        """
        with self._lock:
            state = self._state
            release = self._pinned(state, pinned) if pinned else state.live.release_of(unit)
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

        What is not loaded yet is loaded beside, and taken over at a later look. Where that fails, what is in service stays
        so, and `problem` says why.
        """
        changed = releases.changed(self._project.store, self.name)
        if changed == self._state.live.changed and self._loading is None:
            self._problems[LOOKING] = ""
            return False
        now = releases.live(self._project.store, self.name)
        if now.release is None:
            return False
        self._take_loaded(now)
        missing = [
            one
            for number, one in _wanted(now).items()
            if number not in self._state.loaded and number not in self._ready
        ]
        if missing:
            self._load_beside(now, missing)
            return False
        new = now.changed != self._state.live.changed
        if new:
            self._take_over(now)
        for loaded in self._ready.values():
            loaded.retire()  # which was loaded for a state that did not last
        self._ready.clear()
        return new

    def check_canary(self) -> None:
        """Have the rules of the canary decide, if one is in service; what they say is done."""
        if self._state.live.canary is not None:
            decision = self._project.deploy.check(self.name)
            if decision.action != "keep":
                LOG.warning("the canary: %s, %s", decision.action, decision.reason)
        self._problems[JUDGING] = ""

    def close(self) -> None:
        """Look no more, and close the releases once their requests have ended."""
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=5)
        if self._loading is not None and self._loading.wait(5):
            self._ready.update(self._loading.found)
        for loaded in (*self._state.loaded.values(), *self._ready.values()):
            loaded.retire()

    def _follow(self) -> None:
        while not self._ended.wait(POLL_S):
            self._try(LOOKING, self.look)

    def _judge(self) -> None:
        pause = CHECK_S
        while not self._ended.wait(pause):
            began = time.monotonic()
            self._try(JUDGING, self.check_canary)
            pause = max(CHECK_S, PACE * (time.monotonic() - began))

    def _try(self, what: str, act: Callable[[], Any]) -> None:
        """Do something that must not end the thread, whatever happens to the store."""
        try:
            act()
        except Exception as e:  # the server goes on with what it has
            known = isinstance(e, LLMOpsError)
            said = " ".join(str(e).split()) if known else f"{type(e).__name__}: {e}"
            if self._problems[what] != said:
                LOG.warning("%s: %s", what, said, exc_info=None if known else e)
            self._problems[what] = said

    def _load_at_once(self, now: Live) -> None:
        """Have what is live when the server begins."""
        try:
            for number, release in _wanted(now).items():
                self._ready[number] = self._load(release)
        except BaseException:
            for loaded in self._ready.values():
                loaded.retire()
            raise
        self._take_over(now)

    def _load_beside(self, now: Live, missing: Sequence[Release]) -> None:
        if self._loading is not None:
            return  # one after the other
        if now.changed != self._failed or time.monotonic() >= self._again:
            self._loading = Loading(now, missing, self._load)

    def _take_loaded(self, now: Live) -> None:
        """Have what was loaded beside, or say why it could not be."""
        loading = self._loading
        if loading is None or not loading.over:
            return
        self._loading = None
        self._ready.update(loading.found)
        error = loading.error
        if error is None or (isinstance(error, ModelMemoryError) and self._give_room(now)):
            return
        self._failed, self._again = loading.wanted.changed, time.monotonic() + AGAIN_S
        said = f"{_refs(loading.wanted)} cannot be loaded: {' '.join(str(error).split())}"
        self._problems[LOOKING] = said
        LOG.warning("%s; %s goes on", said, _refs(self._state.live))

    def _take_over(self, now: Live) -> None:
        """Have what is live now in service; all of it is loaded."""
        before = self._state
        log = reversed(promoting.history(self._project.store, self.name, limit=-1))
        standby = promoting.before(log)
        loaded = {
            number: before.loaded.get(number) or self._ready.pop(number) for number in _wanted(now)
        }
        if standby is not None and standby in before.loaded:
            loaded.setdefault(standby, before.loaded[standby])
        after = State(now, loaded, standby)
        with self._lock:
            self._state = after
        self._problems[LOOKING] = ""
        if before.loaded:
            LOG.warning("%s is in service, after %s", _refs(now), _refs(before.live))
        self._retire(before, after)

    def _load(self, release: Release) -> Loaded:
        return load(
            Path(release.folder), release.ref, release.digest, opens=self._opens, **self._options
        )

    def _give_room(self, wanted: Live) -> bool:
        """Close what was live before and only waits for a roll-back; whether there was something."""
        state = self._state
        needed = {*_wanted(state.live), *_wanted(wanted)}
        waiting = {n: one for n, one in state.loaded.items() if n not in needed}
        if not waiting:
            return False
        kept = {n: one for n, one in state.loaded.items() if n in needed}
        with self._lock:
            self._state = State(state.live, kept)
        for one in waiting.values():
            LOG.warning("%s is closed, to make room", one.ref)
            one.retire()
        return True

    def _retire(self, before: State, after: State) -> None:
        kept = set(map(id, after.loaded.values()))
        for loaded in before.loaded.values():
            if id(loaded) not in kept:
                loaded.retire()

    @staticmethod
    def _pinned(state: State, ref: str) -> Release:
        found = next((one for one in _wanted(state.live).values() if one.ref == ref), None)
        if found is None:
            raise Refusal(404, f"{ref} is not in service any more.", MISSING, "model_not_found")
        return found


def _wanted(now: Live) -> dict[int, Release]:
    """The releases that serve somebody, by number."""
    return {one.number: one for one in (now.release, now.canary) if one is not None}


def _refs(now: Live) -> str:
    parts = [one.ref for one in (now.release, now.canary) if one is not None]
    return " with the canary ".join(parts) or "nothing"
