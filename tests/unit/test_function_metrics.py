"""What decides a function's score: recorded scores are used again only where all of it is the same."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys

import pytest

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation import Metric
from llmops_jupyter.evaluation.metrics import contains, function, refusal
from llmops_jupyter.evaluation.metrics.functions import source_digest

ROWS = [{"id": str(n), "said": f"please {n}"} for n in range(3)]


class Checker:
    def __init__(self, least):
        self.least = least

    def check(self, output):
        return len(output) > self.least


def finding(pattern):
    return re.compile(pattern).search


def within(metric):
    def says(output):
        return metric.name in output

    return says


def test_what_a_function_is_bound_to_decides(ws):
    for least, wanted in ((3, 1.0), (100, 0.0)):
        run = ws.evaluation.run("column=said", ROWS, [Checker(least).check])
        assert run.value("check") == wanted
    assert source_digest(finding("a")) != source_digest(finding("b"))
    assert source_digest(finding("a")) == source_digest(finding("a"))
    assert source_digest(within(contains("a"))) != source_digest(within(contains("b")))
    assert source_digest(within(contains("a"))) == source_digest(within(contains("a")))


def test_modules_and_classes_that_a_user_edits_are_taken_anew(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_rules.py").write_text("def judge(text): return True\nclass K:\n    ok = 1\n")
    rules = importlib.import_module("my_rules")

    def by_module(output):
        return rules.judge(output)

    def by_class(output):
        return K.ok

    K = rules.K
    assert source_digest(by_module) != source_digest(by_module)
    assert source_digest(by_class) != source_digest(by_class)

    def by_standard_library(output):
        return bool(re.match("a", output))

    assert source_digest(by_standard_library) == source_digest(by_standard_library)


def test_a_version_of_a_prompt_that_a_variant_holds_decides_its_answers(ws):
    first, second = ws.prompts.save("ask", "one"), ws.prompts.save("ask", "two")

    def variant(version):
        return lambda row: version.template

    assert source_digest(variant(first)) != source_digest(variant(second))
    assert source_digest(variant(first)) == source_digest(variant(first))


def test_a_metric_without_a_digest_has_that_of_its_function():
    one, other = (Metric("b", each=f) for f in (lambda c: 1, lambda c: 0))
    assert one.digest
    assert one.digest != other.digest


def test_the_digest_is_the_same_in_every_process():
    code = (
        "from llmops_jupyter.evaluation.metrics.functions import source_digest\n"
        "def f(x):\n    return x in {'a', 'b', 'c', 'd'}\n"
        "print(source_digest(f))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_scores_that_were_computed_before_an_interrupt_are_kept(ws):
    asked = []

    def slow(output):
        asked.append(output)
        if len(asked) == 90:
            raise KeyboardInterrupt
        return True

    metric = Metric("slow", each=lambda c: slow(c.output), digest="slow")
    rows = [{"id": str(n), "s": f"x{n}"} for n in range(100)]
    with pytest.raises(KeyboardInterrupt):
        ws.evaluation.run("column=s", rows, metric)
    run = ws.evaluation.run("column=s", rows, metric)
    assert run.value("slow") == 1.0
    assert len(asked) == 101


def test_a_number_that_happens_to_be_one_is_no_rate(ws):
    rows = [{"id": str(n), "s": "x"} for n in range(5)]
    run = ws.evaluation.run("column=s", rows, ["length", "words", "exact=x"])
    shown = {row["metric"]: row["value"] for row in run.summary_rows()}
    assert "%" not in shown["length"] + shown["words"]
    assert shown["exact=x"] == "100.0 %"
    again = ws.evaluation.get(run.id)
    assert {r["metric"]: r["value"] for r in again.summary_rows()} == shown


def test_a_function_changes_its_own_row_only(ws):
    def spoils(case):
        case.row["s"] = "changed"
        return True

    rows = [{"id": str(n), "s": f"x{n}"} for n in range(3)]
    run = ws.evaluation.run("column=s", rows, [spoils, "contains={{ s }}"])
    assert run.value("contains={{ s }}") == 1.0
    assert run.records()[0]["s"] == "x0"


def test_a_missing_answer_is_wrong_whatever_the_label_and_the_direction(ws):
    rows = [{"id": str(n), "s": "x" if n == 0 else None} for n in range(10)]

    def polite(output):
        return {"value": True, "label": "polite"}

    run = ws.evaluation.run("column=s", rows, [polite, "refusal", "not-refusal"])
    assert run.value("polite") == pytest.approx(0.1)
    assert run.value("refusal") == pytest.approx(0.9)
    assert run.value("not-refusal") == pytest.approx(0.1)


def test_the_opposite_of_the_opposite_is_the_metric():
    twice = ~~refusal()
    assert (twice.name, twice.higher_is_better) == ("refusal", False)


@pytest.mark.parametrize("bounds", [("a", 1), (1, 0), 3])
def test_bounds_that_are_none(bounds):
    with pytest.raises(OptionError, match="least and the greatest"):
        function(len, bounds=bounds)


def test_what_a_batch_raises_is_told_with_the_metric_s_name(ws):
    broken = Metric("broken", batch=lambda cases, engines: 1 / 0, digest="b")
    with pytest.raises(OptionError, match="'broken' failed on 3 answers: ZeroDivisionError"):
        ws.evaluation.run("column=said", ROWS, broken)


def test_halves_of_characters_in_what_a_function_says_do_no_harm(ws):
    def odd(output):
        return {"value": 1, "label": "a\ud800", "explanation": "\ud800"}

    assert ws.evaluation.run("column=said", ROWS, odd).value("odd") == 1.0


@pytest.mark.parametrize("name", ["chrf", "bleu", "rouge-l", "f1", "edit", "exact"])
def test_an_empty_list_of_expected_answers_marks_its_row(ws, name):
    rows = [
        {"id": "0", "s": "x", "expected": []},
        {"id": "1", "s": "x y z a", "expected": "x y z a"},
    ]
    run = ws.evaluation.run("column=s", rows, name)
    first, second = run.metric(name).scores
    assert "no expected answer" in first.error
    assert second.value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "output", "expected", "wanted"),
    [
        ("ends-with", "in Rome", "Rome\n", 1.0),
        ("starts-with", "Paris, of course", "  Paris", 1.0),
        ("iexact", "", "...", 0.0),
        ("one-of=-,+", "", None, 0.0),
        ("one-of=-,+", "+", None, 1.0),
    ],
)
def test_edges_of_texts(ws, name, output, expected, wanted):
    rows = [{"id": "0", "s": output, "expected": expected}]
    assert ws.evaluation.run("column=s", rows, name).value(name) == wanted
