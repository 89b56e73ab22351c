"""`%monitor alerts`: rules, where they stand, silences and acknowledgements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.table.monitor import ALERT_ACTIONS
from llmops_jupyter.commands.view import Advice, Context, Result, Rows, told
from llmops_jupyter.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    from llmops_jupyter.monitor.alerts.alerts import Alerts

NO_RULES = (
    "There are no rules yet. Add some: %monitor alerts add FILE, or %monitor alerts add NAME --metric error_rate "
    "--alert 0.1"
)
OF_RULES = (
    *("metric", "window", "prompt", "model", "notebook", "session", "source", "warn", "alert"),
    *("direction", "at_least", "level", "renotify", "severity"),
)
LIMIT = 20


def action_of(magic: str, given: str | None, known: tuple[str, ...], otherwise: str) -> str:
    """The word that says what to do.

    Raises:
        OptionError: it is none of those that there are.
    """
    if not given:
        return otherwise
    if given in known:
        return given
    near = did_you_mean(given, known)
    raise OptionError(f"{magic} has no {given!r}.{near} There are: {', '.join(known)}.")


def alerts_(context: Context, values: Mapping[str, Any]) -> Result:
    action = action_of("%monitor alerts", values["action"], ALERT_ACTIONS, "list")
    if action != "add":
        _refuse(values, action)
    return _ACTIONS[action](context, context.workspace.monitor.alerts, values)


def _refuse(values: Mapping[str, Any], action: str) -> None:
    """Raise an OptionError for options that only a new rule has."""
    given = [k for k in (*OF_RULES, "looks", "sure") if values[k] not in (None, False)]
    if given:
        raise OptionError(
            f"--{given[0].replace('_', '-')} goes with a new rule: %monitor alerts add NAME --metric …, not with {action}."
        )


def _named(values: Mapping[str, Any], action: str) -> str:
    if not values["what"]:
        raise OptionError(f"Name the rule, or 'all': %monitor alerts {action} NAME")
    return str(values["what"])


def _list(context: Context, alerts: Alerts, values: Mapping[str, Any]) -> Result:
    del context
    board = alerts.board()
    if not board.entries:
        return Result(board if values.get("out") else board.as_dict(), (Advice(NO_RULES),))
    return Result(board if values.get("out") else board.as_dict(), (board,))


def _add(context: Context, alerts: Alerts, values: Mapping[str, Any]) -> Result:
    what, rule = values["what"], {k: values[k] for k in OF_RULES if values[k] is not None}
    if values["sure"]:
        rule["sure"] = True
    if values["looks"] is not None:
        rule["for"] = values["looks"]
    if not rule:
        if not what:
            raise OptionError(
                "Name a YAML file with rules, or a rule with --metric: %monitor alerts add FILE"
            )
        given = context.variables.get(what, what)
        if (
            given is what
            and not Path(what).expanduser().is_file()
            and not what.endswith((".yaml", ".yml"))
        ):
            raise OptionError(
                f"{what!r} is no file. Name a YAML file with rules, or say what the rule measures: --metric error_rate "
                "--alert 0.1"
            )
        made = alerts.add(given)
    else:
        made = alerts.add(**({"name": what} if what else {}), **rule)
    rows = [{"rule": r.name, "watches": r.words(), "false alarms": r.promise()} for r in made]
    views = (
        Rows(rows),
        Advice("%monitor alerts look looks at them now, %monitor watch every ten minutes"),
    )
    return Result(made if values.get("out") else [r.as_dict() for r in made], views)


def _remove(context: Context, alerts: Alerts, values: Mapping[str, Any]) -> Result:
    del context
    name = _named(values, "remove")
    alerts.remove(name)
    return Result({"removed": name}, (f"{name} was taken away; its history stays",))


def _look(context: Context, alerts: Alerts, values: Mapping[str, Any]) -> Result:
    names = None if values["what"] in (None, "all") else [str(values["what"])]
    with told(context, "") as tell:
        looked = alerts.look(names, tell=tell)
    return Result(looked if values.get("out") else looked.as_dict(), (looked,))


def _show(context: Context, alerts: Alerts, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.monitor.alerts.timelines import Timeline

    del context
    rule = alerts.get(_named(values, "show"))
    looks = alerts.looks(rule.name)
    facts = [
        f"{rule.name} watches {rule.words()}",
        f"false alarms: {rule.promise()}",
        f"told: {', '.join(['the notebook', *(c.words() for c in rule.channels)])}",
        *([rule.note] if rule.note else []),
    ]
    shown = [_look_row(rule, look) for look in reversed(looks[-(values["limit"] or LIMIT) :])]
    views: list[Any] = [*facts, *([Rows(shown)] if shown else [])]
    if any(look["value"] is not None for look in looks):
        views.insert(len(facts), Timeline(rule, looks))
    if not shown:
        views.append(Advice(f"Nobody has looked at it yet: %monitor alerts look {rule.name}"))
    value = {**rule.as_dict(), "looks": looks}
    return Result(looks if values.get("out") else value, tuple(views))


def _time(stamp: str) -> str:
    from llmops_jupyter.monitor.alerts.ledger import parse
    from llmops_jupyter.render.clock import local

    return local(parse(stamp))


def _look_row(rule: Any, look: Mapping[str, Any]) -> dict[str, Any]:
    measure = rule.measure
    interval = (
        ""
        if look["low"] is None
        else f"{measure.text(look['low'])} to {measure.text(look['high'])}"
    )
    return {
        "at": _time(look["at"]),
        "value": measure.text(look["value"]),
        "95 % interval": interval,
        "n": look["n"],
        "found": look["found"],
        "state": look["state"],
        "note": look["note"],
        "traces": ", ".join(trace[:8] for trace in look["traces"]),
    }


def _silence(context: Context, alerts: Alerts, values: Mapping[str, Any]) -> Result:
    del context
    length = values["for"] or "1h"
    names = alerts.silence(_named(values, "silence"), length, why=values["why"] or "")
    said = f"nobody is told of {', '.join(names)} for {length}; an alarm that still stands then is told"
    return Result({"silenced": names, "for": length}, (said,))


def _speak(context: Context, alerts: Alerts, values: Mapping[str, Any]) -> Result:
    del context
    names = alerts.speak(_named(values, "speak"), why=values["why"] or "")
    return Result({"no longer silenced": names}, (f"{', '.join(names)} will be told of again",))


def _ack(context: Context, alerts: Alerts, values: Mapping[str, Any]) -> Result:
    del context
    names = alerts.acknowledge(_named(values, "ack"), why=values["why"] or "")
    said = f"{', '.join(names)}: noted; it is not told again until its state changes"
    return Result({"acknowledged": names}, (said,))


def _history(context: Context, alerts: Alerts, values: Mapping[str, Any]) -> Result:
    del context
    rule, limit = values["what"], values["limit"] or LIMIT
    found = [(c.at, c.rule, c.before, c.state, c.reason) for c in alerts.changes(rule, limit)]
    if rule:
        found += [(m.at, m.rule, m.who, m.kind, m.why) for m in alerts.marks(rule)]
    names = ("at", "rule", "from", "to", "why")
    rows = [dict(zip(names, one, strict=True)) for one in sorted(found, reverse=True)]
    return _timed(rows, "No state has changed yet. %monitor alerts look looks at the rules.")


def _notices(context: Context, alerts: Alerts, values: Mapping[str, Any]) -> Result:
    del context
    rows = alerts.notices(values["limit"] or LIMIT)
    return _timed(rows, "No channel was told anything yet. %monitor alerts shows the rules.")


def _timed(rows: Sequence[Mapping[str, Any]], empty: str) -> Result:
    """A table with times by the clock of this place for people, and as they are kept for programs."""
    if not rows:
        return Result([], (Advice(empty),))
    return Result(list(rows), (Rows([{**row, "at": _time(row["at"])} for row in rows]),))


_ACTIONS: Mapping[str, Callable[[Context, Any, Mapping[str, Any]], Result]] = {
    "list": _list,
    "add": _add,
    "remove": _remove,
    "look": _look,
    "show": _show,
    "silence": _silence,
    "speak": _speak,
    "ack": _ack,
    "history": _history,
    "notices": _notices,
}
