"""Prompts, their versions, differences and aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.prompts.registry import KIND
from llmops_jupyter.server.handles import Handle
from llmops_jupyter.store import aliases
from llmops_jupyter.workspace import Workspace

if TYPE_CHECKING:
    from llmops_jupyter.prompts import Prompts
    from llmops_jupyter.prompts.registry import PromptVersion
    from llmops_jupyter.prompts.splitting import Split

PREVIEW = 200
# Changes of aliases that are shown, the newest.
MOST_CHANGES = 200


def listed(handle: Handle) -> dict[str, Any]:
    """All prompts by name."""
    found = handle.workspace.prompts
    splits = _splits(found)
    counts: dict[str, int] = {}
    for (name, _), count in handle.roots.versions().items():
        counts[name] = counts.get(name, 0) + count
    items = [
        {
            "name": one.latest.name,
            "latest": one.latest.version,
            "versions": one.versions,
            "aliases": dict(one.aliases),
            "split": splits[one.latest.name].words() if one.latest.name in splits else None,
            "saved_at": one.latest.created_at,
            "traces": counts.get(one.latest.name, 0),
            "preview": one.latest.template[:PREVIEW],
        }
        for one in found.listed()
    ]
    return {"items": items, "next": None}


def prompt(workspace: Workspace, name: str) -> dict[str, Any]:
    """A prompt with its versions, the newest first."""
    aliases.check_name(KIND, name)
    found = workspace.prompts
    history, traced = found.history(name), found.traced(name)
    split = _splits(found, name).get(name)
    changes = reversed(found.alias_log(name)[-MOST_CHANGES:])
    return {
        "name": name,
        "versions": [_version(v, traced.get(v.version, 0)) for v in history],
        "aliases": {alias: v.version for v in history for alias in v.aliases},
        "back": found.back(name),
        "log": [
            {
                "alias": c.alias,
                "version": c.version,
                "previous": c.previous,
                "at": c.at,
                "note": c.note,
            }
            for c in changes
        ],
        "split": None
        if split is None
        else {
            "alias": split.alias,
            "arms": {str(version): share for version, share in split.shares.items()},
            "words": split.words(),
        },
    }


def difference(handle: Handle, name: str, *, a: int, b: int) -> dict[str, Any]:
    """What changed from one version to another, part by part."""
    aliases.check_name(KIND, name)
    found = handle.workspace.prompts.diff(f"{name}@{a}", f"{name}@{b}")
    return {
        "a": found.names[0],
        "b": found.names[1],
        "parts": [
            {"title": title, "lines": [vars(line) for line in lines]}
            for title, lines in found.lines().items()
        ],
    }


def promote(
    workspace: Workspace, name: str, alias: str, *, version: int, expected: int | None, note: str
) -> dict[str, Any]:
    """Point an alias at a version, unless somebody has moved it meanwhile."""
    reference = f"{aliases.check_name(KIND, name)}@{version}"
    workspace.prompts.alias(reference, _alias(alias), note, expected=expected)
    return prompt(workspace, name)


def rollback(
    workspace: Workspace, name: str, alias: str, *, expected: int, note: str
) -> dict[str, Any]:
    """Point an alias at where it pointed before, unless somebody has moved it meanwhile."""
    reference = f"{aliases.check_name(KIND, name)}@{_alias(alias)}"
    workspace.prompts.get(name)
    workspace.prompts.rollback(reference, note, expected=expected)
    return prompt(workspace, name)


def _alias(alias: str) -> str:
    if len(alias) > 100:
        raise OptionError("An alias has at most 100 characters.")
    return aliases.check_alias(alias)


def _version(found: PromptVersion, traced: int) -> dict[str, Any]:
    return {
        "version": found.version,
        "saved_at": found.created_at,
        "note": found.note,
        "aliases": list(found.aliases),
        "cell": found.cell,
        "template": found.template,
        "settings": {k: v for k, v in found.defaults.items() if v not in (None, "", [])},
        "traces": traced,
    }


def _splits(prompts: Prompts, name: str | None = None) -> dict[str, Split]:
    """The split of each prompt that runs, the newest where there are several."""
    running = [split for split in prompts.splits.list(name) if split.ended_at is None]
    return {split.name: split for split in reversed(running)}
