"""An engine that answers at once, for tests where the model does not matter."""

from __future__ import annotations

from llmops_jupyter.engine.protocol import Finished, Token
from llmops_jupyter.errors import ContextLengthError
from llmops_jupyter.records import Timing, TokenLogprob, Usage


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
