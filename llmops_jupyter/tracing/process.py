"""Which process owns a span, and whether it still runs."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sqlite3
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, told apart from a later one with the same number by its start and its boot."""

    id: str
    pid: int
    started: float
    host: str
    boot: str


def _boot() -> str:
    """Identity of this boot and, in a container, of its process numbers."""
    parts = []
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        import psutil

        parts.append(f"{psutil.boot_time():.0f}")
    return " ".join(parts)


@functools.lru_cache(maxsize=4)
def _this(pid: int) -> Process:
    import psutil

    started = psutil.Process(pid).create_time()
    host, boot = platform.node(), _boot()
    digest = hashlib.blake2b(f"{pid} {started} {host} {boot}".encode(), digest_size=8).hexdigest()
    return Process(digest, pid, started, host, boot)


def this_process() -> Process:
    """The process that asks; right after a fork too."""
    return _this(os.getpid())


def is_dead(row: sqlite3.Row) -> bool:
    """Whether the process of a `processes` row has ended; one on another machine counts as alive."""
    here = this_process()
    if row["id"] == here.id or row["host"] != here.host:
        return False
    if row["boot"] != here.boot:
        # Another boot of this machine is over; another container of it cannot be looked into.
        return bool(row["boot"].split()[:1] != here.boot.split()[:1])
    import psutil

    try:
        found = psutil.Process(row["pid"])
        if found.status() == psutil.STATUS_ZOMBIE:
            return True
        return bool(abs(found.create_time() - row["started"]) > 1.0)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
