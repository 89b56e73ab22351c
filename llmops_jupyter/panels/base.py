"""What all panels share: messages that are answered whatever happens, a thread that looks, what a notebook keeps."""

from __future__ import annotations

import threading
import time
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import anywidget
from traitlets import MetaHasTraits

# Looking takes at most a tenth of the time.
SHARE = 10


class _Kind(ABCMeta, MetaHasTraits):
    """Of widgets that are only there for others to be made from them."""


class Panel(anywidget.AnyWidget, metaclass=_Kind):
    """A widget that is a view of an object of a stage, which does the work.

    The browser sends a mapping with an `action` and the name of the question, `ask`; an answer that others than the
    one who asked may see has that name again, as `heard`.

    Args:
        tell: told what a saved notebook keeps, as a MIME bundle, where it stands beside the panel; without it the
            panel's own output has that, as it was when it was shown.
        values: of the traits.
    """

    # What stands in the panel's place where widgets are gone, and the rest is kept beside it.
    what = "panel"

    def __init__(self, tell: Callable[[Any], None] | None = None, **values: Any) -> None:
        super().__init__(**values)
        self._tell = tell
        self._kept_at = 0.0
        self._kept: Hashable = None
        self._said, self._heard = "", ""
        self._lock, self._closed = threading.RLock(), threading.Event()
        self.on_msg(self._received)

    @abstractmethod
    def bundle(self) -> dict[str, str]:
        """What a saved notebook keeps, as text and HTML."""

    def close(self) -> None:
        """Take the panel away; what it shows is left as it is."""
        if hasattr(self, "_closed"):  # the base closes what could not be made as well
            self._closed.set()
        super().close()

    def _received(self, _: Any, content: Any, __: Any) -> None:
        """A message of the browser; what is no mapping says nothing."""
        found = content if isinstance(content, Mapping) else {}
        self._take(text_of(found.get("action")), found)

    @abstractmethod
    def _take(self, action: str, content: Mapping[str, Any]) -> None:
        """Do what was asked for, and answer whatever happens, since the browser waits for it."""

    def _keep(self, state: Hashable, every_s: float, make: Callable[[], Any]) -> None:
        """Tell what a saved notebook keeps if the state is another one, or so many seconds have passed."""
        now = time.monotonic()
        if self._tell is None or (state == self._kept and now - self._kept_at < every_s):
            return
        self._kept_at, self._kept = now, state
        self._tell(make())

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """With what a notebook shows where there is no widget."""
        made = super()._repr_mimebundle_(**options)
        if made is None:
            return None
        data, metadata = made if isinstance(made, tuple) else (made, {})
        if self._tell is None:
            return {**data, **self.bundle()}, metadata
        text = f"({self.what})"
        return {**data, "text/plain": text, "text/html": f"<p>{text}</p>"}, metadata


class LookingPanel(Panel):
    """A panel that a thread refreshes while there is something to see, so that the kernel stays free.

    The thread ends when `_look` says so, when the panel is closed, and with the kernel.
    """

    def __init__(self, tell: Callable[[Any], None] | None = None, **values: Any) -> None:
        super().__init__(tell, **values)
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Take the panel away, and end its thread."""
        super().close()
        if hasattr(self, "_wake"):
            self._wake.set()

    @abstractmethod
    def _every_s(self) -> float:
        """Seconds between two looks."""

    @abstractmethod
    def _look(self) -> bool:
        """Show what there is now; whether there will be more to see."""

    def _follow(self, name: str) -> None:
        """Have a thread of this name look; nothing happens if one does already."""
        with self._lock:
            if self._thread is not None or self._closed.is_set():
                return
            self._thread = threading.Thread(
                target=self._watch, name=f"llmops-panel-{name}", daemon=True
            )
            self._thread.start()

    def _watch(self) -> None:
        pause = self._every_s()
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            began = time.monotonic()
            with self._lock:
                goes_on = False
                try:
                    goes_on = not self._closed.is_set() and self._look()
                finally:  # whatever happened: the next one who follows begins anew
                    if not goes_on:
                        self._thread = None
                if not goes_on:
                    return
            pause = max(self._every_s(), SHARE * (time.monotonic() - began))


def text_of(value: Any, most: int | None = None) -> str:
    """A text of the browser's, without halves of characters, which no store and no model takes; '' for others."""
    if not isinstance(value, str):
        return ""
    return value[:most].encode("utf-8", "replace").decode()


def number_of(value: Any, otherwise: int) -> int:
    """A whole number of the browser's."""
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
