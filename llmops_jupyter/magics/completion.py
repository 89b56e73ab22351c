"""Completion inside the magics: subcommands, options, names, versions, aliases, models, variables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import options
from llmops_jupyter.commands.command import Command, Option

if TYPE_CHECKING:
    from llmops_jupyter.magics.session import Session


def matcher(session: Session) -> Callable[[Any], Any]:
    """A matcher for IPython's completer that answers alone inside our magics.

    IPython calls the matcher interface provisional; here it is kept to this one function.
    """
    from IPython.core.completer import SimpleCompletion, context_matcher

    @context_matcher(identifier="llmops")
    def match(context: Any) -> Any:
        line = context.line_with_cursor[: context.cursor_position]
        found = candidates(session, line) if context.cursor_line == 0 or _is_line(line) else None
        if found is None:
            return {"completions": [], "suppress": False}
        word = context.token
        # The completer's token begins after the last of its delimiters; ours is the whole word.
        whole = line.rpartition(" ")[2]
        offset = len(whole) - len(word) if whole.endswith(word) else 0
        completions = [
            SimpleCompletion(text=text[offset:], type="magic")
            for text in found
            if text.startswith(whole)
        ]
        return {"completions": completions, "suppress": True, "do_not_suppress": set()}

    return match  # type: ignore[no-any-return]


def _is_line(line: str) -> bool:
    return line.lstrip().startswith("%") and not line.lstrip().startswith("%%")


def candidates(session: Session, line: str) -> list[str] | None:
    """What may stand at the end of a line; None if the line is none of our magics."""
    head, _, rest = line.lstrip().partition("%")
    if head.strip() and not head.strip().endswith("="):
        return None
    cell = rest.startswith("%")
    words = rest.lstrip("%").split(" ")
    magic = words[0]
    if magic not in options.MAGICS or len(words) == 1:
        return None
    if cell:
        command = options.cell_of(magic)
        given = words[1:]
    else:
        if len(words) == 2:
            return list(options.commands_of(magic))
        command = options.commands_of(magic).get(words[1])
        given = words[2:]
    return _for_command(session, command, given) if command is not None else None


def _for_command(session: Session, command: Command, words: list[str]) -> list[str]:
    flags = {flag: option for option in command.options for flag in option.flags}
    before, current = words[:-1], words[-1]
    if before and before[-1] in flags and flags[before[-1]].kind != "flag":
        option = flags[before[-1]]
        return list(option.choices) or _values(session, option.complete)
    if current.startswith("-"):
        used = {w for w in before if w in flags}
        return [f for o in command.options for f in o.flags if o.repeat or not used & set(o.flags)]
    return _positional(session, command, before, flags)


def _positional(
    session: Session, command: Command, before: list[str], flags: dict[str, Option]
) -> list[str]:
    place, skip = 0, False
    for word in before:
        if skip:
            skip = False
        elif word in flags:
            skip = flags[word].kind != "flag"
        else:
            place += 1
    if place < len(command.arguments):
        return _values(session, command.arguments[place].complete)
    last = command.arguments[-1] if command.arguments else None
    return _values(session, last.complete) if last and last.count in "*+" else []


def _values(session: Session, kind: str) -> list[str]:
    if not kind:
        return []
    if kind in ("variable", "rows"):
        return [*_variables(session), *(_data(session) if kind == "rows" else ())]
    makers: dict[str, Callable[[Session], Iterable[str]]] = {
        "model": _models,
        "adapter": lambda s: [a.name for a in s.workspace.models.adapters()],
        "prompt": _prompts,
        "policy": _policies,
        "prompt_name": lambda s: s.workspace.prompts.names(),
        "data": _data,
        "data_name": lambda s: [d.name for d in s.workspace.data.list()],
        "training": lambda s: [n for r in s.workspace.finetune.list() for n in (r.name, r.id)],
        "index": lambda s: [str(r["index"]) for r in s.workspace.rag.list()],
        "session": lambda s: [c.name for c in s.workspace.prompts.sessions.list()],
        "trace": lambda s: ["last", *(t.trace_id[:8] for t in s.workspace.traces.newest(20))],
        "quantization": lambda _: _kinds(),
        "run": lambda s: [str(r["run"]) for r in s.workspace.evaluation.list(20)],
        "metric": lambda _: _metrics(),
        "rule": lambda s: ["all", *(r.name for r in s.workspace.monitor.alerts.rules())],
        "alert_action": lambda _: _actions("ALERT_ACTIONS"),
        "watch_action": lambda _: _actions("WATCH_ACTIONS"),
        "golden_action": lambda _: _actions("GOLDEN_ACTIONS"),
        "golden": lambda s: [g.name for g in s.workspace.monitor.golden.list()],
        "endpoint": lambda s: [e.endpoint.url for e in s.workspace.traces.endpoints()],
        "baseline": lambda s: _names(s, "baselines"),
        "budget": lambda s: _names(s, "budgets"),
        "measure": _measures,
        "deployment": lambda s: [d.name for d in s.workspace.deploy.list()],
        "release": _releases,
        "source": lambda s: [c.source for c in s.workspace.models.discover()[0]],
    }
    return list(makers[kind](session))


def _kinds() -> list[str]:
    from llmops_jupyter.engine.quantize import BITS

    return list(BITS)


def _metrics() -> list[str]:
    from llmops_jupyter.evaluation.metrics import catalogue

    return [entry.name for entry in catalogue()]


def _actions(name: str) -> list[str]:
    from llmops_jupyter.commands.table import monitor

    return list(getattr(monitor, name))


def _names(session: Session, kind: str) -> list[str]:
    """Names in a list that the monitor has of one kind."""
    from llmops_jupyter.monitor.alerts.overview import names_of

    return names_of(getattr(session.workspace.monitor, kind)())


def _measures(session: Session) -> list[str]:
    from llmops_jupyter.monitor.alerts.catalogue import MEASURES, SPIKES

    monitor = session.workspace.monitor
    return [
        *(name for name, measure in MEASURES.items() if not measure.needs),
        *(f"spike:{name}" for name in SPIKES),
        *(f"golden:{golden.name}" for golden in monitor.golden.list()),
    ]


def _variables(session: Session) -> list[str]:
    hidden = session.shell.user_ns_hidden
    return [n for n in session.shell.user_ns if not n.startswith("_") and n not in hidden]


def _models(session: Session) -> list[str]:
    found = []
    for model in session.workspace.models.list():
        found += [model.name, model.ref, *(f"{model.name}@{a}" for a in model.aliases)]
    return list(dict.fromkeys(found))


def _prompts(session: Session) -> list[str]:
    prompts = session.workspace.prompts
    found = []
    for name in prompts.names():
        versions = prompts.history(name)
        aliases = [f"{name}@{a}" for v in versions for a in v.aliases]
        found += [name, *aliases, *(v.ref for v in versions)]
    return found


def _releases(session: Session) -> list[str]:
    deploy = session.workspace.deploy
    return [
        ref for d in deploy.list() for ref in (d.name, *(r.ref for r in deploy.releases(d.name)))
    ]


def _policies(session: Session) -> list[str]:
    guard = session.workspace.guard
    found = []
    for name in guard.names():
        versions = guard.history(name)
        aliases = [f"{name}@{a}" for v in versions for a in v.aliases]
        found += [name, *aliases, *(v.ref for v in versions)]
    return found


def _data(session: Session) -> list[str]:
    data = session.workspace.data
    return [ref for d in data.list() for ref in (d.name, *(v.ref for v in data.history(d.name)))]
