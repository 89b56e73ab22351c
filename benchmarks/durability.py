"""What is left of acknowledged traces after SIGKILL, and of many processes writing one file."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Row
from benchmarks.trackers import OURS, Writer, mlflow_writer

ENDLESS = 1_000_000
PROCESSES = 8


@dataclass(frozen=True)
class Survival:
    """Kills after which all that was acknowledged is there; traces acknowledged and found at the end."""

    kills: int
    whole: int
    told: int
    kept: int
    intact: bool

    def __str__(self) -> str:
        damage = "" if self.intact else ", file damaged"
        return (
            f"{self.kept:,} of {self.told:,} traces, {self.whole} of {self.kills} kills "
            f"without a loss{damage}"
        )


def kills_row(peer: str | None, missing: str, *, quick: bool) -> Row:
    count = 5 if quick else 100
    ours = kills(OURS, count)
    theirs = [missing] if peer is None else []
    for background in (True, False) if peer else ():
        writer = mlflow_writer(peer, background=background)
        theirs.append(f"{writer.name}: {kills(writer, 2 if quick else 5)}")
    return Row(
        "SIGKILL at a random moment: acknowledged traces that a second connection finds",
        str(ours),
        "; ".join(theirs),
        target=f"all, {count} kills of {count}",
        reached=ours.whole == count and ours.kept == ours.told and ours.intact,
    )


def kills(writer: Writer, count: int) -> Survival:
    """Kill writers one after the other; all write one file, which must keep what each had told."""
    moment = random.Random(5)
    whole = 0
    told: set[str] = set()
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile() as errors:
        folder = Path(name)
        for seed in range(count):
            with writer.start(folder, ENDLESS, seed, errors.fileno()) as process:
                lines = [process.stdout.readline()]
                time.sleep(moment.uniform(0.02, 0.3))
                process.kill()
                lines += process.stdout.readlines()
            ids = {line.decode().strip() for line in lines if line.endswith(b"\n")}
            whole += bool(ids) and ids <= writer.complete(folder / writer.file)
            told |= ids
        kept = told & writer.complete(folder / writer.file)
        intact = _intact(folder / writer.file)
    return Survival(count, whole, len(told), len(kept), intact)


def _intact(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@dataclass(frozen=True)
class Crowd:
    """Processes that wrote one file at the same time, and what came of it."""

    wanted: int
    kept: int
    failed: int
    locked: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.kept:,} of {self.wanted:,} traces in {self.seconds:.0f} s, {self.failed} processes "
            f"failed, {self.locked} times 'database is locked'"
        )


def crowd_row(peer: str | None, missing: str, *, quick: bool) -> Row:
    each, few = (100, 5) if quick else (1000, 50)
    ours = crowd(OURS, each)
    theirs = missing
    if peer is not None:
        writer = mlflow_writer(peer, background=True)
        theirs = f"{writer.name}, {few} each: {crowd(writer, few)}"
    return Row(
        f"{PROCESSES} processes × {each:,} traces, one file",
        str(ours),
        theirs,
        target=f"{ours.wanted:,} rows, no error",
        reached=ours.kept == ours.wanted and not ours.failed and not ours.locked,
    )


def crowd(writer: Writer, each: int) -> Crowd:
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile() as errors:
        folder = Path(name)
        with writer.start(folder, 0, 0, errors.fileno()) as first:  # makes the file for all
            first.communicate()
        began = time.perf_counter()
        running = [writer.start(folder, each, seed, errors.fileno()) for seed in range(PROCESSES)]
        told: set[str] = set()
        for process in running:
            told |= set(process.communicate()[0].decode().split())
        seconds = time.perf_counter() - began
        kept = told & writer.complete(folder / writer.file)
        errors.seek(0)
        locked = errors.read().count(b"database is locked")
    failed = sum(bool(process.returncode) for process in running)
    return Crowd(PROCESSES * each, len(kept), failed, locked, seconds)
