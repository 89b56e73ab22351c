"""Beginnings set aside in memory: the same answers, no cells taken, nothing of another adapter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")


from saving_engines import KINDS, Engine, words
from tiny_models import WIDTH, noise, write_adapter

from llmops_jupyter.engine import aside, saving, sizing
from llmops_jupyter.engine.aside import Aside
from llmops_jupyter.engine.context import Piece
from llmops_jupyter.engine.llamacpp import LlamaCppEngine
from llmops_jupyter.engine.scheduler import SPARE

A, B = words(1, 200), words(2, 150)
PARTS = [kind for kind in KINDS if kind in ("attention", "sliding window")]


class Resting(Engine):
    """A scheduler that sets aside and saves."""

    def __init__(self, path, folder, **more):
        super().__init__(path, folder, **more)
        kept, pace = self.scheduler.prefixes, self.scheduler.pace
        self.aside = self.scheduler.aside = Aside(self.context, kept, pace)
        self.saving._aside = self.aside

    def rest(self):
        while self.scheduler.rest():
            pass

    def ask(self, tokens, **more):
        """As somebody asks, and thinks about the answer for a while."""
        found, fed = self.score(tokens, interactive=True, **more)
        self.rest()
        return found[0], fed

    @property
    def taken(self):
        return self.context.cells.size - self.context.free_cells


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch):
    """The models are so small that reading is faster than copying."""
    monkeypatch.setattr(aside, "RATE", 1e15)
    monkeypatch.setattr(aside, "KEEP", 1.0)
    monkeypatch.setattr(saving, "MIN_TOKENS", 10**6)


@pytest.fixture
def open_engine(tmp_path):
    made = []

    def make(kind="attention", **more):
        path = KINDS[kind](tmp_path / f"{len(made)}.gguf")
        made.append(Resting(path, tmp_path / "prefixes", **more))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture(scope="module", params=PARTS)
def shared_engine(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("aside")
    engine = Resting(KINDS[request.param](folder / "tiny.gguf"), folder / "prefixes", cells=2048)
    yield engine
    engine.close()


CHUNKS = st.lists(st.sampled_from([words(i, 24) for i in range(4)]), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    turns=st.lists(
        st.tuples(st.lists(CHUNKS, min_size=1, max_size=3), st.booleans(), st.booleans()),
        min_size=2,
        max_size=6,
    )
)
def test_answers_do_not_depend_on_what_was_set_aside(shared_engine, turns):
    shared_engine.scheduler.forget_prefixes()
    for group, interactive, rests in turns:
        texts = [list(itertools.chain.from_iterable(chunks)) for chunks in group]
        found, _ = shared_engine.score(*texts, interactive=interactive)
        for text, scores in zip(texts, found, strict=True):
            assert np.abs(scores - fresh(shared_engine, text)).max() < 0.02
        if rests:
            shared_engine.rest()


def fresh(engine, tokens):
    """The scores of a text with nothing kept, by a scheduler of its own that nobody else has used."""
    key = tuple(tokens)
    known = engine.__dict__.setdefault("known", {})
    if key not in known:
        entries, kept = engine.aside.entries, engine.scheduler.prefixes.keep
        engine.aside.entries, engine.scheduler.prefixes.keep = [], lambda *_: False
        find = engine.scheduler.prefixes.find
        engine.scheduler.prefixes.find = lambda *_: (None, 0)
        try:
            known[key] = engine.score(tokens)[0][0]
        finally:
            engine.aside.entries, engine.scheduler.prefixes.keep = entries, kept
            engine.scheduler.prefixes.find = find
    return known[key]


@pytest.mark.parametrize("kind", PARTS)
def test_what_is_set_aside_takes_no_cells_once_others_come(open_engine, kind):
    engine = open_engine(kind)
    engine.ask(A)
    assert engine.taken >= len(A)
    assert engine.aside.bytes > 0
    engine.ask(B)
    assert len(B) <= engine.taken < len(A)


def test_what_nobody_had_time_to_set_aside_stays_in_the_cache(open_engine):
    engine = open_engine()
    engine.score(A, interactive=True)
    engine.score(B, interactive=True)
    assert engine.taken >= len(A) + len(B)
    assert not engine.aside.entries


@pytest.mark.parametrize("kind", PARTS)
def test_two_conversations_in_turn_are_not_read_again(open_engine, kind):
    engine = open_engine(kind)
    held = []
    for tokens in (A, B):
        engine.ask(tokens)
        held.append(engine.aside.entries[-1].tokens.tolist())
    for turn in range(6):
        tokens = held[turn % 2] + words(10 + turn, 20)
        found, fed = engine.ask(tokens)
        held[turn % 2] = engine.aside.entries[-1].tokens.tolist()
        assert fed <= 20 + 3 * 4
        assert np.abs(found - fresh(engine, tokens)).max() < 0.02


def test_a_conversation_that_grows_is_held_once(open_engine):
    engine = open_engine()
    held = A[:100]
    for turn in range(3):
        engine.ask(held + words(10 + turn, 20))
        held = engine.aside.entries[-1].tokens.tolist()
    assert len(engine.aside.entries) == 1
    engine.ask(A[:100] + B)
    assert len(engine.aside.entries) == 2


def test_a_batch_sets_aside_what_it_does_not_begin_with(open_engine):
    engine = open_engine()
    engine.score(*[[*A, i] for i in range(1, 4)])
    engine.score(*[[*B, i] for i in range(1, 4)])
    assert engine.taken < len(A)
    assert [p.tokens.tolist() for p in engine.scheduler.prefixes.kept] == [B]
    _, fed = engine.score(*[[*A, i] for i in range(4, 7)])
    assert fed < len(A)


def test_a_beginning_that_rows_begin_with_stays_while_others_come(open_engine):
    engine = open_engine()
    engine.score(*[[*A, i] for i in range(1, 4)])
    engine.rest()
    _, fed = engine.score(*[[*A, i] for i in range(4, 9)], [*B, 1])
    assert fed < len(A) + len(B)
    assert A in [p.tokens.tolist() for p in engine.scheduler.prefixes.kept]


def test_the_copies_are_bounded_and_the_oldest_goes_first(open_engine):
    engine = open_engine()
    engine.ask(A)
    engine.aside.most = int(1.9 * engine.aside.bytes)
    engine.ask(B)
    engine.ask(words(3, 200))
    held = [e.tokens[:5].tolist() for e in engine.aside.entries]
    assert held == [B[:5], words(3, 5)]
    assert engine.aside.bytes <= engine.aside.most
    engine.aside.most = 10
    engine.ask(words(4, 200))
    assert words(4, 5) not in [e.tokens[:5].tolist() for e in engine.aside.entries]


def test_copies_are_made_only_where_there_is_memory(open_engine, monkeypatch):
    engine = open_engine()
    limit = type("Limit", (), {"bytes": 1000})
    monkeypatch.setattr(aside, "available_memory", lambda: limit)
    engine.ask(A)
    assert not engine.aside.entries


def test_a_beginning_that_is_cut_while_its_memory_is_made_ready_is_not_copied_wrongly(open_engine):
    engine = open_engine()
    engine.score(A, interactive=True)
    prefix = engine.scheduler.prefixes.kept[0]
    assert engine.scheduler.rest()
    engine.scheduler.prefixes.trim(prefix, 100)
    engine.rest()
    assert [len(e.tokens) for e in engine.aside.entries] == [100]
    found, fed = engine.ask(A)
    assert fed <= 100 + 3 * 4
    assert np.abs(found - fresh(engine, A)).max() < 0.02


def test_adapters_and_scales_are_not_mixed_up(open_engine, tmp_path):
    pairs = {"blk.0.attn_q.weight": (noise(5, 4, WIDTH), noise(6, WIDTH, 4))}
    adapter = write_adapter(tmp_path / "a.gguf", pairs, alpha=4.0)
    engine = open_engine()
    plain, _ = engine.ask(A)
    with_one, fed = engine.ask(A, adapters=((str(adapter), 40.0),))
    assert fed >= len(A)
    assert np.abs(plain - with_one).max() > 0.02
    engine.ask(B)
    again, fed = engine.ask(A, adapters=((str(adapter), 40.0),))
    assert fed < len(A)
    assert np.abs(again - with_one).max() < 0.02
    _, fed = engine.ask(A, adapters=((str(adapter), 20.0),))
    assert fed >= len(A)


def test_where_there_are_no_cells_for_a_copy_the_prompt_is_read(open_engine):
    engine = open_engine(cells=512)
    engine.ask(A)
    engine.ask(B)
    held = engine.scheduler.rows + SPARE
    for _ in range(5):
        engine.context.feed([Piece(held, words(9, 62))])
    tokens = A[:100] + words(30, 10)
    found, fed = engine.score(tokens)
    assert fed >= len(tokens)
    engine.context.drop(held)
    assert np.abs(found[0] - fresh(engine, tokens)).max() < 0.02
    _, fed = engine.score(tokens)
    assert fed < len(tokens)


def test_forgetting_leaves_nothing(open_engine):
    engine = open_engine()
    engine.ask(A)
    engine.scheduler.forget_prefixes()
    assert engine.taken == 0
    assert engine.aside.bytes == 0
    _, fed = engine.ask(A)
    assert fed >= len(A)


def test_what_left_the_cache_before_it_was_saved_goes_to_disk(open_engine, monkeypatch):
    monkeypatch.setattr(saving, "MIN_TOKENS", 64)
    monkeypatch.setattr(saving, "MIN_S", 0.0)
    monkeypatch.setattr(saving, "GAIN", 0.0)
    engine = open_engine()
    engine.score(A, interactive=True)
    while engine.aside.step():
        pass
    engine.score(B, interactive=True)
    assert not any(len(p.tokens) >= 200 for p in engine.scheduler.prefixes.kept)
    engine.idle()
    assert engine.entries() >= 1
    other = open_engine()
    found, fed = other.score(A)
    assert fed < len(A)
    assert np.abs(found[0] - fresh(other, A)).max() < 0.02


@pytest.mark.parametrize(("tight", "flash"), [(False, False), (True, False), (False, True)])
def test_it_is_used_where_cells_cost_time_and_there_is_memory(
    model_path, monkeypatch, tight, flash
):
    monkeypatch.setattr(sizing, "is_tight", lambda *_: tight)
    if flash:
        monkeypatch.setattr("llmops_jupyter.engine.context._cheap_cells", lambda *_: 2**30)
    engine = LlamaCppEngine(model_path, model_name="m", model_digest="d", n_ctx=256)
    try:
        assert (engine._open().scheduler.aside is None) == (tight or flash)
        assert engine.status()["set aside"].startswith("0")
    finally:
        engine.close()
