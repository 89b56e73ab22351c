"""Runs of variants on rows: answers recorded once, rows marked when something fails, nothing lost."""

from __future__ import annotations

import pytest
from engine_fakes import FakeEngine, plug

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.evaluation import Metric, Variant

exact = Metric(
    "exact", each=lambda c: c.output == str(c.expected), digest="exact", needs_expected=True
)
length = Metric("length", each=lambda c: len(c.output), digest="length", unit="characters")
ROWS = [
    {"id": f"r{n}", "q": str(n), "expected": f"echo {n}" if n % 2 else "other"} for n in range(8)
]


@pytest.fixture
def engine(ws):
    return plug(ws)


@pytest.fixture
def prompt(ws):
    return ws.prompts.save("ask", "{{ q }}").ref


def test_a_run_has_a_score_for_each_row_and_a_rate_with_its_interval(ws, engine, prompt):
    run = ws.evaluation.run(prompt, ROWS, [exact, length])
    assert [s.value for s in run.metric("exact").scores] == [0, 1] * 4
    rate, mean = run.summary()
    assert rate.estimate.value == 0.5
    assert rate.estimate.interval.method == "wilson"
    assert mean.estimate.value == 6
    assert "50.0 %" in str(run)


def test_the_same_run_again_computes_nothing(ws, engine, prompt):
    ws.evaluation.run(prompt, ROWS, exact)
    asked = len(engine.requests)
    again = ws.evaluation.run(prompt, ROWS, [exact, length])
    assert len(engine.requests) == asked == 8
    assert again.resumed == 8
    assert again.value("exact") == 0.5


def test_rows_that_were_added_are_the_only_ones_computed(ws, engine, prompt):
    ws.evaluation.run(prompt, ROWS[:5], exact)
    ws.evaluation.run(prompt, ROWS, exact)
    assert len(engine.requests) == 8


def test_other_settings_or_another_version_are_another_variant(ws, engine, prompt):
    ws.evaluation.run(prompt, ROWS[:2], exact)
    ws.evaluation.run(prompt, ROWS[:2], exact, temperature=0.1)
    ws.evaluation.run("ask:temperature=0.2", ROWS[:2], exact)
    ws.prompts.save("ask", "Please: {{ q }}")
    ws.evaluation.run("ask@2", ROWS[:2], exact)
    assert len(engine.requests) == 8


def test_fresh_answers_are_computed_and_the_old_ones_stay_with_their_run(ws, engine, prompt):
    old = ws.evaluation.run(prompt, ROWS[:2], exact)
    engine.answer = lambda text: f"new {text}"
    new = ws.evaluation.run(prompt, ROWS[:2], exact, fresh=True)
    assert [i.case.output for i in new.items] == ["new 0", "new 1"]
    assert [i.case.output for i in ws.evaluation.get(old.id).items] == ["echo 0", "echo 1"]


def test_evaluating_a_version_does_not_change_what_it_is_run_with(ws, engine, prompt):
    ws.evaluation.run(prompt, ROWS[:2], exact, temperature=0.0)
    assert ws.prompts.get(prompt).defaults == {}


def test_a_run_that_was_broken_off_goes_on_where_it_stopped(ws, engine, prompt):
    seen = []

    def stop(text):
        seen.append(text)
        if "3/8" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ws.evaluation.run(prompt, ROWS, exact, progress=stop)
    run = ws.evaluation.run(prompt, ROWS, exact)
    assert run.resumed == 3
    assert len(engine.requests) <= 9


def test_scores_lie_in_the_table_of_all_scores_with_their_trace(ws, engine, prompt):
    run = ws.evaluation.run(prompt, ROWS[:2], exact)
    trace = ws.traces.get(run.items[1].trace_id)
    (score,) = trace.scores
    assert (score.name, score.value, score.label, score.source) == ("exact", 1.0, "true", "code")


def test_a_failed_answer_counts_as_wrong_and_is_marked(ws, engine, prompt):
    rows = [*ROWS[:3], {"id": "x", "q": "bad", "expected": "echo bad"}]
    run = ws.evaluation.run(prompt, rows, [exact, length])
    assert [i.error for i in run.items if i.error] == ["too long"]
    assert run.value("exact") == 0.25
    assert run.metric("length").scores[3].value is None
    assert "without an answer" in run.title()


