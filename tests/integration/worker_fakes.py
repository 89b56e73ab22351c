"""An engine without a model for tests of the worker: what it does is written in the prompt.

It runs in the worker's process, so a test steers it by text: `words 20 0.05` says twenty words, one each
0.05 s; `die 3` kills the process by SIGKILL after three; `abort` ends it as a native assertion would;
`met 2` waits until two requests run at once; `silent` says one word and `mute` none until they are cancelled; `raise KIND` fails.
Rows take turns, word by word.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from itertools import count

import numpy as np

from llmops_jupyter import errors
from llmops_jupyter.engine.protocol import Finished, Token
from llmops_jupyter.errors import OptionError
from llmops_jupyter.records import Timing, TokenLogprob, Usage

FACTORY = "worker_fakes:FakeEngine"
WAIT_S = 20.0


def begin(path, n_gpu_layers):
    if str(path) == "abort early":
        os.abort()
    if str(path) == "crash-at-end":
        # As a native library does that is taken away while one of its threads runs.
        atexit.register(os.abort)


class FakeEngine:
    provider = "fake"
    streams = True

    def __init__(
        self,
        path,
        *,
        model_name,
        model_digest,
        n_ctx,
        n_threads,
        n_gpu_layers,
        rows,
        n_batch,
        metadata=None,
        prefix_cache_mb=0,
    ):
        self.model_name, self.model_digest = model_name, model_digest
        self.context_length = n_ctx or 512
        self.rows = rows or 4
        self.active, self.most, self.cancelled, self.taken = 0, 0, 0, 0
        self.lock = threading.Lock()
        verb, _, rest = str(path).partition(" ")
        if verb == "fail":
            raise getattr(errors, rest)("this file cannot be loaded. Use another.")
        if verb == "abort":
            os.abort()
        if verb == "slow":
            time.sleep(float(rest))

    def generate(self, requests):
        return Stream(self, requests)

    def answers(self, requests, cancelled):
        source, running = iter(requests), {}
        numbers = count()
        try:
            while True:
                while len(running) < self.rows and (request := next(source, None)) is not None:
                    self._change(1)
                    running[next(numbers)] = (request, self._speak(request, cancelled), [])
                if not running:
                    return
                for number, (request, words, said) in list(running.items()):
                    yield from self._step(running, number, request, words, said)
        finally:
            self.cancelled += len(running)
            self._change(-len(running))

    def _step(self, running, number, request, words, said):
        error, word = None, None
        try:
            word = next(words, None)
        except Exception as e:
            error = e
        if word is not None:
            said.append(word)
            yield Token(request.id, word)
            return
        del running[number]
        self._change(-1)
        yield Finished(
            request.id,
            "".join(said),
            "error" if error else "stop",
            Usage(len(request.text or ""), len(said)),
            Timing(1.0, 0.5, 2.0),
            request.sampling.seed or 7,
            logprobs=(TokenLogprob("a", -float("inf"), (("b", -0.5),)),),
            error=error,
        )

    def _change(self, by):
        with self.lock:
            self.active += by
            self.taken += max(0, by)
            self.most = max(self.most, self.active)

    def _speak(self, request, cancelled):
        prompt = request.text if request.text is not None else request.messages[-1].content
        _valid(prompt)
        verb, *rest = prompt.split(" ")
        if verb == "words":
            for number in range(int(rest[0])):
                yield f"{number} "
                time.sleep(float(rest[1]))
        elif verb == "die":
            for number in range(int(rest[0])):
                yield f"{number} "
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGKILL)
        elif verb == "abort":
            os.abort()
        elif verb == "met":
            end = time.monotonic() + WAIT_S
            while self.most < int(rest[0]) and time.monotonic() < end:
                yield "."
                time.sleep(0.01)
            yield "met" if self.most >= int(rest[0]) else "alone"
        elif verb == "mute":
            cancelled.wait()
        elif verb == "silent":
            yield "hush"
            cancelled.wait()
        elif verb == "raise":
            raise getattr(errors, rest[0], ValueError)("as asked. Do not ask.")
        else:
            yield repr((prompt, request.sampling, request.schema, request.adapters))

    def score(self, items, adapters=()):
        return [[-float(len(label)) for label in labels] for _, labels in items]

    def logprobs(self, texts, adapters=()):
        return [np.full(max(0, len(t) - 1), -0.25, np.float32) for t in texts]

    def embed(self, texts):
        if not texts:
            return np.zeros((0, 2), np.float32)
        return np.array([[1.0, 0.0] if len(t) % 2 else [0.0, 1.0] for t in texts], np.float32)

    def rerank(self, query, texts):
        return [float(query in text) for text in texts]

    def count_tokens(self, prompt):
        if isinstance(prompt, str) and prompt.startswith("sleep "):
            time.sleep(float(prompt.removeprefix("sleep ")))
        if prompt == "bug":
            raise ZeroDivisionError("a bug")
        _valid(prompt if isinstance(prompt, str) else prompt[-1].content)
        return len(prompt)

    def status(self):
        return {
            "rows": self.rows,
            "active": self.active,
            "most": self.most,
            "cancelled": self.cancelled,
            "taken": self.taken,
            "tokens_per_s": 12.5,
        }

    def close(self):
        pass


class Stream:
    """What `generate` gives: it can be cancelled from another thread while it waits."""

    def __init__(self, engine, requests):
        self.cancelled = threading.Event()
        self.events = engine.answers(requests, self.cancelled)
        self.close = self.events.close
        self.cancel = self.cancelled.set

    def __iter__(self):
        return self.events


def _valid(text):
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise OptionError(f"The prompt is not valid Unicode at character {e.start}. Fix it.") from e
