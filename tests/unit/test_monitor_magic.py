"""%monitor and `llmops monitor`: commands, the quiet line, completion, exit codes."""

from __future__ import annotations

import http.server
import json
import threading
from types import SimpleNamespace

import pytest
from monitor_fakes import DriftReport, Traffic
from monitor_rows import rows, trace
from shells import Notebook

import llmops_jupyter as lo
from llmops_jupyter.cli.program import run as llmops
from llmops_jupyter.commands.drifting import stream_
from llmops_jupyter.commands.parsing import parse_magic
from llmops_jupyter.errors import LLMOpsError, OptionError, UnknownNameError
from llmops_jupyter.magics.completion import candidates
from llmops_jupyter.monitor import Monitor
from llmops_jupyter.monitor.alerts.lease import Lease
from llmops_jupyter.monitor.alerts.safety import SafetyReport
from llmops_jupyter.monitor.alerts.watching import WatchStatus

RULES = """
rules:
  - {name: errors, metric: error_rate, warn: 0.05, alert: 0.2, at_least: 10}
  - {name: speed, metric: p95_latency_s, alert: 30, at_least: 10}
"""


@pytest.fixture
def notebook(ws):
    made = Notebook(ws)
    yield made
    made.close()


@pytest.fixture
def traffic(ws):
    return Traffic(ws)


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture
def others(monkeypatch):
    """What the other parts of the stage were asked for, which answer at once."""
    asked = []

    def fake(name, made):
        def method(self, *given, **options):
            asked.append((name, given, options))
            return made

        monkeypatch.setattr(Monitor, name, method, raising=False)

    report = SimpleNamespace(
        as_dict=dict, to_data=lambda name: SimpleNamespace(ref=f"{name}@1", __len__=None)
    )
    for name in ("baseline", "costs", "budget", "spikes", "redteam", "bias"):
        fake(name, report)
    fake("check", DriftReport(alarm=False))
    baseline = {"baseline": "support@1", "rows": 500, "content_hash": "abc", "features": {}}
    fake("baselines", [SimpleNamespace(name="support", as_dict=lambda: baseline)])
    budget = SimpleNamespace(name="daily")
    fake(
        "budgets",
        [SimpleNamespace(budget=budget, row=lambda: {"budget": "daily@2", "left": "10 calls"})],
    )
    fake("end_budget", None)
    return asked


def test_rules_are_added_looked_at_and_shown(notebook, traffic, rules, capsys):
    traffic.add(20)
    traffic.add(2, status="error")
    notebook.run(f"%monitor alerts add {rules} -o made")
    assert [r.name for r in notebook.names["made"]] == ["errors", "speed"]
    notebook.run("%monitor alerts look -o looked")
    assert [e.standing.state for e in notebook.names["looked"].entries] == ["warning", "ok"]
    notebook.run("%monitor alerts")
    notebook.run("%monitor alerts show errors -n 3")
    notebook.run("%monitor alerts history errors")
    shown = capsys.readouterr().out
    assert "2 rules: 1 warning, 1 ok" in shown
    assert "error_rate over 24h: alert above 20.0 %, warning above 5.0 %" in shown
    assert "false alarms: none" in shown
    assert "3.2 % to" in shown or "2.5 % to" in shown  # the interval of the look


