"""What other processes do, as tests look at them."""

from __future__ import annotations

import os
import time

import psutil

MARK = "WORKER_TEST"
GONE_S = 20.0


def marked(token):
    """Other processes that were started under this token."""
    return [p for p in psutil.process_iter() if p.pid != os.getpid() and mark_of(p) == token]


def mark_of(process):
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None


def running(pid):
    """Whether a process is there and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds=GONE_S):
    """Whether a condition comes to hold within some time."""
    end = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return bool(held)
