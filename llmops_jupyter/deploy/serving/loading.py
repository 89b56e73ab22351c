"""Releases that are opened in a thread of their own, while those in service answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from llmops_jupyter.deploy.releases import Live, Release
from llmops_jupyter.deploy.serving.loaded import Loaded
from llmops_jupyter.errors import LLMOpsError


class Loading:
    """What is missing of a state that is to come; it begins when it is made.

    Args:
        wanted: the state.
        missing: its releases that are not loaded.
        load: opens one, and loads its model.
    """

    def __init__(
        self, wanted: Live, missing: Sequence[Release], load: Callable[[Release], Loaded]
    ) -> None:
        self.wanted = wanted
        self.found: dict[int, Loaded] = {}
        self.error: Exception | None = None
        self._missing, self._load = missing, load
        self._thread = threading.Thread(target=self._work, name="loading", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether it has ended: with what was `found`, or with an `error`."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        self._thread.join(seconds)
        return self.over

    def _work(self) -> None:
        try:
            for release in self._missing:
                self.found[release.number] = self._load(release)
        except (LLMOpsError, OSError) as e:
            self.error = e
        except Exception as e:  # noqa: BLE001 - whoever looks is told
            self.error = RuntimeError(f"{type(e).__name__}: {e}")
