"""Packing: trees of sequences, each with what it would see and teach alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_jupyter.finetune.packing import Tokens, pack, passes

# Few tokens, so that beginnings are often shared.
IDS = st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple)


@st.composite
def sequence(draw):
    ids = draw(IDS)
    return Tokens(ids, draw(st.integers(0, len(ids))))


GROUPS = st.lists(sequence(), min_size=1, max_size=8)


def taught(group):
    """What each sequence teaches: a token, after all that stand before it."""
    return Counter(
        (one.ids[:place], one.ids[place])
        for one in group
        for place in range(max(one.learned, 1), len(one.ids))
    )


def seen(packed, place, window=0):
    """The tokens that one sees in a pack, in order, itself included."""
    return tuple(int(packed.ids[i]) for i in np.flatnonzero(packed.sees(window)[place]))


@given(GROUPS, st.booleans())
def test_each_learned_token_is_taught_after_its_own_beginning_as_often_as_it_is_there(group, share):
    packed = pack(group, share=share)
    found = Counter()
    for source, target, weight in zip(packed.sources, packed.targets, packed.weights, strict=True):
        found[seen(packed, source), int(target)] += float(weight)
    assert found == taught(group)
    assert packed.learned == sum(taught(group).values()) == sum(max(s.targets, 0) for s in group)
    assert packed.examples == len(group)


@given(GROUPS, st.booleans())
def test_a_token_sees_a_beginning_of_a_sequence_and_stands_at_its_place_in_it(group, share):
    packed = pack(group, share=share)
    beginnings = {one.ids[:end] for one in group for end in range(1, len(one.ids) + 1)}
    found = [seen(packed, place) for place in range(packed.tokens)]
    assert set(found) == beginnings
    assert [len(own) - 1 for own in found] == packed.positions.tolist()


@given(GROUPS)
def test_what_is_shared_is_read_once(group):
    beginnings = {one.ids[:end] for one in group for end in range(1, len(one.ids) + 1)}
    assert pack(group).tokens == len(beginnings)
    assert pack(group, share=False).tokens == sum(len(one.ids) for one in group)


@given(GROUPS, st.integers(1, 5), st.booleans())
def test_a_window_ends_what_is_seen(group, window, share):
    packed = pack(group, share=share)
    for place in range(packed.tokens):
        assert seen(packed, place, window) == seen(packed, place)[-window:]


@given(GROUPS, st.integers(1, 40), st.booleans())
def test_passes_hold_every_sequence_once_and_keep_to_the_budget(group, budget, share):
    made = passes(group, budget, share=share)
    assert Counter(one for each in made for one in each) == Counter(group)
    for each in made:
        assert len(each) == 1 or pack(each, share=share).tokens <= budget


@given(GROUPS, st.booleans())
def test_a_large_budget_takes_all_in_one_pass(group, share):
    assert len(passes(group, 1000, share=share)) == 1


def test_sequences_that_begin_alike_come_together():
    one, two = ((i, i, i, i) for i in (1, 2))
    group = [Tokens((*begin, end), 4) for end in range(3) for begin in (one, two)]
    assert [{s.ids[:4] for s in each} for each in passes(group, 7)] == [{one}, {two}]
    assert len(passes(group, 7, share=False)) == 6


def test_a_pack_is_worth_its_tokens_only_once():
    packed = pack([Tokens((5, 6, 7), 1), Tokens((5, 6, 8), 1), Tokens((5, 6), 1)])
    assert packed.ids.tolist() == [5, 6, 7, 8]
    assert packed.positions.tolist() == [0, 1, 2, 2]
    assert packed.sources.tolist() == [0, 1, 1]
    assert packed.targets.tolist() == [6, 7, 8]
    assert packed.weights.tolist() == [3.0, 1.0, 1.0]
    assert packed.sees().tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, False, True],
    ]


@pytest.mark.parametrize("learned", [0, 1])
def test_the_first_token_of_a_text_follows_nothing(learned):
    one = Tokens((4, 5, 6), learned)
    assert one.targets == 2
    assert pack([one]).targets.tolist() == [5, 6]


def test_beginnings_within_beginnings_may_be_many():
    nested = [Tokens(tuple(range(end)), end - 1) for end in range(2, 1600)]
    packed = pack(nested)
    assert packed.tokens == 1599
    assert packed.learned == 1598