def test_a_rule_is_added_by_its_options(notebook):
    notebook.run(
        "%monitor alerts add slow --metric p95_latency_s --alert 2 --window 7d --sure --looks 2 --model m -o made"
    )
    (rule,) = notebook.names["made"]
    assert (rule.name, rule.alert, rule.sure, rule.consecutive) == ("slow", 2, True, 2)
    assert rule.filters == {"model": "m"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("alerts lsit", "Did you mean 'list'?"),
        ("alerts add", "Name a YAML file"),
        ("alerts add nowhere", "is no file"),
        ("alerts add x --metric eror_rate --alert 1", "Did you mean 'error_rate'?"),
        ("alerts silence", "Name the rule, or 'all'"),
        ("alerts silence gone", "no rule 'gone'"),
        ("alerts silence gone --metric x", "goes with a new rule"),
        ("alerts --alrt 3", "Did you mean '--alert'?"),
        ("watch begin", "There are: start, stop, status."),
        ("watch stop --every 3m", "--every goes with start"),
        ("watch --every soon", "every is a time"),
        ("golden run", "Name the golden set"),
        ("golden run gone", "no golden set 'gone'"),
        ("golden add x", "needs what is run, rows and a metric"),
        ("golden shwo", "Did you mean 'show'?"),
        ("budget --calls 3", "Name the budget"),
        ("baseline --note why", "Name the baseline"),
        ("baseline x --remove", "no baseline 'x'"),
        ("baseline x --alias production", "no baseline 'x'"),
        ("baseline x --remove --alias production", "--alias does not go with --remove"),
        ("baseline x --alias production --since 3d", "--since does not go with --alias"),
        ("stream x", "no baseline 'x'"),
        ("stream x --rset", "Did you mean '--reset'?"),
        ("reports x", "no baseline 'x'"),
        ("safety --window soon", "A window is a time"),
        ("panel gone", "no rule 'gone'"),
        ("panel", "%monitor status"),
        ("alets", "Did you mean 'alerts'?"),
    ],
)
def test_rubbish_is_refused_on_one_line_with_the_next_step(notebook, others, line, said):
    with pytest.raises((LLMOpsError, OptionError, UnknownNameError)) as error:
        notebook.run(f"%monitor {line}")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_silence_and_acknowledge_are_told(notebook, traffic, rules, ws, capsys):
    traffic.add(20, status="error")
    notebook.run(f"%monitor alerts add {rules}")
    notebook.run("%monitor alerts look errors")
    notebook.run('%monitor alerts silence all --for 2h --why "a deploy"')
    assert len([e for e in ws.monitor.alerts.board().entries if e.silence]) == 2
    notebook.run("%monitor alerts speak all")
    notebook.run("%monitor alerts ack errors --why known")
    notebook.run("%monitor alerts history errors")
    notebook.run("%monitor alerts notices")
    notebook.run("%monitor alerts remove errors")
    shown = capsys.readouterr().out
    assert "a deploy" in shown
    assert "No channel was told anything yet" in shown
    assert [r.name for r in ws.monitor.alerts.rules()] == ["speed"]


def lines(capsys):
    found = (line.removeprefix("{'text/plain': '") for line in capsys.readouterr().out.splitlines())
    return [line.removesuffix("'}") for line in found if line.startswith("monitor:")]


def test_the_next_cell_has_one_quiet_line_and_another_when_it_is_over(
    notebook, traffic, rules, ws, capsys
):
    notebook.run("1 + 1")
    ws.monitor.alerts.add(rules)
    traffic.add(20, status="error")
    ws.monitor.alerts.look()
    notebook.run("1 + 1")
    (line,) = lines(capsys)
    assert line.startswith("monitor: errors is alert since ")
    assert line.endswith(" — %monitor alerts")
    notebook.run("1 + 1")
    assert lines(capsys) == []
    traffic.add(2000)
    ws.monitor.alerts.look()
    notebook.run("1 + 1")
    assert lines(capsys)[0].startswith("monitor: errors is ok since ")
    notebook.run("1 + 1")
    assert lines(capsys) == []


def test_what_a_cell_has_shown_itself_is_silenced_or_known_is_not_said(
    notebook, traffic, rules, ws, capsys
):
    ws.monitor.alerts.add(rules)
    traffic.add(20, status="error")
    ws.monitor.alerts.silence("errors", "1h")
    ws.monitor.alerts.look()
    notebook.run("1 + 1")
    assert lines(capsys) == []
    ws.monitor.alerts.speak("errors")
    notebook.run("%monitor alerts")
    notebook.run("1 + 1")
    assert lines(capsys) == []


