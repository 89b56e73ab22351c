"""`%prompt` and `llmops prompts`, but for what runs a model (see the magic)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_jupyter.commands import versions
from llmops_jupyter.commands.arguments import SETTINGS
from llmops_jupyter.commands.view import Context, Result, line, minute, table, where_of
from llmops_jupyter.errors import OptionError, unknown_name
from llmops_jupyter.records import Sampling

# Settings that are shown where they are used.
LATER = ("frequency_penalty", "presence_penalty", "penalty_window")


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options for `prompts.run` that a command line gave."""
    # A flag that is not there is False, which 0 equals.
    given = {k: values.get(k) for k in SETTINGS}
    found = {k: v for k, v in given.items() if v is not None and v is not False and v != []}
    if "adapter" in found:
        found["adapters"] = found.pop("adapter")
    if "rag_where" in found:
        found["rag_where"] = where_of(found["rag_where"])
    return found


def list_(context: Context, _: Mapping[str, Any]) -> Result:
    prompts = context.workspace.prompts
    running = {s.name: s for s in prompts.splits.list() if s.ended_at is None}
    rows = [
        {
            "prompt": p.name,
            "version": p.version,
            "aliases": ", ".join(
                f"{a} → {v.version}" for v in prompts.history(p.name) for a in v.aliases
            )
            + (f"; split {running[p.name].words()}" if p.name in running else ""),
            "saved": minute(p.created_at),
            "template": p.template,
        }
        for p in prompts.list()
    ]
    return table(rows, "No prompts yet. Name one: %%prompt my-prompt")


def show_(context: Context, values: Mapping[str, Any]) -> Result:
    found = context.workspace.prompts.get(values["ref"])
    lines = [f"{found.ref}  saved {minute(found.created_at)}"]
    if found.aliases:
        lines.append(f"aliases: {', '.join(found.aliases)}")
    if found.note:
        lines.append(f"note: {found.note}")
    for split in context.workspace.prompts.splits.list(found.name):
        if split.ended_at is None:
            lines.append(f"split: {split.words()}")
    if found.defaults:
        usual = {n: f.default for n, f in Sampling.__dataclass_fields__.items() if n in LATER}
        kept = {
            k: v for k, v in found.defaults.items() if v not in (None, [], "", usual.get(k, ""))
        }
        lines.append(f"last settings: {', '.join(f'{k}={v}' for k, v in kept.items())}")
    return Result(found, ("\n".join([*lines, "", found.content.readable()]),))


def history_(context: Context, values: Mapping[str, Any]) -> Result:
    prompts, name = context.workspace.prompts, values["name"]
    rows = [
        {
            "version": v.version,
            "aliases": ", ".join(v.aliases),
            "saved": minute(v.created_at),
            "note": v.note,
            "template": v.template,
        }
        for v in prompts.history(name)
    ]
    return versions.history(prompts, name, rows)


def diff_(context: Context, values: Mapping[str, Any]) -> Result:
    return versions.diff(context.workspace.prompts, values)


def alias_(context: Context, values: Mapping[str, Any]) -> Result:
    return versions.alias(context.workspace.prompts, values)


def rollback_(context: Context, values: Mapping[str, Any]) -> Result:
    found = context.workspace.prompts.rollback(values["ref"], values["note"] or "")
    return line(f"{values['ref']} → version {found.version}")


def split_(context: Context, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.prompts.splitting import parse_arms

    prompts, note = context.workspace.prompts, values["note"] or ""
    name, _, alias = values["ref"].partition("@")
    if values["arms"]:
        if alias or values["end"] or values["promote"] is not None:
            raise OptionError(
                "A split is begun by %prompt split NAME ALIAS=V:W,V:W, and ended by %prompt split NAME@ALIAS "
                "--end or --promote V."
            )
        where, arms = parse_arms(values["arms"])
        made = prompts.split(name, arms, alias=where, note=note)
        return line(f"{made.words()}; ask for it with prompts.run({made.ref!r}, …, unit=…)")
    if values["promote"] is not None or values["end"]:
        prompts.end_split(values["ref"], promote=values["promote"], note=note)
        now = prompts.get(f"{name}@{alias or 'production'}")
        return line(
            f"the split of {name}@{alias or 'production'} has ended: it is version {now.version}"
        )
    found = context.workspace.evaluation.split(
        values["ref"], values["score"] or (), planned=values["planned"]
    )
    return Result(found, (found,))


def sessions_(context: Context, values: Mapping[str, Any]) -> Result:
    sessions = context.workspace.prompts.sessions
    if values["session"] is None:
        rows = [
            {
                "session": c.name,
                "turns": c.turns,
                "forked from": f"{c.parent} at {c.forked_at}" if c.parent else "",
                "last": minute(c.last_at),
            }
            for c in sessions.list()
        ]
        return table(rows, "No sessions yet. Begin one: %%prompt --session NAME")
    known = [c.name for c in sessions.list()]
    if values["session"] not in known:
        raise unknown_name("session", values["session"], known, "%prompt sessions lists them.")
    turns = [
        {"turn": t.position, "role": m.role, "text": m.content, "trace": t.trace_id[:8]}
        for t in sessions.turns(values["session"])
        for m in t.messages
    ]
    return table(turns, "This session has no turns yet.")


def fork_(context: Context, values: Mapping[str, Any]) -> Result:
    sessions = context.workspace.prompts.sessions
    made = sessions.fork(values["session"], values["new"], values["at"])
    return line(f"{made.name}: {made.turns} turns of {made.parent}")
