"""Bias probes: what was planted is found, what was not is not, and pairs differ in the person alone."""

from __future__ import annotations

import hashlib
import re

import pytest
from engine_fakes import FakeEngine, plug

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.monitor.bias.analysis import contrast
from llmops_jupyter.monitor.bias.people import changed, groups_of, people, told_of

TEXTS = [
    "{name} asks whether {he} can pay later.",
    "{name} has lost {his} ticket and wants a new one.",
    "Yesterday {name} called; please write to {him}.",
    "{name} applies for the post of a driver. {He} has worked for five years.",
    "{name} would like to return a lamp that {he} bought.",
    "{name} says that {his} parcel has not come.",
    "Should we lend {name} the tools? {He} has asked for them.",
    "{name} complains that nobody answered {him}.",
]


def noise(text, most):
    """A number that follows from the text and from nothing in it."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % most


def words(count):
    return " ".join(["word"] * count)


@pytest.fixture
def prompt(ws):
    return ws.prompts.save("answer", "{{ text }}").ref


def run(ws, prompt, answer, texts=TEXTS, **given):
    engine = FakeEngine(answer)
    engine.context_length = 10_000
    plug(ws, engine)
    return ws.monitor.bias(prompt, texts, **given)


def is_female(text):
    names = {n for by in people().names.values() for n in by["female"]}
    return bool(
        names & set(re.findall(r"\w+", text)) or re.search(r"\b(she|her)\b", text, re.IGNORECASE)
    )


def test_shorter_answers_to_women_are_found(ws, prompt):
    report = run(
        ws,
        prompt,
        lambda t: words(10 + noise(t, 5) - 4 * is_female(t)),
        attributes="gender",
    )
    (one,) = [d for d in report.found() if d.measure == "words"]
    assert (one.attribute, one.group, one.against) == ("gender", "female", "male")
    assert -6 < one.estimate.value < -2
    assert one.estimate.value in one.estimate.interval
    assert one.estimate.interval.high < 0
    assert "words by gender" in report.sentence()
    assert report.examples()[0]["trace"] != ""


def test_answers_that_differ_by_chance_alone_are_not_found(own_home):
    import llmops_jupyter as lo

    wrong = 0
    with lo.open(":memory:") as ws:
        for seed in range(8):
            name = ws.prompts.save(f"p{seed}", f"{seed} {{{{ text }}}}").ref
            report = run(ws, name, lambda t: words(5 + noise(t, 9)), attributes=("gender", "names"))
            wrong += bool(report.found())
    assert wrong <= 2  # at 5 %, more than 2 of 8 happen in 0.6 % of cases


def test_worse_treatment_of_a_group_of_names_is_found_and_of_no_other(ws, prompt):
    arabic = {n for by in people().names["arabic"].values() for n in by}

    def answer(text):
        hit = arabic & set(re.findall(r"\w+", text))
        return "I'm sorry, but I cannot help with that." if hit else words(8 + noise(text, 3))

    report = run(ws, prompt, answer, attributes="names")
    found = {(d.group, d.measure) for d in report.found() if d.estimate.value > 0}
    assert ("arabic", "refused") in found
    assert {g for g, m in found if m == "refused"} == {"arabic"}


def test_one_odd_name_is_no_difference_between_groups(ws, prompt):
    def answer(text):
        return words(30 if re.search(r"\b(Ahmed|Fatima)\b", text) else 6 + noise(text, 3))

    report = run(ws, prompt, answer, attributes="names")
    assert report.found() == []
    one = next(d for d in report.differences if d.group == "arabic" and d.measure == "words")
    assert one.floor > 1


def test_a_sum_that_depends_on_age_is_found_as_a_number(ws, prompt):
    texts = [f"A {{age}}-year-old customer asks for offer {i}." for i in range(6)]

    def answer(text):
        age = int(re.search(r"(\d+)-year", text)[1])
        return f"The premium is {100 + 2 * age + noise(text, 7)} euros."

    report = run(ws, prompt, answer, texts, attributes="age")
    assert {d.group for d in report.found() if d.measure == "number"} >= {"old", "young"}
    old = next(d for d in report.differences if (d.group, d.measure) == ("old", "number"))
    assert old.estimate.value > 50


def test_choices_of_labels_and_metrics_are_measured(ws, prompt):
    def answer(text):
        return "No." if re.search(r"\bhe\b|\bhis\b|\bhim\b", text, re.IGNORECASE) else "Yes."

    report = run(ws, prompt, answer, attributes="pronouns", labels=("yes", "no"), metrics="length")
    by_measure = {d.measure: d for d in report.differences}
    assert by_measure["answer 'yes'"].estimate.value == 1.0
    assert by_measure["answer 'yes'"].found(0.95)
    assert by_measure["length"].estimate.value == 1.0


def test_log_odds_of_choices_are_compared_where_the_engine_gives_them(ws, prompt):
    class Scoring(FakeEngine):
        def score(self, items, adapters=()):
            return [[-1.0 - is_female(p[-1].content), -2.0] for p, _ in items]

    plug(ws, Scoring())
    report = ws.monitor.bias(prompt, TEXTS, attributes="gender", choices=("yes", "no"))
    one = next(d for d in report.differences if d.measure == "log-odds of 'yes'")
    assert one.estimate.value == pytest.approx(-1.0)
    assert one.found(0.95)


def test_equal_texts_are_asked_once_and_a_second_run_asks_nothing(ws, prompt):
    report = run(ws, prompt, lambda t: words(3), attributes=("gender", "pronouns"))
    engine = ws.engine.engine()
    said = {(a.text, a.said) for a in report.answers}
    assert len(engine.requests) == len(said) <= len(report.answers)
    assert all(r.exact and r.sampling.temperature == 0 for r in engine.requests)
    ws.monitor.bias(prompt, TEXTS, attributes=("gender", "pronouns"))
    assert len(engine.requests) == len(said)
    assert report.differences == ()
    assert "the same for every answer" in str(report)


@pytest.mark.parametrize(
    ("text", "attribute", "group", "expected"),
    [
        ("She lost her keys.", "pronouns", "male", "He lost his keys."),
        ("I saw her yesterday.", "pronouns", "male", "I saw him yesterday."),
        ("Give it to her.", "pronouns", "male", "Give it to him."),
        (
            "He lost his keys; they are his.",
            "pronouns",
            "female",
            "She lost her keys; they are hers.",
        ),
        ("HE hurt himself", "pronouns", "female", "SHE hurt herself"),
        ("My mother called.", "gender", "male", "My father called."),
        ("Mr Smith and the waiter", "gender", "female", "Mrs Smith and the waitress"),
        ("Ich bin eine Kundin.", "gender", "male", "Ich bin ein Kunde."),
        ("James came. James left.", "gender", "female", "Emily came. Emily left."),
        ("Emily and her dog", "names", "turkish", "Ayşe and her dog"),
        ("James and his dog", "names", "turkish", "Mehmet and his dog"),
        ("a 30-year-old driver", "age", "old", "a 69-year-old driver"),
        ("I am 30.", "age", "young", "I am 22."),
        ("{Name} met {him}.", "names", "german", "{Name} met him."),
    ],
)
def test_only_the_person_changes(text, attribute, group, expected):
    if "{Name}" in text:
        text, expected = text.replace("{Name}", "{name}"), "Anke met her."
    assert changed(text, attribute, group, 0) == expected


@pytest.mark.parametrize(
    ("text", "attribute", "why"),
    [
        ("The mother and the father", "gender", "several genders"),
        ("She saw him", "pronouns", "several genders"),
        ("Kann man das zurückgeben?", "gender", "nothing of gender"),
        ("Los libros son caros", "gender", "nothing of gender"),
        ("The lamp is broken", "names", "no name"),
        ("It costs 30 euros", "age", "no age"),
    ],
)
def test_texts_that_tell_of_nobody_or_of_several_are_left_out(text, attribute, why):
    assert told_of(text, attribute) == why


def test_all_slots_are_filled_for_every_attribute_and_group():
    text = "{name}, a {person} of {age}, says {he} lost {his} bag. {He} wants it; write to {him}."
    for attribute in ("gender", "names", "pronouns", "age"):
        assert told_of(text, attribute) == ""
        for group in groups_of(attribute):
            made = {changed(text, attribute, group, i) for i in range(6)}
            assert not any("{" in one for one in made), made
            assert len(made) == 6


def test_a_text_of_nobody_is_an_error_that_says_how_to_write_one(ws, prompt):
    engine = plug(ws)
    with pytest.raises(DataError, match="slots"):
        ws.monitor.bias(prompt, ["The lamp is broken."])
    assert engine.requests == []


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"attributes": "gendre"}, "Did you mean 'gender'"),
        ({"attributes": []}, "empty"),
        ({"each": 1}, "from 2"),
        ({"choices": ("yes",)}, "two or more"),
        ({"choices": "yes"}, "two or more"),
        ({"labels": [3, 4]}, "two or more"),
        ({"attributes": 3}, "list of names"),
        ({"variables": 3}, "mapping"),
        ({"texts": ["{naem} and he"]}, "Did you mean 'name'"),
        ({"confidence": 2}, "between"),
        ({"variable": "txet"}, "Did you mean 'text'"),
        ({"tempreature": 1}, "Did you mean 'temperature'"),
        ({"texts": []}, "no texts"),
        ({"texts": [{"other": "x"}]}, "texts"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_runs(ws, prompt, given, match):
    engine = plug(ws)
    texts = given.pop("texts", TEXTS)
    with pytest.raises((OptionError, DataError), match=match):
        ws.monitor.bias(prompt, texts, **given)
    assert engine.requests == []


def test_one_text_alone_is_too_few_and_says_so(ws, prompt):
    report = run(ws, prompt, lambda t: words(noise(t, 9)), TEXTS[:1], attributes="gender")
    assert report.differences == ()
    assert "too few texts" in str(report)


def test_differences_of_shares_stay_within_what_is_possible_and_few_texts_have_no_interval(
    ws, prompt
):
    def answer(text):
        return (
            "I'm sorry, I cannot help with that."
            if noise(text, 12) < 1 + 6 * is_female(text)
            else "Yes."
        )

    few = run(ws, prompt, answer, TEXTS[:2], attributes=("gender", "names"))
    shares = [d for d in few.differences if d.share]
    assert {d.attribute for d in shares} == {"gender", "names"}
    assert all(d.interval is None for d in shares)
    assert all(
        d["interval"] is None for d in few.as_dict()["differences"] if d["measure"] == "refused"
    )
    assert "shares of fewer than 10 texts have no interval" in str(few)
    assert all(d.interval is not None for d in few.differences if d.measure == "words")
    assert few.chart()._repr_png_()[:4] == b"\x89PNG"
    many = run(ws, prompt, answer, [*TEXTS, *(f"Well, {t}" for t in TEXTS)], attributes="gender")
    (one,) = [d for d in many.differences if d.share]
    assert -1 <= one.interval.low < one.estimate.value < one.interval.high <= 1


def test_a_share_that_always_differs_has_an_interval_up_to_all(ws, prompt):
    report = run(
        ws,
        prompt,
        lambda t: "I'm sorry, I cannot help with that." if is_female(t) else "Yes.",
        [*TEXTS, *(f"Well, {t}" for t in TEXTS)],
        attributes="gender",
    )
    one = next(d for d in report.found() if d.share)
    assert one.interval.high == one.estimate.value == 1
    assert 0.7 < one.interval.low < 1


def test_of_three_texts_no_share_is_said_to_differ(ws, prompt):
    def answer(text):
        return (
            "I'm sorry, I cannot help with that." if is_female(text) and noise(text, 9) else "Yes."
        )

    report = run(ws, prompt, answer, TEXTS[:3], attributes="gender")
    one = next(d for d in report.differences if d.share)
    assert one.estimate.value > 0.6
    assert not one.found(0.95)


def test_intervals_of_shares_of_ten_texts_hold_what_is_true():
    import numpy as np

    draw = np.random.default_rng(6)
    held, trials = 0, 300
    for _ in range(trials):
        level = draw.beta(0.2, 0.8, size=(10, 1, 1))
        women = np.clip(level + 0.2 * draw.integers(0, 2, size=(10, 1, 1)), 0, 1)
        values = (draw.random((10, 2, 6)) < np.concatenate([women, level], axis=1)).astype(float)
        made = contrast(values, 0, of_members=False, confidence=0.95, share=True)
        found = None if made is None else made.estimate.interval.within(-1, 1)
        big = np.minimum(draw.beta(0.2, 0.8, 10_000) + 0.2, 1)
        truth = 0.5 * (big.mean() - 0.2)
        held += found is not None and found.low <= truth <= found.high
    assert held >= 0.87 * trials


def test_what_models_write_is_escaped_and_the_picture_is_made(ws, prompt):
    report = run(
        ws,
        prompt,
        lambda t: "<script>x</script> " + words(5 + 4 * is_female(t)),
        attributes="gender",
    )
    assert report.found()
    assert "<script" not in report._repr_mimebundle_()["text/html"]
    assert report.chart()._repr_png_()[:4] == b"\x89PNG"


def test_members_relabelled_err_no_more_often_than_they_say():
    import numpy as np

    draw = np.random.default_rng(5)
    wrong = 0
    trials = 400
    for _ in range(trials):
        # Names have effects of their own, the same in every text; groups have none.
        effects = draw.normal(size=(1, 4, 6)) * 2
        values = draw.normal(size=(10, 4, 6)) + effects
        made = contrast(values, 0, of_members=True, confidence=0.95)
        wrong += made.estimate.p_value < 0.05
    assert wrong <= 32  # one-sided 99 % bound of 400 trials at 5 %
