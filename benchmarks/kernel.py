"""A real kernel, driven as a notebook drives one."""

from __future__ import annotations

import ast
import os
import time
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

WAIT_S = 120


class Kernel:
    """A kernel in a folder, with a store of its own there. Close it, or use it in a `with`."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / ".llmops"
        self._manager = KernelManager()
        self._manager.start_kernel(
            cwd=str(folder), env={**os.environ, "LLMOPS_HOME": str(self.home)}
        )
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=WAIT_S)

    def run(self, code: str, value: str = "None") -> Any:
        """Run a cell to its end; returns the value of an expression (a literal) after it."""
        message_id = self._client.execute(code, user_expressions={"value": value})
        content = self._finish(message_id)
        if content["status"] != "ok":
            raise RuntimeError(f"{content.get('ename')}: {content.get('evalue')} in {code!r}")
        return ast.literal_eval(content["user_expressions"]["value"]["data"]["text/plain"])

    def interrupt(self, code: str, after_s: float) -> float:
        """Run a cell and interrupt it; seconds from the interrupt to the reply and the idle kernel."""
        message_id = self._client.execute(code)
        while self._own(self._client.get_iopub_msg, message_id)["msg_type"] != "execute_input":
            pass
        time.sleep(after_s)
        began = time.perf_counter()
        self._manager.interrupt_kernel()
        content = self._finish(message_id)
        seconds = time.perf_counter() - began
        if content.get("ename") != "KeyboardInterrupt":
            raise RuntimeError(f"the cell was not interrupted: {content}")
        return seconds

    def _finish(self, message_id: str) -> dict[str, Any]:
        reply = self._own(self._client.get_shell_msg, message_id)
        while True:
            message = self._own(self._client.get_iopub_msg, message_id)
            if message["content"].get("execution_state") == "idle":
                return reply["content"]

    def _own(self, get: Any, message_id: str) -> dict[str, Any]:
        while True:
            message = get(timeout=WAIT_S)
            if message["parent_header"].get("msg_id") == message_id:
                return message

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
