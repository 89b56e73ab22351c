"""Rules of alerts: what is measured over which window, where it warns, and who is told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from llmops_jupyter.errors import DataError, OptionError, did_you_mean
from llmops_jupyter.evaluation.suites import check_keys, is_number, parse_yaml
from llmops_jupyter.monitor.alerts.ages import Window, age, read_window
from llmops_jupyter.monitor.alerts.catalogue import MEASURES, Measure, measure_of
from llmops_jupyter.monitor.alerts.channels import Channel, read_channel
from llmops_jupyter.store import aliases
from llmops_jupyter.tracing.messages import clean

Direction = Literal["above", "below"]
KIND = "rule"
ALL = "all"
FILTERS = ("prompt", "model", "notebook", "session", "source")
SEVERITIES = ("low", "normal", "high")
KEYS = (
    *("name", "metric", "window", *FILTERS, "warn", "alert", "direction", "at_least", "sure"),
    *("level", "for", "hysteresis", "renotify", "severity", "channels", "note"),
)
TOP = ("rules", "channels", "defaults")


@dataclass(frozen=True)
class Rule:
    """One thing that is watched.

    Args:
        name: by which it is silenced and shown.
        metric: what is measured; see `catalogue.MEASURES`.
        window: over which traces.
        filters: only traces of this prompt, model, notebook or session, or that came from this source.
        warn: the value past which it warns; None for no warning.
        alert: the value past which it alerts; None for no alert.
        direction: on which side of a threshold it is bad: 'above' or 'below'.
        at_least: traces with a value, below which there is 'no data'.
        sure: it warns only where an interval that holds at every look is past the threshold.
        level: probability of a false alarm that is allowed in each window (`sure`), or of the test behind it.
        consecutive: looks in a row that must agree before the state changes; ``for`` in YAML.
        hysteresis: how far back a value must come before the state is better, as a share of the threshold.
        renotify_s: seconds after which an alarm that goes on is told again; None for never.
        severity: 'low', 'normal' or 'high', for those who are told.
        channels: who is told, beside the notebook.
        note: what to do then, for people.
    """

    name: str
    metric: str
    window: Window = field(default_factory=lambda: Window("24h", 86_400.0))
    filters: Mapping[str, str] = field(default_factory=dict)
    warn: float | None = None
    alert: float | None = None
    direction: Direction = "above"
    at_least: int = 30
    sure: bool = False
    level: float = 0.05
    consecutive: int = 1
    hysteresis: float = 0.1
    renotify_s: float | None = None
    severity: str = "normal"
    channels: tuple[Channel, ...] = ()
    note: str = ""

    @property
    def measure(self) -> Measure:
        """What its metric is."""
        return measure_of(self.metric)

    def thresholds(self) -> dict[str, float]:
        """The thresholds by the state that is entered past them, the worse one first."""
        found = {"alert": self.alert, "warning": self.warn}
        return {state: limit for state, limit in found.items() if limit is not None}

    def words(self) -> str:
        """The rule for people."""
        of = "".join(f" of {key} {value}" for key, value in self.filters.items())
        limits = [
            f"{state} {self.direction} {self.measure.text(limit)}"
            for state, limit in self.thresholds().items()
        ]
        if self.measure.own:
            over = "" if self.sure or self.measure.name == "golden" else f" over {self.window.text}"
            return f"{self.metric}{of}{over}: alert when it is found"
        return f"{self.metric}{of} over {self.window.text}: {', '.join(limits)}"

    def promise(self) -> str:
        """What is promised about false alarms."""
        if self.measure.own and self.sure:
            return (
                f"at most {self.level:.2g} over all looks, however many: the stream of traces is ranked together with "
                "the baseline"
            )
        if self.measure.own:
            return self.measure.promise.format(level=f"{self.level:.0%}")
        if not self.sure:
            return (
                "none: the value itself is compared with the threshold. With sure: true, the chance of a false "
                "alarm is bounded"
            )
        return (
            f"at most {self.level:.2g} false alarms for each threshold in each {self.window.text}, however often "
            f"one looks{self.measure.approximate}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The rule as JSON values, as it is kept."""
        made = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **made,
            "window": self.window.text,
            "filters": dict(self.filters),
            "channels": [c.as_dict() for c in self.channels],
        }

    def text(self) -> str:
        """The rule as text that is equal for equal rules."""
        return clean(json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=False))

    @classmethod
    def from_text(cls, text: str) -> Rule:
        """The rule that `text` wrote."""
        value = json.loads(text)
        value["window"] = read_window(value["window"], "the rule")
        value["channels"] = tuple(Channel(**c) for c in value["channels"])
        return cls(**value)


