"""Suites and gates: thresholds on intervals, rows named, reports for other programs."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from engine_fakes import plug

import llmops_jupyter as lo
from llmops_jupyter.cli.program import run as llmops
from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.evaluation.reports import junit, markdown
from llmops_jupyter.evaluation.suites import read_suite
from llmops_jupyter.models.endpoint import Endpoint

SUITE = """
name: support
data: qa
variant: column=new
baseline: column=old
metrics: [length]
gates:
  - {metric: exact, at_least: 0.7}
  - {metric: exact, not_worse_by: 0.1}
"""


def rows(right, total=100, **columns):
    """Answers of which so many are right, by column."""
    return [
        {
            "id": f"r{i:03}",
            "expected": "yes",
            **{
                name: "yes" if i < n else "no"
                for name, n in {"new": right, **columns}.items()
                if isinstance(n, int)
            },
            "lang": "de" if i % 2 else "en",
        }
        for i in range(total)
    ]


def gate(ws, text=SUITE, data=None):
    if data is not None:
        ws.data.add("qa", data)
    return ws.evaluation.gate(text)


def outcomes(report):
    return [v.outcome for v in report.verdicts]


def test_what_is_good_enough_passes(ws):
    report = gate(ws, data=rows(95, old=94))
    assert outcomes(report) == ["passed", "passed"]
    assert report.passed
    assert report.exit_code() == 0
    assert "support: passed (2 of 2 gates passed)" in str(report)


def test_a_mean_above_the_threshold_is_not_enough(ws):
    report = gate(ws, data=rows(74, old=74))
    assert outcomes(report)[0] == "undecided"
    assert "it holds the threshold 0.7" in report.verdicts[0].reason
    assert "more rows would decide" in report.verdicts[0].reason
    assert report.exit_code() == 3
    assert report.exit_code(allow_undecided=True) == 0


def test_a_regression_fails_and_names_its_rows_and_what_changed_in_the_prompt(ws):
    engine = plug(ws)
    engine.answer = lambda text: (
        "yes" if "please" not in text or text.endswith(("1", "2")) else "no"
    )
    ws.prompts.save("ask", "{{ id }}")
    ws.prompts.save("ask", "please {{ id }}")
    text = SUITE.replace("column=new", "ask@2").replace("column=old", "ask@1")
    report = gate(ws, text, rows(100))
    assert outcomes(report) == ["failed", "failed"]
    assert report.exit_code() == 2
    assert report.verdicts[0].rows[0]["row"] == "r000"
    assert report.verdicts[1].rows[0]["baseline"] == "yes"
    assert "+please {{ id }}" in report.difference
    assert "please" in str(report)


@pytest.mark.parametrize(
    ("demand", "outcome"),
    [
        ("{metric: exact, better_by: 0}", "passed"),
        ("{metric: exact, better_by: 0.4}", "failed"),
        ("{metric: exact, better_by: 0.2}", "undecided"),
        ("{metric: exact, at_most: 0.5}", "failed"),
        ("{metric: length, at_most: 10}", "passed"),
        ('{metric: "length<10", always: true}', "passed"),
        ("{metric: refusal, never: true}", "passed"),
        ("{metric: contains=no, never: true}", "failed"),
        ("{metric: exact, always: true}", "failed"),
    ],
)
def test_each_kind_of_demand(ws, demand, outcome):
    text = SUITE.partition("gates:")[0] + f"gates:\n  - {demand}\n"
    assert outcomes(gate(ws, text, rows(90, old=70))) == [outcome]


def test_every_value_of_a_slice_must_hold(ws):
    data = [{**r, "new": "no" if r["lang"] == "de" else "yes"} for r in rows(100)]
    text = (
        SUITE.partition("gates:")[0] + "gates:\n  - {metric: exact, slice: lang, at_least: 0.5}\n"
    )
    report = gate(ws, text.replace("baseline: column=old\n", ""), data)
    assert {(v.gate.slice, v.outcome) for v in report.verdicts} == {
        ("lang (de)", "failed"),
        ("lang (en)", "passed"),
    }


def test_a_metric_without_scores_decides_nothing(ws):
    text = SUITE.partition("gates:")[0] + "gates:\n  - {metric: latency, at_most: 1}\n"
    report = gate(ws, text, rows(90, old=90))
    assert outcomes(report) == ["undecided"]
    assert "this one was given" in report.verdicts[0].reason


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no suite"),
        ("- a\n- b\n", "is no suite"),
        ("name: [\n", "line 3 is no YAML"),
        (SUITE.replace("data: qa", ""), "has no data"),
        (SUITE.replace("metrics", "metrix"), "Did you mean 'metrics'"),
        (
            SUITE.replace("at_least", "atleast"),
            "line 8: A gate has no key 'atleast'. Did you mean 'at_least'",
        ),
        (SUITE.replace("at_least: 0.7", "at_least: high"), "line 8: at_least is a number"),
        (
            SUITE.replace("not_worse_by: 0.1", "not_worse_by: 0"),
            "line 9: not_worse_by is a loss above 0",
        ),
        (SUITE.replace("at_least: 0.7", "better_by: -1"), "better_by is 0 or more"),
        (SUITE.replace("at_least: 0.7", "at_least: 0.7, at_most: 1"), "this has 2"),
        (SUITE.replace("baseline: column=old", ""), "the suite names none"),
        (SUITE.replace("at_least: 0.7", "never: 3"), "never: true"),
        (SUITE + "confidence: 95\n", "confidence is between"),
        (SUITE + "repeat: none\n", "repeat is a whole number"),
        (SUITE + "options: [1]\n", "options is a mapping"),
        (
            SUITE.replace("variant: column=new", "variant: {prompt: a, temprature: 0}"),
            "temperature",
        ),
        (SUITE.replace("metric: exact, not", "metric: exact, slice: lang, not"), "slice goes with"),
    ],
)
def test_faults_of_a_suite_are_told_with_their_line(text, says):
    with pytest.raises(DataError) as e:
        read_suite(text + "\n")
    assert says in str(e.value)


def test_a_suite_that_is_no_file_and_no_name_says_so(ws, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        ws.evaluation.gate(tmp_path / "nowhere.yaml")
    with pytest.raises(UnknownNameError, match="no suite 'nowhere'"):
        ws.evaluation.gate("nowhere")


def test_what_a_suite_names_must_be_there(ws):
    ws.data.add("qa", rows(50, old=50))
    with pytest.raises(OptionError, match="Did you mean 'exact'"):
        ws.evaluation.gate(SUITE.replace("metric: exact", "metric: exakt"))
    with pytest.raises(DataError, match="slice names the column 'tone'"):
        ws.evaluation.gate(SUITE.replace("at_least: 0.7", "slice: tone, at_least: 0.7"))
    with pytest.raises(UnknownNameError, match="nosuch"):
        ws.evaluation.gate(SUITE.replace("data: qa", "data: nosuch"))
    with pytest.raises(DataError, match="Give it a bound"):
        ws.evaluation.gate(
            SUITE.replace("metric: exact, at_least: 0.7", "metric: length, never: true")
        )


def test_a_suite_is_kept_by_content_and_goes_with_the_export(ws, tmp_path, own_home):
    ws.data.add("qa", rows(95, old=94))
    ws.evaluation.save_suite("support", SUITE)
    ws.evaluation.save_suite("support", SUITE)
    ws.evaluation.save_suite("support", SUITE.replace("0.7", "0.6"))
    assert ws.evaluation.suites()[0]["versions"] == 2
    assert ws.evaluation.gate("support@1").suite.gates[0].limit == 0.7
    written = ws.export(tmp_path / "out")
    assert (tmp_path / "out" / "suites" / "support.yaml") in written
    with lo.open(":memory:") as other:
        assert other.import_(tmp_path / "out")["suites"] == 1
        assert other.evaluation.gate("support").passed
        assert other.import_(tmp_path / "out")["suites"] == 0
    (tmp_path / "out" / "suites" / "support.yaml").write_text("nonsense: 1\n")
    with lo.open(":memory:") as other:
        with pytest.raises(DataError, match="no key 'nonsense'"):
            other.import_(tmp_path / "out")
        assert other.data.list() == []


def test_the_command_runs_on_an_exported_folder_and_leaves_the_store_alone(
    ws, tmp_path, capsys, monkeypatch
):
    ws.data.add("qa", rows(95, old=94))
    ws.evaluation.save_suite("support", SUITE)
    ws.export(tmp_path / "out")
    monkeypatch.setenv("LLMOPS_HOME", str(tmp_path / "elsewhere"))
    suite = tmp_path / "out" / "suites" / "support.yaml"
    junit_file, summary = tmp_path / "r" / "junit.xml", tmp_path / "summary.md"
    summary.write_text("# before\n")
    code = llmops(["gate", str(suite), "--junit", str(junit_file), "--markdown", str(summary)])
    assert code == 0
    assert "support: passed" in capsys.readouterr().out
    assert ElementTree.parse(junit_file).find("testsuite").get("tests") == "2"
    assert summary.read_text().startswith("# before\n## ✅")
    with lo.open(tmp_path / "elsewhere") as there:
        assert there.evaluation.list() == []


@pytest.mark.parametrize(
    ("right", "arguments", "code"),
    [
        (95, [], 0),
        (20, [], 2),
        (74, [], 3),
        (74, ["--allow-undecided"], 0),
        (95, ["--from", "nowhere"], 1),
    ],
)
def test_exit_codes(ws, tmp_path, capsys, right, arguments, code):
    ws.data.add("qa", rows(right, old=right))
    (tmp_path / "s.yaml").write_text(SUITE)
    assert llmops(["gate", str(tmp_path / "s.yaml"), "--json", *arguments]) == code
    if code != 1:
        assert json.loads(capsys.readouterr().out)["exit"] == code


def test_a_suite_runs_on_a_cassette_without_a_model(ws, tmp_path, capsys, model_free_cassette):
    cassette, folder = model_free_cassette
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "data: qa\nvariant: ask@1:model=fake,temperature=0\ngates:\n  - {metric: exact, at_least: 0.5}\n"
    )
    code = llmops(["gate", str(suite), "--from", str(folder), "--replay", str(cassette)])
    assert code == 0, capsys.readouterr().err


@pytest.fixture
def model_free_cassette(ws, tmp_path):
    """A recording of a run, and an exported folder with what was run."""
    from engine_fakes import FakeEngine

    from llmops_jupyter.engine.cassette import Cassette
    from llmops_jupyter.engine.replay import RecordingEngine

    cassette = Cassette(tmp_path / "run.cassette.json")
    recording = RecordingEngine(FakeEngine(lambda text: "yes"), cassette)
    ws.engine.engine = lambda model=None: recording
    ws.data.add("qa", rows(100))
    ws.prompts.save("ask", "{{ id }}")
    ws.evaluation.run("ask@1:model=fake,temperature=0", "qa", "exact")
    ws.export(tmp_path / "out")
    return cassette.path, tmp_path / "out"


def test_hostile_rows_do_no_harm_in_reports(ws):
    evil = "|`x` <script>alert(1)</script> [a](javascript:b)\x00\x1b\ufffe\n## head"
    data = [{"id": f"r{i}", "new": evil, "old": evil, "expected": "yes"} for i in range(30)]
    report = gate(ws, data=data)
    parsed = ElementTree.fromstring(junit(report))
    assert parsed.find(".//failure") is not None
    shown = markdown(report)
    assert "<script>" not in shown
    assert "\n## head" not in shown
    assert "](javascript" not in shown
    assert "<script>" not in report._repr_mimebundle_()["text/html"]


def test_junit_has_a_case_for_each_gate_and_the_rows_of_failures(ws):
    report = gate(ws, data=rows(20, old=90))
    suite = ElementTree.fromstring(junit(report)).find("testsuite")
    assert [c.get("name") for c in suite.findall("testcase")] == [
        v.gate.words() for v in report.verdicts
    ]
    assert suite.get("failures") == "2"
    assert "row: r020" in suite.find("testcase/failure").text
    undecided = gate(ws, SUITE, rows(74, old=74))
    allowed = ElementTree.fromstring(junit(undecided, allow_undecided=True))
    assert allowed.find(".//skipped") is not None
    assert allowed.find("testsuite").get("failures") == "0"


def test_rows_of_a_file_beside_the_suite(ws, tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows(95, old=95)))
    (tmp_path / "s.yaml").write_text(SUITE.replace("data: qa", "data: rows.jsonl"))
    assert ws.evaluation.gate(tmp_path / "s.yaml").passed


def test_a_gate_is_a_look_at_the_data_set(ws):
    gate(ws, data=rows(95, old=94))
    made = ws.evaluation.compare("column=old", "column=new", "qa", "contains")
    assert made.looks_at_data == 2


def missing(total=100, there=10, **columns):
    """Answers of which all but a few did not come; the old ones are all there."""
    return [
        {
            "id": f"r{i:03}",
            "expected": "yes",
            "new": "yes" if i < there else None,
            "old": "yes",
            **columns,
        }
        for i in range(total)
    ]


@pytest.mark.parametrize(
    "demand",
    [
        "{metric: refusal, never: true}",
        "{metric: pii, never: true}",
        "{metric: contains=zz, never: true}",
        "{metric: not-contains=zz, always: true}",
        "{metric: refusal, at_most: 0.05}",
        "{metric: refusal, not_worse_by: 0.05}",
        "{metric: rouge-l, at_least: 0.5}",
        "{metric: rouge-l, not_worse_by: 0.3}",
        "{metric: exact, at_least: 0.5}",
    ],
)
@pytest.mark.parametrize("there", [0, 10])
def test_answers_that_did_not_come_fail_every_gate(ws, demand, there):
    report = gate(
        ws,
        f"data: qa\nvariant: column=new\nbaseline: column=old\ngates:\n  - {demand}\n",
        missing(there=there),
    )
    assert outcomes(report) == ["failed"]
    assert report.exit_code(allow_undecided=True) == 2


def test_a_metric_that_knows_no_worst_score_does_not_pass_on_the_few_answers_that_came(ws):
    report = gate(
        ws, "data: qa\nvariant: column=new\ngates:\n  - {metric: length, at_most: 10}\n", missing()
    )
    assert outcomes(report) == ["undecided"]
    assert "90 answers have no score" in report.verdicts[0].reason


@pytest.mark.parametrize(
    "demand",
    [
        "{metric: exact, not_worse_by: 5}",
        "{metric: exact, at_most: 70}",
        "{metric: exact, at_least: -1}",
        "{metric: refusal, at_most: 5}",
    ],
)
def test_limits_that_say_nothing_are_refused_before_anything_runs(ws, demand):
    text = f"data: qa\nvariant: column=new\nbaseline: column=old\ngates:\n  - {demand}\n"
    with pytest.raises(DataError, match="says nothing"):
        gate(ws, text, rows(20, old=100))
    assert ws.evaluation.list() == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{SUITE}gates:\n  - {{metric: exact, at_least: 0.1}}\n", "gates is there a second time"),
        (SUITE.replace("at_least: 0.7", "at_least: 0.7, at_least: 0.1"), "line 8.*second time"),
        (SUITE.replace("name: support", "name: 2024-13-45"), "cannot be read.*quotes"),
        (SUITE.replace("0.7", "9" * 400), "at_least is a number"),
        (SUITE.replace("at_least: 0.7", "at_least: 0.7, slice: 0"), "column '0'"),
        (SUITE.replace("exact, at", '"regex={{ old }}", at'), "regex is not filled"),
    ],
)
def test_suites_in_which_something_would_be_lost_are_refused(ws, text, says):
    with pytest.raises((DataError, OptionError), match=says):
        gate(ws, text, rows(90, old=90))


def test_going_back_to_an_earlier_suite_is_a_new_version(ws, tmp_path):
    other = SUITE.replace("0.7", "0.1")
    for text in (SUITE, other, SUITE, SUITE):
        ws.evaluation.save_suite("s", text)
    assert ws.evaluation.suite("s").gates[0].limit == 0.7
    assert ws.evaluation.suite("s@2").gates[0].limit == 0.1
    with pytest.raises(OptionError, match="no version 4"):
        ws.evaluation.suite("s@4")
    with pytest.raises(OptionError, match="no aliases"):
        ws.evaluation.suite("s@production")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    path = tmp_path / "s.yaml"
    path.write_text(SUITE.replace("data: qa", "data: rows.jsonl"))
    with pytest.raises(DataError, match="is not kept with it"):
        ws.evaluation.save_suite("t", path)


def test_the_gate_of_an_exported_folder_has_the_user_s_models_with_their_aliases(ws, tmp_path):
    from llmops_jupyter.cli.gating import _share_models

    for name in ("m", "n"):
        ws.models.add_endpoint(name, Endpoint(f"http://127.0.0.1:9/{name}", "x"))
    ws.models.alias("m", "production")
    ws.models.use("n")

    class Terminal:
        def __init__(self, workspace):
            self.workspace = workspace

    with lo.open(tmp_path / "other.db") as other:
        _share_models(Terminal(ws), Terminal(other))
        assert other.models.get("m@production").name == "m"
        assert other.models.default().name == "n"


def test_nothing_of_an_answer_is_live_in_the_markdown_report(ws):
    data = [
        {**row, "new": "see https://evil.example @octocat \ud800"[:-1]} for row in rows(0, old=0)
    ]
    shown = markdown(gate(ws, data=data))
    assert "https://" not in shown
    assert "@octocat" not in shown
