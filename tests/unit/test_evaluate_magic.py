"""%evaluate and `llmops evaluate`, on an engine that answers at once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from shells import Notebook

from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.evaluation import Comparison, EvaluationRun, Variant

ROWS = [{"id": f"r{n}", "q": str(n), "expected": f"echo {n}" if n % 2 else "x"} for n in range(40)]


@pytest.fixture
def notebook(ws):
    made = Notebook(ws)
    ws.data.add("qa", ROWS)
    ws.prompts.save("ask", "{{ q }}")
    ws.prompts.save("ask", "well: {{ q }}")
    yield made
    made.close()


def test_a_run_is_shown_and_assigned(notebook, capsys):
    notebook.run("%evaluate run ask@1 --data qa --metric exact -o run")
    made = notebook.names["run"]
    assert isinstance(made, EvaluationRun)
    assert made.value("exact") == 0.5
    shown = capsys.readouterr().out
    assert "run 1: ask@1 on qa@1" in shown
    assert "50.0 %" in shown


def test_two_versions_are_compared_and_the_picture_is_shown(notebook, capsys):
    notebook.run("%evaluate compare ask@1 ask@2 --data qa --metric exact -o c")
    made = notebook.names["c"]
    assert isinstance(made, Comparison)
    assert made.verdict == "worse"
    assert "ask@2 is worse than ask@1 on exact by 50.0 points" in capsys.readouterr().out


def test_a_function_of_the_notebook_is_a_metric_and_a_variant(notebook):
    notebook.run("def short(output): return len(output) < 7")
    notebook.run("def shout(row): return row['q'] + '!'")
    notebook.run("%evaluate compare ask@1 shout --data qa --metric short -o c")
    assert notebook.names["c"].b == "shout"
    notebook.names["mine"] = Variant(prompt="ask@1", options={"temperature": 0.2}, name="cool")
    notebook.run("%evaluate run mine --data qa --metric short -o run")
    assert notebook.names["run"].label == "cool"


def test_rows_may_be_a_variable(notebook):
    notebook.names["rows"] = ROWS[:4]
    notebook.run("%evaluate run ask@1 --data rows --metric exact -o run")
    assert notebook.names["run"].n_rows == 4


def test_several_metrics_make_several_comparisons(notebook, capsys):
    notebook.run("%evaluate compare ask@1 ask@2 --data qa --metric exact --metric length -o c")
    assert [c.metric for c in notebook.names["c"]] == ["exact", "length"]
    assert "p-values are corrected (holm)" in capsys.readouterr().out


def test_runs_are_listed_shown_and_compared_by_number(notebook, capsys):
    notebook.run("%evaluate run ask@1 --data qa --metric exact")
    notebook.run("%evaluate run ask@2 --data qa --metric exact")
    notebook.run("%evaluate list")
    notebook.run("%evaluate show 2 -n 3")
    notebook.run("%evaluate compare 1 2 --metric exact -o c")
    assert notebook.names["c"].runs == (1, 2)
    assert "well: 0" in capsys.readouterr().out


def test_settings_of_the_line_hold_for_both_sides(notebook):
    notebook.run("%evaluate compare ask@1 ask@2 --data qa --metric exact --temperature 0.3")
    assert {r.sampling.temperature for r in notebook.engine.requests} == {0.3}


def test_a_plan_comes_before_anything_runs(notebook, capsys):
    notebook.run("%evaluate plan qa --detect 0.05 --changed 0.3 -o plan")
    assert notebook.names["plan"].rows == 40
    assert "With 40 rows" in capsys.readouterr().out
    assert notebook.engine.requests == []
    notebook.run("%evaluate plan 500 -o plan")
    assert notebook.names["plan"].rows == 500


def test_the_metrics_are_listed(notebook, capsys):
    notebook.run("%evaluate metrics")
    assert "rouge-l" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("run ask@1 --metric exact", OptionError, "on which rows"),
        ("run nosuch --data qa --metric exact", UnknownNameError, "nosuch"),
        ("run ask@1 --data nosuch --metric exact", UnknownNameError, "nosuch"),
        ("run ask@1 --data qa --metric exakt", OptionError, "Did you mean 'exact'"),
        ("run ask@1 --data qa --metric exact --repeat 0", OptionError, "repeat"),
        ("run ask@1 --data qa --metric exact --expected gold", DataError, "gold"),
        ("compare ask@1 --data qa --metric exact", OptionError, "takes two"),
        ("compare ask@1 ask@2 --data qa", OptionError, "Name a metric"),
        ("compare 1 2", UnknownNameError, "no evaluation run 1"),
        ("compare ask@1 ask@2 --data qa --metric exact --slices nope", DataError, "slices"),
        ("show seven", OptionError, "no number"),
        ("plan 1", OptionError, "too few"),
        ("compaer a b", OptionError, "Did you mean 'compare'"),
    ],
)
def test_lines_that_cannot_be_used_say_what_to_do(notebook, line, error, says):
    with pytest.raises(error, match=says):
        notebook.run(f"%evaluate {line}")


def test_an_interrupt_says_how_it_goes_on(notebook, capsys):
    answer = notebook.engine.answer

    def stop(text):
        if text == "5":
            raise KeyboardInterrupt
        return answer(text)

    notebook.engine.answer = stop
    with pytest.raises(KeyboardInterrupt):
        notebook.run("%evaluate run ask@1 --data qa --metric exact")
    notebook.engine.answer = answer
    notebook.run("%evaluate run ask@1 --data qa --metric exact -o run")
    assert notebook.names["run"].resumed == 5
    assert "run it again to go on" in capsys.readouterr().err


def test_models_are_compared_on_the_same_rows(notebook, capsys):
    notebook.run("%model compare one two --data qa --prompt ask@1 --metric exact -o m")
    made = notebook.names["m"]
    assert [f.model for f in made.models] == ["one", "two"]
    assert made.models[0].comparison is None
    assert made.models[1].comparison.verdict == "undecided"
    assert made.models[0].tokens_per_s > 0
    assert made.chart()._repr_png_().startswith(b"\x89PNG")
    assert "tokens/s" in capsys.readouterr().out


def test_models_are_asked_the_rows_as_they_are_without_a_prompt(notebook):
    notebook.names["rows"] = [{"question": f"{n}", "expected": f"{n}"} for n in range(6)]
    notebook.run("%model compare one two --data rows -o m")
    assert notebook.names["m"].metric == "icontains"
    assert any("asked: the column 'question'" in n for n in notebook.names["m"].notes)
    with pytest.raises(OptionError, match="two or more different models"):
        notebook.run("%model compare one --data rows")
    notebook.names["rows"] = [{"question": "1"}]
    with pytest.raises(DataError, match="no expected answers"):
        notebook.run("%model compare one two --data rows")


def test_the_terminal_does_the_same(ws, own_home):
    rows = [
        {"id": str(n), "said": "x", "other": "x" if n < 20 else "y", "expected": "x"}
        for n in range(30)
    ]
    ws.data.add("qa", rows)

    def llmops(*arguments):
        command = [sys.executable, "-m", "llmops_jupyter.cli", "evaluate", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    line = ("compare", "column=said", "column=other", "--data", "qa", "--metric", "exact")
    done = llmops(*line)
    assert done.returncode == 0, done.stderr
    assert "column=other is worse than column=said" in done.stdout
    facts = json.loads(llmops(*line, "--json").stdout)
    assert facts["verdict"] == "worse"
    assert facts["n"] == 30
    assert llmops("run", "column=said", "--data", "nope", "--metric", "exact").returncode == 1
