"""An engine whose answers have a known number of tokens and take a known time, for tests of budgets."""

from __future__ import annotations

from llmops_jupyter.engine.protocol import Finished, Token
from llmops_jupyter.records import Resources, Timing, Usage


class WordEngine:
    """Writes `words` words, a token and `a_word_s` seconds each, within the limits of the request.

    `at_word` is called with the number of each word before it is written. As engines do, it takes several requests
    (`rows`) before it ends the first.
    """

    provider = "llama.cpp"
    model_name = "words"
    model_digest = "f" * 64
    context_length = 4096
    streams = True

    def __init__(self, words=10, *, a_word_s=0.01, rows=4, cost=None, energy_j=None, at_word=None):
        self.words, self.a_word_s, self.rows = words, a_word_s, rows
        self.cost, self.energy_j = cost, energy_j
        self.at_word = at_word or (lambda number: None)
        self.requests = []

    def generate(self, requests):
        source, running = iter(requests), []
        while True:
            while len(running) < self.rows and (request := next(source, None)) is not None:
                self.requests.append(request)
                running.append(request)
            if not running:
                return
            yield from self._answer(running.pop(0))

    def _answer(self, request):
        most = request.sampling.max_tokens
        said, reason = [], "stop"
        for number in range(1, self.words + 1):
            if number > most:
                reason = "length"
                break
            if request.deadline_s is not None and number * self.a_word_s > request.deadline_s:
                reason = "deadline"
                break
            self.at_word(number)
            said.append(f"w{number}")
            yield Token(request.id, f"w{number} ")
        seconds = len(said) * self.a_word_s
        usage = Usage(self.count_tokens(request.messages), len(said))
        taken = Resources(seconds, 2 * seconds, 1000, self.energy_j)
        text = " ".join(said)
        timing = Timing(seconds, self.a_word_s, 1 / self.a_word_s)
        yield Finished(request.id, text, reason, usage, timing, 1, cost=self.cost, resources=taken)

    def count_tokens(self, prompt):
        texts = [prompt] if isinstance(prompt, str) else [m.content for m in prompt]
        return sum(len(text.split()) for text in texts)

    def status(self):
        return {}

    def close(self):
        pass


def plug_words(workspace, *args, **options):
    """Have a workspace run everything on such an engine, which is returned."""
    found = WordEngine(*args, **options)
    workspace.engine.engine = lambda model=None: found
    return found
