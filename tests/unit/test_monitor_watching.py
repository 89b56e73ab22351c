"""Looks on a schedule: one watcher a store, taken over when it is gone; what fails does not end it."""

from __future__ import annotations

import threading
import time

import pytest
from monitor_fakes import Traffic

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, StoreReadOnlyError
from llmops_jupyter.monitor.alerts import lease as leases
from llmops_jupyter.monitor.alerts.lease import Lease, holder_of
from llmops_jupyter.monitor.alerts.watching import Watcher


class Ticks:
    """Seconds that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def rule(ws):
    Traffic(ws).add(40, status="error")
    return ws.monitor.alerts.add(name="errors", metric="error_rate", alert=0.1)[0]


def threads():
    return [t for t in threading.enumerate() if t.name in ("llmops-watch", "llmops-look")]


def test_only_one_holds_the_lease_until_it_is_given_back(ws):
    first, second = Lease(ws.tracer, 60), Lease(ws.tracer, 60)
    assert first.hold()
    assert not second.hold()
    assert first.hold()
    assert holder_of(ws.store).owner == first.owner
    second.release()  # not its own
    assert not second.hold()
    first.release()
    assert second.hold()


def test_a_lease_whose_number_stands_still_is_taken_over_by_whoever_saw_that(ws):
    ticks = Ticks()
    first, second = Lease(ws.tracer, 60), Lease(ws.tracer, 60, clock=ticks)
    assert first.hold()
    assert not second.hold()
    ticks.now += leases.GONE_S - 1
    assert not second.hold()
    assert first.hold()  # it lives
    ticks.now += leases.GONE_S
    assert not second.hold()  # the number has moved meanwhile
    ticks.now += leases.GONE_S
    assert second.hold()
    assert not first.hold()  # and notices that it was taken for gone


def test_the_wall_clock_does_not_move_the_lease(ws):
    ticks = Ticks()
    first, second = Lease(ws.tracer, 60), Lease(ws.tracer, 60, clock=ticks)
    assert first.hold()
    for at in ("1999-01-01T00:00:00.000+00:00", "2999-01-01T00:00:00.000+00:00"):
        with ws.store.write() as conn:
            conn.execute("UPDATE watchers SET beat_at = ?", (at,))
        assert not second.hold()


def test_the_lease_of_a_dead_process_is_free_at_once(ws):
    first, second = Lease(ws.tracer, 60), Lease(ws.tracer, 60)
    assert first.hold()
    with ws.store.write() as conn:
        conn.execute(
            "INSERT INTO processes SELECT 'dead', 2147483000, started, host, boot, first_seen, first_span, 0 "
            "FROM processes LIMIT 1"
        )
        conn.execute("UPDATE watchers SET process_id = 'dead'")
    assert holder_of(ws.store) is None
    assert second.hold()


def test_it_looks_at_once_and_stops_when_told(ws, rule):
    watcher = ws.monitor.watch("1h")
    until(lambda: watcher.status().looks == 1)
    assert ws.monitor.alerts.board().entries[0].standing.state == "alert"
    status = watcher.status()
    assert (status.state, status.every_s, status.error) == ("watching", 3600, "")
    assert "watching, every 1h" in str(status)
    watcher.stop()
    assert watcher.status().state == "stopped"
    assert holder_of(ws.store) is None
    assert not threads()
    assert ws.monitor.watch("1h") is watcher  # it can begin again
    until(lambda: watcher.status().looks == 2)


def test_it_looks_again_and_again(ws, rule):
    watcher = ws.monitor.watch("1s")
    until(lambda: len(ws.monitor.alerts.looks("errors")) >= 3)
    watcher.stop()
    assert len(ws.monitor.alerts.looks("errors")) >= 3


def test_a_second_workspace_stands_by_and_takes_over(ws, rule):
    first = ws.monitor.watch("1h")
    with lo.open(ws.path) as other:
        second = other.monitor.watch("1h")
        assert second.status().state == "standing by"
        assert "watches this store" in str(second.status())
        until(lambda: first.status().looks == 1)
        first.stop()
        second._wake.set()  # instead of waiting for its next beat
        until(lambda: second.status().state == "watching" and second.status().looks == 1)
    until(lambda: not threads())  # closing a workspace ends its watcher


def test_a_look_that_takes_long_is_not_doubled(ws, rule, monkeypatch):
    go, began = threading.Event(), []

    def slow(*_, **__):
        began.append(1)
        assert go.wait(30)
        raise DataError("late")

    monkeypatch.setattr(ws.monitor.alerts, "look", slow)
    watcher = Watcher(ws.monitor.alerts, ws.tracer, 0.02).start()
    until(lambda: watcher.status().skipped >= 3)
    assert len(began) == 1
    go.set()
    until(lambda: "late" in watcher.status().error)
    watcher.stop()


def test_it_survives_what_a_look_raises(ws, rule, monkeypatch):
    looked, calls = ws.monitor.alerts.look, []

    def look(*given, **options):
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("a fault of ours")
        return looked(*given, **options)

    monkeypatch.setattr(ws.monitor.alerts, "look", look)
    watcher = Watcher(ws.monitor.alerts, ws.tracer, 0.05).start()
    until(lambda: ws.monitor.alerts.looks("errors"))
    until(lambda: not watcher.status().error)
    watcher.stop()
    assert len(calls) >= 2


def test_the_kernel_is_free_while_it_looks(ws, rule, monkeypatch):
    """While a look waits in the middle of its work, traces are written and read, and other looks say so."""
    inside, go = threading.Event(), threading.Event()
    watcher = Watcher(ws.monitor.alerts, ws.tracer, 3600)

    def rest():
        inside.set()
        assert go.wait(30)

    monkeypatch.setattr(watcher, "_rest", rest)
    watcher.start()
    assert inside.wait(30)
    with lo.span("cell"):
        pass
    assert ws.traces.newest(1)[0].name == "cell"
    ws.monitor.alerts.silence("errors", "1h")
    assert ws.monitor.alerts.look(wait=False).skipped
    go.set()
    until(lambda: watcher.status().looks == 1)
    watcher.stop()


def test_a_look_is_broken_off_by_stop(ws, monkeypatch):
    alerts = ws.monitor.alerts
    Traffic(ws).add(1200)
    alerts.add(name="errors", metric="error_rate", alert=0.1)
    watcher = Watcher(alerts, ws.tracer, 3600)
    inside, go, rest = threading.Event(), threading.Event(), watcher._rest

    def slow():
        inside.set()
        assert go.wait(30)
        rest()

    monkeypatch.setattr(watcher, "_rest", slow)
    watcher.start()
    assert inside.wait(30)
    watcher._stop.set()
    go.set()
    watcher.stop()
    assert not threads()
    assert alerts.looks("errors") == []


def test_a_closed_store_ends_it(own_home):
    ws = lo.open()
    watcher = ws.monitor.watch("1s")
    ws.store.close()
    watcher._wake.set()
    until(lambda: not threads())
    assert watcher.status().state == "stopped"
    ws.close()


def test_without_rules_it_waits_for_some(ws):
    watcher = ws.monitor.watch("1s")
    until(lambda: watcher.status().looks >= 1)
    Traffic(ws).add(40)
    ws.monitor.alerts.add(name="errors", metric="error_rate", alert=0.1)
    until(lambda: ws.monitor.alerts.board().entries[0].standing.state == "ok")
    watcher.stop()
    assert watcher.status().error == ""


def test_what_cannot_be_used_is_refused(ws):
    with pytest.raises(DataError, match="every is a time"):
        ws.monitor.watch("often")
    with lo.open(ws.path, read_only=True) as looking, pytest.raises(StoreReadOnlyError):
        looking.monitor.watch("1h")
    assert not threads()
