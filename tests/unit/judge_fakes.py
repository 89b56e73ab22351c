"""Engines that judge by rules, for tests of what is made of verdicts."""

from __future__ import annotations

import json
import math
import re

from engine_fakes import FakeEngine

from llmops_jupyter.engine.protocol import Finished
from llmops_jupyter.errors import NoProbabilitiesError
from llmops_jupyter.records import Timing, Usage

_PART = re.compile(r"--- (.+?) ([0-9a-f]{8}) ---\n(.*?)\n--- end of \1 \2 ---", re.DOTALL)


def parts_in(prompt):
    """What a judge's prompt shows, by its title."""
    return {title: text for title, _, text in _PART.findall(prompt[-1].content)}


class JudgeEngine(FakeEngine):
    """Gives the first of two labels the probability that `decide` says of the parts; keeps the prompts."""

    context_length = 4096
    model_name = "fake-judge"

    def __init__(self, decide, digest="j" * 64):
        super().__init__()
        self.decide = decide
        self.model_digest = digest
        self.prompts = []

    def score(self, items, adapters=()):
        found = []
        for prompt, labels in items:
            self.prompts.append(prompt)
            share = min(1 - 1e-9, max(1e-9, self.decide(parts_in(prompt))))
            rest = (1 - share) / (len(labels) - 1)
            found.append([math.log(share), *[math.log(rest)] * (len(labels) - 1)])
        return found


class StructuredOnly(JudgeEngine):
    """An endpoint that cannot tell how likely labels are, but answers as a schema wants."""

    def score(self, items, adapters=()):
        raise NoProbabilitiesError("this endpoint returns no log-probabilities")

    def generate(self, requests):
        for request in requests:
            self.requests.append(request)
            labels = request.schema["properties"]["verdict"]["enum"]
            first = self.decide(parts_in(request.messages)) >= 0.5
            text = json.dumps({"verdict": labels[0] if first else labels[1]})
            yield Finished(request.id, text, "stop", Usage(1, 1), Timing(0.1), 1)


class Engines:
    """Hands out one engine, whatever is asked for."""

    def __init__(self, engine):
        self.made = engine
        self.asked = []

    def engine(self, model=None):
        self.asked.append(model)
        return self.made
