"""Metrics: right answers, wrong ones and odd ones."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_jupyter.errors import OptionError, TemplateError
from llmops_jupyter.evaluation.metrics import (
    Case,
    Metric,
    Scored,
    as_metric,
    bounded,
    catalogue,
    contains,
    exact,
    function,
    parse,
    schema,
)
from llmops_jupyter.records import Completion, Timing, TokenLogprob, Usage

DONE = Completion(
    "It is 21 degrees.",
    usage=Usage(10, 6),
    timing=Timing(1.5, 0.25, 4.0),
    model="m",
    cost=0.002,
    tool_calls=({"name": "weather"},),
    logprobs=(TokenLogprob("It", -0.5), TokenLogprob(" is", -1.5)),
)


def scored(metric, output, expected=None, *, completion=None, **row):
    case = Case("r", {**row, "expected": expected}, output, expected, completion, "asked")
    return as_metric(metric).score([case], None)[0]


def value(metric, output, expected=None, **more):
    return scored(metric, output, expected, **more).value


@pytest.mark.parametrize(
    ("metric", "output", "expected", "holds"),
    [
        ("exact", " Paris\n", "Paris", True),
        ("exact", "paris", "Paris", False),
        ("exact", "3", 3, True),
        ("exact", "true", True, True),
        ("exact", "b", ["a", "b"], True),
        ("exact", "", "", True),
        ("exact=Rome", "Rome", None, True),
        ("iexact", "«paris.»", "Paris", True),
        ("iexact", "STRASSE", "straße", True),
        ("iexact", "new   york", "New York", True),
        ("iexact", "not Paris", "Paris", False),
        ("contains", "in Paris today", "Paris", True),
        ("contains=a=b", "so a=b holds", None, True),
        ("icontains", "IN PARIS", "paris", True),
        ("contains-any=red,blue", "a Blue car", None, True),
        ("contains-any=red, green", "a blue car", None, False),
        ("contains-all=red,blue", "blue and red", None, True),
        ("contains-all", "blue and red", ["red", "green"], False),
        ("starts-with=Dear", "  Dear Ann", None, True),
        ("ends-with=.", "Yes. ", None, True),
        ("one-of=yes,no", "No.", None, True),
        ("one-of=yes,no", "Not sure", None, False),
        (r"regex=^\d{3}$", "123", None, True),
        (r"regex=\bcat\b", "concatenate", None, False),
        ("json", '{"a": [1, 2]}', None, True),
        ("json", '{"a": NaN}', None, False),
        ("json", "[" * 100_000, None, False),
        ("json", "", None, False),
        ("json-equal", '{"b": 1, "a": 2.0}', {"a": 2, "b": 1}, True),
        ("json-equal", '{"a": true}', {"a": 1}, False),
        ("json-equal", "[1]", "[1]", True),
        ("field=customer.name", '{"customer": {"name": "Ann"}}', "Ann", True),
        ("field=items.1", '{"items": [3, 4]}', 4, True),
        ("field=a.b", '{"a": {"b": 2}}', {"a": {"b": 2}}, True),
        ("field=a", '{"b": 1}', 1, False),
        ("numeric", "So the total is 1,234.50.", 1234.5, True),
        ("numeric", "between 3 and 4", 3, False),
        ("numeric=0.01", "about 99.5", "100", True),
        ("numeric", "minus −4", -4, True),
        ("numeric", "none", 4, False),
        ("numeric", "1e3", 1000, True),
        ("numeric", "It is GPT-4", 4, False),
        ("numeric", "10-5", 5, True),
        ("numeric", "3,14", 3.14, True),
        ("numeric", "1.234.567 in all", 1234567, True),
        ("numeric", "1.234,5", 1234.5, True),
        ("numeric", "in H2O", 2, False),
        ("numeric", "5kg", 5, True),
        ("numeric", "(-3)", -3, True),
        ("iexact", "-5", "5", False),
        ("iexact", ".5", "5", False),
        ("iexact", "-5.", "-5", True),
        ("exact", "3", 3.0, True),
        ("exact", "3.0", 3.0, True),
        ("rouge-l>=0.5", "我喜欢猫", "我喜欢狗", True),
        ("python", "```python\nprint(1)\n```", None, True),
        ("python", "print(1", None, False),
        ("python", "", None, False),
        ("refusal", "I'm sorry, but I can't help with that.", None, True),
        ("refusal", "As an AI language model, I cannot give legal advice.", None, True),
        ("refusal", "I am unable to provide that information.", None, True),
        ("refusal", "Ich kann Ihnen dabei leider nicht helfen.", None, True),
        ("refusal", "You can't park here, I am afraid of dogs.", None, False),
        ("refusal", "The answer is 4. " * 40 + "I cannot help.", None, False),
        ("pii", "write to ann@example.com", None, True),
        ("pii", "write to Ann", None, False),
        ("latency<2", "x", None, True),
        ("tokens>=7", "x", None, False),
        ("length<=3", "abcd", None, False),
        ("rouge-l>=0.5", "the cat sat", "the cat slept", True),
        ("finished", "x", None, True),
        ("tool-called=weather", "x", None, True),
        ("tool-called=stocks", "x", None, False),
    ],
)
def test_what_says_yes_or_no_does_and_its_negation_says_the_opposite(
    metric, output, expected, holds
):
    assert value(metric, output, expected, completion=DONE) == float(holds)
    if "<" not in metric and ">" not in metric:
        assert value(f"not-{metric}", output, expected, completion=DONE) == float(not holds)


@pytest.mark.parametrize(
    ("metric", "output", "expected", "wanted"),
    [
        ("length", "Grüße", None, 5),
        ("words", " one  two\nthree ", None, 3),
        ("sentences", 'He said "no." Then he left! Did he', None, 3),
        ("sentences", "", None, 0),
        ("tokens", "x", None, 6),
        ("latency", "x", None, 1.5),
        ("first-token", "x", None, 0.25),
        ("speed", "x", None, 4.0),
        ("cost", "x", None, 0.002),
        ("logprob", "x", None, -1.0),
        ("repetition", "a b c d " * 3, None, pytest.approx(5 / 9)),
        ("repetition", "short", None, 0.0),
        ("edit", "kitten", "sitting", pytest.approx(1 - 3 / 7)),
        ("edit", "", "", 1.0),
        ("f1", "The cat sat.", "a cat", pytest.approx(2 / 3)),
        ("f1", "", "cat", 0.0),
        ("rouge-l", "the cat sat on the mat", "the cat is on the mat", pytest.approx(5 / 6)),
        ("rouge-l", "x", ["y", "x z"], pytest.approx(2 / 3)),
    ],
)
def test_figures_are_what_they_are_called(metric, output, expected, wanted):
    assert value(metric, output, expected, completion=DONE) == wanted


def test_bleu_and_chrf_are_one_for_equal_texts_and_less_for_others():
    pytest.importorskip("sacrebleu")
    text = "the quick brown fox jumps over the lazy dog"
    for name in ("bleu", "chrf"):
        assert value(name, text, text) == pytest.approx(1.0)
        assert 0 <= value(name, "a slow fox", text) < 0.5


def test_embedding_is_the_cosine_to_the_nearest_expected_answer():
    import numpy as np

    asked = []

    class Engines:
        def engine(self, model=None):
            asked.append(model)
            return self

        def embed(self, texts):
            places = {"up": [1.0, 0.0], "down": [0.0, 1.0], "between": [0.6, 0.8]}
            return np.array([places.get(t, [1.0, 0.0]) for t in texts], dtype=np.float32)

    cases = [
        Case("1", {}, "up", ["down", "between"]),
        Case("2", {}, "down", "down"),
        Case("3", {}, "up", None),
    ]
    made = parse("embedding=mini").score(cases, Engines())
    assert [m.value if m.value is None else round(m.value, 3) for m in made] == [0.6, 1.0, None]
    assert asked == ["mini"]
    held = parse("embedding>=0.9").score(cases[:2], Engines())
    assert [h.value for h in held] == [0.0, 1.0]


def test_nothing_to_look_for_is_no_score():
    assert "is empty" in scored("contains", "any", "").error
    assert "list is empty" in scored("contains-all", "any", []).error
    assert "no value of 'city'" in scored("contains={{ city }}", "None here", city=None).error
    assert "no expected answer" in scored("exact", "3", math.nan).error


def test_bounds_go_with_negation_and_arguments():
    assert value("not-latency<2", "x", completion=DONE) == 0.0
    made = parse("embedding=minilm>=0.8")
    assert made.name == "embedding=minilm>=0.8"
    assert made.facts["model"] == "minilm"
    assert value("contains=a>=3", "is a>=3?") == 1.0


def test_arguments_are_filled_from_the_row():
    assert value("contains={{ city }}", "I love Rome", city="Rome") == 1.0
    assert value("contains=Order {{ n }}", "Order 7 is late", n=7) == 1.0
    assert "nope" in scored("contains={{ nope }}", "x").error
    with pytest.raises(TemplateError):
        parse("contains={{ open")


def test_figures_of_given_answers_say_that_they_are_not_known():
    assert "this one was given" in scored("latency", "x").error
    assert "not known" in scored("logprob", "x", completion=Completion("x", model="m")).error


def test_rows_without_an_expected_answer_are_marked():
    assert scored("exact", "x", None).error == "the row has no expected answer"
    assert "is no number" in scored("numeric", "3", "three").error


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("exakt", "Did you mean 'exact'"),
        ("regex=(", "no regular expression"),
        ("regex", "needs an argument"),
        ("json=x", "takes no argument"),
        ("schema=nowhere.json", "cannot be read"),
        ('schema={"type": "nonsense"}', "schema"),
        ("numeric=abc", "the tolerance is a number"),
        ("numeric=-1", "a number from 0"),
        ("latency<soon", "the bound is a number"),
        ("not-length", "has no opposite"),
        ("exact>=0.5", "takes no bound"),
        ("rouge-l>=50", "says nothing"),
        ("contains-any=,", "nothing but commas"),
        ("contains=", "is empty"),
        ("field=", "path of a field"),
        ("tool-called=", "name of a tool"),
        ("pii=nonsense", "nonsense"),
        ("", "no metric ''"),
    ],
)
def test_names_and_arguments_that_cannot_be_used_are_refused_at_once(spec, says):
    with pytest.raises((OptionError, ValueError), match=says):
        parse(spec)


def test_every_metric_of_the_catalogue_can_be_made_and_is_described():
    arguments = {
        "A,B": "a,b",
        "PATTERN": "x",
        "FILE": '{"type": "string"}',
        "PATH": "a",
        "NAME": "n",
    }
    for entry in catalogue():
        spec = entry.name
        if entry.argument == "must":
            spec = f"{entry.name}={arguments[entry.stands_for]}"
        metric = parse(spec)
        assert metric.digest
        assert entry.summary.endswith(".")
        assert (metric.bounds == (0.0, 1.0)) or not entry.yes_no
    assert len(catalogue()) >= 25


def test_schema_tells_what_is_wrong():
    wanted = {"type": "object", "required": ["name"], "title": "Person"}
    assert value(schema(wanted), '{"name": "Ann"}') == 1.0
    assert "'name' is a required property" in scored(schema(wanted), "{}").explanation
    assert schema(wanted).name == "schema=Person"


def test_functions_get_what_their_parameters_are_called():
    assert value(lambda output: len(output) + 0, "abc") == 3
    assert value(lambda text: text == "abc", "abc") == 1
    assert value(lambda output, expected: output == expected, "a", "a") == 1
    assert value(lambda case: case.row_id, "a") is None
    assert value(lambda output, city: city in output, "in Rome", city="Rome") == 1
    assert value(lambda city: len(city) + 0, "x", city="Rome") == 4
    assert value(lambda row, input: len(row) + len(input), "x") == 6  # noqa: A006
    assert "no such column" in scored(lambda output, town: True, "x").error


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (True, Scored(1.0, "true")),
        (0.25, Scored(0.25)),
        ("good", Scored(None, "good")),
        (None, Scored(None)),
        ({"score": 0.5, "explanation": "half"}, Scored(0.5, None, "half")),
        ({"value": True, "label": "ok"}, Scored(1.0, "ok")),
        (math.nan, Scored(None, error="the score is nan")),
        (math.inf, Scored(None, error="the score is inf")),
        ([1], Scored(None, error="the metric returned a list, not a number, bool or label")),
    ],
)
def test_what_a_function_may_return(made, wanted):
    assert scored(lambda output: made, "x") == wanted


def test_a_built_in_function_is_a_metric():
    assert value(len, "abc") == 3
    assert value(str.isdigit, "12") == 1.0


def test_a_numpy_number_is_a_number():
    import numpy as np

    assert value(lambda output: np.float32(0.5), "x") == 0.5
    assert scored(lambda output: np.bool_(True), "x").label == "true"


def test_an_async_function_is_refused():
    async def later(output):
        return 1

    with pytest.raises(OptionError, match="async"):
        function(later)

    class Later:
        async def __call__(self, output):
            return 1

    with pytest.raises(OptionError, match="async"):
        function(Later())
    with pytest.raises(OptionError, match=r"write exact\(\)"):
        as_metric(exact)
    with pytest.raises(OptionError, match="takes nothing"):
        function(lambda: 1)
    with pytest.raises(OptionError, match="not int"):
        as_metric(3)


def test_other_source_or_other_plain_values_are_another_metric():
    def make(limit):
        return function(lambda output: len(output) < limit, name="short")

    assert make(3).digest == make(3).digest
    assert make(3).digest != make(4).digest
    held = object()
    one, two = (function(lambda output: held is None, name="x") for _ in range(2))
    assert one.digest != two.digest


LIMIT = 3


def test_functions_on_one_line_and_values_around_them_tell_them_apart(monkeypatch):
    one, two = function(lambda output: 1, name="m"), function(lambda output: 2, name="m")
    assert one.digest != two.digest

    def short(output):
        return len(output) < LIMIT

    def calls(output):
        return short(output)

    before, outer = function(short).digest, function(calls).digest
    assert function(short).digest == before
    monkeypatch.setitem(short.__globals__, "LIMIT", 9)
    assert function(short).digest != before
    assert function(calls).digest != outer
    held = (object(),)
    assert function(lambda output: held).digest != function(lambda output: held).digest


def test_the_opposite_of_the_opposite_is_the_thing_itself():
    assert (~~contains("x")).name == "contains=x"
    assert value(~~contains("x"), "axb") == 1
    assert value(~exact(), "a", "b") == 1
    number = Metric("n", each=lambda c: 0.5, digest="n")
    assert "has no opposite" in scored(~number, "x").error
    assert parse("refusal").higher_is_better is False
    assert parse("not-refusal").higher_is_better is True


def test_a_bound_makes_yes_or_no_of_a_number():
    made = bounded(function(lambda output: len(output) + 0), ">", 2)
    assert value(made, "abc") == 1
    assert scored(made, "ab").explanation == "2"
    with pytest.raises(OptionError, match="no comparison"):
        bounded(made, "!=", 1)


WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd"]), max_size=8)


def longest(a, b):
    """The length of the longest common subsequence, by the textbook's recurrence."""
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return longest(a[:-1], b[:-1]) + 1
    return max(longest(a[:-1], b), longest(a, b[:-1]))


def distance(a, b):
    """Levenshtein's distance, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


@settings(max_examples=60, deadline=None)
@given(WORDS, WORDS)
def test_rouge_l_and_edit_agree_with_the_textbook(a, b):
    if a and b:
        assert value("rouge-l", " ".join(a), " ".join(b)) == pytest.approx(
            2 * longest(a, b) / (len(a) + len(b))
        )
    ours, theirs = "".join(a), "".join(b)
    if ours or theirs:
        assert value("edit", ours, theirs) == pytest.approx(
            1 - distance(ours, theirs) / max(len(ours), len(theirs))
        )


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.text(max_size=30))
def test_no_text_breaks_a_metric(output, expected):
    for entry in catalogue():
        if entry.argument != "must" and entry.name not in ("embedding", "bleu", "chrf"):
            made = scored(entry.name, output, expected)
            assert made.value is None or math.isfinite(made.value)
