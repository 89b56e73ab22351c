"""A worker where there is 1 GB of memory, as on Binder: the 32 prompts run, and its peak is read.

`python -m benchmarks.limit MODEL` runs them in the group of processes that it finds itself in, and prints what
it found; `measure` puts it into a group with a limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.child import environment
from benchmarks.report import Row

LIMIT = 10**9
MOST = 400 * 10**6
ROWS, CELLS = 4, 4096
# Of prompts that no other measurement has.
NUMBER = 440
ROOT = Path("/sys/fs/cgroup")
# Of version 2 and of version 1.
VERSIONS = (
    (ROOT, "memory.max", "memory.peak"),
    (ROOT / "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
)


def measure(model: str) -> Row:
    what = (
        f"worker of `ws.prompts.map` over the 32 prompts under a real limit of {LIMIT / 1e9:g} GB"
    )
    target = f"{ROWS} rows, {CELLS:,} cells, peak ≤ {MOST / 1e6:.0f} MB"
    try:
        with _group() as (group, peak):
            found = _run(model, group)
            together = int((group / peak).read_text()) if (group / peak).is_file() else 0
    except OSError as e:
        return Row(
            what,
            "",
            f"not run: no group of processes with a limit of memory can be made here ({e})",
            target=target,
        )
    size = f"{found['rows']} rows, {found['cells']:,} cells"
    ours = (
        f"{size}, peak {found['peak'] / 1e6:.0f} MB resident, {found['rate']:.0f} tok/s, 1 run; the whole "
        f"group with its kernel {together / 1e6:.0f} MB"
    )
    right = (found["rows"], found["cells"]) == (ROWS, CELLS)
    return Row(what, ours, target=target, reached=right and found["peak"] <= MOST)


@contextlib.contextmanager
def _group() -> Iterator[tuple[Path, str]]:
    """A control group that may use so much memory and no swap, and its file with the peak."""
    base, limit, peak = next(
        (v for v in VERSIONS if (v[0] / "cgroup.procs").is_file() and _has(v[0])), (None, "", "")
    )
    if base is None:
        raise OSError("no memory controller")
    group = base / f"llmops-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(str(LIMIT))
        yield group, peak
    finally:
        _remove(group)


def _has(base: Path) -> bool:
    """Whether groups below one can have a limit; version 2 has to be told so."""
    if base != ROOT:
        return True
    with contextlib.suppress(OSError):
        (base / "cgroup.subtree_control").write_text("+memory")
    return "memory" in (base / "cgroup.subtree_control").read_text().split()


def _remove(group: Path) -> None:
    """Remove a group once its processes are gone."""
    for _ in range(50):
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.2)


def _run(model: str, group: Path) -> dict[str, float]:
    """What this module as a program prints when its process is in the group."""

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    out = subprocess.check_output(
        [sys.executable, "-m", "benchmarks.limit", model],
        cwd=tempfile.gettempdir(),
        env=environment(),
        preexec_fn=enter,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    return json.loads(out.strip().splitlines()[-1])


def main() -> None:
    import llmops_jupyter as lo
    from benchmarks.batched import Ours
    from benchmarks.workload import Workload

    model = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder, lo.open(folder, worker="private") as ws:
        workload = Workload(str(ws.models.resolve(model).path))
        ours = Ours(ws, model, workload)
        rate = ours.map(workload.batch(NUMBER))
        status = ours.engine.status()
        found = {
            "rate": rate,
            "rows": int(status["rows"].split()[-1]),
            "cells": int(status["cells"].split()[-1]),
            "peak": _peak(status["pid"]),
        }
    print(json.dumps(found))


def _peak(pid: int) -> int:
    """The most memory that a process had resident, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("the system does not tell the peak of a process")


if __name__ == "__main__":
    main()
