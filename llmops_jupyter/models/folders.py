"""Folders that hold a model, told apart by their files."""

from __future__ import annotations

from pathlib import Path

WEIGHTS, CONFIG, MODULES = "model.safetensors", "config.json", "modules.json"


def is_sentence_folder(path: Path) -> bool:
    """Whether a folder is one of sentence-transformers."""
    return all((path / name).is_file() for name in (WEIGHTS, CONFIG, MODULES))
