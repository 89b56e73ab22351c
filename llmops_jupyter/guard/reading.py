"""YAML of policies with the line of each part, so that a fault can be found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import GuardError

Path_ = tuple[Any, ...]
DEEPEST = 12


class Lines:
    """Where the parts of a policy stand, for messages."""

    def __init__(self, where: str, lines: Mapping[Path_, int]) -> None:
        self.where = where
        self._lines = lines

    def at(self, *path: Any) -> str:
        """A part by its line, or by its path where there are no lines."""
        for size in range(len(path), -1, -1):
            line = self._lines.get(path[:size])
            if line is not None and (size or not path):
                return f"{self.where} line {line}"
        if not path or self._lines:
            return self.where
        shown = ".".join(str(p + 1) if isinstance(p, int) else str(p) for p in path)
        return f"{self.where}, {shown}"


def text_of(given: str | Path) -> tuple[str, str]:
    """The text of a policy from a file, or the text itself where it has several lines; and where it is from.

    Raises:
        GuardError: the file cannot be read.
    """
    if isinstance(given, str) and "\n" in given:
        return given, "the policy"
    if not str(given).strip() or given == Path():
        raise GuardError("The policy is empty. Name a YAML file, or give its text or a mapping.")
    path = Path(given).expanduser()
    try:
        return path.read_text("utf-8"), str(path)
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) and e.strerror else "it is no text in UTF-8"
        raise GuardError(
            f"The policy {str(path)!r} cannot be read: {why}. Name a YAML file."
        ) from e


def parsed(text: str, where: str) -> tuple[Any, Lines]:
    """The value of a YAML text, and where its parts stand.

    Raises:
        GuardError: it is no YAML, or has a key twice.
    """
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Path_, int] = {}
        _collect(node, (), lines, where, set())
        return yaml.safe_load(text), Lines(where, lines)
    except GuardError:
        raise
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(e, "problem", None) or str(e)
        raise GuardError(f"{where}{line} is no YAML: {problem}. Correct that line.") from e
    except ValueError as e:
        raise GuardError(f"{where} has a value that cannot be read: {e}. Put it in quotes.") from e
    except RecursionError as e:
        raise GuardError(f"{where} nests too deep to be read. Make it flatter.") from e


def _collect(node: Any, path: Path_, found: dict[Path_, int], where: str, seen: set[int]) -> None:
    import yaml

    if node is None or len(path) > DEEPEST:
        return
    found[path] = node.start_mark.line + 1
    if not isinstance(node, yaml.ScalarNode):
        if id(node) in seen:  # a few lines of these can stand for more than memory holds
            raise GuardError(
                f"{where} refers to what stands in line {found[path]} a second time (& and *). Write it out."
            )
        seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            name = str(getattr(key, "value", ""))
            line = key.start_mark.line + 1
            inside = (*path, name)
            if inside in found:
                raise GuardError(
                    f"{where} line {line}: {name} is there a second time (first in line {found[inside]}). "
                    "Write one key with all of it."
                )
            _collect(child, inside, found, where, seen)
            found[inside] = line
    elif isinstance(node, yaml.SequenceNode):
        for place, child in enumerate(node.value):
            _collect(child, (*path, place), found, where, seen)