def test_only_commands_that_show_alarms_take_the_place_of_the_line(
    notebook, traffic, rules, ws, capsys, others
):
    ws.monitor.alerts.add(rules)
    traffic.add(20, status="error")
    ws.monitor.alerts.look()
    notebook.run("'%monitor alerts'  # only a text")
    assert lines(capsys)
    for cell, said in (
        ("%monitor cost", True),
        ("%monitor alerts show speed", True),
        ("%monitor alerts notices", True),
        ("%monitor alerts look speed", True),
        ("%monitor alerts look errors", False),
        ("%monitor alerts look", False),
        ("%monitor status", False),
        ("%monitor alerts list", False),
    ):
        notebook.shell._llmops_session._notices._said = {}
        notebook.run(cell)
        assert bool(lines(capsys)) is said, cell
        notebook.run("1 + 1")
        assert lines(capsys) == [], cell
    notebook.shell._llmops_session._notices._said = {}
    with pytest.raises(OptionError):
        notebook.run("%monitor alerts lsit")
    notebook.run("1 + 1")
    assert "errors is alert" in capsys.readouterr().out


def test_what_got_worse_while_it_was_silenced_is_said_after_it(
    notebook, traffic, rules, ws, capsys
):
    ws.monitor.alerts.add(rules)
    traffic.add(90)
    traffic.add(10, status="error")
    ws.monitor.alerts.look()
    notebook.run("1 + 1")
    assert "errors is warning" in lines(capsys)[0]
    ws.monitor.alerts.silence("errors", "1h")
    traffic.add(100, status="error")
    ws.monitor.alerts.look()
    notebook.run("1 + 1")
    assert lines(capsys) == []
    ws.monitor.alerts.speak("errors")
    notebook.run("1 + 1")
    assert "errors is alert" in lines(capsys)[0]
    ws.monitor.alerts.silence("errors", "1h")
    traffic.add(5000)
    ws.monitor.alerts.look()
    assert ws.monitor.alerts.board().entries[0].standing.state == "ok"
    for _ in range(2):
        notebook.run("1 + 1")
        assert lines(capsys) == []
        ws.monitor.alerts.speak("errors")


def test_a_closed_workspace_spoils_no_cell(notebook, ws, capsys):
    ws.close()
    assert notebook.run("1 + 1") == 2
    assert capsys.readouterr().err == ""


def test_a_cell_opens_no_store(own_home):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "llmops_jupyter")
    shell.run_cell("1 + 1")
    shell.run_line_magic("unload_ext", "llmops_jupyter")
    assert not (own_home / ".llmops").exists()


def test_status_is_one_screen(notebook, traffic, rules, ws, others, capsys):
    traffic.add(20)
    notebook.run(f"%monitor alerts add {rules}")
    notebook.run("%monitor alerts look")
    notebook.run("%monitor status -o found")
    shown = capsys.readouterr().out
    assert "2 rules: 2 ok · nobody watches" in shown
    assert "support@1" in shown
    assert "content_hash" not in shown
    assert "10 calls" in shown
    assert json.dumps(notebook.names["found"].as_dict())
    assert "<b>" not in notebook.names["found"]._repr_mimebundle_()["text/html"]


def test_watch_starts_and_stops(notebook, rules, ws, capsys):
    notebook.run("%monitor watch --every 1h -o found")
    assert isinstance(notebook.names["found"], WatchStatus)
    assert ws.monitor.watcher.runs
    assert "There are no rules yet" in capsys.readouterr().out
    notebook.run("%monitor watch status")
    notebook.run("%monitor watch stop")
    assert not ws.monitor.watcher.runs
    assert "nobody watches" in capsys.readouterr().out


def test_golden_sets_from_a_cell(notebook, ws, capsys):
    ws.data.add("qa", [{"id": str(n), "q": str(n), "expected": f"echo {n}"} for n in range(20)])
    ws.prompts.save("ask", "{{ q }}")
    ws.prompts.alias("ask@1", "production")
    notebook.run("%monitor golden add qa ask@production --data qa --metric exact --margin 0.1")
    notebook.run("%monitor golden run qa -o first")
    notebook.run("%monitor golden run qa")
    notebook.run("%monitor golden show qa")
    notebook.run("%monitor golden")
    notebook.run("%monitor golden remove qa")
    shown = capsys.readouterr().out
    assert notebook.names["first"].results[0].value == 1.0
    assert "qa: exact 100.0 %" in shown
    assert "intervals hold for all 2 runs together" in shown
    assert ws.monitor.golden.list() == []


