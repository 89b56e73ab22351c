"""Where a rule stands, and how a look moves it: looks in a row, hysteresis, windows of evidence.

Nothing here reads a clock or a store. Times are nanoseconds since 1970 by the wall clock; where it goes back, what
was noted in the future counts as not noted.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

from llmops_jupyter.monitor.alerts.readings import Reading, past
from llmops_jupyter.monitor.alerts.rules import Rule

State = Literal["ok", "warning", "alert", "no data"]
OK: Literal["ok"] = "ok"
WARNING: Literal["warning"] = "warning"
ALERT: Literal["alert"] = "alert"
NO_DATA: Literal["no data"] = "no data"
STATES: tuple[State, ...] = (OK, WARNING, ALERT, NO_DATA)
BAD = (WARNING, ALERT)
UNKNOWN: Literal["no data"] = "no data"
Telling = Literal["raised", "again", "over", "no data", ""]
_RANK = {NO_DATA: -1, OK: 0, WARNING: 1, ALERT: 2}
S = 1_000_000_000


@dataclass(frozen=True)
class Standing:
    """Where a rule stands between two looks.

    Args:
        state: now.
        since_ns: when it came to that.
        pending: the state that the last looks pointed to, if another one.
        count: how many looks in a row did.
        looked_ns: the last look; 0 for none.
        epoch_ns: when the window began in which a sure rule gathers evidence.
        told_ns: when the state was told last; 0 for never.
        value: of the last look.
        n: values of the last look.
        error: why the last look failed; '' if it did not.
        note: what else it found: why there is no data, say.
        owed: whether an alarm was told of which it was not told yet that it is over.
    """

    state: State = NO_DATA
    since_ns: int = 0
    pending: State | Literal[""] = ""
    count: int = 0
    looked_ns: int = 0
    epoch_ns: int = 0
    told_ns: int = 0
    value: float | None = None
    n: int = 0
    error: str = ""
    note: str = ""
    owed: bool = False

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Standing:
        """What `text` wrote."""
        return cls(**json.loads(text))


def begin(rule: Rule, now_ns: int) -> Standing:
    """A rule that nobody has looked at; the first window of evidence is the one that ends about now."""
    length = 0 if rule.window.seconds is None else int(rule.window.seconds * S)
    return Standing(since_ns=now_ns, epoch_ns=now_ns - length + S if length else 0)


def epoch_of(rule: Rule, standing: Standing, now_ns: int) -> int:
    """When the window of evidence began that a look now belongs to: windows of time follow each other."""
    if standing.epoch_ns > now_ns:  # the clock went back
        return now_ns
    if rule.window.seconds is None:
        return standing.epoch_ns
    length = int(rule.window.seconds * S)
    return standing.epoch_ns + (now_ns - standing.epoch_ns) // length * length


def found(rule: Rule, standing: Standing, reading: Reading) -> State:
    """The state that a look alone points to, with hysteresis around the one there is."""
    if not reading.enough:
        return NO_DATA
    if rule.measure.own:
        return ALERT if reading.alarm else OK
    states: tuple[State, State] = (ALERT, WARNING)
    for state in states:
        if reading.past.get(state):
            return state
        if _RANK[standing.state] >= _RANK[state] and not _came_back(rule, state, reading.value):
            return state
    return OK


def _came_back(rule: Rule, state: str, value: float | None) -> bool:
    """Whether a value is so far on the good side of a threshold that the state may get better."""
    limit = rule.thresholds().get(state)
    if limit is None or value is None:
        return True
    room = rule.hysteresis * abs(limit)
    edge = limit - room if rule.direction == "above" else limit + room
    return not past(rule, value, edge)


def after(rule: Rule, standing: Standing, reading: Reading, now_ns: int) -> Standing:
    """Where the rule stands after a look."""
    wanted = found(rule, standing, reading)
    seen = replace(
        standing,
        looked_ns=now_ns,
        since_ns=min(standing.since_ns, now_ns),
        epoch_ns=now_ns if reading.full else epoch_of(rule, standing, now_ns),
        value=reading.value,
        n=reading.n,
        error="",
        note=reading.note,
        told_ns=standing.told_ns if standing.told_ns <= now_ns else 0,
    )
    if wanted == standing.state:
        return replace(seen, pending="", count=0)
    count = standing.count + 1 if wanted == standing.pending else 1
    calm = standing.state == NO_DATA and wanted not in BAD
    if count < rule.consecutive and not calm:
        return replace(seen, pending=wanted, count=count)
    better = _RANK[wanted] < _RANK[standing.state]
    return replace(
        seen,
        state=wanted,
        since_ns=now_ns,
        pending="",
        count=0,
        owed=standing.owed and wanted != OK,
        # What was found once is no evidence for a second alarm.
        epoch_ns=now_ns if better else seen.epoch_ns,
    )


def failed(standing: Standing, error: str, now_ns: int) -> Standing:
    """Where a rule stands after a look that failed: where it stood, which is said."""
    return replace(standing, looked_ns=now_ns, error=error)


def telling(
    rule: Rule, before: Standing, standing: Standing, now_ns: int, *, acknowledged: bool
) -> Telling:
    """What is to be told after a look: 'raised', 'again', 'over', 'no data', or '' for nothing.

    An alarm that was silenced when it was raised is told at the first look after that, if it still stands; its end is told
    only if it was. That nothing says any more how things are is no end: 'over' is told once they are good.
    """
    was_told = before.state in BAD and before.told_ns >= before.since_ns
    if standing.state == NO_DATA:
        return UNKNOWN if was_told else ""
    if standing.state not in BAD:
        was_lost = before.state == NO_DATA and before.owed
        return "over" if was_told or was_lost else ""
    if standing.told_ns < standing.since_ns:
        return "raised"
    if acknowledged or rule.renotify_s is None:
        return ""
    return "again" if now_ns - standing.told_ns >= rule.renotify_s * S else ""


def told(standing: Standing, kind: Telling, now_ns: int) -> Standing:
    """Where a rule stands after that was told."""
    return replace(standing, told_ns=now_ns, owed=kind != "over")
