"""What the tests of a worker say to it, and what they read from its answers."""

from __future__ import annotations

import sys

import pytest
from worker_fakes import FACTORY

from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.engine.worker.spec import Spec

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def spec(path="/fake", **more):
    return Spec(path, "fake", "digest", factory=FACTORY, **more)


def ask(engine, *texts, **more):
    return list(engine.generate(Request(str(i), text=t, **more) for i, t in enumerate(texts)))


def ends(events):
    return {e.request_id: e for e in events if isinstance(e, Finished)}
