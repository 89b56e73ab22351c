"""An answer while it is written: reasoning apart, stop strings, grammars that bind the answer only."""

from __future__ import annotations

import numpy as np
import pytest

from llmops_jupyter.engine import generation
from llmops_jupyter.engine.generation import NO_THOUGHT, Generation, Thought
from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.engine.thinking import KNOWN
from llmops_jupyter.records import Message, Sampling

END = 0
THINK = Thought(KNOWN[0])


class Vocabulary:
    """Tokens are the pieces of a script, by place; some are control tokens."""

    def __init__(self, script, control=()):
        self.script = script
        self.control = control

    def piece(self, token):
        piece = self.script[token - 1]
        return b"" if piece in self.control else piece.encode()

    def is_end(self, token):
        return token == END


@pytest.fixture
def write(monkeypatch):
    """Write a script as a model would; what came, and the samplers that were used."""

    def run(script, *, thought=NO_THOUGHT, control=(), tokens=64, **more):
        samplers, events = [], []

        class Scripted:
            places = iter(range(1, len(script) + 2))

            def __init__(self, vocabulary, request, seed, prompt):
                samplers.append((request.schema, list(prompt)))

            def draw(self, logits):
                place = next(self.places)
                return place if place <= len(script) else END

            def free(self):
                pass

        monkeypatch.setattr(generation, "sampler_of", Scripted)
        request = Request(
            "r",
            messages=(Message("user", "?"),),
            sampling=Sampling(max_tokens=tokens, **more.pop("sampling", {})),
            **more,
        )
        row = Generation(
            request,
            [7, 8],
            vocabulary=Vocabulary(script, control),
            room=tokens,
            thought=thought,
            put=events.append,
        )
        row.cached = 0
        while not row.ended:
            row.take(0, [np.zeros(4, dtype=np.float32)])
        *pieces, last = events
        assert isinstance(last, Finished)
        assert all(isinstance(p, Token) for p in pieces)
        assert "".join(p.text for p in pieces if p.reasoning) == last.reasoning
        assert "".join(p.text for p in pieces if not p.reasoning) == last.text
        return last, samplers

    return run


def test_reasoning_is_kept_apart_and_counted(write):
    done, _ = write(["<think>", "I ", "see.", "</think>", "\n\n", "Par", "is."], thought=THINK)
    assert (done.reasoning, done.text) == ("I see.", "Paris.")
    assert done.usage.output_tokens == 8
    assert done.usage.reasoning_tokens == 4


def test_a_template_may_begin_the_reasoning(write):
    done, _ = write(["Hm.", "\n", "</think>", "Yes"], thought=Thought(KNOWN[0], begun=True))
    assert (done.reasoning, done.text) == ("Hm.", "Yes")
    assert done.usage.reasoning_tokens == 3


def test_models_that_do_not_think_may_write_the_marks(write):
    done, _ = write(["<think>", "a", "</think>"])
    assert (done.reasoning, done.text) == ("", "<think>a</think>")
    assert done.usage.reasoning_tokens == 0


def test_marks_that_are_control_tokens_are_seen(write):
    script = ["[THINK]", "so", "[/THINK]", "yes", "[THINK]"]
    thought = Thought(KNOWN[1], spoken={1: b"[THINK]", 3: b"[/THINK]", 5: b"[THINK]"})
    done, _ = write(script, thought=thought, control=("[THINK]", "[/THINK]"))
    assert (done.reasoning, done.text) == ("so", "yes")


def test_reasoning_that_is_cut_off_is_no_answer(write):
    done, _ = write(["<think>", "a", "b", "c"], thought=THINK, tokens=3)
    assert (done.reasoning, done.text, done.finish_reason) == ("ab", "", "length")


def test_stop_strings_end_the_answer_and_not_the_reasoning(write):
    script = ["<think>", "one END two", "</think>", "three ", "EN", "D four"]
    done, _ = write(script, thought=THINK, sampling={"stop": ("END",)})
    assert (done.reasoning, done.text) == ("one END two", "three ")
    assert done.finish_reason == "stop"


def test_a_schema_binds_the_answer_and_not_the_reasoning(write):
    schema = {"type": "object"}
    script = ["Let me", " see", "</think>", "{}"]
    done, samplers = write(script, thought=Thought(KNOWN[0], begun=True), schema=schema)
    assert (done.reasoning, done.text) == ("Let me see", "{}")
    assert samplers == [(None, [7, 8]), (schema, [7, 8, 1, 2, 3])]
    _, samplers = write(["{}"], thought=THINK, schema=schema)
    assert samplers == [(schema, [7, 8])]
