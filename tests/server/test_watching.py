"""What the monitor section is told: of the time that was asked for, and where the traces are that a rule watches."""

from __future__ import annotations

from contextlib import suppress

import pytest

YEARS_AGO = "2020-01-01T00:00:00.000+00:00"


@pytest.fixture
def alarmed(own):
    """A rule that has given an alarm, and a baseline that traces were compared with."""
    ws = own.ws
    for _ in range(20):
        with suppress(ValueError), ws.tracer.span("ask"):
            raise ValueError
    ws.monitor.alerts.add(name="errors", metric="error_rate", alert=0.1, window="24h", at_least=1)
    ws.monitor.alerts.look()
    rows = [{"input": f"question {n}", "length": n % 7} for n in range(40)]
    ws.monitor.baseline("normal", rows, embedder="none")
    ws.monitor.check("normal", rows, calibrated=False)
    return own


@pytest.mark.parametrize(
    ("table", "member"), [("alert_changes", "events"), ("monitor_reports", "drift")]
)
def test_what_is_older_than_the_time_that_was_asked_for_is_left_out(alarmed, table, member):
    assert len(alarmed.server.get("monitor", since="24h").json()[member]) == 1
    with alarmed.ws.store.write() as conn:
        conn.execute(f"UPDATE {table} SET at = ?", (YEARS_AGO,))
    assert alarmed.server.get("monitor", since="24h").json()[member] == []


def test_the_place_of_what_a_rule_watches_holds_spaces_too(own):
    own.ws.monitor.alerts.add(name="errors", metric="error_rate", alert=0.1, session="100% of Ann")
    (rule,) = own.server.get("monitor").json()["rules"]
    assert rule["traces"] == "session:100%25%20of%20Ann status:error"
