"""Splits of live traffic: sticky, proportional, traced, ended by promotion."""

from __future__ import annotations

import subprocess
import sys

import pytest
from engine_fakes import plug
from scipy.stats import chisquare
from shells import Notebook

import llmops_jupyter as lo
from llmops_jupyter.errors import OptionError, PromptError, UnknownNameError
from llmops_jupyter.prompts.splitting import parse_arms


@pytest.fixture
def engine(ws):
    return plug(ws)


@pytest.fixture
def support(ws):
    """A prompt of four versions whose third is in production."""
    for word in ("one", "two", "three", "four"):
        ws.prompts.save("support", f"{word}: {{{{ q }}}}")
    ws.prompts.alias("support@3", "production")
    return ws.prompts


def test_a_unit_always_gets_the_same_version_in_every_process(ws, support, own_home):
    split = support.split("support", {3: 50, 4: 50})
    arms = {unit: split.arm_of(unit) for unit in map(str, range(50))}
    assert set(arms.values()) == {3, 4}
    code = (
        "import llmops_jupyter as lo\n"
        "with lo.open() as ws:\n"
        "    s = ws.prompts.splits.get('support', 'production')\n"
        "    print({str(u): s.arm_of(str(u)) for u in range(50)})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(arms)


def test_versions_get_their_shares(support):
    split = support.split("support", {2: 10, 3: 60, 4: 30}, salt="test")
    counts = dict.fromkeys((2, 3, 4), 0)
    for n in range(20_000):
        counts[split.arm_of(f"user-{n}")] += 1
    assert chisquare(list(counts.values()), [2_000, 12_000, 6_000]).pvalue > 0.001


def test_other_shares_move_only_the_units_that_must_move(support):
    before = support.split("support", {3: 90, 4: 10}, salt="test")
    after = support.split("support", {4: 30, 3: 70})
    assert [v for v, _ in after.arms] == [3, 4]
    units = [f"user-{n}" for n in range(5_000)]
    moved = [u for u in units if before.arm_of(u) != after.arm_of(u)]
    assert all(before.arm_of(u) == 3 for u in moved)
    assert 0.17 < len(moved) / len(units) < 0.23
    assert support.splits.get("support", "production").id == after.id


def test_another_split_assigns_anew(support):
    one = support.split("support", {3: 50, 4: 50}, salt="one")
    support.end_split("support@production")
    two = support.split("support", {3: 50, 4: 50}, salt="two")
    same = sum(one.arm_of(str(n)) == two.arm_of(str(n)) for n in range(2_000))
    assert 900 < same < 1_100


def test_runs_of_the_alias_go_to_the_unit_s_version_and_say_so(ws, support, engine):
    split = support.split("support", {3: 50, 4: 50})
    for n in range(12):
        unit = f"ann-{n}@example.com"
        done = support.run("support@production", {"q": "x"}, unit=unit)
        assert done.prompt_version == f"support@{split.arm_of(unit)}"
        root = ws.traces.get(done.trace_id).root
        assert root.attributes["llmops.split.id"] == split.id
        assert root.attributes["llmops.split.arm"] == split.arm_of(unit)
        assert root.attributes["llmops.split.unit"] == split.unit_hash(unit)
    with ws.store.write() as conn:
        assert "ann-3@example.com" not in "\n".join(conn.iterdump())


def test_without_a_unit_the_session_decides_and_else_chance(support, engine):
    split = support.split("support", {3: 50, 4: 50})
    versions = {
        support.run("support@production", {"q": "x"}, session="s").prompt_version for _ in range(6)
    }
    assert versions == {f"support@{split.arm_of('s')}"}
    many = {support.run("support@production", {"q": "x"}).prompt_version for _ in range(40)}
    assert many == {"support@3", "support@4"}


def test_numbers_other_aliases_and_maps_are_no_traffic(support, engine):
    support.alias("support@1", "staging")
    support.split("support", {2: 50, 4: 50})
    assert support.run("support@3", {"q": "x"}).prompt_version == "support@3"
    assert support.run("support@staging", {"q": "x"}).prompt_version == "support@1"
    assert support.run("support", {"q": "x"}).prompt_version == "support@4"
    table = support.map("support@production", [{"q": str(n)} for n in range(10)])
    assert {c.prompt_version for c in table} == {"support@3"}


def test_promotion_ends_the_split_and_stands_in_the_log(support, engine):
    support.split("support", {3: 50, 4: 50})
    support.end_split("support@production", promote=4)
    assert support.run("support@production", {"q": "x"}, unit="u").prompt_version == "support@4"
    assert support.alias_log("support")[-1].note == "promoted from a split"
    assert support.splits.running("support", "production") is None
    assert support.rollback("support@production").version == 3


@pytest.mark.parametrize("move", ["alias", "rollback", "unalias"])
def test_moving_the_alias_by_hand_ends_the_split(support, move):
    support.alias("support@4", "production")
    support.split("support", {3: 50, 4: 50})
    if move == "alias":
        support.alias("support@1", "production")
    elif move == "rollback":
        support.rollback("support@production")
    else:
        support.unalias("support@production")
    assert support.splits.running("support", "production") is None


@pytest.mark.parametrize(
    ("arms", "error", "says"),
    [
        ({3: 1}, OptionError, "two versions or more"),
        ({3: 1, 9: 1}, UnknownNameError, "no version 9"),
        ({3: 1, 4: 0}, OptionError, "above 0"),
        ({3: 1, 4: float("inf")}, OptionError, "above 0"),
    ],
)
def test_arms_that_make_no_split(support, arms, error, says):
    with pytest.raises(error, match=says):
        support.split("support", arms)


def test_an_alias_must_have_traffic(support):
    with pytest.raises(PromptError, match="does not point at a version yet"):
        support.split("support", {1: 1, 2: 1}, alias="beta")
    with pytest.raises(UnknownNameError, match="No split of support@production runs"):
        support.end_split("support@production")
    with pytest.raises(UnknownNameError, match="nosuch"):
        support.split("nosuch", {1: 1, 2: 1})
    with pytest.raises(OptionError, match="unit is a text"):
        support.run("support@production", {"q": "x"}, unit=3)


@pytest.mark.parametrize(
    "text",
    ["production", "production=", "production=3-90", "production=3:x", "=3:1,4:1", "p=3:1,3:2"],
)
def test_lines_that_are_no_split(text):
    with pytest.raises(OptionError, match="is no split"):
        parse_arms(text)


def test_the_magic_begins_shows_and_ends_a_split(ws, support, capsys):
    notebook = Notebook(ws)
    try:
        notebook.run("%prompt split support production=3:90,4:10")
        assert "version 3 90%, version 4 10%" in capsys.readouterr().out
        notebook.names["q"] = "x"
        notebook.run("%prompt run support@production --unit ann -o reply")
        split = support.splits.get("support", "production")
        assert notebook.names["reply"].prompt_version == f"support@{split.arm_of('ann')}"
        notebook.run("%prompt split support")
        notebook.run("%prompt list")
        notebook.run("%prompt show support@3")
        shown = capsys.readouterr().out
        assert "running since" in shown
        assert shown.count("support@production: version 3 90%") >= 3
        notebook.run("%prompt split support@production --promote 4")
        assert "it is version 4" in capsys.readouterr().out
        with pytest.raises(OptionError, match="is begun by"):
            notebook.run("%prompt split support@production production=3:1,4:1")
    finally:
        notebook.close()


def test_the_terminal_does_the_same(ws, support, own_home, capsys):
    from llmops_jupyter.cli.program import run

    assert run(["prompts", "split", "support", "production=3:50,4:50"]) == 0
    assert run(["prompts", "split", "support@production", "--json"]) == 0
    assert '"running": true' in capsys.readouterr().out
    assert run(["prompts", "split", "support@production", "--end"]) == 0
    with lo.open() as other:
        assert other.prompts.splits.running("support", "production") is None
