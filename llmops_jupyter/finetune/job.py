"""The folder of a run: all that its process needs, and all that it tells.

job.json              the recipe, the model, the plan
tokens.npz            the examples as tokens
events.jsonl          what happened, a line each; only ever added to
process.json          which process trains, to know whether it is alive
stop                  somebody wants it to end
checkpoint.safetensors, best.safetensors
log                   what its libraries wrote
adapter-30/           what came of it, by the step
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import EngineError
from llmops_jupyter.finetune.packing import Tokens
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.training import Material

JOB, TOKENS, EVENTS, PROCESS, STOP, LOG = (
    "job.json",
    "tokens.npz",
    "events.jsonl",
    "process.json",
    "stop",
    "log",
)

# Bytes of events that are read at a time; the next look goes on from there.
MOST_AT_ONCE = 64 * 2**20


@dataclass(frozen=True)
class Sample:
    """An eval prompt that is answered before and after: its tokens, its row and the answer wanted."""

    row: str
    prompt: str
    wanted: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Job:
    """What a training process is to do. `weights` is a Hugging Face folder or ''; `trainer` torch or mlx."""

    run: str
    name: str
    recipe: Recipe
    model: str
    model_ref: str
    model_sha256: str
    architecture: str
    trainer: str = "torch"
    weights: str = ""
    data: str = ""
    data_hash: str = ""
    eval_data: str = ""
    eval_hash: str = ""
    ends: tuple[int, ...] = ()
    samples: tuple[Sample, ...] = ()
    made_at: str = ""
    store: str = ""
    threads: int = 0
    plan: Mapping[str, Any] = field(default_factory=dict)
    format: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path, material: Material) -> None:
        """Keep the job and its examples in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        _write_tokens(folder / TOKENS, material)
        values = {**asdict(self), "recipe": self.recipe.as_dict()}
        (folder / JOB).write_text(json.dumps(values, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The job that `write` kept.

        Raises:
            EngineError: it is gone or damaged.
        """
        try:
            values = json.loads((folder / JOB).read_text("utf-8"))
            samples = tuple(Sample(**{**s, "ids": tuple(s["ids"])}) for s in values.pop("samples"))
            recipe = Recipe.from_kept(values.pop("recipe"))
            return cls(
                **{**values, "recipe": recipe, "samples": samples, "ends": tuple(values["ends"])}
            )
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise EngineError(
                f"The folder of the run, {str(folder)!r}, is gone or damaged ({e}). Start it again: "
                "%finetune run"
            ) from e


def _write_tokens(path: Path, material: Material) -> None:
    import numpy as np

    arrays: dict[str, Any] = {}
    for part, examples in (("train", material.train), ("eval", material.evals)):
        sequences = [(i, s) for i, example in enumerate(examples) for s in example]
        lengths = [len(s.ids) for _, s in sequences]
        arrays[f"{part}.ids"] = np.array([t for _, s in sequences for t in s.ids], np.int64)
        arrays[f"{part}.lengths"] = np.array(lengths, np.int64)
        arrays[f"{part}.learned"] = np.array([s.learned for _, s in sequences], np.int64)
        arrays[f"{part}.examples"] = np.array([i for i, _ in sequences], np.int64)
        arrays[f"{part}.rows"] = np.array([s.row for _, s in sequences], np.str_)
    np.savez(path, **arrays)


def read_material(folder: Path) -> Material:
    """The examples of a run."""
    import numpy as np

    parts = []
    with np.load(folder / TOKENS) as kept:
        for part in ("train", "eval"):
            found: list[list[Tokens]] = []
            end = 0
            rows = zip(
                kept[f"{part}.lengths"],
                kept[f"{part}.learned"],
                kept[f"{part}.examples"],
                kept[f"{part}.rows"],
                strict=True,
            )
            ids = kept[f"{part}.ids"]
            for length, learned, example, row in rows:
                made = Tokens(tuple(ids[end : end + length].tolist()), int(learned), str(row))
                end += int(length)
                if example == len(found):
                    found.append([])
                found[example].append(made)
            parts.append(found)
    return Material(*parts)


class Events:
    """The events of a run, as lines of a file that is only ever added to."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / EVENTS

    def add(self, event: Mapping[str, Any]) -> None:
        """Write an event; it is there once this returns."""
        line = json.dumps(event, ensure_ascii=False, allow_nan=False)
        with self._path.open("ab") as file:
            file.write(line.encode() + b"\n")

    def since(self, place: int) -> tuple[list[dict[str, Any]], int]:
        """The events from a byte on, and the byte at which the next one will begin.

        A line that is still being written is left for the next time.
        """
        try:
            if not self._path.is_file():  # a pipe in its place would be waited for
                return [], place
            with self._path.open("rb") as file:
                file.seek(place)
                text = file.read(MOST_AT_ONCE)
        except OSError:
            return [], place
        whole = text.rpartition(b"\n")[0]
        events = []
        for line in whole.split(b"\n") if whole else ():
            with suppress(ValueError):
                events.append(json.loads(line))
        return events, place + (len(whole) + 1 if whole else 0)


def mark_process(folder: Path, pid: int | None = None) -> None:
    """Note which process trains the run; this one if none is named, and none if it has ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        noted = {"pid": process.pid, "started": process.create_time()}
    except psutil.Error:
        return
    # Who starts it and the process itself may note it at the same time.
    made = folder / f"{PROCESS}.{os.getpid()}.tmp"
    made.write_text(json.dumps(noted), encoding="utf-8")
    made.replace(folder / PROCESS)


def is_starting(folder: Path) -> bool:
    """Whether the process of a run has been started and has not said so yet."""
    try:
        return time.time() - (folder / JOB).stat().st_mtime < 10 and not (folder / PROCESS).exists()
    except OSError:
        return False


def process_of(folder: Path) -> int | None:
    """The process that trains a run; None if none is alive."""
    import psutil

    try:
        noted = json.loads((folder / PROCESS).read_text("utf-8"))
        running = psutil.Process(noted["pid"])
        alive = abs(running.create_time() - noted["started"]) < 1 and running.is_running()
        return noted["pid"] if alive and running.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, psutil.Error):
        return None
