"""Near-duplicates: copies are found, rows of one template stay, the first of each cluster is kept."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_jupyter.data.preparing.doubles import Comparer, find_near, same_answer
from llmops_jupyter.data.preparing.nearness import cosine, shared
from llmops_jupyter.data.preparing.words import normal, words_of


def listed(text):
    return text.split()


THINGS = listed("""harbour lantern kitchen garden bridge letter market winter river violin engine castle desert
pocket mirror ladder blanket compass orchard cellar meadow island tunnel ribbon candle feather hammer barrel
window chimney saddle anchor basket curtain fountain gravel hinge ivory jacket kettle lemon marble needle oven
pepper quilt rocket shovel timber urn valley wagon yarn zinc acorn bottle cactus dolphin emerald falcon""")
DID = listed("""carried painted repaired borrowed measured polished opened counted followed noticed collected folded
examined delivered lifted covered traded guarded described planted remembered ignored weighed""")
LIKE = listed("""old quiet heavy narrow bright rusty gentle broken distant golden hollow bitter careful dusty frozen
purple silent crooked tall modest""")
LINKS = listed(
    "because the although a while every before some after that until no unless this since"
)


def text_of(rng, words):
    """Sentences of an invented story, of at least so many words."""
    said = []
    while len(" ".join(said).split()) < words:
        said.append(
            f"The {rng.choice(LIKE)} {rng.choice(THINGS)} of the {rng.choice(THINGS)} {rng.choice(DID)} a "
            f"{rng.choice(LIKE)} {rng.choice(THINGS)} {rng.choice(LINKS)} {rng.choice(THINGS)} near "
            f"the {rng.choice(THINGS)} {rng.choice(DID)} {rng.choice(LIKE)} {rng.choice(THINGS)}s."
        )
    return " ".join(said)


def edited(rng, text, share):
    words = text.split()
    for place in rng.sample(range(len(words)), -int(-share * len(words) // 1)):
        words[place] = rng.choice([w for w in THINGS + DID + LIKE if w != words[place]])
    return " ".join(words)


def pairs_of(texts, answers=None, **options):
    return {
        (p.second, p.first) for p in find_near(Comparer(texts, answers, **options)).dropped.values()
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_copies_with_a_tenth_of_their_words_changed_are_found_and_nothing_else(seed):
    rng = random.Random(seed)
    originals = [text_of(rng, rng.choice([60, 80, 150, 300])) for _ in range(500)]
    copies = [edited(rng, text, 0.1) for text in originals[:300]]
    found = pairs_of(originals + copies)
    wanted = {(place, 500 + place) for place in range(300)}
    assert len(found & wanted) >= 0.99 * len(wanted)
    assert found <= wanted


def test_several_copies_of_one_text_are_no_template():
    rng = random.Random(3)
    originals = [text_of(rng, 80) for _ in range(20)]
    copies = [edited(rng, text, 0.1) for text in originals for _ in range(6)]
    found = find_near(Comparer(originals + copies))
    assert len(found.dropped) >= 0.98 * len(copies)
    assert all(pair.second == (pair.first - 20) // 6 for pair in found.dropped.values())


FRAME = (
    "You work for the help desk of a shop. Read the message below, decide what the customer needs, and answer in "
    "at most two sentences; thank them for their patience and never promise a refund. {name} from {town} writes: "
    "my {thing} with the number {number} has not come, could you tell me where it is and when it will be here?"
)
NAMES, TOWNS = (
    listed("Anna Ben Carla Dmitri Eva Farid Grace Hugo"),
    listed("Oslo Rome Ghent Lyon Porto"),
)


def framed(rng):
    slots = {"name": rng.choice(NAMES), "town": rng.choice(TOWNS), "thing": rng.choice(THINGS)}
    return FRAME.format(**slots, number=rng.randint(1000, 99999))


def test_rows_of_one_template_stay_and_are_told_apart():
    rng = random.Random(4)
    texts = [framed(rng) for _ in range(300)]
    found = find_near(Comparer(texts))
    assert not found.dropped
    assert len(found.templated) >= 290


def test_a_copy_of_a_row_of_a_template_is_found_among_the_others():
    rng = random.Random(5)
    texts = [framed(rng) for _ in range(200)]
    copies = [edited(rng, text, 0.1) for text in texts[:50]]
    found = find_near(Comparer(texts + copies)).dropped
    # An edit may hit a slot, and make the copy more like another row.
    assert sum(pair.second == place - 200 for place, pair in found.items()) >= 45
    assert len(found) >= 49
    assert min(found) >= 200


def test_another_question_about_the_same_document_is_another_row():
    rng = random.Random(6)
    document = text_of(rng, 300)
    texts = [
        f"{document} Which {a} was {b} and why did nobody see it?"
        for a, b in zip(THINGS, DID, strict=False)
    ]
    assert not pairs_of(texts)
    answers = ["the lantern", "a violin"]
    assert not pairs_of([document + " x", document + " y"], answers)
    assert pairs_of([document + " x", document + " y"], ["the lantern", "The lantern."])


def test_two_rows_with_another_passage_in_the_same_frame_are_two_rows():
    rng = random.Random(10)
    document = text_of(rng, 300)
    first, second = "Who found the violin in the tunnel", "What made every kettle there so dusty"
    assert not pairs_of([f"{document} {first}?", f"{document} {second}?"])
    assert pairs_of([f"{document} {first}?", f"{document} {first}, please?"])


def test_a_tenth_of_the_words_may_be_rounded_up():
    # Of 61 words a tenth is 7, so that 54 are left.
    words = [f"{thing}ish" for thing in THINGS] + ["fin", "end", "stop", "halt", "rest"]
    assert len(words) == len(set(words)) >= 61
    copy = [f"new{n}" if n % 9 == 4 else word for n, word in enumerate(words[:61])]
    assert sum(a != b for a, b in zip(words, copy, strict=False)) == 7
    assert pairs_of([" ".join(words[:61]), " ".join(copy)])


def test_the_same_task_with_other_numbers_is_another_row():
    task = "A train leaves the {0} station at {1} and runs {2} kilometres with a stop of {3} minutes in between, and "
    task += "another train follows it on the same line {4} minutes later; when does the second one arrive there?"
    assert not pairs_of([task.format(3, 10, 250, 7, 20), task.format(4, 11, 310, 9, 35)])


def test_a_dropped_row_is_like_a_row_that_stays():
    rng = random.Random(7)
    chain = [text_of(rng, 100)]
    for _ in range(8):
        chain.append(edited(rng, chain[-1], 0.08))
    found = find_near(Comparer(chain)).dropped
    assert found
    for place, pair in found.items():
        assert pair.second not in found
        assert pair.second < place


def test_long_texts_do_not_pair_by_their_common_words():
    rng = random.Random(8)
    texts = [text_of(rng, 4000) for _ in range(12)]
    assert not pairs_of(texts)
    assert pairs_of([*texts, edited(rng, texts[5], 0.1)]) == {(5, 12)}


def test_short_texts_are_left_to_exact_comparison():
    assert not pairs_of(["How do I change my password?", "How do I change my PIN?"] * 3)


def test_a_higher_threshold_finds_closer_copies_only():
    rng = random.Random(9)
    originals = [text_of(rng, 100) for _ in range(40)]
    texts = originals + [edited(rng, text, 0.1) for text in originals]
    assert len(pairs_of(texts)) == 40
    assert not pairs_of(texts, near=0.99)


def test_texts_without_spaces_are_compared_by_their_characters():
    assert words_of("東京タワー, ok") == ["東", "京", "タ", "ワ", "ー", "ok"]
    text = "これは長い文章の例であり同じ内容がもう一度出てくる場合に見つけられるべきものです"
    assert pairs_of([text, text.replace("例", "形")]) == {(0, 1)}


def test_answers_are_the_same_if_most_of_their_words_are():
    assert same_answer("It is on its way to you now.", "it is on its way to you")
    assert not same_answer("Yes.", "No.")
    assert same_answer(None, "anything")


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_measures_lie_between_none_and_all_and_do_not_depend_on_the_order(a, b):
    from collections import Counter

    x, y = Counter(words_of(a)), Counter(words_of(b))
    for measure in (cosine, shared):
        assert 0 <= measure(x, y) <= 1 + 1e-9
        assert measure(x, y) == pytest.approx(measure(y, x))
        assert measure(x, x) == pytest.approx(1 if x else 0)
    assert normal(normal(a)) == normal(a)
