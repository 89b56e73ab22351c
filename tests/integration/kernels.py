"""A real kernel: cells are run in it, and what it sent is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from jupyter_client.manager import KernelManager

LONG = "%%prompt tale -o tale --max-tokens 2000 --temperature 0\nWrite a very long story about a dragon."


@dataclass
class Run:
    """What a kernel sent for one cell."""

    shown: list = field(default_factory=list)
    updates: list = field(default_factory=list)
    text: str = ""
    error: dict | None = None

    @property
    def last(self):
        return (self.updates or self.shown)[-1]


class Kernel:
    def __init__(self, folder):
        self.manager = KernelManager()
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code, until=None, timeout=120):
        """Run a cell; `until(run)` ends the wait early, with the cell still running."""
        self.id = self.client.execute(code)
        return self.collect(until, timeout)

    def collect(self, until=None, timeout=120):
        run = Run()
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            message = self.client.get_iopub_msg(timeout=timeout)
            if message["parent_header"].get("msg_id") != self.id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "display_data":
                run.shown.append(content)
            elif kind == "update_display_data":
                run.updates.append(content)
            elif kind == "stream":
                run.text += content["text"]
            elif kind == "execute_result":
                run.text += content["data"]["text/plain"]
            elif kind == "error":
                run.error = content
            elif kind == "status" and content["execution_state"] == "idle":
                return run
            if until is not None and until(run):
                return run
        raise TimeoutError(code_of(self))

    def close(self):
        self.client.stop_channels()
        if self.manager.is_alive():
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


def code_of(kernel):
    return f"the kernel did not finish {kernel.id}"
