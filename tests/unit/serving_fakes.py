"""A deployment on engines that answer at once, and a real server on loopback around it, in this process."""

from __future__ import annotations

import io
import threading
import time
from contextlib import contextmanager

from deploy_fakes import Reader, project

from llmops_jupyter.deploy.serving.fleet import Fixed, Fleet
from llmops_jupyter.deploy.serving.limits import Limits
from llmops_jupyter.deploy.serving.loaded import load
from llmops_jupyter.deploy.serving.places import bound
from llmops_jupyter.deploy.serving.running import Traces
from llmops_jupyter.deploy.serving.server import make
from llmops_jupyter.deploy.serving.service import Service
from llmops_jupyter.engine.protocol import Finished, Token
from llmops_jupyter.records import Timing, ToolCall, Usage

KEYLESS = "none"


class Writer(Reader):
    """Writes the words of an answer one by one; calls a tool where it must, and stops when it is closed."""

    def __init__(self, answer=lambda text: f"echo {text}", *, wait=0.0):
        super().__init__(answer)
        self.wait, self.closed, self.fault = wait, 0, None

    def generate(self, requests):
        for request in requests:
            self.requests.append(request)
            yield from self._one(request)

    def _one(self, request):
        if self.fault is not None:
            raise self.fault
        text = request.text if request.text is not None else request.messages[-1].content
        usage, timing = Usage(7, 3, 2), Timing(0.1, 0.01, 10.0)
        if request.tools and request.tool_choice not in ("none", "auto"):
            call = ToolCall("call_1", request.tools[0].name, {"city": "Paris"})
            yield Finished(request.id, "", "tool_calls", usage, timing, 7, tool_calls=(call,))
            return
        said = '{"city":"Paris"}' if request.schema else self.answer(text)
        words, told = said.split(" "), ""
        try:
            for number, word in enumerate(words):
                if self.wait:
                    time.sleep(self.wait)
                if self.fault is not None:
                    raise self.fault
                piece = word if number == 0 else f" {word}"
                told += piece
                yield Token(request.id, piece)
        finally:
            self.closed += told != said
        yield Finished(request.id, said, "stop", usage, timing, request.sampling.seed or 7)


class Mute(Writer):
    """Reads what it was asked and says nothing, until it is cancelled from another thread."""

    def __init__(self):
        super().__init__()
        self.reading, self.given_up = 0, 0

    def generate(self, requests):
        return Silence(self, requests)


class Silence:
    """The events of an engine that reads."""

    def __init__(self, engine, requests):
        self.engine, self.requests, self.over = engine, requests, threading.Event()
        self.cancel = self.over.set

    def __iter__(self):
        return self

    def __next__(self):
        self.engine.requests += list(self.requests)
        self.engine.reading += 1
        self.engine.given_up += self.over.wait(60)
        self.engine.reading -= 1
        raise StopIteration


def opening(engine):
    """Opens workspaces of bundles that answer with one engine, or with what a function makes of the bundle."""

    def opens(bundle):
        workspace = bundle.workspace()
        found = engine(bundle) if callable(engine) else engine
        workspace.engine.engine = lambda name=None: found
        return workspace

    return opens


def promoted(ws, *, template=None):
    """The next release of the project, live."""
    if template is not None:
        ws.prompts.save("support", template)
    release = ws.deploy.build("support", model="tiny", max_tokens=64)
    ws.deploy.promote(release.ref)
    return release


def deployment(home, template="system: Be kind.\nuser: good {{ q }}\n"):
    """A project whose prompt is live."""
    ws = project(home)
    promoted(ws, template=template)
    return ws


@contextmanager
def served(ws, engine=None, *, keys=None, limits=None, release=None, opens=None, **options):
    """A server of the deployment on loopback; its service, with `url`, `engine` and `log`."""
    engine = engine or Writer()
    limits = limits or Limits(notice_s=0, drain_s=5)
    opens, own = opens or opening(engine), {"timeout": limits.request_s, **options}
    if release is None:
        fleet = Fleet(ws, "support", opens=opens, **own)
    else:
        fleet = Fixed(load(release.folder, "", opens=opens, **own))
    service = Service(fleet, Traces(ws.tracer), keys, limits)
    service.engine, service.log = engine, io.StringIO()
    sock = bound("127.0.0.1", 0)
    service.port = sock.getsockname()[1]
    service.url = f"http://127.0.0.1:{service.port}"
    began = threading.Event()
    server = service.server = make(service, began.set, service.log)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        assert began.wait(30)
        yield service
    finally:
        server.drain()
        thread.join(timeout=30)
        sock.close()
        service.close()
        assert not thread.is_alive()


def wait_until(condition, seconds=20.0):
    """Whether a condition comes to hold within some time."""
    end = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return bool(held)