def read_rules(given: Any) -> list[Rule]:
    """Rules from a YAML file, from YAML text, or from mappings.

    Raises:
        DataError: something cannot be used, with the line where that is known; none is kept then.
    """
    if isinstance(given, Rule):
        return [given]
    lines: Mapping[tuple[Any, ...], int] = {}
    if isinstance(given, str | Path):
        text, where = _text(given)
        value, lines = parse_yaml(text, where)
    else:
        value, where = given, "the rules"
    prefix: tuple[Any, ...] = ()
    if isinstance(value, Mapping) and "metric" in value:
        value = [value]
    channels: Mapping[str, Channel] = {}
    defaults: Mapping[str, Any] = {}
    if isinstance(value, Mapping):
        check_keys(value, TOP, where, 1, "A file of rules")
        channels = _channels(value.get("channels"), where)
        defaults = _mapping(value.get("defaults"), "defaults", where)
        value, prefix = value.get("rules"), ("rules",)
    if not isinstance(value, list | tuple) or not value:
        raise DataError(
            f"{where} has no rules. Write a list such as - {{name: errors, metric: error_rate, alert: 0.1}} under "
            "rules:"
        )
    found = []
    for place, one in enumerate(value):
        if isinstance(one, Rule):
            found.append(one)
            continue
        line = lines.get((*prefix, place), 0)
        at = f"{where} line {line}" if line else where
        if not isinstance(one, Mapping):
            raise DataError(
                f"{at}: a rule is a mapping such as {{name: errors, metric: error_rate}}."
            )
        check_keys(one, KEYS, where, line, "A rule")
        found.append(_rule({**defaults, **one}, channels, at))
    names = [rule.name for rule in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{where} has two rules {twice!r}. Give each a name of its own.")
    return found


def _text(given: str | Path) -> tuple[str, str]:
    if isinstance(given, str) and "\n" in given:
        return given, "the rules"
    path = Path(given).expanduser()
    try:
        return path.read_text("utf-8"), str(path)
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) and e.strerror else "it is no text in UTF-8"
        raise DataError(f"The rules {str(path)!r} cannot be read: {why}. Name a YAML file.") from e


def _mapping(given: Any, name: str, where: str) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DataError(f"{where}: {name} is a mapping, such as {{window: 7d}}.")
    check_keys(given, [k for k in KEYS if k not in ("name", "metric")], where, 0, name)
    return given


def _channels(given: Any, where: str) -> dict[str, Channel]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DataError(f"{where}: channels is a mapping of names, such as team: {{webhook: URL}}.")
    return {str(n): read_channel(c, {}, f"{where}, channel {n}") for n, c in given.items()}


def _rule(given: Mapping[str, Any], named: Mapping[str, Channel], at: str) -> Rule:
    metric = given.get("metric")
    if not isinstance(metric, str) or not metric:
        raise DataError(f"{at}: a rule names a metric, such as error_rate or score:thumb.")
    try:
        measure = measure_of(metric)
        name = aliases.check_name(KIND, str(given.get("name") or _named(metric, given)))
    except OptionError as e:
        raise DataError(f"{at}: {e}") from e
    if name == ALL:
        raise DataError(f"{at}: 'all' stands for all rules. Give this one another name.")
    warn, alert = (_limit(given, key, at) for key in ("warn", "alert"))
    direction = given.get("direction") or measure.direction
    if direction not in ("above", "below"):
        near = did_you_mean(str(direction), ("above", "below"))
        raise DataError(f"{at}: direction is above or below, not {direction!r:.40}.{near}")
    window = read_window(given.get("window", "24h"), at)
    made = Rule(
        name=name,
        metric=metric,
        window=window,
        filters={k: str(given[k]) for k in FILTERS if given.get(k) is not None},
        warn=warn,
        alert=alert,
        direction=direction,
        at_least=_least(given, measure, window, at),
        sure=_flag(given, "sure", at),
        level=_share(given, "level", 0.05, at, least=1e-6, most=0.5),
        consecutive=_whole(given, "for", 1, at),
        hysteresis=_share(given, "hysteresis", 0.1, at, least=0.0, most=1.0),
        renotify_s=None
        if given.get("renotify") is None
        else age(given["renotify"], "renotify", at),
        severity=_severity(given, at),
        channels=_told(given.get("channels"), named, at),
        note=str(given.get("note") or ""),
    )
    _check(made, at)
    return made