def test_a_metric_that_raises_on_one_row_marks_it_and_goes_on(ws, engine, prompt):
    def picky(case):
        if case.row_id == "r5":
            raise ZeroDivisionError("no")
        return 1.0

    run = ws.evaluation.run(prompt, ROWS, Metric("picky", each=picky, digest="p"))
    assert run.metric("picky").scores[5].error == "ZeroDivisionError: no"
    assert run.summary()[0].scored == 7
    assert any("failed on 1 answers" in note for note in run.notes)
    assert run.worst("picky")[0]["row_id"] == "r5"


def test_nan_is_no_score(ws, engine, prompt):
    run = ws.evaluation.run(prompt, ROWS[:2], Metric("n", each=lambda _: float("nan"), digest="n"))
    assert run.summary()[0].estimate is None
    assert "nan" in run.metric("n").scores[0].error


def test_a_metric_that_never_decides_says_so(ws, engine, prompt):
    from llmops_jupyter.evaluation import Scored

    quiet = Metric(
        "judge", each=lambda _: Scored(None, "abstains", "50/50"), digest="j", source="judge"
    )
    run = ws.evaluation.run(prompt, ROWS[:3], quiet)
    assert run.summary()[0].missing == (("abstains", 3),)
    assert "judge decided nothing: 50/50" in run.notes


def test_answers_of_a_column_need_no_model(ws):
    rows = [{"q": "a", "said": "x", "expected": "x"}, {"q": "b", "said": None, "expected": "y"}]
    run = ws.evaluation.run("column=said", rows, exact)
    assert run.value("exact") == 0.5
    assert run.items[1].error == "the column 'said' is empty"


def test_a_function_is_a_variant_and_is_traced(ws):
    def shout(row):
        if row["q"] == "3":
            raise ValueError("three")
        return f"echo {row['q']}"

    run = ws.evaluation.run(shout, ROWS, exact)
    assert run.items[3].error == "ValueError: three"
    assert run.value("exact") == 3 / 8
    assert ws.traces.get(run.items[1].trace_id).root.name == "evaluate shout"
    assert ws.evaluation.run(shout, ROWS, exact).resumed == 7


def test_a_function_that_returns_no_text_marks_its_rows(ws):
    run = ws.evaluation.run(lambda _: 3, ROWS[:1], length)
    assert "must return a text" in run.items[0].error


def test_repetitions_are_answers_of_their_own_and_count_as_one_row(ws, engine, prompt):
    run = ws.evaluation.run(prompt, ROWS[:3], exact, repeat=4)
    assert len(run.items) == 12
    assert run.n_rows == 3
    assert run.summary()[0].estimate.n == 3
    assert ws.evaluation.run(prompt, ROWS[:3], exact, repeat=5).resumed == 12
    assert any("all 4 answers of each row are the same" in note for note in run.notes)


