"""Engines that answer at once, for tests where the model does not matter."""

from __future__ import annotations

from llmops_jupyter.engine.protocol import Finished, Token
from llmops_jupyter.errors import ContextLengthError
from llmops_jupyter.records import Timing, TokenLogprob, ToolCall, Usage


class FakeEngine:
    """Answers each request with `answer` of its last message; keeps the requests it got.

    A message with the word 'bad' fails. A token is a word. With `thought` it thinks that first, and with
    `cost` each answer costs so much.
    """

    provider = "fake"
    model_name = "fake"
    model_digest = "f" * 64
    context_length = 100
    streams = True

    def __init__(self, answer=lambda text: f"echo {text}", *, thought="", cost=None, notes=()):
        self.answer = answer
        self.thought, self.cost, self.notes = thought, cost, notes
        self.requests = []

    def generate(self, requests):
        for request in requests:
            self.requests.append(request)
            text = request.messages[-1].content
            if "bad" in text.split():
                error = ContextLengthError("too long")
                yield Finished(request.id, "", "error", Usage(), Timing(), 1, error=error)
                continue
            said = self.answer(text)
            if self.thought:
                yield Token(request.id, self.thought, reasoning=True)
            yield Token(request.id, said)
            logprobs = ()
            if request.sampling.logprobs is not None:
                logprobs = (TokenLogprob(said, -0.5, ((said, -0.5), ("other", -2.0))),)
            usage, timing = Usage(3, 4, 0, len(self.thought.split())), Timing(0.1, 0.01, 10.0)
            yield Finished(
                request.id,
                said,
                "stop",
                usage,
                timing,
                7,
                reasoning=self.thought,
                logprobs=logprobs,
                cost=self.cost,
                notes=self.notes,
            )

    def score(self, items, adapters=()):
        return [[-1.0 for _ in labels] for _, labels in items]

    def count_tokens(self, prompt):
        texts = [prompt] if isinstance(prompt, str) else [m.content for m in prompt]
        return sum(len(text.split()) for text in texts)

    def status(self):
        return {}

    def close(self):
        pass


def plug(workspace, engine=None):
    """Have a workspace run everything on a fake engine, which is returned."""
    found = engine or FakeEngine()
    workspace.engine.engine = lambda model=None: found
    return found


class Script(FakeEngine):
    """Says what `say(messages)` gives for each request: a text, or (text, calls) with calls as (name, arguments)."""

    context_length = 4000

    def __init__(self, say):
        super().__init__()
        self.say = say

    def generate(self, requests):
        for request in requests:
            self.requests.append(request)
            said = self.say(request.messages)
            text, calls = said if isinstance(said, tuple) else (said, [])
            known = sum(len(m.tool_calls) for m in request.messages)
            made = tuple(ToolCall(f"call{known + i}", *call) for i, call in enumerate(calls))
            if text:
                yield Token(request.id, text)
            reason = "tool_calls" if made else "stop"
            timing = Timing(0.1, 0.01, 10.0)
            yield Finished(request.id, text, reason, Usage(3, 4), timing, 7, tool_calls=made)


def script(*steps):
    """The n-th step is said when the conversation has n - 1 answers of the assistant."""
    return Script(lambda messages: steps[sum(m.role == "assistant" for m in messages)])