def _least(given: Mapping[str, Any], measure: Measure, window: Window, at: str) -> int:
    """Traces below which there is no data: no more than a window of so many traces has."""
    most = measure.at_least if window.traces is None else min(measure.at_least, window.traces)
    found = _whole(given, "at_least", most, at)
    if window.traces is not None and not measure.of_calls and found > window.traces:
        raise DataError(
            f"{at}: a window of {window.text} never has the {found} that at_least asks for. Make the window longer, or "
            "at_least smaller."
        )
    return found


def _named(metric: str, given: Mapping[str, Any]) -> str:
    """A name from what is measured, for a rule that has none."""
    parts = [str(given[k]) for k in FILTERS if given.get(k) is not None]
    return re.sub(r"[^a-z0-9._-]+", "-", "-".join([*parts, metric]).casefold()).strip("-._")


def _check(rule: Rule, at: str) -> None:
    measure = rule.measure
    if measure.own:
        if rule.thresholds() or (rule.sure and not measure.can_be_sure):
            raise DataError(
                f"{at}: {rule.metric} decides by a test of its own: leave warn, alert and sure out, and give a level "
                "such as 0.05."
            )
        if rule.sure and rule.filters:
            raise DataError(
                f"{at}: with sure: true, {rule.metric} follows the traces of its baseline's own kind. Leave "
                f"{', '.join(rule.filters)} out."
            )
        return
    if not rule.thresholds():
        raise DataError(f"{at}: the rule {rule.name!r} needs warn or alert, such as alert: 0.1")
    if measure.rate and any(not 0 <= limit <= 1 for limit in rule.thresholds().values()):
        raise DataError(f"{at}: {rule.metric} is a share from 0 to 1: write 0.05 for 5 %.")
    for state, limit in rule.thresholds().items():
        _check_limit(rule, "warn" if state == "warning" else state, limit, at)
    if rule.sure and not measure.can_be_sure:
        sure = ", ".join(n for n, m in MEASURES.items() if m.can_be_sure)
        raise DataError(f"{at}: {rule.metric} is a sum: sure: true goes with {sure}.")
    both = rule.warn is not None and rule.alert is not None
    if both and rule.warn != rule.alert:
        worse = rule.alert > rule.warn  # type: ignore[operator]
        if worse != (rule.direction == "above"):
            raise DataError(
                f"{at}: it is bad {rule.direction} a threshold, so alert is to be further {rule.direction} than warn."
            )


def _check_limit(rule: Rule, key: str, limit: float, at: str) -> None:
    """Raise a DataError for a limit that no value can be past, or every value is."""
    measure, above = rule.measure, rule.direction == "above"
    if measure.kind == "mean":
        return
    if limit < 0:
        raise DataError(f"{at}: {rule.metric} is never below 0: {key} is 0 or more, not {limit:g}.")
    most = 1.0 if measure.rate else float("inf")
    if limit == (most if above else 0.0):
        raise DataError(
            f"{at}: {rule.metric} is never {rule.direction} {measure.text(limit)}, so {key} would never be reached."
        )


def _limit(given: Mapping[str, Any], key: str, at: str) -> float | None:
    value = given.get(key)
    if value is None:
        return None
    if not is_number(value):
        raise DataError(f"{at}: {key} is a number, not {value!r:.60}.")
    return float(value)


def _whole(given: Mapping[str, Any], key: str, otherwise: int, at: str) -> int:
    value = given.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000_000:
        raise DataError(f"{at}: {key} is a whole number from 1, not {value!r:.60}.")
    return value


def _share(
    given: Mapping[str, Any], key: str, otherwise: float, at: str, *, least: float, most: float
) -> float:
    value = given.get(key, otherwise)
    if not is_number(value) or not least <= value <= most:
        raise DataError(f"{at}: {key} is from {least:g} to {most:g}, not {value!r:.60}.")
    return float(value)


def _flag(given: Mapping[str, Any], key: str, at: str) -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise DataError(f"{at}: {key} is true or false, not {value!r:.60}.")
    return value


def _severity(given: Mapping[str, Any], at: str) -> str:
    value = given.get("severity", "normal")
    if value not in SEVERITIES:
        near = did_you_mean(str(value), SEVERITIES)
        raise DataError(
            f"{at}: severity is one of {', '.join(SEVERITIES)}, not {value!r:.40}.{near}"
        )
    return str(value)


def _told(given: Any, named: Mapping[str, Channel], at: str) -> tuple[Channel, ...]:
    if given is None:
        return ()
    several: Sequence[Any] = given if isinstance(given, list | tuple) else [given]
    found = [c if isinstance(c, Channel) else read_channel(c, named, at) for c in several]
    return tuple(dict.fromkeys(found))