def test_clusters_make_the_interval_wider(ws, engine, prompt):
    rows = [
        {"q": str(n), "expected": f"echo {n}" if n // 6 % 2 else "no", "doc": n // 6}
        for n in range(24)
    ]
    alone = ws.evaluation.run(prompt, rows, exact).summary()[0].estimate
    grouped = ws.evaluation.run(prompt, rows, exact, cluster="doc").summary()[0].estimate
    assert grouped.clusters == 4
    assert grouped.interval.width > 1.5 * alone.interval.width


def test_a_run_is_found_again_with_its_scores(ws, engine, prompt, own_home):
    run = ws.evaluation.run(prompt, ROWS, [exact, length])
    with lo.open() as other:
        found = other.evaluation.get(run.id)
        assert found.records() == run.records()
        assert found.summary() == run.summary()
        assert other.evaluation.list()[0]["variant"] == "ask@1"


def test_a_data_set_is_named_with_its_version(ws, engine, prompt):
    ws.data.add("qa", ROWS)
    run = ws.evaluation.run(prompt, "qa", exact)
    assert run.data == "qa@1"
    assert [i.case.row_id for i in run.items][:2] == ["r0", "r1"]


@pytest.mark.parametrize(
    ("rows", "error", "says"),
    [
        ([], DataError, "no rows"),
        ([{"id": 1, "q": 1}, {"id": 1, "q": 2}], DataError, "Rows 1 and 2 have the same id"),
        ([{"q": 1}], OptionError, "no column 'expected'"),
        ("nowhere", UnknownNameError, "nowhere"),
        (7, DataError, "Rows are"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_before_anything_runs(
    ws, engine, prompt, rows, error, says
):
    with pytest.raises(error, match=says):
        ws.evaluation.run(prompt, rows, exact)
    assert engine.requests == []


def test_a_missing_column_is_named_with_those_there_are(ws, engine, prompt):
    with pytest.raises(DataError, match="Did you mean 'expected'"):
        ws.evaluation.run(prompt, ROWS, exact, expected="expectd")
    with pytest.raises(DataError, match="no row has"):
        ws.evaluation.run("column=nope", ROWS, exact)


def test_rows_without_an_expected_answer_are_marked(ws, engine, prompt):
    rows = [ROWS[1], {"id": "z", "q": "2"}]
    run = ws.evaluation.run(prompt, rows, exact)
    assert run.metric("exact").scores[1].error == "the row has no expected answer"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ask@1:temprature=0", "temperature"),
        ("ask@1:temperature=hot", "number"),
        ("ask@1:cold", "setting"),
    ],
)
def test_settings_of_a_variant_that_cannot_be_used_are_refused(ws, engine, prompt, text, says):
    with pytest.raises(OptionError, match=says):
        ws.evaluation.run(text, ROWS, exact)


def test_a_variant_is_one_thing(ws):
    with pytest.raises(OptionError, match="one of"):
        Variant(prompt="a", column="b")


def test_two_metrics_of_one_name_are_refused(ws, engine, prompt):
    with pytest.raises(OptionError, match="twice"):
        ws.evaluation.run(prompt, ROWS, [exact, exact])


def test_what_is_redacted_in_traces_is_redacted_in_recorded_answers(ws, engine, prompt):
    ws.redact("pii")
    engine.answer = lambda _: "write to ann@example.com"
    ws.evaluation.run(prompt, [{"q": "mail bob@example.com"}], length)
    with ws.store.write() as conn:
        dump = "\n".join(conn.iterdump())
    assert "example.com" not in dump


def test_two_equal_rows_are_two_rows(ws, engine, prompt):
    rows = [
        {"id": "a", "q": "1", "expected": "echo 1"},
        {"id": "b", "q": "1", "expected": "echo 1"},
    ]
    run = ws.evaluation.run(prompt, rows, exact)
    assert run.n_rows == 2
    assert run.value("exact") == 1.0


def test_hostile_output_is_escaped(ws):
    rows = [{"q": "<b>", "said": "<script>alert(1)</script>", "expected": "x"}]
    shown = ws.evaluation.run("column=said", rows, exact)._repr_mimebundle_()["text/html"]
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_an_empty_list_of_metrics_is_a_run_without_scores(ws, engine, prompt):
    run = ws.evaluation.run(prompt, ROWS[:2])
    assert run.summary() == []
    assert len(ws.evaluation.score(run, length).metric("length").scores) == 2


def test_an_engine_that_fails_as_a_whole_loses_nothing(ws, prompt):
    engine = plug(ws, FakeEngine())
    ws.evaluation.run(prompt, ROWS[:3], exact)

    def broken(requests):
        raise RuntimeError("gone")
        yield

    engine.generate = broken
    with pytest.raises(RuntimeError):
        ws.evaluation.run(prompt, ROWS, exact)
    plug(ws, FakeEngine())
    assert ws.evaluation.run(prompt, ROWS, exact).resumed == 3


def test_a_prompt_with_tools_is_evaluated_with_them(ws, engine):
    def clock() -> str:
        """The time."""
        return "noon"

    prompt = ws.prompts.save("when", "{{ q }}", tools=[clock]).ref
    run = ws.evaluation.run(prompt, ROWS[:2], exact, tools=[clock])
    assert run.label == "when@1"
    assert [t.name for t in engine.requests[0].tools] == ["clock"]


def test_scores_and_labels_outlive_the_traces_and_go_when_the_run_is_forgotten(ws, engine, prompt):
    run = ws.evaluation.run(prompt, ROWS[:3], exact)
    other = ws.evaluation.run(prompt, ROWS[2:5], exact)
    ws.evaluation.label(run, name="ok", by="ann").label("good", note="secret note")
    ws.traces.prune(older_than="0s")
    assert ws.evaluation.get(run.id).value("exact") == run.value("exact")
    assert len(ws.evaluation.labels(run.id, "ok")) == 1
    assert ws.evaluation.forget(run.id) == 2  # the third answer is the other run's as well
    with ws.store.write() as conn:
        dump = "\n".join(conn.iterdump())
    assert "echo 0" not in dump
    assert ws.evaluation.get(other.id).value("exact") == other.value("exact")
    with pytest.raises(DataError, match="no longer in the store"):
        ws.evaluation.get(run.id)
    assert ws.evaluation.list()[1]["variant"] == "(forgotten)"
    with pytest.raises(UnknownNameError):
        ws.evaluation.forget(99)
