"""Rules with where they stand, as people and programs read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter import render
from llmops_jupyter.monitor.alerts.ledger import Mark, iso, parse
from llmops_jupyter.monitor.alerts.rules import Rule
from llmops_jupyter.monitor.alerts.states import ALERT, BAD, NO_DATA, WARNING, Standing
from llmops_jupyter.render.clock import local
from llmops_jupyter.render.html import bundle, escaped

# Exit codes of `llmops monitor`; what is above is an error.
EXIT_OK, EXIT_WARNING, EXIT_ALERT, EXIT_NO_DATA, EXIT_ERROR = 0, 1, 2, 3, 4
MARKS = {"ok": "✓", "warning": "!", "alert": "✗", "no data": "?"}


@dataclass(frozen=True)
class Entry:
    """A rule with where it stands.

    Args:
        rule: that is watched.
        standing: where it stands.
        silence: that holds now.
        acknowledged: by whom, of the state that it is in.
        change: number of the change by which it came to that.
    """

    rule: Rule
    standing: Standing
    silence: Mark | None = None
    acknowledged: Mark | None = None
    change: int = 0

    @property
    def is_loud(self) -> bool:
        """Whether it warns or alerts, and nobody has silenced or acknowledged it."""
        return self.standing.state in BAD and self.silence is None and self.acknowledged is None

    def line(self) -> str:
        """The rule on one line, for the quiet line of a cell."""
        is_state = "has" if self.standing.state == NO_DATA else "is"
        return f"{self.rule.name} {is_state} {self.standing.state} since {local(self.standing.since_ns)}"

    def remarks(self) -> str:
        """What beside the state is to be known."""
        parts = []
        if self.standing.error:
            parts.append(f"the last look failed: {self.standing.error}")
        elif self.standing.note and (self.standing.state == NO_DATA or self.rule.measure.of_calls):
            parts.append(self.standing.note)
        if self.standing.pending:
            looks = f"{self.standing.count} of {self.rule.consecutive} looks"
            parts.append(f"{looks} say {self.standing.pending}")
        if self.silence is not None and self.silence.until is not None:
            why = f" ({self.silence.why})" if self.silence.why else ""
            until = local(parse(self.silence.until))
            parts.append(f"silenced by {self.silence.who} until {until}{why}")
        if self.acknowledged is not None:
            why = f": {self.acknowledged.why}" if self.acknowledged.why else ""
            parts.append(f"known to {self.acknowledged.who}{why}")
        return "; ".join(parts)

    def row(self) -> dict[str, Any]:
        """The rule as a row for people."""
        standing = self.standing
        return {
            "": MARKS[standing.state],
            "rule": self.rule.name,
            "state": standing.state,
            "since": local(standing.since_ns) if standing.looked_ns else "",
            "value": self.rule.measure.text(standing.value),
            "n": standing.n or "",
            "watches": self.rule.words(),
            "looked at": local(standing.looked_ns) if standing.looked_ns else "never",
            "remarks": self.remarks(),
        }

    def as_dict(self) -> dict[str, Any]:
        """The rule and its state as JSON values."""
        standing, silence = self.standing, self.silence
        return {
            "rule": self.rule.name,
            "state": standing.state,
            "since": iso(standing.since_ns),
            "looked_at": iso(standing.looked_ns) if standing.looked_ns else None,
            "metric": self.rule.metric,
            "value": standing.value,
            "n": standing.n,
            "pending": standing.pending or None,
            "severity": self.rule.severity,
            "silenced_until": silence.until if silence else None,
            "acknowledged_by": self.acknowledged.who if self.acknowledged else None,
            "error": standing.error or None,
            "note": standing.note or None,
            "watches": self.rule.words(),
            "false_alarms": self.rule.promise(),
        }


def counted(entries: Sequence[Entry]) -> str:
    """How many rules are in which state."""
    states = [entry.standing.state for entry in entries]
    parts = [f"{states.count(s)} {s}" for s in (ALERT, WARNING, NO_DATA, "ok") if s in states]
    failed = sum(bool(entry.standing.error) for entry in entries)
    return ", ".join([*parts, *([f"{failed} could not be looked at"] if failed else [])])


@dataclass(frozen=True)
class Board:
    """All rules with where they stand."""

    entries: tuple[Entry, ...]

    def title(self) -> str:
        """All on one line."""
        if not self.entries:
            return "no rules yet"
        n = len(self.entries)
        return f"{n} {'rule' if n == 1 else 'rules'}: {counted(self.entries)}"

    def rows(self) -> list[dict[str, Any]]:
        """One row a rule, alarms first."""
        rank = {ALERT: 0, WARNING: 1, NO_DATA: 2}
        ordered = sorted(self.entries, key=lambda e: rank.get(e.standing.state, 3))
        return [entry.row() for entry in ordered]

    def as_dict(self) -> dict[str, Any]:
        """The rules as JSON values."""
        return {"rules": [entry.as_dict() for entry in self.entries]}

    def __str__(self) -> str:
        return f"{self.title()}\n{render.text_table(self.rows())}" if self.entries else self.title()

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        table = render.table_html(self.rows()) if self.entries else ""
        title = f"<p><strong>{escaped(self.title())}</strong></p>"
        return bundle(str(self), title + table)


@dataclass(frozen=True)
class Looked(Board):
    """What a look at rules came to; `skipped` if another one was under way and nothing was done."""

    skipped: bool = False

    def exit_code(self, *, allow_no_data: bool = False) -> int:
        """0 ok, 1 a warning, 2 an alert, 3 no data for some rule, 4 a rule could not be looked at.

        The worst counts: an alert before a fault, a fault before a warning, that before missing data.
        """
        states = [entry.standing.state for entry in self.entries]
        if ALERT in states:
            return EXIT_ALERT
        if any(entry.standing.error for entry in self.entries):
            return EXIT_ERROR
        if WARNING in states:
            return EXIT_WARNING
        return EXIT_NO_DATA if NO_DATA in states and not allow_no_data else EXIT_OK
