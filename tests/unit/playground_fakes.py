"""An engine that writes as slowly as a test wants."""

from __future__ import annotations

import threading
import time

from engine_fakes import FakeEngine

from llmops_jupyter.engine.protocol import Finished, Token
from llmops_jupyter.records import Timing, Usage


class SlowEngine(FakeEngine):
    """Writes the words of its answer when `let` says so; `closed` tells that somebody gave up an answer."""

    def __init__(self, text="one two three four"):
        super().__init__()
        self.words = text.split()
        self.allowed = threading.Semaphore(0)
        self.closed = threading.Event()

    def let(self, count=100):
        for _ in range(count):
            self.allowed.release()

    def generate(self, requests):
        for request in requests:
            self.requests.append(request)
            said = []
            try:
                for word in self.words:
                    self.allowed.acquire()
                    said.append(word)
                    yield Token(request.id, f"{word} ")
            except GeneratorExit:
                self.closed.set()
                raise
            usage, timing = Usage(3, len(said)), Timing(0.5, 0.1, 10.0)
            yield Finished(request.id, " ".join(said), "stop", usage, timing, 7)


def until(condition, seconds=10):
    """Wait for what another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
