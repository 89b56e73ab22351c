"""Beginnings of prompts from disk: the same answers, the right cells, nothing of another model or adapter."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")

from saving_engines import KINDS, Engine, words
from schedulers import passages
from tiny_models import (
    noise,
    write_adapter,
    write_llama,
)

from llmops_jupyter.engine import context as contexts
from llmops_jupyter.engine import saving
from llmops_jupyter.engine.context import NoRoomError, Piece
from llmops_jupyter.engine.scoring import Passage

BEGINNING = words(1, 300)


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch):
    """The models are so small that no beginning takes long to read."""
    monkeypatch.setattr(saving, "MIN_S", 0.0)
    monkeypatch.setattr(saving, "GAIN", 0.0)


@pytest.fixture
def open_engine(tmp_path):
    made = []

    def make(path, **more):
        made.append(Engine(path, tmp_path / "prefixes", **more))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture(params=list(KINDS))
def path(request, tmp_path):
    return KINDS[request.param](tmp_path / "tiny.gguf")


def ask_two(engine, seed=7, **more):
    """Two prompts with the same beginning, so that it is kept as it stands, whatever the model."""
    return engine.score([*BEGINNING, *words(seed, 9)], [*BEGINNING, *words(seed + 1, 9)], **more)


@pytest.mark.parametrize("flash", [False, True])
def test_answers_after_a_restore_are_those_of_a_fresh_reading(
    path, open_engine, flash, monkeypatch
):
    if flash:
        monkeypatch.setattr(contexts, "SCORES_BYTES", 0)
    first = open_engine(path)
    expected, computed = ask_two(first)
    assert computed >= 300
    first.idle()
    assert first.entries() == 1
    second = open_engine(path)
    found, computed = ask_two(second)
    assert computed < 100
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours - theirs).max() < 0.05
    # What is read on top of it, and from it, is right too.
    more = [*BEGINNING, *words(20, 40)]
    third = open_engine(path, digest="f" * 64)
    fresh, computed = third.score(more)
    assert computed >= 300
    again, computed = second.score(more)
    assert computed < 100
    assert np.abs(again[0] - fresh[0]).max() < 0.05


def test_the_cells_are_counted_right_after_a_restore(path, open_engine):
    first = open_engine(path)
    ask_two(first)
    first.idle()
    engine = open_engine(path, cells=768)
    # Holes, so that the cells that are loaded do not lie side by side.
    for sequence in (0, 1, 2):
        engine.context.feed([Piece(sequence, words(sequence, 20))])
    engine.context.drop(1)
    (entry,) = engine.states.entries(engine.saving._identity(()))
    state = engine.states.read(entry)
    assert engine.context.load(4, state, len(entry.tokens))
    assert engine.context.free_cells == 768 - 40 - 300
    assert engine.context.length(4) == 300
    assert not engine.context.load(4, state, 300)  # it is not empty
    assert engine.context.load(5, state, 300)
    assert not engine.context.load(6, state, 300)  # there is no room
    engine.context.drop(5)
    left = engine.context.free_cells
    while left:
        count = min(left, 60)
        engine.context.feed([Piece(3, words(3, count))])
        left -= count
    with pytest.raises(NoRoomError):
        engine.context.feed([Piece(3, [1])])
    for sequence in (0, 2, 3, 4):
        engine.context.drop(sequence)
    assert engine.context.free_cells == 768
    for _ in range(12):
        engine.context.feed([Piece(0, words(9, 64))])


def test_a_state_that_does_not_belong_is_refused_and_leaves_nothing(path, open_engine):
    engine = open_engine(path)
    engine.context.feed([Piece(0, words(1, 60))])
    state = np.empty(engine.context.state_bytes(0), dtype=np.uint8)
    assert engine.context.save(0, state)
    assert not engine.context.save(0, state[:-1])
    for wrong, length in ((state, 59), (state[: len(state) // 2], 60), (state, 0), (state, 5000)):
        assert not engine.context.load(1, wrong, length)
        assert engine.context.length(1) == 0
    assert engine.context.free_cells == 1024 - 60
    assert engine.context.load(1, state, 60)


@pytest.mark.parametrize("kind", ["attention", "sliding window"])
def test_a_part_of_a_beginning_serves_where_the_memory_can_be_cut(kind, tmp_path, open_engine):
    path = KINDS[kind](tmp_path / "tiny.gguf")
    first = open_engine(path)
    ask_two(first)
    first.idle()
    other = [*BEGINNING[:280], *words(30, 40)]
    fresh, _ = open_engine(path, digest="f" * 64).score(other)
    second = open_engine(path)
    found, computed = second.score(other)
    # Of layers with a window, only the end was saved.
    assert computed < 100 if kind == "attention" else computed >= 320
    assert np.abs(found[0] - fresh[0]).max() < 0.05
    for prefix in list(second.scheduler.prefixes.kept):
        second.scheduler.prefixes.drop(prefix)
    assert second.context.free_cells == 1024


@pytest.mark.parametrize("kind", ["recurrent", "hybrid"])
def test_a_recurrent_state_serves_only_whole(kind, tmp_path, open_engine):
    path = KINDS[kind](tmp_path / "tiny.gguf")
    first = open_engine(path)
    ask_two(first)
    first.idle()
    second = open_engine(path)
    assert second.score([*BEGINNING[:280], *words(30, 40)])[1] >= 320
    assert second.score([*BEGINNING, 5])[1] < 100


def test_a_conversation_is_saved_when_it_ends_and_again_once_it_has_grown(
    tmp_path, open_engine, monkeypatch
):
    path = write_llama(tmp_path / "tiny.gguf")
    engine = open_engine(path)
    monkeypatch.setattr(saving, "MIN_S", 0.3)
    engine.score(BEGINNING, interactive=True)
    engine.idle()
    assert engine.entries() == 0
    engine.scheduler.prefixes.drop_all()
    engine.score(BEGINNING, interactive=True)
    engine.scheduler.pace._seconds = {0: 0.01}  # reading has become slow
    engine.idle()
    assert engine.entries() == 1
    longer = [*BEGINNING, *words(3, 20)]
    engine.score(longer, interactive=True)
    engine.idle()
    assert engine.entries() == 1
    grown = [*longer, *words(4, 100)]
    engine.score(grown, interactive=True)
    engine.scheduler.pace._seconds = {0: 0.01}
    engine.idle()
    # The state whose tokens the new one holds, but for a few, is gone.
    (entry,) = engine.states.entries(engine.saving._identity(()))
    assert len(entry.tokens) > 400
    assert open_engine(path).score(grown)[1] < 30


def test_nothing_is_saved_while_somebody_waits(tmp_path, open_engine):
    engine = open_engine(write_llama(tmp_path / "tiny.gguf"))
    ask_two(engine)
    engine.saving.step()
    late = Passage(words(5, 40), lambda _: None)
    engine.scheduler.add(late)
    engine.jobs.get(timeout=60)()
    assert not engine.saving._under_way
    assert engine.entries() == 0
    while engine.scheduler.step():
        pass
    engine.idle()
    assert engine.entries() == 1


def test_closing_saves_what_is_left(tmp_path, open_engine):
    engine = open_engine(write_llama(tmp_path / "tiny.gguf"))
    ask_two(engine)
    engine.saving.close()
    assert engine.entries() == 1
    again = open_engine(tmp_path / "tiny.gguf")
    ask_two(again)
    again.saving.step()
    again.saving.close()
    assert again.entries() == 1
    begun = open_engine(tmp_path / "tiny.gguf", digest="f" * 64)
    ask_two(begun)
    begun.saving.step()  # The copy is asked for and never made.
    begun.saving.close()
    assert begun.entries() == 2


def test_what_was_read_before_the_folder_was_cleared_is_not_saved(tmp_path, open_engine):
    engine = open_engine(write_llama(tmp_path / "tiny.gguf"))
    engine.states.folder.mkdir(mode=0o700)
    ask_two(engine)
    engine.states.clear()
    engine.idle()
    engine.saving.close()
    assert engine.entries() == 0


def test_states_of_another_model_are_not_taken(tmp_path, open_engine):
    first = open_engine(write_llama(tmp_path / "one.gguf"))
    ask_two(first)
    first.idle()
    other = open_engine(write_llama(tmp_path / "two.gguf", layers=3))
    assert ask_two(other)[1] >= 300
    renamed = open_engine((tmp_path / "one.gguf").rename(tmp_path / "renamed.gguf"))
    assert ask_two(renamed)[1] < 100


def test_adapters_and_scales_are_not_mixed_up(tmp_path, open_engine):
    path = write_llama(tmp_path / "tiny.gguf")
    name = "blk.0.attn_k.weight"
    file = tmp_path / "a.gguf"
    write_adapter(file, {name: (noise(1, 4, 64), noise(2, 64, 4))}, alpha=8.0)
    one, half = ((str(file), 1.0),), ((str(file), 0.5),)
    first = open_engine(path)
    expected = {}
    for used in ((), one, half):
        expected[used], computed = ask_two(first, adapters=used)
        assert computed >= 300
        first.idle()
    assert first.entries() == 3
    second = open_engine(path)
    for used in (half, (), one):
        found, computed = ask_two(second, adapters=used)
        assert computed < 100
        assert np.abs(found[0] - expected[used][0]).max() < 0.05
    assert np.abs(expected[one][0] - expected[()][0]).max() > 0.05
    write_adapter(file, {name: (noise(3, 4, 64), noise(4, 64, 4))}, alpha=8.0)
    os.utime(file, (1, 1))
    # A file that has changed under its name is another adapter, in memory and on disk.
    for engine in (first, open_engine(path)):
        found, computed = ask_two(engine, adapters=one)
        assert computed >= 300
        assert np.abs(found[0] - expected[one][0]).max() > 0.05


def test_damaged_states_never_reach_the_library(path, open_engine):
    first = open_engine(path)
    expected, _ = ask_two(first)
    first.idle()
    (file,) = first.states.folder.glob("*.kv")
    whole = file.read_bytes()
    for seed in range(10):
        raw = bytearray(whole)
        raw[-1 - seed * (len(raw) // 11)] ^= 0xFF
        file.write_bytes(raw if seed % 2 else raw[: len(raw) * seed // 11])
        engine = open_engine(path)
        engine.context.load = None
        found, computed = ask_two(engine)
        assert computed >= 300
        assert np.abs(found[0] - expected[0]).max() < 0.05
        assert "was damaged and was deleted" in engine.states.notes[0]


def test_a_state_that_the_library_refuses_is_dropped(tmp_path, open_engine):
    path = write_llama(tmp_path / "tiny.gguf")
    engine = open_engine(path)
    identity = engine.saving._identity(())
    rubbish = np.zeros(5000, dtype=np.uint8)
    engine.states.write(identity, np.array(BEGINNING, dtype=np.int32), rubbish, 9.0, time.time())
    assert ask_two(engine)[1] >= 300
    assert "was refused by llama.cpp" in engine.states.notes[0]
    assert engine.entries() == 0


def test_rows_that_run_keep_their_cells_when_another_is_restored(tmp_path, open_engine):
    path = write_llama(tmp_path / "tiny.gguf")
    first = open_engine(path)
    ask_two(first)
    first.idle()
    small = open_engine(path, cells=768)
    texts = [words(40, 150), [*BEGINNING, *words(41, 30)], words(42, 150), BEGINNING]
    together = passages(small.scheduler, texts)
    for text, found in zip(texts, together, strict=True):
        alone = passages(open_engine(path, digest="f" * 64).scheduler, [text])[0]
        assert np.abs(found - alone).max() < 0.05
    for prefix in list(small.scheduler.prefixes.kept):
        small.scheduler.prefixes.drop(prefix)
    assert small.context.free_cells == 768


# The whole engine, in this process and in workers.
