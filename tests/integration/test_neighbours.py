"""What a row is told does not depend on who else runs: F16 weights of the bundled model."""

from __future__ import annotations

import functools
import math
from importlib import resources

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.engine.scoring import Passage
from llmops_jupyter.errors import EngineError
from llmops_jupyter.records import Sampling

pytestmark = pytest.mark.model
# Rounding grows with the size of a logarithm: processors that multiply by other kernels for other shapes of a batch
# came to 0.06 at -16.4, which is one in ten million.
NEAR, OF_IT = 0.05, 0.005


def near(found, right):
    """Whether log-probabilities are equal up to rounding."""
    found, right = np.array(found), np.array(right)
    return bool((np.abs(found - right) < NEAR + OF_IT * np.abs(right)).all())


@pytest.fixture(scope="session")
def f16(model_path, tmp_path_factory):
    """The bundled model with its weights unpacked: rounding no longer hides a fault."""
    from llmops_jupyter.engine.llamacpp import LlamaCppEngine
    from llmops_jupyter.engine.quantize import quantize

    path = quantize(model_path, tmp_path_factory.mktemp("f16") / "f16.gguf", "F16", threads=1)
    loaded = LlamaCppEngine(
        path, model_name="f16", model_digest="f16", n_ctx=512, n_threads=1, rows=6
    )
    yield loaded
    loaded.close()
    path.unlink()


@functools.cache
def prose(engine):
    return engine.tokens((resources.files("llmops_jupyter.engine") / "prose.txt").read_text())


def row_of(engine, text, depth, own):
    """Tokens of a row, and how many of them it has in common with others of its text."""
    tokens, place = prose(engine), 700 + 40 * own
    return tokens[200 * text : 200 * text + depth] + tokens[place : place + 6 + 2 * own], depth


def emptied(engine):
    def empty():
        engine._loaded.scheduler.reset(EngineError("emptied by the test"))
        engine._loaded.scheduler.forget_prefixes()

    engine._owner.call(empty)


def told(engine, rows, at_end=lambda: None):
    """Log-probabilities of the own tokens of rows, asked for together; `at_end` of each."""

    def maker(row, kept):
        tokens, depth = row_of(engine, *row)

        def make(done):
            def end(result):
                at_end()
                done(result)

            made = Passage(tokens, end, start=max(1, depth))
            made.interactive = kept
            return made

        return make

    return [np.array(r) for r in engine._results([maker(*row) for row in rows])]


@functools.cache
def alone(engine, row):
    emptied(engine)
    return told(engine, [(row, False)])[0]


ROW = st.tuples(st.integers(0, 1), st.sampled_from([0, 30, 90]), st.integers(0, 4))
ROWS = st.lists(st.tuples(ROW, st.booleans()), min_size=1, max_size=6)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(rounds=st.lists(ROWS, min_size=1, max_size=2), neighbours=st.integers(0, 2))
def test_what_a_row_is_told_is_what_it_is_told_alone(f16, rounds, neighbours):
    expected = [[alone(f16, row) for row, _ in rows] for rows in rounds]
    emptied(f16)
    endless = Sampling(1.0, 300, 1, logit_bias=(("<|im_end|>", -math.inf),))
    for rows, wanted in zip(rounds, expected, strict=True):
        asked = [
            Request(str(i), text=f"{i} times, she said, ", sampling=endless, interactive=False)
            for i in range(neighbours)
        ]
        stream = f16.generate(asked)
        next(stream, None)
        # They write while the rows are read, until the first of these has ended.
        for found, right in zip(told(f16, rows, stream.cancel), wanted, strict=True):
            assert near(found, right)
        stream.close()


def test_rows_of_one_text_read_it_once_and_are_told_the_same(f16):
    rows = [(0, 90, own) for own in range(5)]
    expected = [alone(f16, row) for row in rows]
    emptied(f16)
    fed, feed = [], f16._loaded.scheduler.context.feed

    def counted(pieces):
        fed.append(sum(len(p.tokens) for p in pieces))
        return feed(pieces)

    f16._loaded.scheduler.context.feed = counted
    try:
        found = told(f16, [(row, False) for row in rows])
    finally:
        del f16._loaded.scheduler.context.feed
    own = sum(len(row_of(f16, *row)[0]) - 90 for row in rows)
    # The token before the first that is judged is each row's own too, and the last is never fed.
    assert sum(fed) == 90 + own - 1
    for one, right in zip(found, expected, strict=True):
        assert near(one, right)


def test_labels_are_as_likely_in_a_batch_as_alone(f16):
    items = [
        (f"The {animal} is", [" big", " small and quick", " asleep"]) for animal in ["cow", "owl"]
    ]
    together = f16.score([*items, *items[::-1]])
    emptied(f16)
    for item, found in zip([*items, *items[::-1]], together, strict=True):
        emptied(f16)
        assert near(f16.score([item])[0], found)
