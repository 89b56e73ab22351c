"""%guard, `llmops guard`, and --guard where prompts are run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from guard_fakes import ATTACK, KEY
from shells import Notebook

from llmops_jupyter.cli.program import run as llmops
from llmops_jupyter.errors import GuardError, OptionError
from llmops_jupyter.magics.completion import candidates

POLICY = "message: 'No.'\ninput:\n  - check: injection\n    action: deny\n  - check: secrets\noutput: [secrets]\n"


@pytest.fixture
def shell(ws, fitted):
    notebook = Notebook(ws)
    yield notebook
    notebook.close()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_text(POLICY)
    return path


def test_a_policy_from_its_file_to_its_alias(shell, file, capsys):
    shell.run(f"%guard add shop {file} --note first")
    assert "shop@1 kept" in capsys.readouterr().out
    shell.run(f"%guard add shop {file}")
    assert "decides the same" in capsys.readouterr().out
    file.write_text(POLICY.replace("No.", "Nein."))
    shell.run(f"%guard add shop {file}")
    shell.run("%guard diff shop")
    said = capsys.readouterr().out
    assert "-message: 'No.'" in said
    assert "+message: 'Nein.'" in said
    shell.run("%guard alias shop@1 production --note steady")
    shell.run("%guard history shop")
    said = capsys.readouterr().out
    assert "production" in said
    assert "steady" in said
    shell.run("%guard show shop@production -o kept")
    assert shell.names["kept"].ref == "shop@1"
    assert "note: first" in capsys.readouterr().out
    shell.run("%guard list")
    said = capsys.readouterr().out
    assert "comes with the package" in said
    assert "injection (deny), secrets (modify)" in said
    shell.run("%guard alias shop@1 production --remove")
    shell.run("%guard checks")
    assert "off-topic" in capsys.readouterr().out


def test_a_variable_can_hold_a_policy_and_a_fault_has_its_line(shell, capsys):
    shell.names["made"] = {"input": ["secrets"]}
    shell.names["text"] = "input:\n  - check: secretz\n"
    shell.run("%guard add one made")
    with pytest.raises(GuardError, match="line 2: there is no check 'secretz'"):
        shell.run("%guard add two text")


def test_texts_are_checked_by_hand(shell, file, capsys):
    shell.run(f"%guard add shop {file}")
    shell.run(f'%guard check shop "{ATTACK}!" -o report')
    said = capsys.readouterr().out
    assert "input denied by injection" in said
    assert "0.900 of 0.500" in said
    assert not shell.names["report"].allowed
    shell.run(f"%guard check shop my {KEY}")
    assert "what is left: my [SECRET]" in capsys.readouterr().out
    shell.run("%guard check shop fine --place output")
    assert "nothing found by 1 checks" in capsys.readouterr().out
    shell.names["texts"] = ["fine", ATTACK, f"my {KEY}"]
    shell.run("%guard check shop --data texts -o reports")
    said = capsys.readouterr().out
    assert "something was found in 2 of 3 texts" in said
    assert KEY not in said.split("something was found")[1].replace(f"my {KEY}", "")
    assert len(shell.names["reports"]) == 3
    for line in ("%guard check shop", "%guard check shop x --data texts"):
        with pytest.raises(OptionError, match="Give a text, or --data"):
            shell.run(line)
    with pytest.raises(OptionError, match="no checks for context"):
        shell.run("%guard check shop x --place context")
    assert len([t for t in shell.ws.traces.newest(50) if t.name.startswith("guard")]) == 3


def test_thresholds_are_calibrated_from_a_cell(shell, file, capsys):
    shell.run(f"%guard add shop {file}")
    shell.names["benign"] = [" ".join(["word"] * n) for n in range(1, 41)]
    shell.run("%guard calibrate shop --data benign --rate 0.1 -o made")
    said = capsys.readouterr().out
    assert "shop@2" in said
    assert "3 of 40" in said
    assert shell.names["made"].policy.policy.rules[0].threshold < 0.5
    with pytest.raises(OptionError, match="Give harmless texts"):
        shell.run("%guard calibrate shop")


def test_cells_run_under_a_policy(shell, file, capsys):
    shell.run(f"%guard add shop {file}")
    shell.run(f"%%prompt greet --guard shop -o done\nuser: {ATTACK}")
    assert "No." in capsys.readouterr().out
    assert shell.names["done"].finish_reason == "content_filter"
    shell.run(f"%%prompt --guard shop -o done\nuser: my {KEY}")
    said = capsys.readouterr().out
    assert "guard shop@1: input changed by secrets" in said
    assert KEY not in said
    shell.run("%prompt run greet -o done")  # as it was run last
    assert shell.names["done"].finish_reason == "content_filter"
    shell.run("%prompt run greet --guard none -o done")
    assert shell.names["done"].finish_reason == "stop"
    shell.names["rows"] = [{"q": "hi"}, {"q": ATTACK}]
    shell.run("%%prompt --guard shop --over rows -o table\nuser: {{ q }}")
    assert "input denied by injection" in capsys.readouterr().out
    assert [c.finish_reason for c in shell.names["table"]] == ["stop", "content_filter"]


def test_names_of_policies_are_completed(shell, file):
    from llmops_jupyter.magics import _ATTRIBUTE

    shell.run(f"%guard add shop {file}")
    session = getattr(shell.shell, _ATTRIBUTE)
    assert {"shop", "shop@1", "standard"} <= set(candidates(session, "%guard show "))
    assert "shop" in candidates(session, "%%prompt p --guard ")
    assert "calibrate" in candidates(session, "%guard ")
    assert "--guard" in candidates(session, "%%rag ask docs --")


def test_the_command_line_does_the_same(ws, fitted, file, capsys):
    assert llmops(["guard", "add", "shop", str(file)]) == 0
    assert llmops(["guard", "check", "shop", ATTACK, "--json"]) == 3
    found = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (found["decision"], found["allowed"]) == ("deny", False)
    assert llmops(["guard", "list", "--json"]) == 0
    assert "shop" in [row["policy"] for row in json.loads(capsys.readouterr().out)]
    assert llmops(["guard", "show", "shop"]) == 0
    assert llmops(["guard", "show", "shopp"]) == 1
    assert "Did you mean 'shop'" in capsys.readouterr().err
    file.write_text("inptu: [secrets]\n")
    assert llmops(["guard", "add", "shop", str(file)]) == 1
    assert "line 1" in capsys.readouterr().err


def test_a_cell_that_is_run_again_without_its_policy_stays_under_it(shell, ws, file, capsys):
    from engine_fakes import plug

    engine = plug(ws)
    ws.guard.add("shop", str(file))
    shell.names["q"] = f"my key {KEY}"
    shell.run("%%prompt reply --guard shop\nuser: {{ q }}")
    shell.run("%%prompt reply --max-tokens 20\nuser: {{ q }}")
    assert ws.prompts.get("reply").defaults["guard"] == "shop"
    shell.run("%%prompt reply\nuser: so, {{ q }}")
    assert "guard shop holds as for reply@1; --guard none puts it off" in capsys.readouterr().out
    ws.prompts.run("reply", {"q": KEY})
    assert KEY not in str(engine.requests)
    shell.run("%%prompt reply --guard none\nuser: so, {{ q }}")
    assert "guard shop no longer holds for reply@2" in capsys.readouterr().out
    assert KEY in str(engine.requests[-1])


def test_options_may_stand_before_the_text_too(shell, ws, file, capsys):
    shell.run(f"%guard add shop {file}")
    capsys.readouterr()
    for line in ("--place output my KEY", "my KEY --place output", "my --place=output KEY"):
        shell.run(f"%guard check shop {line}".replace("KEY", KEY))
        assert "what is left: my [SECRET]" in capsys.readouterr().out
    with pytest.raises(OptionError, match="expected one argument"):
        shell.run("%guard check shop fine --place")
    with pytest.raises(OptionError, match="invalid choice"):
        shell.run("%guard check shop --place fine")
    assert llmops(["guard", "check", "--json", "--place", "output", "shop", f"my {KEY}"]) == 2
    assert llmops(["guard", "check", "shop", "--place", "output", "fine"]) == 0


def test_the_command_line_ends_with_what_was_decided(ws, fitted, file, capsys):
    ws.guard.add("shop", str(file))
    ws.guard.add("look", f"mode: observe\n{POLICY}")
    ws.guard.add("soft", "input:\n  - check: secrets\n    action: warn\n")
    for policy, text, code in (
        ("shop", "fine", 0),
        ("shop", f"my {KEY}", 2),
        ("shop", ATTACK, 3),
        ("look", ATTACK, 3),
        ("soft", f"my {KEY}", 0),
        ("none", "fine", 1),
    ):
        assert llmops(["guard", "check", policy, text]) == code
    ws.data.add("some", [{"text": "fine"}, {"text": f"my {KEY}"}])
    capsys.readouterr()
    assert llmops(["guard", "check", "shop", "--data", "some", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [r["decision"] for r in found["reports"]] == ["allow", "modify"]


@pytest.mark.parametrize("empty", ["", "  ", Path()])
def test_an_empty_policy_says_so(ws, empty):
    with pytest.raises(GuardError, match="The policy is empty"):
        ws.guard.add("x", empty)
