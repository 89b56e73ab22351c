"""Who waits for a run reads each of its events once, however often it looks."""

from __future__ import annotations

import pytest

from llmops_jupyter.finetune import job
from llmops_jupyter.finetune.job import Events
from llmops_jupyter.finetune.runs import RUNNING, Runs
from llmops_jupyter.finetune.told import Told


def step(number, loss=2.0):
    at = {"step": number, "steps": 100, "seconds": 0.5 * number, "tokens": 9}
    return {"kind": "step", **at, "loss": loss, "smoothed": loss}


@pytest.fixture
def read(monkeypatch):
    """How many events were taken from the store, and from the run's file."""
    counts = {"store": 0, "file": 0}
    add, since = Told.add, Events.since

    def counted_add(self, event):
        counts["store"] += 1
        add(self, event)

    def counted_since(self, place):
        events, end = since(self, place)
        counts["file"] += len(events)
        return events, end

    monkeypatch.setattr(Told, "add", counted_add)
    monkeypatch.setattr(Events, "since", counted_since)
    return counts


def test_only_new_events_are_read_by_each_look(ws, begun_run, read):
    run, _, events = begun_run(ws, "r1", "tickets")
    for number in range(1, 81):
        events.add(step(number))
    watch = ws.finetune.watch(run)
    assert len(next(watch).losses) == 80
    assert read == {"store": 80, "file": 80}
    for _ in range(5):
        assert next(watch).step == 80
    assert read == {"store": 80, "file": 80}
    for number in range(81, 84):
        events.add(step(number))
    now = next(watch)
    assert (now.step, len(now.losses)) == (83, 83)
    assert read == {"store": 83, "file": 83}
    watch.close()


def test_what_was_read_bit_by_bit_is_what_is_read_at_once(ws, begun_run):
    run, _, events = begun_run(ws, "r1", "tickets", samples=[("ask", "answer")])
    told = [
        {"kind": "phase", "text": "loading"},
        {"kind": "facts", "device": "cpu"},
        {"kind": "sample", "when": "before", "number": 0, "text": "old"},
        step(1, 3.0),
        step(2, 2.0),
        {**step(2), "kind": "eval"},
        {**step(1), "kind": "resumed"},
        step(2, 1.5),
        {"kind": "base", "kl": 0.01, "tokens": 5},
    ]
    seen = []
    for event in told:
        events.add(event)
        seen.append(ws.finetune.get(run))
    assert seen[-1] == Runs(ws.store).get(run)
    assert seen[6].losses == ((1, 3.0, 3.0),)
    assert seen[-1].losses[-1] == (2, 1.5, 1.5)
    assert seen[4].losses[-1] == (2, 2.0, 2.0), "what was handed out does not change"
    assert seen[-1].facts == {"device": "cpu", "base_kl": 0.01}


def test_a_run_that_has_ended_is_forgotten_and_still_found_whole(ws, begun_run, read):
    run, folder, events = begun_run(ws, "r1", "tickets")
    events.add(step(1))
    assert ws.finetune.get(run).status == RUNNING
    events.add({"kind": "end", "ended": "finished", "step": 1})
    (folder / job.PROCESS).unlink()
    assert ws.finetune.get(run).status == "finished"
    assert ws.finetune._runs._told == {}
    assert len(ws.finetune.get(run).losses) == 1


def test_an_event_that_an_interrupt_cut_short_is_taken_again(ws, begun_run, monkeypatch):
    run, _, events = begun_run(ws, "r1", "tickets")
    events.add(step(1))
    events.add(step(2))
    add = Told.add

    def broken(self, event):
        if event["step"] == 2:
            raise KeyboardInterrupt
        add(self, event)

    monkeypatch.setattr(Told, "add", broken)
    with pytest.raises(KeyboardInterrupt):
        ws.finetune.get(run)
    monkeypatch.setattr(Told, "add", add)
    assert len(ws.finetune.get(run).losses) == 2
