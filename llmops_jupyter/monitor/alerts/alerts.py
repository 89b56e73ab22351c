"""Alerts of a workspace: rules are looked at, their states change, whoever is to know is told."""

from __future__ import annotations

import getpass
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError, UnknownNameError, unknown_name
from llmops_jupyter.monitor.alerts import ledger, outbox
from llmops_jupyter.monitor.alerts.ages import age
from llmops_jupyter.monitor.alerts.board import Board, Entry, Looked
from llmops_jupyter.monitor.alerts.bodies import body_of, reason_of
from llmops_jupyter.monitor.alerts.deciding import decide
from llmops_jupyter.monitor.alerts.notifying import Notifier
from llmops_jupyter.monitor.alerts.readings import Reading, read
from llmops_jupyter.monitor.alerts.rules import ALL, FILTERS, Rule, read_rules
from llmops_jupyter.monitor.alerts.states import (
    BAD,
    NO_DATA,
    S,
    Standing,
    Telling,
    after,
    begin,
    epoch_of,
    failed,
    telling,
    told,
)
from llmops_jupyter.monitor.alerts.traffic import Pause, collect, no_pause
from llmops_jupyter.monitor.alerts.windows import resolved

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.answering import Tell
    from llmops_jupyter.prompts import Prompts
    from llmops_jupyter.store import Store
    from llmops_jupyter.tracing import Tracer

NOTHING = "There are no rules yet. Add some: %monitor alerts add FILE"


@dataclass(frozen=True)
class _Found:
    """What a look at one rule found, and when it began to read: a reading, nothing new, or an error."""

    rule: Rule
    reading: Reading | None
    read_ns: int
    error: str = ""


