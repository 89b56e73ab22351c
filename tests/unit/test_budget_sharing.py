"""A budget that several calls use at once: threads, workspaces and processes, one of them killed."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from budget_calls import PROMPT, reserved, run, set_clock, used
from spending_fakes import plug_words

import llmops_jupyter as lo
from llmops_jupyter.errors import BudgetError

HERE = Path(__file__).parent


@pytest.fixture
def clock(ws):
    return set_clock(ws)


def test_a_call_that_runs_has_reserved_what_it_may_use(ws):
    held, goes_on = threading.Event(), threading.Event()

    def wait(number):
        if number == 2:
            held.set()
            assert goes_on.wait(30)

    plug_words(ws, 10, at_word=wait)
    ws.monitor.budget("b", output_tokens=100)
    thread = threading.Thread(target=run, args=(ws,), kwargs={"max_tokens": 70})
    with lo.open(ws.path) as other:
        plug_words(other, 100)
        thread.start()
        assert held.wait(30)
        try:
            done = other.prompts.run(other.prompts.scratch(PROMPT))
            assert done.usage.output_tokens == 30
            with pytest.raises(BudgetError, match="reserved by running calls"):
                other.prompts.run(other.prompts.scratch(PROMPT))
        finally:
            goes_on.set()
            thread.join(30)
        assert used(ws, "b", "output_tokens") == 40
        assert other.prompts.run(other.prompts.scratch(PROMPT)).usage.output_tokens == 60


def test_a_running_answer_notices_that_others_have_used_up_the_time(ws, clock, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.monitor.cost.purse.CHECK_S", 0.0)
    other_used = [0]

    def book(number):
        if number == 5:
            with ws.store.write() as conn:
                account = ws.monitor.budget("b").budget.account
                minute = int(clock[0] // 60)
                conn.execute(
                    "INSERT INTO budget_usage VALUES (?, 'seconds', ?, 100)", (account, minute)
                )
            other_used[0] = 100

    engine = plug_words(ws, 10, at_word=book)
    ws.monitor.budget("b", seconds=50)
    done = run(ws)
    assert done.finish_reason == "budget"
    assert done.text.split() == ["w1", "w2", "w3", "w4", "w5"]
    assert done.usage.output_tokens == engine.count_tokens(done.text)
    assert ws.traces.get(done.trace_id).status == "ok"
    assert reserved(ws) == []


CHILD = """
import sys
sys.path.insert(0, {here!r})
from spending_fakes import plug_words
import llmops_jupyter as lo
from llmops_jupyter.errors import BudgetError
with lo.open({path!r}) as ws:
    plug_words(ws, 25)

    def ask():
        return ws.prompts.run(ws.prompts.scratch("go"), max_tokens=40).usage.output_tokens

    wrote = ask()  # Nothing is cold, so both race for the rest.
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        while True:
            wrote += ask()
    except BudgetError:
        print(wrote)
"""


def child(ws, code=CHILD):
    return subprocess.Popen(
        [sys.executable, "-c", code.format(here=str(HERE), path=str(ws.path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_together_stay_within_a_budget(ws):
    ws.monitor.budget("b", output_tokens=1010)
    children = [child(ws) for _ in range(2)]
    for one in children:
        assert one.stdout.readline() == "ready\n"
    wrote = []
    for one in children:
        one.stdin.write("\n")
        one.stdin.flush()
    for one in children:
        wrote.append(int(one.communicate(timeout=120)[0]))
    state = ws.monitor.budget("b")
    assert sum(wrote) == state.used["output_tokens"]
    # Who ends first was refused while the other held the rest, so nothing is overrun.
    assert 1010 - 40 <= sum(wrote) <= 1010


KILLED = """
import os, sys
sys.path.insert(0, {here!r})
from spending_fakes import plug_words
import llmops_jupyter as lo
ws = lo.open({path!r})
plug_words(ws, 25, at_word=lambda number: os._exit(9) if number == 3 else None)
ws.prompts.run(ws.prompts.scratch("go"), max_tokens=40)
"""


def test_what_a_killed_process_had_reserved_counts_as_used(ws):
    plug_words(ws, 10)
    ws.monitor.budget("b", output_tokens=100, calls=50)
    with child(ws, KILLED) as killed:
        assert killed.wait(60) == 9
    assert len(reserved(ws)) == 2
    run(ws)
    assert ws.monitor.budget("b").used == {"output_tokens": 50, "calls": 2}
    assert reserved(ws) == []
