"""`%trace send` and `%trace import`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from llmops_jupyter.commands.view import Advice, Context, Result, Rows, told
from llmops_jupyter.errors import OptionError, SendError

NOTHING_SENT = "Traces were never sent anywhere. Begin: %trace send http://localhost:4318 --once"
ACTIONS = ("once", "background", "status", "stop", "forget")
SETTINGS = (
    "since",
    "again",
    "header",
    "content",
    "redact",
    "service",
    "deployment",
    "openinference",
)
POLL_S = 1.0
# How `llmops traces send --once` ends beside 0 for all sent and 1 for an error.
REFUSED, WAITING = 2, 3
MOST_FAULTS = 10


def send_(context: Context, values: Mapping[str, Any]) -> Result:
    action = _action(values)
    traces = context.workspace.traces
    endpoint = values["endpoint"] or ""
    if action == "status":
        return _status(context, endpoint)
    if action == "stop":
        stopped = traces.stop_following(endpoint)
        said = f"sending to {', '.join(stopped)} has ended" if stopped else "nothing was being sent"
        return Result({"stopped": stopped}, (said,))
    if action == "forget":
        if not endpoint:
            raise OptionError("Name the endpoint: %trace send ENDPOINT --forget")
        traces.forget_endpoint(endpoint)
        return Result({"forgotten": endpoint}, (f"{endpoint} and its place are forgotten",))
    given = _settings(values)
    if action == "background":
        found = traces.follow(endpoint, **given)
        said = f"{found.waiting:,} spans wait for {found.endpoint.url} and go in the background"
        return Result(found.as_dict(), (Advice(f"{said}. %trace send --status shows how far"),))
    with told(context, "broken off; the rest waits in the store and goes the next time") as tell:
        if not action:
            _follow(context, endpoint, given, tell)
        sent = traces.send(endpoint, progress=lambda n: tell(f"{n:,} spans"), **given)
    code = WAITING if sent.waiting else REFUSED if sent.refused or sent.dropped else 0
    return Result({**sent.as_dict(), "exit": code}, (Advice(sent.sentence()),))


def _follow(
    context: Context, endpoint: str, given: Mapping[str, Any], tell: Callable[[str], None]
) -> NoReturn:
    """Send in the background and say how far it is, until it is interrupted."""
    traces = context.workspace.traces
    found = traces.follow(endpoint, **given)
    url, before = found.endpoint.url, found.sent
    try:
        while True:
            said = f"{found.sent - before:,} spans sent to {url}, {found.waiting:,} wait"
            tell(f"{said} · {found.error}" if found.error else f"{said} · interrupt to end")
            time.sleep(POLL_S)
            found = traces.endpoint(url)
            if not found.holder:
                raise SendError(
                    f"Sending to {url} has ended: {found.error or 'another one does it'}."
                )
    finally:
        if traces.endpoint(url).holder == "here":
            traces.stop_following(url)


def _action(values: Mapping[str, Any]) -> str:
    given = [name for name in ACTIONS if values.get(name)]
    if len(given) > 1:
        raise OptionError(f"--{given[0]} and --{given[1]} do not go together.")
    action = given[0] if given else ""
    more = [name for name in SETTINGS if values[name] not in (None, False, [])]
    if action in ("status", "stop", "forget") and more:
        raise OptionError(f"--{more[0]} goes with sending, not with --{action}.")
    return action


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    from llmops_jupyter.tracing.otlp.endpoints import headers_of

    return {
        "since": values["since"],
        "again": values["again"],
        "headers": headers_of(values["header"]),
        "content": None if values["content"] is None else values["content"] == "yes",
        "redact": "" if values["redact"] == "none" else values["redact"],
        "service": values["service"],
        "deployment": values["deployment"],
        "openinference": True if values["openinference"] else None,
    }


def _status(context: Context, endpoint: str) -> Result:
    traces = context.workspace.traces
    found = traces.endpoints()
    if endpoint:
        found = [traces.endpoint(endpoint)]
    if not found:
        return Result([], (Advice(NOTHING_SENT),))
    reasons = [
        {"endpoint": one.endpoint.url, "spans": f"{n:,}", "refused because": reason}
        for one in found
        for reason, n in one.reasons
    ]
    views: list[Any] = [Rows([one.row() for one in found])]
    if reasons:
        views += [Rows(reasons), Advice("%trace send ENDPOINT --again offers them once more")]
    return Result([one.as_dict() for one in found], tuple(views))


def import_(context: Context, values: Mapping[str, Any]) -> Result:
    paths = values["path"]
    with told(context, "broken off; what was read is kept, and importing again goes on") as tell:
        made = context.workspace.traces.import_(
            paths[0] if len(paths) == 1 else list(paths),
            strict=values["strict"],
            progress=lambda n: tell(f"{n:,} spans read"),
        )
    views: list[Any] = [made.sentence(), *(str(f) for f in made.faults[:MOST_FAULTS])]
    if len(made.faults) > MOST_FAULTS:
        views.append(f"and {made.skipped - MOST_FAULTS:,} more")
    return Result(made if values.get("out") else made.as_dict(), tuple(views))
