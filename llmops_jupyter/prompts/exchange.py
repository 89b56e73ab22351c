"""Prompts as reviewable text: a folder each, with one JSON file a version and one for the aliases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from llmops_jupyter.config import check_sampling
from llmops_jupyter.data import Datasets
from llmops_jupyter.errors import PromptError
from llmops_jupyter.prompts import content as contents
from llmops_jupyter.prompts.content import Content, Examples
from llmops_jupyter.prompts.registry import KIND, Registry
from llmops_jupyter.prompts.template import check_template
from llmops_jupyter.records import Sampling
from llmops_jupyter.store import aliases

ALIASES = "aliases.json"


@dataclass(frozen=True)
class ExportedVersion:
    """A version as it was read from a file, checked and not yet kept."""

    number: int
    content: Content
    note: str
    defaults: Mapping[str, Any]


@dataclass(frozen=True)
class ExportedPrompt:
    """All versions of a prompt, oldest first, and its aliases by the numbers they had."""

    name: str
    versions: tuple[ExportedVersion, ...]
    aliases: Mapping[str, int]


def export_prompts(registry: Registry, folder: Path) -> list[Path]:
    """Write every version of every prompt; returns the files."""
    written = []
    for name in registry.names():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        history = registry.history(name)
        for version in history:
            record = {
                "name": name,
                "version": version.version,
                "created_at": version.created_at,
                "note": version.note,
                "defaults": dict(version.defaults),
                "content": version.content.as_dict(),
            }
            path = target / f"{version.version:04d}.json"
            path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
            written.append(path)
        points = {a: v.version for v in history for a in v.aliases}
        path = target / ALIASES
        path.write_text(json.dumps(points, indent=1, sort_keys=True) + "\n", "utf-8")
        written.append(path)
    return written


def read_exported(folder: Path) -> list[ExportedPrompt]:
    """Read and check what `export_prompts` wrote; nothing is kept.

    Raises:
        PromptError: with the file that is no exported prompt, and why.
    """
    return [_read_prompt(p) for p in sorted(folder.glob("*")) if p.is_dir()]


def _read_prompt(folder: Path) -> ExportedPrompt:
    aliases.check_name(KIND, folder.name)
    versions = [_read_version(path) for path in sorted(folder.glob("[0-9]*.json"))]
    versions.sort(key=lambda v: v.number)
    points: dict[str, int] = {}
    path = folder / ALIASES
    if path.is_file():
        try:
            points = dict(_json(path))
            for alias, number in points.items():
                aliases.check_alias(alias)
                if number not in {v.number for v in versions}:
                    raise PromptError(f"{alias!r} points at a version {number!r} that is not there")
        except (TypeError, ValueError) as e:
            raise _broken(path, e) from e
    return ExportedPrompt(folder.name, tuple(versions), points)


def _read_version(path: Path) -> ExportedVersion:
    record = _json(path)
    try:
        number, note, defaults = (
            record["version"],
            record.get("note", ""),
            record.get("defaults", {}),
        )
        if not isinstance(number, int) or not isinstance(note, str):
            raise TypeError("'version' is a number and 'note' a text")
        return ExportedVersion(
            number, _checked(contents.from_dict(record["content"])), note, _settings(defaults)
        )
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise _broken(path, e) from e


def _checked(made: Content) -> Content:
    if not isinstance(made.template, str) or not isinstance(made.cot, bool):
        raise TypeError("'template' is a text and 'cot' true or false")
    check_template(made.template)
    contents.as_schema(made.schema)
    if not all(isinstance(tool, Mapping) for tool in made.tools):
        raise TypeError("'tools' is a list of objects")
    examples = made.examples
    if examples is not None and not (
        isinstance(examples.dataset, str)
        and isinstance(examples.dataset_hash, str)
        and all(isinstance(row, Mapping) for row in examples.rows)
    ):
        raise TypeError("'examples' are rows, or a data set by its reference and hash")
    return made


def _settings(defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    known = {f.name: f.default for f in fields(Sampling)}
    check_sampling(Sampling(**{k: v for k, v in dict(defaults).items() if k in known}))
    return dict(defaults)


def _broken(path: Path, error: Exception) -> PromptError:
    why = f"there is no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
    return PromptError(f"{str(path)!r} is no exported prompt: {why}. Export it again.")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise PromptError(f"{str(path)!r} cannot be read: {e}. Export again.") from e


def keep_exported(
    registry: Registry, datasets: Datasets, prompts: list[ExportedPrompt]
) -> list[str]:
    """Keep prompts; returns the references of versions that were new.

    Content that is there already stays, with its settings; an alias that is there stays as it is.
    Examples that are a data set point at the version that has the same content here.
    """
    new = []
    for prompt in prompts:
        numbers: dict[int, int] = {}
        for version in prompt.versions:
            content = version.content
            if content.examples is not None:
                content = replace(content, examples=located(content.examples, datasets))
            saved = Registry.save(registry, prompt.name, content, note=version.note)
            numbers[version.number] = saved.version
            if version.defaults and not saved.defaults:
                registry.keep_defaults(saved, version.defaults)
            if saved.created:
                new.append(saved.ref)
        known = {c.alias for c in registry.alias_log(prompt.name)}
        for alias, number in prompt.aliases.items():
            if alias not in known:
                registry.alias(f"{prompt.name}@{numbers[number]}", alias, "imported")
    return new


def located(examples: Examples, datasets: Datasets) -> Examples:
    """Examples with the data set's number in this store, which may be another than where it was made."""
    if not (examples.dataset and examples.dataset_hash):
        return examples
    found = datasets.find(examples.dataset.partition("@")[0], examples.dataset_hash)
    return examples if found is None else replace(examples, dataset=found.ref)
