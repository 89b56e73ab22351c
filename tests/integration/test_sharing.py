"""Rows that go on from what others read, on each kind of memory: as if they had read it themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")

from schedulers import scheduler_of
from tiny_models import write_gemma, write_lfm, write_llama, write_mamba

from llmops_jupyter.engine.scoring import Passage
from llmops_jupyter.errors import EngineError

WINDOW = 16
KINDS = {
    "attention": write_llama,
    "sliding window": lambda path: write_gemma(path, WINDOW),
    "recurrent": write_mamba,
    "hybrid": write_lfm,
}


@dataclass(frozen=True)
class Ask:
    """A row: the first `depth` tokens of a text that others know too, then tokens of its own.

    One that is `kept` stays in the cache when it has ended; one that is `cancelled` leaves after a step.
    """

    text: int
    depth: int
    own: int
    kept: bool = False
    cancelled: bool = False

    @property
    def tokens(self):
        told = [(j * j + 7 * j + 13 * self.text) % 63 + 1 for j in range(self.depth)]
        return told + [(5 * j + 11 * self.own + self.depth) % 63 + 1 for j in range(self.own)]


def run(scheduler, asks):
    """Log-probabilities of each row's own tokens, all rows together; and how many it had not to read."""
    found, cached, rows = {}, {}, []
    for i, ask in enumerate(asks):
        row = Passage(ask.tokens, lambda r, i=i: found.__setitem__(i, r), start=max(1, ask.depth))
        row.interactive = ask.kept
        rows.append(row)
        scheduler.add(row)
    scheduler.step()
    for ask, row in zip(asks, rows, strict=True):
        if ask.cancelled:
            row.cancel()
    while scheduler.step():
        pass
    for i, row in enumerate(rows):
        cached[i] = row.cached
        if isinstance(found[i], Exception) and not asks[i].cancelled:
            raise found[i]
    return found, cached


def alone(scheduler, ask):
    """A row in a cache that holds nothing."""
    scheduler.reset(EngineError("emptied by the test"))
    return np.array(run(scheduler, [Ask(ask.text, ask.depth, ask.own)])[0][0])


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """Two schedulers of one model: one for many rows, one to compare with."""
    path = KINDS[request.param](tmp_path_factory.mktemp("tiny") / "tiny.gguf")
    with scheduler_of(path) as many, scheduler_of(path) as single:
        assert many.context.capability.kind == request.param
        yield many, single


ASKS = st.builds(
    Ask,
    text=st.integers(0, 1),
    depth=st.integers(0, 150),
    own=st.integers(2, 40),
    kept=st.booleans(),
    cancelled=st.sampled_from([False, False, True]),
)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(rounds=st.lists(st.lists(ASKS, min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_row_gets_what_it_gets_alone_whatever_the_cache_holds(pair, rounds):
    many, single = pair
    many.reset(EngineError("emptied by the test"))
    for asks in rounds:
        found, _ = run(many, asks)
        for i, ask in enumerate(asks):
            if not isinstance(found[i], Exception):
                expected = alone(single, ask)
                assert len(found[i]) == len(expected) == len(ask.tokens) - max(1, ask.depth)
                assert np.abs(np.array(found[i]) - expected).max() < 0.05


@pytest.mark.parametrize("depth", [4, 12, 17, 22, 30, 64, 110, 126, 128])
def test_forks_of_a_kept_text_whose_far_cells_others_took(pair, depth):
    many, single = pair
    many.reset(EngineError("emptied by the test"))
    run(many, [Ask(0, 0, 40, kept=True)])
    run(many, [Ask(1, 124, 4, kept=True)])
    many.prefixes.drop(many.prefixes.kept[0])
    # The gap before the kept text is too small for this row: a window's layers give it old cells.
    run(many, [Ask(2, 2, 60)])
    fork = Ask(1, depth, 9)
    found, _ = run(many, [fork])
    assert np.abs(np.array(found[0]) - alone(single, fork)).max() < 0.05


def test_a_text_that_was_read_is_not_read_again(pair):
    many, _ = pair
    many.reset(EngineError("emptied by the test"))
    _, cached = run(many, [Ask(0, 100, 20 + i) for i in range(5)])
    assert sorted(cached.values()) == [0, 99, 99, 99, 99]