def test_safety_is_shown_and_assigned(notebook, traffic, capsys):
    traffic.guard(traffic.add(1)[0], ("injection", "deny"))
    notebook.run("%monitor safety --window 7d -n 2 -o found")
    assert isinstance(notebook.names["found"], SafetyReport)
    assert "1 of 1 checks found something" in capsys.readouterr().out


def test_other_parts_are_asked_as_the_line_says(notebook, others, ws):
    ws.prompts.save("ask", "{{ q }}")
    notebook.names["rows"] = [{"input": "a"}]
    notebook.names["texts"] = ["a", "b"]
    for line in (
        "baseline support --prompt ask --since 30d",
        "baseline support --data rows",
        "baseline support --limit 50 --embedder none --note spring",
        "drift support --since 24h --model m",
        "cost --by day --since 7d",
        "budget daily --calls 100 --per day --prompt ask",
        "budget daily --end",
        "spikes --prompt ask --per-thousand 2",
        "redteam ask --family direct --family persona -n 5 --guard standard",
        "bias ask texts --attribute names --variable q",
        "baseline",
        "budget",
    ):
        notebook.run(f"%monitor {line}")
    calls = {name: (given, options) for name, given, options in reversed(others)}
    assert calls["baseline"] == (("support",), {"prompt": "ask", "since": "30d"})
    assert ("baseline", ("support",), {"data": [{"input": "a"}]}) in others
    assert (
        *("baseline", ("support",), {"limit": 50, "embedder": "none", "note": "spring"}),
    ) in others
    assert calls["check"] == (("support",), {"since": "24h", "model": "m"})
    assert calls["costs"] == ((), {"by": "day", "since": "7d"})
    assert calls["budget"] == (
        *(("daily",), {"calls": 100.0, "prompt": "ask", "per": "day", "fresh": False}),
    )
    assert calls["end_budget"] == (("daily",), {})
    assert calls["spikes"] == ((), {"per_thousand": 2.0, "prompt": "ask"})
    given, options = calls["redteam"]
    assert given == ("ask", ["direct", "persona"])
    assert (options["n"], options["guard"], options["fresh"]) == (5, "standard", False)
    given, options = calls["bias"]
    assert given == ("ask", ["a", "b"])
    assert (options["attributes"], options["variable"]) == (["names"], "q")


def test_baselines_are_named_removed_and_their_reports_listed(notebook, ws, capsys):
    notebook.names["rows"], notebook.names["later"] = rows(60), rows(60, seed=1, slower=9.0)
    notebook.run("%monitor reports")
    assert "Nothing was compared yet" in capsys.readouterr().out
    notebook.run("%monitor baseline usual --data rows --embedder none --note spring")
    notebook.run("%monitor baseline usual@1 --alias production --note checked")
    notebook.run("%monitor drift usual@production --data later --feature latency -o report")
    notebook.run("%monitor drift usual --data rows --feature latency")
    notebook.run("%monitor reports usual -n 1 -o found")
    shown = capsys.readouterr().out
    assert "usual@production → version 1" in shown
    assert notebook.names["report"].alarm
    assert [one["alarm"] for one in notebook.names["found"]] == [False]
    assert ws.monitor.get("usual@production").note == "spring"
    notebook.run("%monitor reports")
    assert "Drift in 60 rows" in capsys.readouterr().out
    notebook.run("%monitor baseline usual@1 --remove")
    assert "usual@1 was removed" in capsys.readouterr().out
    assert ws.monitor.baselines() == []


