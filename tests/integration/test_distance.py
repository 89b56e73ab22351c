"""What a served model expects next, for prompts of any length, beside what the engine says of the same tokens."""

from __future__ import annotations

import numpy as np
import pytest

from llmops_jupyter.engine.distance import BATCH, LONGEST, Predictions, compare, predict
from llmops_jupyter.errors import EngineError, OptionError

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")


def tokens(count, seed=0):
    return [int(t) for t in np.random.default_rng(seed).integers(5, 60, count)]


def test_long_prompts_are_read_in_batches_and_whole(tiny_chat):
    long, short = tokens(2 * BATCH + 37), tokens(9, 1)
    found = predict(tiny_chat, [long, short], threads=1, last=3, longest=None)
    assert found.tokens == (tuple(long), tuple(short))
    assert len(found.logprobs) == 6
    assert np.allclose(np.exp(found.logprobs).sum(axis=1), 1, atol=1e-4)
    # The end of a beginning is the middle of the whole.
    begun = predict(tiny_chat, [long[: BATCH + 40]], threads=1, last=1, longest=None)
    whole = predict(tiny_chat, [long], threads=1, last=BATCH, longest=None)
    place = (BATCH + 40 - 1) - (len(long) - BATCH)
    assert np.abs(begun.logprobs[0] - whole.logprobs[place]).max() < 1e-2
    assert not np.allclose(begun.logprobs[0], whole.logprobs[-1], atol=1e-2)


def test_all_places_of_a_prompt_can_be_asked_across_batches(tiny_chat):
    ids = tokens(BATCH + 10)
    found = predict(tiny_chat, [ids], threads=1, last=len(ids), longest=None)
    assert len(found.logprobs) == len(ids)
    few = predict(tiny_chat, [ids], threads=1, last=12, longest=None)
    assert np.allclose(found.logprobs[-12:], few.logprobs, atol=1e-3)


def test_without_a_word_long_prompts_are_cut(tiny_chat):
    found = predict(tiny_chat, [tokens(LONGEST + 30)], threads=1)
    assert found.tokens == (tuple(tokens(LONGEST + 30)[:LONGEST]),)


def test_predictions_of_another_library_are_compared_place_by_place(tiny_chat):
    ids = [tokens(80), tokens(5, 3)]
    served = predict(tiny_chat, ids, threads=1, last=8, longest=None)
    theirs = Predictions.of([(ids[0], served.logprobs[:8]), (ids[1], served.logprobs[8:])])
    same = compare(theirs, served)
    assert (same.mean, same.places, same.prompts) == (0.0, 13, 2)
    narrow = Predictions.of(
        [
            (each, rows[:, :7])
            for each, rows in zip(ids, (served.logprobs[:8], served.logprobs[8:]), strict=True)
        ]
    )
    with pytest.raises(EngineError, match="cannot be compared"):
        compare(narrow, served)


@pytest.mark.parametrize("given", [{"last": 0}, {"longest": 0}])
def test_numbers_below_one_are_refused(tiny_chat, given):
    with pytest.raises(OptionError, match="from 1"):
        predict(tiny_chat, [tokens(5)], **given)
