"""The playground's panel: what it sends and when, which messages it takes, what a saved notebook keeps."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from engine_fakes import FakeEngine, plug
from playground_fakes import SlowEngine, until
from shells import Notebook

import llmops_jupyter.panels
from llmops_jupyter.cli.program import run as llmops
from llmops_jupyter.errors import OptionError, UnknownNameError

panels = pytest.importorskip("llmops_jupyter.panels.prompt", reason="needs anywidget")
HOSTILE = "<img src=x onerror='window.pwned=1'>\x1b[31m\u202e"


@pytest.fixture
def greet(ws):
    plug(ws)
    ws.prompts.save("greet", "Greet {{ name }}.")
    return ws


@pytest.fixture
def told():
    return []


@pytest.fixture
def panel(greet, told):
    made = panels.PromptPanel(
        greet, greet.prompts.playground("greet", {"name": "Ann", "_hidden": 1}), told.append
    )
    yield made
    made.close()


class Browser:
    """What a browser would send: its form with each question, by names of its own."""

    count = 0

    def __init__(self, panel):
        self.panel = panel

    def form(self):
        keys = ("key", "template", "settings")
        return {
            "columns": [{k: c[k] for k in keys} for c in self.panel.columns],
            "values": {
                v["name"]: {"text": v["text"], "variable": v["variable"]}
                for v in self.panel.variables
            },
        }

    def send(self, action, **more):
        Browser.count += 1
        ask = more.pop("ask", f"me-{self.count}")
        self.panel._received(self.panel, {"action": action, "ask": ask, **self.form(), **more}, [])
        return self.panel.shown


@pytest.fixture
def browser(panel):
    return Browser(panel)


def over(panel):
    assert panel.playground.wait(10)
    until(lambda: not panel.shown["running"])


def test_it_shows_the_prompt_with_what_can_be_chosen(panel):
    assert (panel.shown["name"], panel.shown["said"]) == ("greet", "")
    (column,) = panel.columns
    assert (column["key"], column["ref"], column["template"]) == (
        "A",
        "greet@1",
        "Greet {{ name }}.",
    )
    assert panel.variables == [
        {"name": "name", "text": "", "variable": "name", "preview": "Ann", "missing": ""}
    ]
    assert panel.held == ["name"]
    assert panel.choices["versions"] == [{"ref": "greet@1", "aliases": []}]
    assert panel.choices["usual"]["temperature"] == "0.7"
    assert json.dumps(panel.get_state(["choices", "columns", "variables", "shown", "history"]))


def test_what_runs_is_what_the_browser_shows(panel, browser, told):
    column = {"key": "A", "template": "Bye {{ who }}", "settings": {"seed": "4"}}
    shown = browser.send("edit", columns=[column])
    assert [v["name"] for v in panel.variables] == ["who"]
    gone = {"who": {"text": "", "variable": "gone"}}
    browser.send("edit", columns=[column], values=gone)
    assert "no variable 'gone'" in panel.variables[0]["missing"]
    assert "no variable 'gone'" in browser.send("run")["said"]
    empty = {"who": {"text": "", "variable": ""}}
    assert "has no value" in browser.send("run", values=empty)["said"]
    values = {"who": {"text": "Cem", "variable": ""}}
    shown = browser.send("run", columns=[column], values=values, ask="r-1")
    assert (shown["heard"], shown["said"]) == ("r-1", "")
    over(panel)
    assert panel.answer_a["text"] == "echo Bye Cem"
    assert (panel.answer_a["status"], panel.answer_b) == ("done", {})
    assert panel.workspace.engine.engine().requests[-1].sampling.seed == 4
    assert panel.history[0]["trials"][0]["trace"] == panel.answer_a["trace"]
    assert panel.history[0]["values"] == "who=Cem"
    assert "echo Bye Cem" in told[-1]["text/plain"]


def test_the_kernel_is_free_while_it_runs_and_stop_keeps_what_there_is(panel, browser, greet):
    engine = plug(greet, SlowEngine())
    began = time.monotonic()
    shown = browser.send("run")
    assert time.monotonic() - began < 1
    assert shown["running"]
    assert "runs already" in browser.send("run")["said"]
    engine.let(1)
    until(lambda: panel.answer_a["text"].strip() == "one")
    browser.send("edit", columns=[{"key": "A", "template": "another text", "settings": {}}])
    assert panel.columns[0]["template"] == "another text"
    browser.send("stop")
    over(panel)
    assert (panel.answer_a["status"], panel.answer_a["text"].strip()) == ("stopped", "one")
    assert "interrupted" in panel.answer_a["line"]


def test_an_answer_is_sent_some_ten_times_a_second_and_whole_at_its_end(
    panel, browser, greet, monkeypatch
):
    monkeypatch.setattr(panels, "UPDATE_S", 60.0)
    engine = plug(greet, SlowEngine("word " * 400))
    sent = []
    panel.observe(lambda change: sent.append(change["new"]["text"]), "answer_a")
    engine.let(500)
    browser.send("run")
    over(panel)
    assert len(sent) <= 5
    assert panel.answer_a["text"].split() == ["word"] * 400


def test_columns_come_and_go_and_only_then_are_laid_anew(panel, browser):
    before = panel.shown["revision"]
    browser.send("edit")
    assert panel.shown["revision"] == before
    browser.send("add")
    assert panel.shown["revision"] == before + 1
    assert [c["key"] for c in panel.columns] == ["A", "B"]
    browser.send("load", key="B", reference="greet@1")
    assert panel.shown["revision"] == before + 2
    browser.send("remove", key="A")
    assert [c["key"] for c in panel.columns] == ["B"]
    assert "no variant 'A'" in browser.send("run", key="A")["said"]
    assert "One variant stays" in browser.send("remove", key="B")["said"]
    assert "no prompt 'gone'" in browser.send("load", key="B", reference="gone")["said"]


def test_a_message_that_comes_twice_is_done_once(panel, browser, greet):
    browser.send("add", ask="a-1")
    browser.send("add", ask="a-1")
    assert len(panel.columns) == 2
    browser.send("run", ask="r-1")
    over(panel)
    browser.send("run", ask="r-1")
    assert len(panel.playground.rounds) == 1


def test_a_form_that_is_older_than_the_columns_changes_nothing_else(panel, browser):
    old = browser.form()
    browser.send("add")
    browser.send("remove", key="A")
    browser.send("run", **old)
    over(panel)
    assert [c["key"] for c in panel.columns] == ["B"]


def test_strange_messages_harm_nothing(panel, browser):
    for content in (
        None,
        3,
        [],
        {},
        {"action": ["run"]},
        {"action": "nonsense", "ask": "x"},
        {"action": "edit", "columns": 7, "values": []},
        {"action": "edit", "columns": [None, {"key": {}}, {"key": "A", "settings": 4}]},
        {"action": "edit", "values": {"a b": {"text": "x"}, "name": 3, "n": {"text": ["x"]}}},
        {"action": "recall", "number": "x"},
        {"action": "sample", "data": {}, "rows": "many"},
        {"action": "alias", "key": "A", "alias": None},
    ):
        panel._received(panel, content, [])
    assert len(panel.columns) == 1
    browser.send("edit", columns=[{"key": "A", "template": "half \ud83d", "settings": {}}])
    assert panel.columns[0]["template"] == "half ?"
    shown = browser.send(
        "edit", columns=[{"key": "A", "template": "x", "settings": {"seed": "abc", "other": "1"}}]
    )
    assert "seed is a whole number" in shown["said"]
    assert panel.columns[0]["template"] == "x"


def test_a_template_that_cannot_be_parsed_is_told_when_it_is_run(panel, browser):
    assert (
        "is empty"
        in browser.send("run", columns=[{"key": "A", "template": " ", "settings": {}}])["said"]
    )
    assert not panel.shown["running"]


def test_a_version_is_kept_and_an_alias_is_moved_once_that_is_confirmed(panel, browser, greet):
    column = {"key": "A", "template": "Welcome {{ name }}", "settings": {}}
    shown = browser.send("save", key="A", note="warm", columns=[column])
    assert shown["said"] == "Kept as greet@2."
    assert browser.send("save", key="A")["said"] == "Equal to greet@2."
    assert panel.columns[0]["version"] == 2
    move = {"key": "A", "alias": "production", "seen": 0}
    assert "confirmed" in browser.send("alias", **move)["said"]
    assert panel.choices["aliases"] == {}
    assert browser.send("alias", **move, confirmed=True)["said"] == "greet@production → version 2."
    assert panel.choices["aliases"] == {"production": 2}
    assert panel.columns[0]["aliases"] == ["production"]
    assert "Look again" in browser.send("alias", **move, confirmed=True)["said"]
    assert greet.prompts.get("greet@2").note == "warm"


def test_cells_are_made_to_copy(panel, browser):
    browser.send("cell", key="A", values={"name": {"text": "Bob", "variable": ""}})
    assert panel.made["text"] == "%%prompt greet\nGreet {{ name }}.\n"
    assert panel.made["values"] == "name = 'Bob'"
    browser.send("add")
    browser.send("compare", data="people", metric="exact")
    assert panel.made["text"] == "%evaluate compare greet@1 greet@1 --data people --metric exact"
    assert "Name a data set" in browser.send("compare", data=" ", metric="")["said"]


def test_rows_are_answered_in_a_table(panel, browser, greet):
    greet.data.add("people", [{"name": HOSTILE}, {"name": "y"}])
    browser.send("add")
    browser.send("sample", data="people", rows=2)
    over(panel)
    assert panel.sample["status"] == "done"
    assert panel.sample["keys"] == ["A", "B"]
    assert panel.sample["rows"][1]["answers"] == ["echo Greet y.", "echo Greet y."]
    assert "no data set 'gone'" in browser.send("sample", data="gone")["said"]


def test_an_earlier_round_is_shown_again(panel, browser):
    browser.send("run")
    over(panel)
    browser.send("run", columns=[{"key": "A", "template": "Other {{ name }}", "settings": {}}])
    over(panel)
    assert [r["number"] for r in panel.history] == [2, 1]
    browser.send("recall", number=1)
    assert panel.columns[0]["template"] == "Greet {{ name }}."
    assert panel.answer_a["text"] == "echo Greet Ann."
    assert "no round 7" in browser.send("recall", number=7)["said"]


def test_an_unforeseen_error_is_answered_all_the_same(panel, browser, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(panel.playground, "add", broken)
    with pytest.raises(ZeroDivisionError):
        browser.send("add", ask="x-1")
    assert panel.shown["heard"] == "x-1"
    assert "That failed" in panel.shown["said"]


def test_a_workspace_that_was_closed_is_told(panel, browser, greet):
    greet.close()
    shown = browser.send("run")
    assert "closed" in shown["said"]


def test_closing_ends_what_runs(panel, browser, greet):
    engine = plug(greet, SlowEngine())
    browser.send("run")
    panel.close()
    assert panel.playground.wait(10)
    assert panel.playground.rounds[0].trials[0].status == "stopped"
    engine.let()


def test_long_answers_are_cut_and_hostile_ones_are_sent_as_text(greet):
    plug(greet, FakeEngine(lambda _: HOSTILE + "x" * 100_000))
    panel = panels.PromptPanel(greet, greet.prompts.playground("greet", {"name": HOSTILE}))
    Browser(panel).send("run")
    over(panel)
    assert panel.answer_a["text"].startswith(HOSTILE)
    assert panel.answer_a["text"].endswith("characters)")
    assert len(panel.answer_a["text"]) < 61_000
    data, _ = panel._repr_mimebundle_()
    assert "<img" not in data["text/html"]
    assert "\x1b" not in data["text/plain"]
    panel.close()


def test_a_saved_notebook_keeps_the_last_round(panel, browser, told):
    assert panel.bundle()["text/plain"] == "Playground of greet: nothing was tried yet."
    browser.send("add")
    browser.send("run")
    over(panel)
    assert told[-1] == panel.bundle()
    assert "A · greet@1\necho Greet Ann.\ngreet@1 · fake" in told[-1]["text/plain"]
    assert "B against A: the same answer." in told[-1]["text/html"]
    data, _ = panel._repr_mimebundle_()
    assert data["text/plain"] == "(prompt panel)"


@pytest.fixture
def shell(ws):
    notebook = Notebook(ws)
    ws.prompts.save("greet", "Greet {{ name }}.")
    yield notebook
    notebook.close()


def test_the_magic_shows_the_panel_and_what_is_kept(shell, monkeypatch, capsys):
    monkeypatch.setattr("llmops_jupyter.magics.prompt.is_terminal", lambda _: False)
    shell.run("%prompt panel greet")
    said = capsys.readouterr().out
    assert "PromptPanel" in said
    assert "Playground of greet: nothing was tried yet." in said
    with pytest.raises(UnknownNameError):
        shell.run("%prompt panel greet@7")


def test_a_terminal_says_that_panels_are_for_notebooks(shell, capsys):
    with pytest.raises(OptionError, match="Panels are for notebooks"):
        shell.run("%prompt panel greet")
    assert llmops(["prompts", "panel", "greet"]) == 1
    said = capsys.readouterr().err
    assert "'prompts panel' is not for a terminal. Run %prompt panel (in a notebook)" in said


def test_names_and_versions_are_completed(shell, ws):
    from llmops_jupyter.magics.completion import candidates

    session = type("Session", (), {"workspace": ws, "shell": shell.shell})()
    assert candidates(session, "%prompt panel g") == ["greet", "greet@1"]


@pytest.mark.parametrize("file", sorted(Path(llmops_jupyter.panels.__file__).parent.glob("*.js")))
def test_no_script_of_a_panel_sets_markup_or_asks_a_server(file):
    code = file.read_text("utf-8")
    for word in (
        *("innerHTML", "insertAdjacentHTML", "outerHTML", "document.write", "srcdoc", "eval("),
        *("fetch(", "XMLHttpRequest", "sendBeacon", "WebSocket", "import(", "new Function"),
        *(
            '"script"',
            '"iframe"',
            'element("img"',
            '"object"',
            '"embed"',
            ".src =",
            "style.cssText",
        ),
    ):
        assert word not in code
