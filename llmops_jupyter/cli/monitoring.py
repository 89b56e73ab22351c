"""`llmops monitor`: look at all rules once, for cron, or every so often until it is interrupted."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import Result
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.cli.program import Terminal

HELP = (
    "without a COMMAND: look at all rules, once with --once, else every so often; --once ends with 0 ok, 1 a "
    "warning, 2 an alert, 3 no data for a rule, 4 an error"
)
EXIT_ERROR = 4
# Commands that end as a look does: 0, 2 where something changed, 3 where nothing can be said, 4 an error.
AS_LOOKS = ("drift", "stream")
# Seconds that webhooks are waited for before the command ends.
FLUSH_S = 60.0
TICK_S = 1.0


def add_watch(entry: argparse.ArgumentParser) -> None:
    """Give `llmops monitor` what it takes without a command."""
    entry.description = HELP
    # A subcommand has --store and --json of its own, and would put its defaults over what came before it.
    entry.add_argument(
        "--store", dest="store_before", metavar="PATH", help="store file or folder to use"
    )
    entry.add_argument("--json", dest="json_before", action="store_true", help="print JSON")
    entry.add_argument("--once", action="store_true", help="look once and end, for cron")
    entry.add_argument("--every", metavar="TIME", help="from one look to the next; left out: 10m")
    entry.add_argument(
        "--rule", action="append", metavar="NAME", help="only this rule; may be repeated"
    )
    entry.add_argument(
        "--allow-no-data", action="store_true", help="end with 0 where rules have no data"
    )
    entry.set_defaults(_call=run_monitor)


def joined(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a command line, with what stood before the subcommand."""
    for name in ("store", "json"):
        before = values.pop(f"{name}_before", None)
        values[name] = values.get(name) or before
    return values


def error_code(arguments: Sequence[str]) -> int:
    """The exit code of errors: 1, but for looks, where that means a warning."""
    looks = list(arguments[:1]) == ["monitor"] and all(
        word.startswith("-") or word in AS_LOOKS for word in arguments[1:2]
    )
    return EXIT_ERROR if looks else 1


def run_monitor(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    """Look once, unless another process watches the store; or watch until interrupted."""
    if values["once"]:
        if values["every"]:
            raise OptionError(
                "--every goes without --once: one looks every so often, the other once."
            )
        return _once(terminal, values)
    if values["rule"] or values["allow_no_data"]:
        raise OptionError("--rule and --allow-no-data go with --once.")
    return _watch(terminal, values["every"] or "10m")


def _once(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.monitor.alerts.board import Looked
    from llmops_jupyter.monitor.alerts.lease import holder_of
    from llmops_jupyter.monitor.alerts.watching import silence

    alerts = terminal.workspace.monitor.alerts
    holder = holder_of(terminal.workspace.store)
    notes: list[str] = []
    silent = "" if holder is None else silence(holder)
    if holder is None or silent or values["rule"]:
        looked = alerts.look(values["rule"], tell=terminal.progress())
        if holder is not None and silent:
            notes.append(
                f"process {holder.pid} on {holder.host} holds the watch of this store{silent}: this look is another one"
            )
        if not alerts.notifier.flush(FLUSH_S):
            notes.append("some webhooks have not answered yet; the next look tells them again")
    else:
        # Looking twice as often would count looks in a row twice, and tell everything twice.
        looked = Looked(alerts.board().entries)
        notes.append(
            f"process {holder.pid} on {holder.host} watches this store: this is what it found last"
        )
    code = looked.exit_code(allow_no_data=values["allow_no_data"])
    return Result({**looked.as_dict(), "notes": notes, "exit": code}, (looked, *notes))


def _watch(terminal: Terminal, every: str) -> Result:
    monitor = terminal.workspace.monitor
    watcher = monitor.watch(every)
    said = ""
    try:
        while watcher.runs:
            now = f"{watcher.status().sentence()} · {monitor.alerts.board().title()}"
            if now != said:
                print(now, flush=True)
                said = now
            time.sleep(TICK_S)
    finally:
        watcher.stop()
        monitor.alerts.notifier.flush(FLUSH_S)
    return Result({"stopped": True}, ("no longer watching",))
