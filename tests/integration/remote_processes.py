"""Servers with OpenAI's interface as processes."""

from __future__ import annotations

import socket
import subprocess
import time

import httpx

STARTED_S = 120.0


def started(command, log, environment=None):
    """The base URL of a server process that answers, and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=file,
            stderr=file,
            env=environment,
        )
    url = f"http://127.0.0.1:{port}/v1"
    end = time.monotonic() + STARTED_S
    while time.monotonic() < end and process.poll() is None:
        try:
            # llama-server lists its model before it is loaded.
            if httpx.post(f"{url}/completions", json={"prompt": "a", "max_tokens": 1}).is_success:
                return url, process
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    process.kill()
    process.wait()
    raise AssertionError(log.read_text("utf-8", "replace")[-2000:])


def stop(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
