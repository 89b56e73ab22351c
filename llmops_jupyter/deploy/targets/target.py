"""What is written for another engine, and the files that every target has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_jupyter.engine.distance import Distance

MANIFEST, README = "target.json", "README.md"


@dataclass(frozen=True)
class Target:
    """What was written.

    Args:
        kind: 'vllm' or 'ray'.
        folder: where it lies.
        files: bytes of each file by its path there.
        command: that starts it, to be run in the folder.
        check: how far it is from what is served here; None where nothing was measured.
        notes: what is to be known before it is used.
    """

    kind: str
    folder: Path
    files: Mapping[str, int] = field(repr=False)
    command: tuple[str, ...]
    check: Distance | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON for people and programs."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")


def files_of(part: Path) -> dict[str, int]:
    """Bytes of each file below a folder, by its path there."""
    found = sorted(p for p in part.rglob("*") if p.is_file())
    return {p.relative_to(part).as_posix(): p.stat().st_size for p in found}
