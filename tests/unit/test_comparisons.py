"""Comparisons: what may be said, when to say nothing yet, and looks that do not add up to false findings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from engine_fakes import plug
from scipy.stats import binom

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.evaluation import Comparisons, Metric
from llmops_jupyter.evaluation.aligning import Aligned, Pair
from llmops_jupyter.evaluation.comparing import Look, difference
from llmops_jupyter.evaluation.looks import FIRST
from llmops_jupyter.evaluation.metrics import Case
from llmops_jupyter.evaluation.scoring import Item

right = Metric("right", each=lambda c: c.output == "yes", digest="right")
points = Metric("points", each=lambda c: float(c.output), digest="points")
slow = Metric(
    "slow", each=lambda c: float(c.output), digest="slow", higher_is_better=False, unit="s"
)


def answers(a, b, **columns):
    """Rows with given answers of two variants."""
    word = {1: "yes", 0: "no"}
    return [
        {
            "id": f"r{i}",
            "a": word.get(x, str(x)),
            "b": word.get(y, str(y)),
            **{k: v[i] for k, v in columns.items()},
        }
        for i, (x, y) in enumerate(zip(a, b, strict=True))
    ]


def compare(ws, rows, metric=right, **options):
    return ws.evaluation.compare("column=a", "column=b", rows, metric, **options)


def test_a_clear_difference_is_better_by_so_much_and_so_sure(ws):
    made = compare(ws, answers([0] * 40 + [1] * 60, [1] * 30 + [0] * 10 + [1] * 60))
    assert made.verdict == "better"
    assert made.difference == pytest.approx(0.3)
    assert 0.15 < made.interval.low < 0.3 < made.interval.high < 0.45
    assert made.p_value < 0.001
    assert "column=b is better than column=a on right by 30.0 points" in made.sentence()


def test_the_same_the_other_way_round_is_worse(ws):
    rows = answers([0] * 40 + [1] * 60, [1] * 30 + [0] * 10 + [1] * 60)
    made = ws.evaluation.compare("column=b", "column=a", rows, right)
    assert made.verdict == "worse"
    assert made.difference == pytest.approx(-0.3)


def test_a_small_sample_says_not_yet_and_how_many_more_rows(ws):
    made = compare(ws, answers([0] * 6 + [1] * 14, [1] * 4 + [0] * 2 + [1] * 13 + [0]))
    assert made.verdict == "undecided"
    assert made.more_rows > 20
    assert made.sentence().startswith("not yet: +15.0 points")
    assert f"about {made.more_rows:,} more rows" in made.sentence()


def test_the_rows_it_asks_for_do_suffice_in_most_cases(ws):
    rng = np.random.default_rng(4)

    def draw(n):
        a = rng.random(n) < 0.6
        b = np.where(rng.random(n) < 0.3, rng.random(n) < 0.95, a)
        return answers(a.astype(int).tolist(), b.astype(int).tolist())

    made = compare(ws, draw(60), detect=0.1)
    while made.verdict != "undecided":
        made = compare(ws, draw(60), detect=0.1)
    found = 0
    for n in range(12):
        first = [{**r, "n": n} for r in draw(60)]
        compare(ws, first)
        more = [{**r, "id": f"m{r['id']}", "n": n} for r in draw(made.more_rows)]
        found += compare(ws, [*first, *more]).verdict == "better"
    assert found >= 7


def test_alike_variants_are_not_said_to_be_different(ws):
    made = compare(ws, answers([1, 0] * 30, [1, 0] * 30))
    assert made.verdict == "undecided"
    assert made.difference == 0
    assert made.more_rows is None
    assert "alike so far" in made.sentence()


def test_lower_is_better_where_the_metric_says_so(ws):
    rows = answers([2.0 + i % 3 for i in range(40)], [1.0 + i % 3 * 0.9 for i in range(40)])
    made = compare(ws, rows, slow)
    assert made.difference < 0
    assert made.verdict == "better"
    assert " s" in made.sentence()


def test_not_worse_by_more_than_the_margin(ws):
    a = [1] * 160 + [0] * 40
    b = [1] * 158 + [0] * 2 + [0] * 37 + [1] * 3
    rows = answers(a, b)
    assert compare(ws, rows).verdict == "undecided"
    made = compare(ws, rows, margin=0.05)
    assert made.verdict == "not worse"
    assert "not worse" in made.sentence()


def test_rows_that_changed_sides_are_shown_the_worse_ones_first(ws):
    made = compare(ws, answers([1, 1, 0, 1, 0], [1, 0, 1, 1, 0]))
    assert [(c.row_id, c.change) for c in made.changed] == [("r1", -1.0), ("r2", 1.0)]
    assert "2 rows changed sides" in str(made)


def test_slices_have_differences_of_their_own(ws):
    lang = ["de"] * 30 + ["en"] * 30 + ["fr"] * 3
    made = compare(ws, answers([0] * 63, [1] * 20 + [0] * 10 + [0] * 33, lang=lang), slices="lang")
    by_name = {s.name: s for s in made.slices}
    assert by_name["de"].difference == pytest.approx(2 / 3)
    assert by_name["de"].interval.low > 0
    assert by_name["en"].difference == 0
    assert math.isinf(by_name["fr"].interval.low)
    assert by_name["de"].p_value < 0.01
    with pytest.raises(DataError, match="slices names the column 'nope'"):
        compare(ws, answers([1], [1]), slices="nope")


def test_several_metrics_and_variants_at_once_are_corrected(ws):
    rng = np.random.default_rng(5)
    rows = [
        {"id": str(i), "a": "yes" if x < 0.5 else "no", "b": "yes" if y < 0.62 else "no", "c": "no"}
        for i, (x, y) in enumerate(rng.random((120, 2)))
    ]
    made = ws.evaluation.compare("column=a", ["column=b", "column=c"], rows, [right])
    alone = ws.evaluation.compare("column=a", "column=b", rows, right, final=True)
    assert isinstance(made, Comparisons)
    assert [c.b for c in made] == ["column=b", "column=c"]
    assert made[0].p_value >= alone.p_value
    assert made[1].verdict == "worse"
    assert "corrected (holm)" in str(made)


def test_runs_on_different_rows_are_not_compared(ws):
    one = ws.evaluation.run("column=a", answers([1, 0, 1], [1, 1, 1]), right)
    two = ws.evaluation.run("column=b", answers([1, 0, 1, 0], [1, 1, 1, 0])[1:], right)
    with pytest.raises(DataError, match="2 in common, 1 only in the first, 1 only in the second"):
        ws.evaluation.compare(one, two)
    assert ws.evaluation.compare(one, two, common=True).n == 2


def test_runs_are_compared_by_their_numbers(ws):
    rows = answers([1, 0, 1], [1, 1, 1])
    one = ws.evaluation.run("column=a", rows, right)
    two = ws.evaluation.run("column=b", rows, right)
    assert ws.evaluation.compare(one.id, two.id, metric=right).n == 3
    with pytest.raises(UnknownNameError, match="no evaluation run 99"):
        ws.evaluation.compare(one.id, 99)


def test_one_row_says_nothing(ws):
    made = compare(ws, answers([0], [1]))
    assert made.verdict == "undecided"
    assert math.isinf(made.interval.low)
    assert any("one row" in note for note in made.notes)
    assert "no interval" in str(made)


def test_a_metric_that_scores_nothing_in_common_is_an_error_that_says_why(ws):
    def broken(_):
        raise ValueError("always")

    with pytest.raises(DataError, match="2× ValueError: always"):
        compare(ws, answers([1, 0], [0, 1]), Metric("broken", each=broken, digest="b"))


def test_rows_without_two_scores_are_left_out_and_counted(ws):
    def picky(case):
        return None if case.row_id == "r1" and case.output == "no" else 1.0

    made = compare(ws, answers([1, 0, 1, 1], [1, 1, 1, 1]), Metric("picky", each=picky, digest="k"))
    assert made.n == 3
    assert made.left_out == (("no score", 1),)


def test_the_same_variant_twice_is_pointed_out(ws):
    made = ws.evaluation.compare("column=a", "column=a", answers([1, 0], [1, 0]), right)
    assert any("same variant" in note for note in made.notes)


def test_a_look_on_more_rows_has_an_interval_for_every_look(ws):
    rows = answers([0, 1] * 30, [1, 1, 0, 1] * 15)
    first = compare(ws, rows[:40])
    again = compare(ws, rows[:40])
    second = compare(ws, rows)
    assert (first.look, again.look, second.look) == (1, 1, 2)
    assert again.interval == first.interval
    assert first.interval.method == "Bonett-Price"
    assert second.interval.method == "betting"
    assert second.interval.width > first.interval.width
    assert second.p_value is None
    assert "look 2" in str(second)
    swapped = ws.evaluation.compare("column=b", "column=a", rows, right)
    assert swapped.look == 2


def test_other_rows_are_another_comparison_and_another_metric_too(ws):
    rows = answers([0, 1] * 10, [1, 1] * 10)
    compare(ws, rows)
    fresh = [{**r, "id": f"x{r['id']}", "k": 1} for r in rows]
    assert compare(ws, fresh).look == 1
    length = Metric("length", each=lambda c: len(c.output), digest="length")
    assert compare(ws, [*rows, *fresh], length).look == 1
    assert compare(ws, [*rows, *fresh]).look == 3


def test_answers_that_were_drawn_anew_make_another_look(ws):
    import random

    drawn = random.Random(0)
    engine = plug(ws)
    engine.answer = lambda _: drawn.choice(["yes", "no"])
    one, two = (ws.prompts.save(name, "{{ n }}").ref for name in ("one", "two"))
    rows = [{"n": str(n), "k": "x"} for n in range(40)]
    first = ws.evaluation.compare(one, two + ":temperature=0.9", rows, right)
    again = ws.evaluation.compare(one, two + ":temperature=0.9", rows, right)
    anew = ws.evaluation.compare(one, two + ":temperature=0.9", rows, right, fresh=True)
    assert (first.look, again.look, anew.look) == (1, 1, 2)
    assert anew.p_value is None


def test_the_first_look_leaves_a_part_of_the_error_for_later_ones(ws):
    rows = answers([0, 1] * 30, [1, 1, 0, 1] * 15)
    kept = compare(ws, rows)
    alone = compare(ws, rows, final=True)
    assert kept.interval.confidence == pytest.approx(1 - FIRST * 0.05)
    assert alone.interval.confidence == pytest.approx(0.95)
    assert alone.interval.width < kept.interval.width


def test_a_look_after_the_final_one_says_what_that_costs(ws):
    rows = answers([0, 1] * 30, [1, 1, 0, 1] * 15)
    compare(ws, rows[:40], final=True)
    assert any("announced as the final one" in n for n in compare(ws, rows).notes)


def test_looks_at_a_data_set_are_counted(ws):
    ws.data.add("test", answers([0, 1] * 10, [1, 1] * 10))
    one = ws.evaluation.compare("column=a", "column=b", "test", right)
    assert one.looks_at_data == 1
    assert ws.evaluation.compare("column=a", "column=b", "test", right).looks_at_data == 1
    rows = ws.evaluation.compare("column=b", lambda row: "yes", "test", right)
    assert rows.looks_at_data == 2
    assert "test@1 was looked at 2 times" in str(rows)


def test_repeats_are_averaged_by_row(ws):
    plug(ws)
    prompt = ws.prompts.save("p", "{{ a }}").ref
    rows = answers([1, 0, 1], [0, 0, 1])
    made = ws.evaluation.compare(prompt, "column=b", rows, right, repeat=3)
    assert made.n == 3
    assert "means of 3 answers a row" in made.notes


def test_clusters_are_allowed_for(ws):
    rng = np.random.default_rng(1)
    shift = np.repeat(rng.integers(0, 2, 12), 10)
    a = rng.integers(0, 2, 120)
    b = np.where(shift, 1, a)
    rows = answers(a.tolist(), b.tolist(), doc=[str(i // 10) for i in range(120)])
    grouped = compare(ws, rows, cluster="doc")
    alone = compare(ws, rows)
    assert grouped.clusters == 12
    assert grouped.interval.width > 1.3 * alone.interval.width


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"confidence": 95}, "confidence is between"),
        ({"margin": -1}, "margin is a difference above 0"),
        ({"detect": 0}, "detect is a difference above 0"),
        ({"correction": "magic"}, "no correction 'magic'"),
    ],
)
def test_questions_that_make_no_sense_are_refused(ws, options, says):
    with pytest.raises(OptionError, match=says):
        compare(ws, answers([1, 0], [0, 1]), **options)


def test_without_rows_or_a_metric_it_says_what_is_missing(ws):
    with pytest.raises(OptionError, match="on which rows"):
        ws.evaluation.compare("column=a", "column=b")
    with pytest.raises(OptionError, match="Name a metric"):
        ws.evaluation.compare("column=a", "column=b", answers([1], [1]))


def test_a_comparison_shows_itself_as_table_text_and_picture(ws):
    made = compare(ws, answers([0, 1] * 30, [1, 1, 0, 1] * 15, lang=["a", "b"] * 30), slices="lang")
    shown = made._repr_mimebundle_()
    assert "<table>" in shown["text/html"]
    assert made.chart()._repr_png_().startswith(b"\x89PNG")
    assert made.as_dict()["slices"][0]["n"] == 30


def test_comparisons_survive_the_workspace(ws, own_home):
    rows = answers([0, 1] * 30, [1, 1, 0, 1] * 15)
    compare(ws, rows[:30])
    with lo.open() as other:
        assert other.evaluation.compare("column=a", "column=b", rows, right).look == 2


def pairs(a, b):
    return Aligned(
        tuple(
            Pair(
                Item(i, 0, Case(str(i), {}, ""), str(i), None),
                Item(i, 0, Case(str(i), {}, ""), str(i), None),
                float(x),
                float(y),
            )
            for i, (x, y) in enumerate(zip(a, b, strict=True))
        ),
        (),
    )


def test_ten_looks_at_no_difference_find_one_in_at_most_five_of_a_hundred():
    rng = np.random.default_rng(7)
    experiments, false = 200, 0
    for _ in range(experiments):
        base = rng.random(300) < 0.6
        flips = rng.random(300) < 0.3
        a = np.where(flips, rng.random(300) < 0.5, base).astype(float)
        b = np.where(flips, rng.random(300) < 0.5, base).astype(float)
        for number, n in enumerate(range(30, 301, 30)):
            share = FIRST if number == 0 else 1 - FIRST
            where = Look(number + 1, number > 0, 1 - 0.05 * share, 90)
            found = difference(pairs(a[:n], b[:n]), None, where, (0.0, 1.0)).interval
            if not found.low <= 0 <= found.high:
                false += 1
                break
    assert binom.sf(false - 1, experiments, 0.05) > 0.01


def test_a_plan_says_what_rows_can_show_before_anything_runs(ws):
    made = ws.evaluation.plan(120, changed=0.3, detect=0.05)
    assert 0.1 < made.detectable < 0.2
    assert made.needed > 500
    assert "With 120 rows" in made.sentence()
    assert made.chart()._repr_png_().startswith(b"\x89PNG")
    more = ws.evaluation.plan(480, changed=0.3)
    assert more.detectable == pytest.approx(made.detectable / 2, rel=0.02)


def test_a_plan_from_a_pilot_uses_its_spread(ws):
    pilot = compare(ws, answers([0, 1] * 30, [1, 1, 0, 1] * 15))
    made = ws.evaluation.plan(60, pilot=pilot)
    assert made.detectable == pytest.approx(pilot.detectable)
    with pytest.raises(OptionError, match="too few"):
        ws.evaluation.plan(1)
    with pytest.raises(OptionError, match="changed is a share"):
        ws.evaluation.plan(100, changed=2)


def test_copies_of_rows_under_other_ids_are_no_new_evidence(ws):
    few = [
        {"question": f"q{n}", "a": "no" if n < 5 else "yes", "b": "no" if n < 2 else "yes"}
        for n in range(10)
    ]
    copies = [{"id": f"{n}-{k}", **row} for k in range(10) for n, row in enumerate(few)]
    once, often = compare(ws, few), compare(ws, copies)
    assert once.verdict == often.verdict == "undecided"
    assert often.clusters == 10
    assert any("90 rows put to the model what others do" in note for note in often.notes)
    run = ws.evaluation.run("column=b", copies, right)
    assert run.summary()[0].estimate.clusters == 10


def test_scores_that_only_rounding_tells_apart_are_a_tie(ws):
    rows = answers([n / 7 + 0.5 for n in range(30)], [n / 7 + 0.2 + 0.3 for n in range(30)])
    made = compare(ws, rows, points)
    assert (made.verdict, made.n_changed) == ("undecided", 0)


def test_a_column_that_is_added_makes_no_new_rows(ws):
    rows = answers([0, 1] * 20, [1, 1, 0, 1] * 10)
    ws.data.add("d", rows)
    assert compare(ws, "d").look == 1
    ws.data.add("d", [{**r, "note": "seen"} for r in rows])
    assert compare(ws, "d").look == 2
    ws.data.add(
        "d",
        [
            *({**r, "note": "seen"} for r in rows),
            *({**r, "id": f"n{r['id']}"} for r in answers([0] * 9, [1] * 9)),
        ],
    )
    made = compare(ws, "d")
    assert made.look > 1
    assert made.interval.method == "betting"


def test_clusters_of_two_runs_are_used_in_either_order_or_refused(ws):
    rows = answers(
        [0] * 40, [1] * 30 + [0] * 10, doc=[n // 4 for n in range(40)], who=["x", "y"] * 20
    )
    a = ws.evaluation.run("column=a", rows, right)
    b = ws.evaluation.run("column=b", rows, right)
    asked = ws.evaluation.compare(a, b, cluster="doc")
    assert asked.clusters == 10
    c = ws.evaluation.run("column=b", rows, right, cluster="doc")
    assert ws.evaluation.compare(a, c).clusters == ws.evaluation.compare(c, a).clusters == 10
    d = ws.evaluation.run("column=a", rows, right, cluster="who")
    with pytest.raises(OptionError, match="by 'who' in one run and by 'doc'"):
        ws.evaluation.compare(d, c)
    with pytest.raises(DataError, match="cluster names the column 'dok'"):
        ws.evaluation.compare(a.id, b.id, cluster="dok")
    with pytest.raises(OptionError, match="has been made, so temperature=0"):
        ws.evaluation.compare(a, b, temperature=0.5)
    with pytest.raises(OptionError, match="leave data"):
        ws.evaluation.compare(a, b, rows)


def test_the_margin_allows_for_all_comparisons_at_once(ws):
    rows = answers([1] * 60, [1] * 60)
    rows = [{**r, "a": 5, "b": 5 + (0.13 if n % 2 else -0.19)} for n, r in enumerate(rows)]
    alone = compare(ws, rows, points, margin=0.1, final=True)
    assert alone.verdict == "not worse"
    many = [Metric(f"p{n}", each=lambda c: float(c.output), digest=f"p{n}") for n in range(40)]
    assert {c.verdict for c in compare(ws, rows, many, margin=0.1, final=True)} == {"undecided"}


def test_slices_at_later_looks_hold_at_every_look(ws):
    rows = answers([0, 1] * 30, [1, 1, 0, 1] * 15, kind=["x", "y", "y"] * 20)
    compare(ws, rows, slices="kind")
    more = [{**r, "id": f"m{r['id']}"} for r in rows]
    made = compare(ws, [*rows, *more], slices="kind")
    assert made.look == 2
    assert {s.p_value for s in made.slices} == {None}
    assert {s.interval.method for s in made.slices} == {"betting"}


def test_rows_are_known_again_by_the_answers_to_them(ws):
    engine = plug(ws)
    engine.answer = lambda text: text.rpartition(" ")[2]
    for word in ("one", "two"):
        ws.prompts.save("ask", f"{word} {{{{ q }}}}")

    def rows(count, **more):
        return [{"id": str(n), "q": f"q{n}", "expected": f"q{n}", **more} for n in range(count)]

    sides = ("ask@1", "ask@2")
    assert ws.evaluation.compare(*sides, rows(20), "exact").look == 1
    assert ws.evaluation.compare(*sides, rows(20, note="seen"), "exact").look == 1
    assert ws.evaluation.compare(*sides, rows(30, note="again"), "exact").look == 2