def test_a_stream_is_updated_shown_and_reset(notebook, ws, capsys):
    notebook.names["rows"], notebook.names["later"] = rows(100), rows(80, seed=1, slower=9.0)
    ws.monitor.baseline("usual", notebook.names["rows"], embedder="none")
    notebook.run("%monitor stream usual --data later --name mine --level 0.01 -o found")
    assert "Changed since usual@1" in capsys.readouterr().out
    assert notebook.names["found"].rows == 80
    command, values = parse_magic("monitor", "stream usual --name mine --level 0.01")
    assert command.name == "stream"
    result = stream_(notebook.shell._llmops_session, values)
    assert result.value["exit"] == 2
    assert result.views[1]._repr_png_().startswith(b"\x89PNG")
    notebook.run("%monitor stream usual --name mine --level 0.01 --reset -o found")
    assert notebook.names["found"].rows == 0
    assert not notebook.names["found"].alarm


def test_completion_knows_actions_rules_and_measures(notebook, rules, others, ws):
    ws.monitor.alerts.add(rules)
    session = notebook.shell._llmops_session
    assert "silence" in candidates(session, "%monitor alerts ")
    assert candidates(session, "%monitor alerts silence ") == ["all", "errors", "speed"]
    assert "error_rate" in candidates(session, "%monitor alerts add x --metric ")
    assert candidates(session, "%monitor watch ") == ["start", "stop", "status"]
    assert candidates(session, "%monitor drift ") == ["support"]
    assert candidates(session, "%monitor budget ") == ["daily"]
    assert candidates(session, "%monitor golden run ") == []


# In a terminal.


