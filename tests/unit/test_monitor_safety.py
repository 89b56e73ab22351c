"""What guards decided: rates by check with intervals, how they changed, examples."""

from __future__ import annotations

import json

import numpy as np
import pytest
from monitor_fakes import Clock, Traffic

from llmops_jupyter.errors import DataError, OptionError, UnknownNameError
from llmops_jupyter.monitor.alerts.safety import report


@pytest.fixture
def traffic(ws):
    return Traffic(ws, Clock())


def guarded(traffic, n, *, hits, check="injection", decision="deny", **values):
    for place, trace_id in enumerate(traffic.add(n, **values)):
        hit = decision if place < hits else "allow"
        traffic.guard(trace_id, (check, hit), ("length", "allow"))


def look(ws, traffic, window="24h", **filters):
    return report(ws.store, window, filters, now_ns=traffic.clock.ns)


def test_rates_have_intervals_and_say_what_changed(ws, traffic):
    guarded(traffic, 100, hits=2)
    traffic.clock.move(90_000)
    guarded(traffic, 100, hits=20)
    traffic.add(7)
    found = look(ws, traffic)
    injection, length = found.rates
    assert (injection.policy, injection.place, injection.check) == ("p@1", "input", "injection")
    assert (injection.hits, injection.blocked, injection.n, injection.rate) == (20, 20, 100, 0.2)
    assert injection.low < 0.2 < injection.high
    assert (injection.hits_before, injection.n_before) == (2, 100)
    assert injection.change == pytest.approx(0.18)
    assert injection.change_low > 0
    assert injection.changed
    assert (length.hits, length.changed) == (0, False)
    assert (found.traces, found.unguarded) == (100, 7)
    assert "100 guarded traces in the last 24h (7 without a guard)" in found.title()
    assert found.title().endswith("changed: injection")
    assert json.dumps(found.as_dict())


def test_examples_are_the_newest_and_are_escaped(ws, traffic):
    for n in range(8):
        traffic.guard(traffic.add(1)[0], (f"<b>check{n}", "warn"))
    found = look(ws, traffic)
    assert [e["check"] for e in found.examples] == [f"<b>check{n}" for n in (7, 6, 5, 4, 3)]
    html = found._repr_mimebundle_()["text/html"]
    assert "<b>check" not in html
    assert "&lt;b&gt;check7" in html


def test_a_text_that_several_spans_looked_at_counts_as_one_trace(ws, traffic):
    trace_id = traffic.add(1)[0]
    for decision in ("allow", "deny", "deny"):
        traffic.guard(trace_id, ("injection", decision))
    (rate,) = look(ws, traffic).rates
    assert (rate.hits, rate.n) == (1, 1)


def test_filters_choose_the_traces(ws, traffic):
    guarded(traffic, 5, hits=5, prompt_name="ask", prompt_version=1)
    guarded(traffic, 5, hits=0, prompt_name="tell", prompt_version=1)
    assert look(ws, traffic, prompt="ask").rates[0].hits == 5
    assert look(ws, traffic, prompt="tell").traces == 5
    assert ws.monitor.safety(prompt="ask").rates[0].n == 5


def test_without_guards_it_says_so(ws, traffic):
    assert look(ws, traffic).title() == "no guard looked at any of 0 traces in the last 24h"
    traffic.add(3)
    assert look(ws, traffic).title() == "no guard looked at any of 3 traces in the last 24h"


def test_spans_of_other_releases_are_passed_over(ws, traffic):
    trace_id = traffic.add(1)[0]
    traffic.guard(trace_id)
    with ws.store.write() as conn:
        conn.execute(
            "UPDATE spans SET attributes = ? WHERE op = 'run_guardrail'",
            (json.dumps({"llmops.guard.verdicts": [{"who": "knows"}]}),),
        )
    assert look(ws, traffic).rates == ()


def test_what_cannot_be_used_is_refused(ws):
    with pytest.raises(DataError, match="A window is a time"):
        ws.monitor.safety("soon")
    with pytest.raises(OptionError, match="Did you mean 'prompt'"):
        ws.monitor.safety(promt="x")
    with pytest.raises(OptionError, match="0 or more"):
        ws.monitor.safety(examples=-1)
    with pytest.raises(UnknownNameError):
        ws.monitor.safety(prompt="ask@production")


def test_rates_that_do_not_change_are_seldom_called_changed(ws):
    """Ten checks of the same rate in both windows: over 200 reports, a change is claimed in at most 5 %."""
    from llmops_jupyter.monitor.alerts.safety import _Counted, _rates

    drawn = np.random.default_rng(2)
    claimed = 0
    for _ in range(200):
        counted = {}
        for check in range(10):
            one = counted["p", "input", str(check)] = _Counted()
            for traces, hits in ((one.now, one.hits_now), (one.before, one.hits_before)):
                traces |= {str(n) for n in range(80)}
                hits |= {str(n) for n in np.flatnonzero(drawn.random(80) < 0.1)}
        claimed += any(rate.changed for rate in _rates(counted))
    assert claimed <= 17  # P(more | 5 %) < 0.01