class Alerts:
    """The rules of a workspace, where they stand, and who is told.

    Args:
        store: that keeps them.
        monitor: the stage, which is asked for drift, golden sets and spikes.
        prompts: that say which version an alias stands for.
        tracer: which registers this process, and takes out of texts what is not to be written.
        clock: the time now in nanoseconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        monitor: Any,
        prompts: Callable[[], Prompts],
        tracer: Tracer,
        clock: Callable[[], int],
    ) -> None:
        self.store = store
        self.clock = clock
        self._monitor = monitor
        self._prompts = prompts
        self._tracer, self._clean = tracer, tracer.clean_text
        self._functions: dict[str, Callable[[Mapping[str, Any]], Any]] = {}
        self._looking = threading.Lock()
        self.notifier = Notifier(store, self._functions)

    def add(self, rules: Any = None, **rule: Any) -> list[Rule]:
        """Keep rules; one of a name that is there is its next version, and goes on where it stands.

        Args:
            rules: a YAML file, YAML text, a `Rule`, a mapping, or a list of these.
            rule: one rule by its keys, as in ``add(name="errors", metric="error_rate", alert=0.1)``; ``for`` is
                written ``consecutive`` in Python.

        Raises:
            DataError: a rule cannot be used; none was kept.
            UnknownNameError: there is no such prompt, baseline or golden set; none was kept.
        """
        if (rules is None) == (not rule):
            raise OptionError(
                "Give rules, or the keys of one: add(metric='error_rate', alert=0.1)."
            )
        if rule:
            if "consecutive" in rule:
                rule["for"] = rule.pop("consecutive")
            rules = [rule]
        found = read_rules(rules)
        for one in found:
            self._check(one)
        ledger.keep_rules(self.store, found)
        return found

    def remove(self, name: str) -> None:
        """Take a rule away; its history stays.

        Raises:
            UnknownNameError: there is none.
        """
        ledger.remove_rule(self.store, name)

    def rules(self) -> list[Rule]:
        """The rules that hold now, by name."""
        return ledger.rules_of(self.store)

    def get(self, name: str) -> Rule:
        """A rule by its name.

        Raises:
            UnknownNameError: there is none.
        """
        return ledger.rule_of(self.store, name)

    def on(self, name: str, function: Callable[[Mapping[str, Any]], Any]) -> None:
        """Have a function of this process called with each notice of rules whose channel is ``{python: name}``."""
        self._functions[name] = function

    def look(
        self,
        names: Sequence[str] | None = None,
        *,
        tell: Tell | None = None,
        pause: Pause = no_pause,
        wait: bool = True,
    ) -> Looked:
        """Look at rules, change their states, and tell whoever is to know.

        What fails for one rule is kept with it, and the others go on. Looks of one process follow each other.

        Args:
            names: of rules; all if left out.
            tell: told how far it is.
            pause: called between small pieces of work.
            wait: whether to wait for a look that is under way; else that is said, and nothing is done.

        Raises:
            UnknownNameError: there is no such rule, or none at all.
        """
        rules = [self.get(name) for name in names] if names else self.rules()
        if not rules:
            raise UnknownNameError(NOTHING)
        if not self._looking.acquire(blocking=wait):
            return Looked((), skipped=True)
        try:
            self.notifier.adopt(self._process())
            return Looked(tuple(self._look_at(rule, tell, pause) for rule in rules))
        finally:
            self._looking.release()

    def board(self) -> Board:
        """All rules with where they stand."""
        now = self.clock()
        return Board(tuple(self._entry(rule, now) for rule in self.rules()))

    def active(self) -> list[Entry]:
        """The rules that warn or alert and are neither silenced nor acknowledged."""
        return [e for e in self.board().entries if e.is_loud]

    def changes(self, rule: str | None = None, limit: int = 50) -> list[ledger.Change]:
        """The latest changes of state, newest first."""
        if rule is not None:
            self._known(rule)
        return ledger.changes_of(self.store, rule, limit)

    def looks(self, rule: str, limit: int = 500) -> list[Mapping[str, Any]]:
        """The latest looks at a rule, oldest first."""
        self._known(rule)
        return ledger.looks_of(self.store, rule, limit)

    def marks(self, rule: str) -> list[ledger.Mark]:
        """Silences and acknowledgements of a rule, newest first."""
        self._known(rule)
        return ledger.marks_of(self.store, rule)

    def notices(self, limit: int = 50, *, failed: bool = False) -> list[Mapping[str, Any]]:
        """What channels were told lately, newest first; only what failed or still waits, if asked for."""
        return outbox.notices_of(self.store, limit, failed=failed)

    def silence(
        self, rule: str, for_: str = "1h", *, why: str = "", by: str | None = None
    ) -> list[str]:
        """Tell nobody of a rule, or of 'all', for so long; it is looked at all the same.

        An alarm that still stands at the end is told then. Returns the names of the rules.

        Raises:
            UnknownNameError: there is no such rule.
            DataError: the time cannot be read.
        """
        seconds, now = age(for_, "A silence"), self.clock()
        until = ledger.iso(now + int(seconds * S))
        return self._mark(rule, ledger.SILENCE, why, by, until)

    def speak(self, rule: str, *, why: str = "", by: str | None = None) -> list[str]:
        """End the silence of a rule, or of 'all'."""
        return self._mark(rule, ledger.SPEAK, why, by, None)

    def acknowledge(self, rule: str, *, why: str = "", by: str | None = None) -> list[str]:
        """Say that somebody knows of an alarm: it is not told again until the state changes.

        Raises:
            OptionError: the rule does not warn or alert.
        """
        for name in self._names(rule):
            standing = ledger.standing_of(self.store, name)
            if rule != ALL and (standing is None or standing.state not in BAD):
                state = NO_DATA if standing is None else standing.state
                raise OptionError(
                    f"{name} is {state!r}: there is no alarm to acknowledge. %monitor alerts silence {name} keeps it quiet."
                )
        return self._mark(rule, ledger.ACKNOWLEDGE, why, by, None)

    def _mark(self, rule: str, kind: str, why: str, by: str | None, until: str | None) -> list[str]:
        names, at = self._names(rule), ledger.iso(self.clock())
        for name in names:
            change = ledger.change_now(self.store, name)
            ledger.add_mark(
                self.store,
                ledger.Mark(name, kind, at, until, by or _user(), self._clean(why), change),
            )
        return names

    def _names(self, rule: str) -> list[str]:
        return [one.name for one in self.rules()] if rule == ALL else [self.get(rule).name]

    def _known(self, rule: str) -> None:
        """Raise an UnknownNameError for a rule that never was."""
        if self.store.row("SELECT 1 FROM alert_rules WHERE name = ?", (rule,)) is None:
            raise unknown_name(
                "rule", rule, [r.name for r in self.rules()], "%monitor alerts shows all."
            )

    def _entry(self, rule: Rule, now: int) -> Entry:
        standing = ledger.standing_of(self.store, rule.name)
        return Entry(
            rule,
            standing or begin(rule, now),
            silence=ledger.silence_of(self.store, rule.name, now),
            acknowledged=ledger.acknowledgement_of(self.store, rule.name),
            change=ledger.change_now(self.store, rule.name),
        )

    def _look_at(self, rule: Rule, tell: Tell | None, pause: Pause) -> Entry:
        found = self._find(rule, tell, pause)
        self._keep(found)
        return self._entry(rule, self.clock())

    def _find(self, rule: Rule, tell: Tell | None, pause: Pause) -> _Found:
        """Read what the rule is about; this takes its time, and no lock."""
        now = self.clock()
        standing = ledger.standing_of(self.store, rule.name) or begin(rule, now)
        if tell is not None:
            tell(f"looking at {rule.name}")
        try:
            filters = self._filters(rule)
            if rule.measure.own:
                reading = decide(self._monitor, rule, standing, filters, now, tell)
                return _Found(rule, reading, now)
            values = collect(
                self.store,
                rule.measure,
                rule.window,
                filters,
                now_ns=now,
                bad_above=rule.direction == "above",
                pause=pause,
            )
            return _Found(rule, read(rule, values, epoch_of(rule, standing, now)), now)
        except Exception as e:  # noqa: BLE001 - one rule must not keep others from being looked at
            self.store.check_process()  # that the store was closed is no fault of the rule
            return _Found(rule, None, now, f"{type(e).__name__}: {' '.join(str(e).split())}")

    def _keep(self, found: _Found) -> None:
        """Move the rule in one transaction, with the notices of that, and deliver these after it."""
        rule, now = found.rule, self.clock()
        with self.store.write() as conn:
            before = ledger.standing_of(self.store, rule.name) or begin(rule, now)
            if found.read_ns < before.looked_ns <= now:
                return  # another look has read since what this one knows
            reading = found.reading or Reading(None, enough=False, note=found.error)
            reading = replace(reading, note=self._clean(reading.note))
            change = ledger.change_now(self.store, rule.name)
            if found.error:
                standing = failed(before, reading.note, now)
            elif found.reading is None:
                standing = before
            else:
                standing = after(rule, before, reading, now)
            if found.error or found.reading is not None:
                change = self._note_look(conn, found, reading, before, standing, now) or change
            said = self._telling(rule, before, standing, change, now)
            parcels = []
            if said:
                standing = told(standing, said, now)
                process = self._tracer.register_process(conn)
                body = body_of(rule, before, standing, reading, said)
                parcels = [
                    outbox.keep(
                        *(conn, channel, body),
                        change_id=change,
                        process=process,
                        at=self.store.now(),
                    )
                    for channel in rule.channels
                ]
            ledger.keep_standing(conn, rule.name, standing, change)
        self._tracer.registered()
        self.notifier.deliver(parcels)

    def _note_look(
        self,
        conn: sqlite3.Connection,
        found: _Found,
        reading: Reading,
        before: Standing,
        standing: Standing,
        now: int,
    ) -> int:
        """Append a look, and the change of state that it made; the number of the change, 0 without one."""
        rule = found.rule
        word = "error" if found.error else standing.pending or standing.state
        look = ledger.add_look(conn, rule, reading, word, standing.state, now)
        if standing.state == before.state:
            return 0
        reason = reason_of(rule, reading)
        return ledger.add_change(
            *(conn, rule, before.state, standing.state, reason, look, ledger.iso(now))
        )

    def _telling(
        self, rule: Rule, before: Standing, standing: Standing, change: int, now: int
    ) -> Telling:
        """What is to be told now; nothing while the rule is silenced."""
        if ledger.silence_of(self.store, rule.name, now) is not None:
            return ""
        known = ledger.acknowledgement_of(self.store, rule.name)
        acknowledged = known is not None and known.change_id == change
        return telling(rule, before, standing, now, acknowledged=acknowledged)

    def _process(self) -> str:
        with self.store.write() as conn:
            process = self._tracer.register_process(conn)
        self._tracer.registered()
        return process

    def _check(self, rule: Rule) -> None:
        """Raise an UnknownNameError for a rule of something that is not there."""
        filters = self._filters(rule)
        if "prompt" in filters:
            self._prompts().get(filters["prompt"])
        if rule.measure.name == "golden":
            self._monitor.golden.get(rule.measure.argument)
        if rule.measure.name == "drift":
            self._monitor.get(rule.measure.argument)

    def _filters(self, rule: Rule) -> dict[str, str]:
        """The filters of a rule, with an alias as the version that it stands for now.

        A test of drift looks at what its baseline was made of, where the rule says nothing else.

        Raises:
            UnknownNameError: there is no such version or alias of the prompt, or no such baseline.
        """
        filters = dict(rule.filters)
        if rule.measure.name == "drift":
            kind = self._monitor.get(rule.measure.argument).kind
            filters = {**{k: v for k, v in kind.items() if k in FILTERS}, **filters}
        return resolved(filters, self._prompts)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id without a name
        return "somebody"
