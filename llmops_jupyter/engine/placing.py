"""Computing elsewhere: machines that answer and embed for a while in place of this one.

What is above an engine stays where it is: templates, examples, documents, guards, tools, budgets, journals and traces.
Only requests and texts go there, and answers and vectors come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from llmops_jupyter.engine.protocol import Engine, Event, Finished, Request
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.models import Model


# Has the engines that are asked for meanwhile compute where it says; None leaves them here. See `Engines.at`.
At = Callable[["str | None"], AbstractContextManager[None]]


@contextmanager
def here(on: str | None) -> Iterator[None]:
    """Where there are no other machines.

    Raises:
        OptionError: some were named.
    """
    if on is not None:
        raise OptionError(f"Nothing is computed on {on!r:.80} here. Leave it out.")
    yield


class Computers(Protocol):
    """Computers that have one model loaded."""

    def facts(self) -> dict[str, Any]:
        """What their engines say of themselves: ``provider`` and ``context_length``."""
        ...

    def answers(self, requests: Iterable[Request]) -> Iterator[Finished]:
        """The end of each request, as they come; one whose computer is lost is computed by another."""
        ...

    def embed(self, texts: Sequence[str]) -> Any:
        """One vector of unit length for each text."""
        ...


class Place(Protocol):
    """Where engines compute; see `Engines.at`."""

    def computers(self, model: Model) -> Computers:
        """Those that have this model, which they load if need be."""
        ...

    def close(self) -> None:
        """Let them go."""
        ...


class PlacedEngine:
    """An engine whose requests and texts are computed elsewhere.

    What needs a model beside a prompt (counting tokens, scoring) is done here, with a model that is loaded then.
    """

    streams = False

    def __init__(self, model: Model, computers: Computers, here: Callable[[], Engine]) -> None:
        self.model_name, self.model_digest = model.name, model.sha256
        self._computers, self._here = computers, here
        facts = computers.facts()
        self._provider, self._context = str(facts["provider"]), int(facts["context_length"])

    @property
    def provider(self) -> str:
        return self._provider

    @property
    def context_length(self) -> int:
        return self._context

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        yield from self._computers.answers(requests)

    def embed(self, texts: Sequence[str]) -> Any:
        return self._computers.embed(texts)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._here(), name)
