"""The scheduler on small models made for it: what a row gets is its own, whatever runs beside it."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")

from schedulers import passages, scheduler_of
from tiny_models import (
    VOCABULARY,
    WIDTH,
    llama_weights,
    noise,
    write_adapter,
    write_llama,
    write_mamba,
)

from llmops_jupyter.engine import native
from llmops_jupyter.engine.adapters import checked
from llmops_jupyter.engine.context import Context, Piece, Size
from llmops_jupyter.engine.row import Row
from llmops_jupyter.engine.scoring import Labels, Passage
from llmops_jupyter.errors import EngineError, ModelError

TOKENS = st.lists(st.integers(1, VOCABULARY - 1), min_size=2, max_size=40)


@pytest.fixture(scope="module", params=["attention", "recurrent"])
def scheduler(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write = write_llama if request.param == "attention" else write_mamba
    with scheduler_of(write(folder / "tiny.gguf")) as made:
        assert made.context.capability.kind == request.param
        yield made


def alone(scheduler, tokens):
    """A row with nothing beside it and nothing kept."""
    for prefix in list(scheduler.prefixes.kept):
        scheduler.prefixes.drop(prefix)
    return passages(scheduler, [tokens])[0]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shared=TOKENS,
    tails=st.lists(TOKENS, min_size=1, max_size=7),
    order=st.randoms(use_true_random=False),
    forget=st.booleans(),
)
def test_log_probabilities_are_those_of_the_row_alone(scheduler, shared, tails, order, forget):
    texts = [shared * 2 + tail for tail in tails] + tails
    order.shuffle(texts)
    if forget:
        alone(scheduler, texts[0])
    together = passages(scheduler, texts)
    for tokens, found in zip(texts, together, strict=True):
        assert len(found) == len(tokens) - 1
        assert np.abs(found - alone(scheduler, tokens)).max() < 0.05


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    base=TOKENS,
    labels=st.lists(st.lists(st.integers(1, 63), min_size=1, max_size=4), min_size=1, max_size=4),
)
def test_labels_are_the_sum_of_their_tokens(scheduler, base, labels):
    found = {}
    scheduler.add(Labels(base, labels, lambda r: found.__setitem__("labels", r)))
    while scheduler.step():
        pass
    for label, total in zip(labels, found["labels"], strict=True):
        whole = alone(scheduler, [*base, *label])
        assert abs(total - whole[len(base) - 1 :].sum()) < 0.05


def test_a_cancelled_neighbour_changes_nothing(scheduler):
    tokens = list(range(1, 40))
    expected = alone(scheduler, tokens)
    found = {}
    other = Passage(list(range(1, 60)), lambda r: found.__setitem__("other", r))
    scheduler.add(other)
    scheduler.add(Passage(tokens, lambda r: found.__setitem__("mine", r)))
    scheduler.step()
    other.cancel()
    while scheduler.step():
        pass
    assert isinstance(found["other"], EngineError)
    assert np.abs(np.array(found["mine"]) - expected).max() < 0.05
    assert not scheduler.active
    assert not scheduler.waiting


def test_rows_that_do_not_fit_together_are_put_back_and_finish(tmp_path):
    with scheduler_of(write_llama(tmp_path / "m.gguf"), rows=4, cells=256, batch=32) as small:
        texts = [[(7 * i + j) % 63 + 1 for j in range(200)] for i in range(6)]
        together = passages(small, texts)
        for tokens, found in zip(texts, together, strict=True):
            assert np.abs(found - alone(small, tokens)).max() < 0.05
        for prefix in list(small.prefixes.kept):
            small.prefixes.drop(prefix)
        assert small.context.free_cells == 256


def test_a_shared_beginning_is_read_once(tmp_path):
    with scheduler_of(write_llama(tmp_path / "m.gguf"), rows=4, cells=1024) as made:
        fed = []
        feed = made.context.feed
        made.context.feed = lambda pieces: (
            fed.append(sum(len(p.tokens) for p in pieces)) or feed(pieces)
        )
        shared = [(11 * j) % 63 + 1 for j in range(100)]
        passages_ = [[*shared, *[(5 * i + j) % 63 + 1 for j in range(12)]] for i in range(10)]
        found = {}
        for i, tokens in enumerate(passages_):
            row = Labels(tokens, [[3], [4]], lambda r, i=i: found.__setitem__(i, r))
            made.add(row)
        while made.step():
            pass
        assert len(found) == 10
        assert sum(fed) <= 100 + 10 * 12


def test_an_adapter_does_what_merged_weights_do_and_takes_turns(tmp_path):
    weights = llama_weights()
    names = ("blk.0.attn_q.weight", "blk.1.ffn_down.weight")
    pairs, merged = {}, dict(weights)
    for n, name in enumerate(names):
        rows, columns = weights[name].shape
        pairs[name] = (noise(200 + n, 4, columns), noise(300 + n, rows, 4))
        merged[name] = weights[name] + 2.0 * pairs[name][1] @ pairs[name][0]
    adapter = str(write_adapter(tmp_path / "a.gguf", pairs, alpha=8.0))
    texts = [[(7 * i + j) % 63 + 1 for j in range(30)] for i in range(4)]
    with scheduler_of(write_llama(tmp_path / "merged.gguf", merged)) as made:
        expected = passages(made, texts)
    with scheduler_of(write_llama(tmp_path / "base.gguf", weights)) as made:
        plain = passages(made, texts)
        sets = [((adapter, 1.0),), (), ((adapter, 1.0),), ((adapter, 0.0),)]
        mixed = passages(made, texts, sets)
        again = passages(made, texts)
        with pytest.raises(ModelError, match="cannot be read"):
            passages(made, texts[:1], [((str(tmp_path / "none.gguf"), 1.0),)])
    assert np.abs(expected[0] - plain[0]).max() > 0.05
    for place, wanted in enumerate((expected[0], plain[1], expected[2], plain[3])):
        assert np.abs(mixed[place] - wanted).max() < 0.02
    assert np.abs(again[0] - plain[0]).max() < 0.02


def test_an_adapter_that_changes_under_way_is_not_taken_for_the_one_that_was_named(tmp_path):
    file = tmp_path / "a.gguf"
    pairs = {"blk.0.attn_q.weight": (noise(1, 4, WIDTH), noise(2, WIDTH, 4))}
    write_adapter(file, pairs, alpha=8.0)
    with scheduler_of(write_llama(tmp_path / "tiny.gguf")) as made:
        found = []
        made.add(Passage([1, 2, 3], found.append, adapters=checked([(str(file), 1.0)])))
        os.utime(file, (1, 1))
        while made.step():
            pass
        with pytest.raises(ModelError, match="was changed meanwhile"):
            raise found[0]


def test_a_context_has_logits_for_each_of_its_sequences(tmp_path):
    model = native.load_model(write_llama(tmp_path / "tiny.gguf"), 0)
    context = Context(model, Size(2, 256, 32, 1), 1, 20, VOCABULARY)
    assert context.feed([Piece(19, [1, 2, 3], 1)]) == [0]
    assert np.isfinite(context.logits(2)).all()
    context.free()
    native.library().llama_model_free(model)


def test_a_file_without_a_tokenizer_is_refused(tmp_path):
    model = native.load_model(write_llama(tmp_path / "m.gguf"), 0)
    try:
        with pytest.raises(ModelError, match="carries no tokenizer"):
            native.Vocabulary(model)
    finally:
        native.library().llama_model_free(model)


def test_wrong_sizes_never_reach_the_library(tmp_path):
    with scheduler_of(write_llama(tmp_path / "m.gguf")) as made:
        context = made.context
        wrong = [
            [],
            [Piece(0, [])],
            [Piece(999, [1])],
            [Piece(-1, [1])],
            [Piece(0, [1]), Piece(0, [2])],
            [Piece(0, [VOCABULARY])],
            [Piece(0, [-1])],
            [Piece(0, [1], 2)],
            [Piece(0, list(range(1, 60)), 40)],
            [Piece(0, [1] * 65)],
        ]
        for pieces in wrong:
            with pytest.raises(EngineError):
                context.feed(pieces)
        for source, target, length in ((0, 1, 1), (0, 0, 1)):
            with pytest.raises(EngineError):
                context.copy(source, target, length)
        with pytest.raises(EngineError):
            context.cells.cut(0, 5)
        with pytest.raises(EngineError):
            context.logits(3)


class Writer(Row):
    """Writes the same token again and again, `count` times."""

    def __init__(self, tokens, count, **more):
        super().__init__(tokens, **more)
        self.count = count

    def take(self, first, logits):
        self.tokens.append(7)
        self.count -= 1
        self.ended = not self.count

    def stop(self, reason, error=None):
        self.ended = True


def test_whoever_comes_while_others_write_starts_with_the_next_step(tmp_path):
    with scheduler_of(write_llama(tmp_path / "tiny.gguf")) as made:
        first, second = Writer([1], 30), Writer([2, 3, 4], 5)
        made.add(first)
        for _ in range(5):
            made.step()
        made.add(second)
        made.step()
        assert (first.count, second.count) == (24, 4)
        made.step()
        assert (first.count, second.count) == (23, 3)
        second.cancel()
        made.step()
        assert (first.count, second.ended, made.active) == (22, True, [first])
        made.stop_all()


def test_others_stand_still_while_somebody_waits_for_an_answer(tmp_path, monkeypatch):
    with scheduler_of(write_llama(tmp_path / "tiny.gguf")) as made:
        asked, other = Writer([1], 20, interactive=True), Writer([2], 20)
        made.add(other)
        made.add(asked)
        made.step()  # also the others' turn, which comes once in a while
        monkeypatch.setattr("llmops_jupyter.engine.scheduler.SHARE_S", 1000.0)
        done = other.count
        for _ in range(10):
            made.step()
        assert (asked.count, other.count) == (9, done)
        for _ in range(9):
            made.step()
        assert asked.ended
        made.step()
        assert other.count == done - 1
        made.stop_all()


def test_beginnings_that_slow_others_down_go_but_the_two_used_last_stay(tmp_path):
    with scheduler_of(write_llama(tmp_path / "tiny.gguf")) as made:
        assert 0 < made.context.cheap_cells < 2**20
        made.prefixes.cheap = 100
        groups = [[group] * 60 for group in (11, 12, 13)]
        for group in groups:
            for i in range(2):
                label = Labels([*group, 20 + i], [[30]], lambda _: None)
                made.add(label)
            while made.step():
                pass
        assert [list(p.tokens[:60]) for p in made.prefixes.kept] == groups[1:]
        made.prefixes.cheap = 1000
        for i in range(2):
            made.add(Labels([*groups[0], 20 + i], [[30]], lambda _: None))
        while made.step():
            pass
        assert len(made.prefixes.kept) == 3