def test_once_ends_with_a_code_for_cron(ws, traffic, rules, capsys):
    ws.monitor.alerts.add(rules)
    assert llmops(["monitor", "--once"]) == 3
    assert llmops(["monitor", "--once", "--allow-no-data"]) == 0
    traffic.add(40)
    assert llmops(["monitor", "--once"]) == 0
    traffic.add(4, status="error")
    assert llmops(["monitor", "--once"]) == 1
    traffic.add(40, status="error")
    capsys.readouterr()
    assert llmops(["monitor", "--once", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [r["state"] for r in found["rules"]] == ["alert", "ok"]
    assert found["exit"] == 2
    assert llmops(["monitor", "--once", "--rule", "speed"]) == 0


def test_drift_and_streams_end_with_the_codes_of_a_look(ws, capsys):
    assert llmops(["monitor", "drift", "usual"]) == 4
    assert llmops(["monitor", "stream", "usual"]) == 4
    for row in rows(60):
        trace(ws, row)
    ws.monitor.baseline("usual", prompt="support", embedder="none")
    assert llmops(["monitor", "drift", "usual"]) == 4  # nothing has come yet
    for row in rows(40, seed=1):
        trace(ws, row)
    alone = ["--feature", "latency s"]
    assert llmops(["monitor", "drift", "usual", *alone]) == 0
    assert llmops(["monitor", "stream", "usual"]) == 0
    for row in rows(40, seed=2, slower=9.0):
        trace(ws, row)
    capsys.readouterr()
    assert llmops(["monitor", "drift", "usual", *alone, "--limit", "40", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["alarm"], found["exit"]) == (True, 2)
    assert llmops(["monitor", "--json", "stream", "usual"]) == 2
    assert json.loads(capsys.readouterr().out)["exit"] == 2
    for row in rows(30, seed=3, slower=9.0):
        trace(ws, row, session="one")
    assert llmops(["monitor", "drift", "usual", "--session", "one"]) == 3
    assert "Nothing can be said of 30 rows" in capsys.readouterr().out
    assert llmops(["monitor", "reports"]) == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--once", "There are no rules yet. Add some: llmops monitor alerts add FILE"),
        ("--onec", "Did you mean '--once'?"),
        ("--once --every 3m", "goes without --once"),
        ("--every soon", "every is a time"),
        ("--rule x", "go with --once"),
        ("--once --rule gone", "no rule 'gone'"),
        ("--store /nowhere/at/all/x.db --once", ""),
    ],
)
def test_errors_of_a_look_are_no_warnings(own_home, capsys, line, said):
    assert llmops(["monitor", *line.split()]) == 4
    assert said in capsys.readouterr().err


def test_errors_of_its_commands_end_with_one(own_home, capsys):
    assert llmops(["monitor", "alerts", "remove", "gone"]) == 1
    assert llmops(["monitor", "alets"]) == 1
    assert "Did you mean 'alerts'?" in capsys.readouterr().err
    assert llmops(["monitor", "panel"]) == 1
    assert "%monitor panel" in capsys.readouterr().err


def test_the_store_may_stand_before_the_command_or_after_it(tmp_path, traffic, rules, capsys):
    place = tmp_path / "other" / "llmops.db"
    with lo.open(place) as other:
        other.monitor.alerts.add(rules)
    for line in (
        ["monitor", "--store", str(place), "alerts", "--json"],
        ["monitor", "--json", "alerts", "list", "--store", str(place)],
    ):
        assert llmops(line) == 0
        assert len(json.loads(capsys.readouterr().out)["rules"]) == 2


def test_once_leaves_a_watched_store_to_its_watcher(ws, traffic, rules, capsys):
    ws.monitor.alerts.add(rules)
    traffic.add(40, status="error")
    lease = Lease(ws.tracer, 60)
    assert lease.hold()
    assert llmops(["monitor", "--once"]) == 3  # as nobody has looked yet
    assert "watches this store" in capsys.readouterr().out
    assert ws.monitor.alerts.looks("errors") == []
    lease.release()
    assert llmops(["monitor", "--once"]) == 2


@pytest.mark.parametrize(
    ("column", "every"), [("beat_at", 60.0), ("looked_at", 60.0), ("since", 60.0)]
)
def test_once_looks_itself_where_the_watcher_hangs(ws, traffic, rules, capsys, column, every):
    ws.monitor.alerts.add(rules)
    traffic.add(40, status="error")
    lease = Lease(ws.tracer, every)
    assert lease.hold()
    with ws.store.write() as conn:
        conn.execute(f"UPDATE watchers SET {column} = '2020-01-01T00:00:00.000+00:00'")
    assert llmops(["monitor", "--once"]) == 2
    said = capsys.readouterr().out
    assert "which has not looked since" in said
    assert "this look is another one" in said
    assert len(ws.monitor.alerts.looks("errors")) == 1
    assert "which has not looked since" in ws.monitor.watcher.status().sentence()
    assert lease.hold()  # it was not taken away


def test_times_are_local_for_people_and_whole_for_programs(ws, traffic, rules, capsys, monkeypatch):
    import time

    if not hasattr(time, "tzset"):
        pytest.skip("this system has no zones of its own for a process")
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        ws.monitor.alerts.add(
            name="errors", metric="error_rate", alert=0.1, channels=["log"], at_least=1
        )
        traffic.add(40, status="error")
        ws.monitor.alerts.look()
        stamp = ws.monitor.alerts.notices()[0]["at"]
        assert llmops(["monitor", "alerts", "notices", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["at"] == stamp
        assert llmops(["monitor", "alerts", "history", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["at"].endswith("+00:00")
        hour = (int(stamp[11:13]) * 60 + int(stamp[14:16]) + 330) % 1440
        assert llmops(["monitor", "alerts", "notices"]) == 0
        assert f"{hour // 60:02}:{hour % 60:02}" in capsys.readouterr().out
    finally:
        monkeypatch.undo()
        time.tzset()


def test_once_waits_for_its_webhooks(ws, traffic, capsys):
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    ws.monitor.alerts.add(
        name="errors", metric="error_rate", alert=0.1, channels=[{"webhook": url}]
    )
    traffic.add(40, status="error")
    assert llmops(["monitor", "--once"]) == 2
    assert [body["rule"] for body in got] == ["errors"]
    server.shutdown()
    server.server_close()


def test_it_watches_in_the_foreground_until_it_is_interrupted(
    ws, traffic, rules, capsys, monkeypatch
):
    from llmops_jupyter.cli import monitoring

    ws.monitor.alerts.add(rules)
    traffic.add(40)
    naps = []

    def nap(_):
        naps.append(1)
        if ws.monitor.alerts.looks("speed"):
            raise KeyboardInterrupt
        threading.Event().wait(0.05)

    monkeypatch.setattr(monitoring.time, "sleep", nap)
    assert llmops(["monitor", "--every", "1h"]) == 130
    assert "watching, every 1h" in capsys.readouterr().out
    assert naps
