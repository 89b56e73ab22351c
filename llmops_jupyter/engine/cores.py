"""How many threads this process should compute with."""

from __future__ import annotations

import os
from pathlib import Path


def default_threads(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Physical cores that this process may use, by affinity and by the container's quota.

    More threads than that wait for each other and are many times slower than fewer.
    """
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    physical = psutil.cpu_count(logical=False) or allowed or 1
    return max(1, min(physical, allowed or 1, _quota(quota_file)))


def _quota(file: Path) -> int:
    """Whole processors that the control group grants; very many where there is no limit."""
    unlimited = 10_000
    try:
        quota, period = file.read_text("ascii").split()
    except (OSError, ValueError):
        return unlimited
    return unlimited if quota == "max" else max(1, int(quota) // int(period))
