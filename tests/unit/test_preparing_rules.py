"""The rules of a preparation, each on texts that break it and on texts that are near it and do not."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_jupyter.data.examples import Example
from llmops_jupyter.data.preparing import cleaning, leaks, people
from llmops_jupyter.data.preparing.balance import quantiles, topics_of
from llmops_jupyter.data.preparing.quality import fault_of_text
from llmops_jupyter.data.preparing.recipe import RULES, Recipe, caps_of
from llmops_jupyter.errors import OptionError
from llmops_jupyter.records import Message

CODE = "Use this:\n\n```python\ndef f(x):   \n\n\n\n\n    return x\u200b\n```"
PROSE = (
    "The parcel left our warehouse on Monday and should reach you before the weekend. If it has not come by then, "
    "write to us again with your order number, and we will ask the carrier where it is. You can also follow it "
    "on the page that the confirmation links to, which is updated every evening."
)

# Four paragraphs of different words.
PAGE = f"""{PROSE}
Returns are simple too. Pack the goods as they came, put the slip into the box, and hand it in at any shop of the
carrier. The money is back on your account within a week, and a short mail tells you when.
Vouchers do not expire, whoever bought them. Type the code that is printed beneath the picture, and what is left of
its value stays there for another time; two of them may be used for one purchase.
Our phones are staffed from eight to six, and on Saturdays until noon. Have a pen ready, since we name a reference
that makes later calls shorter, and tell us at once if somebody is waiting for a repair."""


def cleaned(text):
    return cleaning.clean(text, cleaning.encoding_repair())


@pytest.mark.parametrize(
    ("text", "made", "kind"),
    [
        ("It\u200bs here\x00", "Its here", "invisible characters"),
        ("cafe\u0301", "café", "Unicode form"),
        ("a  \nb\t\n\n\n\n\nc", "a\nb\n\n\nc", "spaces"),
        ("one\r\ntwo", "one\ntwo", "spaces"),
        ("12\u00a0km", "12 km", "spaces"),
        ("hid\U000e0041\U000e0042den", "hidden", "invisible characters"),
        ("pay\u200dpal", "paypal", "invisible characters"),
    ],
)
def test_texts_are_repaired_and_the_kind_is_named(text, made, kind):
    assert cleaned(text) == (made, (kind,))


def test_broken_encodings_are_repaired_by_ftfy():
    pytest.importorskip("ftfy", reason="needs ftfy")
    assert cleaned("The customerâ€™s cafÃ©") == ("The customer’s café", ("encoding",))
    assert cleaned("naïve “quotes” &amp; ﬁne") == ("naïve “quotes” &amp; ﬁne", ())


@pytest.mark.parametrize(
    "text",
    [
        CODE,
        "  indented\n    more\n\n\nnew",
        " answer",
        "👩\u200d💻 and 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "می\u200cخواهم",
    ],
)
def test_code_indentation_emoji_and_scripts_stay(text):
    assert cleaned(text) == (text, ())


@given(st.text())
@settings(max_examples=150, deadline=None)
def test_cleaning_twice_is_cleaning_once(text):
    once, _ = cleaning.clean(text)
    assert cleaning.clean(once) == (once, ())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("I can help you with that today. " * 12, "repetition"),
        ("Yes, of course.\n" * 6 + "No, never.", "repetition"),
        (PROSE + " #" * 12, "symbols"),
        ("\n".join(f"{part}..." for part in PROSE.split(" the ")), "symbols"),
        (" ".join("abcdefghijklmnopqrstuvwxyz" * 2), "words"),
        ("Lorem ipsum dolor sit amet.", "filler"),
        ("Please enable JavaScript to view this page.", "filler"),
    ],
)
def test_answers_that_should_not_be_learned_are_named(text, rule):
    found = fault_of_text(text)
    assert found is not None
    assert found[0] == rule


@pytest.mark.parametrize(
    "text",
    [
        "Yes.",
        "4",
        PROSE,
        "- milk\n- bread\n- eggs\n- butter\n- salt",
        "JavaScript is a language of the web, and you declare variables with let.",
        "```\n" + "x = f(x)  # ...\n" * 60 + "```",
        "\n".join(
            f"{n}. {name} with 7{n} people for each {n}{n} shops in the {name}{n} valley"
            for n, name in enumerate("abcdefgh")
        ),
        "the unquestionable internationalisation " * 3
        + "is as it is and so on to us " * 2
        + " ".join("abcdefghijklmnopqrst"),
        '{"name": "Ann", "age": 3}',
        "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\nLife is but a dream.",
    ],
)
def test_short_answers_lists_code_and_songs_are_fine(text):
    assert fault_of_text(text) is None


def test_rules_on_the_shape_of_pages_are_for_texts_that_are_learned_whole():
    menu = "\n".join(f"{word} {number}" for number, word in enumerate((PROSE * 2).split()))
    assert fault_of_text(menu) is None
    assert fault_of_text(menu, whole=True)[0] == "page"
    assert fault_of_text(PAGE, whole=True) is None


def asked(question, answer):
    return Example((Message("user", question), Message("assistant", answer)))


@pytest.mark.parametrize(
    ("question", "answer", "leaks_it"),
    [
        (f"Summarise. {PROSE}", PROSE.partition(". ")[0], True),
        ("What is love?", "what is love", True),
        ("Which topic has this?\nWhere is my coat?\nLabel: delivery", "delivery", True),
        ("Choose: delivery, refund, size. Where is my coat?", "delivery", False),
        ("Activate card", "activate_card", False),
        ("Who wrote Hamlet, Marlowe or Shakespeare?", "Shakespeare", False),
        ("Is the label: new?", "new collection", False),
    ],
)
def test_answers_that_stand_in_their_question_are_found(question, answer, leaks_it):
    assert bool(leaks.leaked(asked(question, answer))) is leaks_it


TWELVE = "the quick brown fox jumps over the lazy dog while seven grey cats watch"


@pytest.mark.parametrize(
    ("training", "evaluation", "how"),
    [
        (
            asked("Where is my order number 5?", "x"),
            asked("where is my order number 5", "y"),
            "exact",
        ),
        (asked(PROSE, "x"), asked(PROSE.replace("Monday", "Sunday"), "y"), "near"),
        (asked(f"Once {TWELVE} again", "x"), asked(f"Say that {TWELVE}!", "y"), "12 words"),
        (asked("Tell me.", f"I saw {TWELVE}."), Example(text=f"{TWELVE} and more"), "12 words"),
    ],
)
def test_what_the_evaluation_set_has_is_found_in_three_ways(training, evaluation, how):
    others = [asked("Something else entirely?", "z")]
    found = leaks.contacts([*others, training], [*others[:0], evaluation], near=0.9)
    assert [(c.place, c.how, c.other) for c in found] == [(1, how, 0)]


def test_greetings_and_frames_contaminate_nothing():
    frame = "You are a helpful assistant of a shop; answer the following question in one short sentence, please: {}"
    training = [
        asked(frame.format(f"where is {n}?"), "a")
        for n in ("my coat", "it", "that bag", "hers", "ours", "his")
    ]
    evaluation = [asked(frame.format("what is a kettle?"), "b"), asked("Hi", "Hello!")]
    found = leaks.contacts([*training, asked("Hi", "Good day.")], evaluation, near=0.9)
    assert [c for c in found if c.how != leaks.FRAME] == []


def test_copies_of_a_question_that_differ_from_each_other_are_all_found():
    rng = random.Random(0)
    words = PROSE.split()
    copies = []
    for number in range(6):
        copy = list(words)
        for start in range(0, len(words), 10):
            place = min(start + rng.randrange(10), len(words) - 1)
            copy[place] = f"{'abcdef'[number]}word{'xyz'[place % 3]}"
        copies.append(asked(" ".join(copy), f"answer {number}"))
    other = asked("Something else entirely?", "z")
    found = leaks.contacts([other, *copies], [asked(PROSE, "y")], near=0.9)
    assert [c.place for c in found] == [1, 2, 3, 4, 5, 6]
    assert {c.how for c in found} <= {"near", "12 words"}
    assert sum(c.how == "near" for c in found) >= 5


def test_many_rows_of_one_template_are_no_contamination_and_are_told():
    things = ("coat", "hat", "bag", "shoe")
    told = (
        "Our shop has a new rule for all who wrote to us in May: please tell the customer in kind words where the {} "
        "is and when the {} comes back to the {} at the front"
    )
    rows = [asked(told.format(*three), three[0]) for three in itertools.permutations(things, 3)]
    found = leaks.contacts(rows, [asked(told.format("apple", "pear", "plum"), "y")], near=0.85)
    assert found
    assert {c.how for c in found} == {leaks.FRAME}


def test_words_for_people_are_counted_where_they_mean_people():
    assert people.groups_of("She told her mother.") == {("gender", "women")}
    assert people.groups_of("An old man") == {("age", "old"), ("gender", "men")}
    assert people.groups_of("An old coat goes straight to the polish, a blind spot.") == set()
    texts = (
        ["The nurse said she was late"] * 12 + ["The pilot said he was late"] * 3 + ["It rains"] * 9
    )
    rows = people.counted(texts, [str(n) for n in range(len(texts))])
    assert [(r["group"], r["rows"], r["for example row"]) for r in rows] == [
        ("women", 12, "0"),
        ("men", 3, "12"),
    ]
    assert "nurse" in rows[0]["often beside"]
    assert "pilot" not in rows[0]["often beside"]
    assert "9 more" in people.advice(rows)[0]
    assert people.advice(rows[1:]) == []


def test_topics_are_named_by_their_words():
    texts = [f"The violin and the piano play music number {n}" for n in range(30)]
    texts += [f"The goalkeeper stopped a football in match {n}" for n in range(12)]
    topics = topics_of(texts)
    assert sum(topics.values()) == 42
    assert any("violin" in name for name in topics)
    assert any("football" in name for name in topics)
    assert not any("violin" in name and "football" in name for name in topics)
    assert topics_of(["a"] * 30) == {}
    assert topics_of(texts[:5]) == {}


def test_quantiles_begin_with_the_least_and_end_with_the_most():
    assert quantiles([5, 1, 3]) == [1, 1, 3, 3, 5, 5, 5]
    assert quantiles([]) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"near": 0.4}, "above 0.5"),
        ({"near": 1.2}, "above 0.5"),
        ({"pii": "redcat"}, "Did you mean 'redact'"),
        ({"keep": ["neer"]}, "Did you mean 'near'"),
        ({"keep": "cap"}, "cannot stay"),
        ({"cap": {"label": 0}}, "would leave none"),
        ({"formt": "chat"}, "Did you mean 'format'"),
    ],
)
def test_options_that_cannot_be_used_name_the_next_step(options, says):
    with pytest.raises(OptionError, match=says):
        Recipe.of(options)


def test_caps_are_written_with_an_equals_sign():
    assert caps_of(["label=50", "a=b=2"]) == {"label": 50, "a=b": 2}
    with pytest.raises(OptionError, match="COLUMN=N"):
        caps_of(["label:50"])
    assert all(RULES.values())
