"""What commands say of things with versions and aliases: `history`, `diff`, `alias`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_jupyter.commands.view import Result, Rows, line, minute
from llmops_jupyter.store.versions import V, Versions


def history(kept: Versions[V], name: str, versions: Sequence[Mapping[str, Any]]) -> Result:
    """Versions as rows, and every move of an alias below them."""
    moves = [
        {
            "when": minute(c.at),
            "alias": c.alias,
            "version": c.version if c.version is not None else "removed",
            "before": c.previous if c.previous is not None else "",
            "note": c.note,
        }
        for c in kept.alias_log(name.partition("@")[0])
    ]
    views = (Rows(versions), Rows(moves)) if moves else (Rows(versions),)
    return Result({"versions": list(versions), "aliases": moves}, views)


def diff(kept: Versions[V], values: Mapping[str, Any]) -> Result:
    difference = kept.diff(values["ref"], values["other"])
    return Result(difference, (difference,))


def alias(kept: Versions[V], values: Mapping[str, Any]) -> Result:
    """Point an alias somewhere, or take it away with ``--remove``."""
    note = values["note"] or ""
    if values["remove"]:
        name = values["ref"].partition("@")[0]
        kept.unalias(f"{name}@{values['alias']}", note)
        return line(f"{name}@{values['alias']} removed")
    found = kept.alias(values["ref"], values["alias"], note)
    return line(f"{found.name}@{values['alias']} → version {found.version}")
