"""Checks of words, lengths, languages, schemas, topics and by a judge; what is masked; what every check says of itself."""

from __future__ import annotations

import numpy as np
import pytest
from guard_texts import SECRETS, found

from llmops_jupyter.errors import GuardError, LLMOpsError
from llmops_jupyter.guard import named
from llmops_jupyter.guard.check import UndecidedError
from llmops_jupyter.guard.checks import judging, language, length, topic, words
from llmops_jupyter.guard.masking import LONGEST, masked, replaced


@pytest.mark.parametrize(
    "text", ["FREE  GIFT", "free-gift", "free_gift", "free.gift", "a free – gift"]
)
def test_signs_between_words_are_gaps(text):
    assert found(words.make(banned=["free gift"]), text).hit
    assert not found(words.make(banned=["free gift"]), "It is free. Gift cards are not.").hit


def test_capitals_of_a_german_word_are_the_word():
    check = words.make(banned=["Straße"])
    assert found(check, "die STRASSE da").replaced == "die [removed] da"
    assert found(check, "die Straße da").replaced == "die [removed] da"
    assert not found(words.make(banned=["Straße"], case=True), "die STRASSE da").hit
    assert not found(words.make(required=["Straße"]), "die STRASSE da").hit


def test_a_schema_fetches_nothing():
    check = named.entry("schema").make({"schema": {"$ref": "http://127.0.0.1:9/none.json"}})
    with pytest.raises(Exception, match="Unresolvable"):
        found(check, "{}")


def test_an_answer_is_json_of_its_schema_or_a_finding():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    check = named.entry("schema").make({"schema": schema})
    assert not found(check, '{"n": 3}').hit
    assert not found(check, '```json\n{"n": 3}\n```').hit
    assert found(check, "three").hit
    assert found(check, '{"n": "3"}').hit
    assert found(check, "[" * 100_000).hit
    own = named.entry("schema").make({})
    assert found(own, "{}", schema=schema).hit
    with pytest.raises(UndecidedError, match="has a schema"):
        found(own, "{}")
    with pytest.raises(GuardError, match="The schema is none"):
        named.entry("schema").make({"schema": {"type": "objekt"}})


def test_lengths_have_bounds_and_long_texts_are_cut():
    assert found(length.make(max_words=2), "one two three").replaced == "one two"
    assert found(length.make(max_chars=3), "abcdef").replaced == "abc"
    assert found(length.make(min_words=2), "one").hit
    assert found(length.make(min_chars=2), "").hit
    assert not found(length.make(max_words=3, min_words=1), "one two three").hit
    with pytest.raises(GuardError, match="no bound"):
        length.make()
    with pytest.raises(GuardError, match="at least 5 and at most 2"):
        length.make(min_words=5, max_words=2)


def test_phrases_are_whole_words_in_any_case_with_any_gap():
    check = words.make(banned=["money back", "refund*", "C++"])
    for text in ("your MONEY\n back!", "Refunds", "refunding", "use C++ now"):
        assert found(check, text).hit, text
    for text in ("prerefund", "moneyback", "C", ""):
        assert not found(check, text).hit, text
    assert found(check, "a refund, please").replaced == "a [removed], please"
    assert found(words.make(required=["regards"]), "bye").hit
    assert not found(words.make(required=["regards"]), "kind Regards").hit
    assert not found(words.make(banned=["AI"], case=True), "ai").hit
    for given_ in ({}, {"banned": [" "]}, {"banned": ["*x"]}):
        with pytest.raises(GuardError):
            words.make(**given_)


def test_other_languages_are_found_where_they_are_sure():
    pytest.importorskip("py3langid")
    check = language.make(allow=["en"])
    assert not found(check, "This is an ordinary English sentence about the weather.").hit
    assert found(check, "Dies ist ein gewöhnlicher deutscher Satz über das Wetter.").hit
    assert not found(check, "ok").hit
    for wrong in ([], ["english"]):
        with pytest.raises(GuardError):
            language.make(allow=wrong)


def of_letters(texts):
    rows = np.array(
        [[t.lower().count(c) + 1e-6 for c in "abcdefghijklmnopqrstuvwxyz"] for t in texts]
    )
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_text_is_off_topic_by_its_distance_from_the_nearest_example():
    check = topic.make(examples=["zzz zz", "yyy", "xxx"])
    assert found(check, "zzzz", embed=of_letters).score == pytest.approx(0.0, abs=1e-6)
    assert found(check, "aaaa", embed=of_letters).score == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(UndecidedError, match="no embedding model"):
        found(check, "zzz")
    with pytest.raises(UndecidedError, match="no numbers"):
        found(check, "zzz", embed=lambda texts: np.full((len(texts), 3), np.nan))
    with pytest.raises(GuardError, match="3 examples"):
        topic.make(examples=["one"])


EXAMPLES = [{"text": f"t{i}", "label": i % 2 == 0} for i in range(10)]


def test_a_judge_needs_examples_and_abstains_as_a_warning():
    check = judging.make(question="Is it advice?", examples=EXAMPLES)
    asked = []

    def judge(question, examples, text, model):
        asked.append((question, len(examples), text, model))
        return (0.8, "m says yes") if text == "yes" else (None, "it fails on the examples")

    assert found(check, "yes", judge=judge).score == 0.8
    assert asked == [("Is it advice?", 10, "yes", None)]
    with pytest.raises(UndecidedError, match="abstains"):
        found(check, "no", judge=judge)
    with pytest.raises(GuardError, match="10 examples"):
        judging.make(question="?", examples=EXAMPLES[:9])
    with pytest.raises(GuardError, match="both answers"):
        judging.make(question="?", examples=[{"text": "a", "label": "yes"}] * 10)
    with pytest.raises(GuardError, match="a text and a label"):
        judging.make(question="?", examples=[{"text": "a", "label": "maybe"}] * 10)
    with pytest.raises(GuardError, match="no question"):
        judging.make(examples=EXAMPLES)


def test_a_masked_text_is_short_and_has_no_secret():
    assert masked("") == ""
    assert masked(f"a  b\n{SECRETS[0]} ada@example.com \x1b") == "a b [SECRET] [EMAIL]"
    assert len(masked("word " * 100)) <= LONGEST
    assert replaced("abcdef", [(1, 4, "-"), (2, 5, "+"), (0, 1, "")]) == "-f"


def test_fitted_checks_are_named_and_say_where_they_are_missing():
    assert {"injection", "toxicity", "refusal"} <= {e.name for e in named.entries()}
    missing = named.Entry("later", "llmops_jupyter.guard.checks.not_there", "")
    with pytest.raises(GuardError, match="not part of this installation"):
        missing.make({})
    with pytest.raises(GuardError, match="Did you mean 'secrets'"):
        named.entry("secretz")


def test_every_check_says_what_it_is():
    for entry in named.entries():
        assert entry.summary
        assert entry.places
        assert entry.action in ("warn", "modify", "deny")
        if entry.action == "modify":
            assert entry.replaces
    assert issubclass(GuardError, LLMOpsError)
