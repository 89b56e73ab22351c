"""One call in a process of its own, so that a crash, lack of memory or an interrupt ends only that.

What it is given and what it returns are JSON values; on the way it may say how far it is. The caller waits
so that Ctrl-C reaches it at once, and takes the process down with it. The process ends, too, when its
caller is gone.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import IO, Any, NoReturn

from llmops_jupyter import errors
from llmops_jupyter.engine.worker.process import ending, last_line, last_words, launch, tail_of
from llmops_jupyter.errors import EngineError, LLMOpsError

MODULE = "llmops_jupyter.engine.child"
TICK_S = 0.2
Report = Callable[[str], None]


def call(
    function: str,
    values: Mapping[str, Any],
    *,
    report: Report | None = None,
    tick: Callable[[], None] | None = None,
) -> Any:
    """What ``function(report, **values)`` returns in a child process.

    Args:
        function: "module:name" of this package.
        values: its arguments, JSON values.
        report: gets each text that the child reports.
        tick: called a few times a second while the child works.

    Raises:
        LLMOpsError: as raised in the child; EngineError if it died.
        KeyboardInterrupt: the child is gone by then.
    """
    with tempfile.TemporaryFile() as log:
        running = _start(log)
        try:
            assert running.stdin is not None
            request = json.dumps({"function": function, "values": dict(values)})
            try:
                running.stdin.write(request.encode() + b"\n")
                running.stdin.flush()
            except OSError:
                pass  # it has died already; its missing answer tells
            message = _wait(running, report or (lambda _: None), tick or (lambda: None))
        finally:
            _stop(running)
        if message is None:
            raise _death(running.returncode, log)
    if "error" in message:
        kind = getattr(errors, message["error"], EngineError)
        raise kind(message["text"])
    return message["result"]


def _start(log: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return launch(MODULE, log)
    except (OSError, ValueError) as e:
        raise EngineError(f"No process can be started ({e}). Free memory and run again.") from e


def _wait(
    running: subprocess.Popen[bytes], report: Report, tick: Callable[[], None]
) -> Mapping[str, Any] | None:
    """The last message of the child; None if it ended without one."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # A thread reads, since an interrupt does not reach a read of a pipe on every system.
    threading.Thread(target=_read, args=(running, lines), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=TICK_S)
        except queue.Empty:
            tick()
            continue
        if not line:
            running.wait()
            return None
        message: Mapping[str, Any] = json.loads(line)
        if "report" not in message:
            return message
        report(message["report"])


def _read(running: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    assert running.stdout is not None
    with running.stdout as out:
        for line in out:
            lines.put(line)
    lines.put(b"")


def _stop(running: subprocess.Popen[bytes]) -> None:
    if running.poll() is None:
        running.kill()
    running.wait()
    assert running.stdin is not None
    try:
        running.stdin.close()
    except OSError:
        pass  # what was not written is not needed


def _death(code: int | None, log: IO[bytes]) -> EngineError:
    tail = tail_of(log)
    said = last_words(tail) or last_line(tail)
    return EngineError(
        f"The process that did this {ending(code)}{f': {said}' if said else ''}. "
        "Nothing of it was kept; free memory and run it again."
    )


def main() -> None:
    """Answer the one call that stands on the standard input."""
    # Native code may print; only messages go to the caller.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_caller, daemon=True).start()

    def send(message: Mapping[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    module, _, name = request["function"].partition(":")
    try:
        function = getattr(import_module(module), name)
        send({"result": function(lambda text: send({"report": text}), **request["values"])})
    except LLMOpsError as e:
        send({"error": type(e).__name__, "text": str(e)})
    except Exception as e:  # noqa: BLE001 - the caller gets it; the traceback would stay here
        why = f"{type(e).__name__}: {e}"
        send({"error": "EngineError", "text": f"{name} failed ({why}). Run again."})


def _end_with_caller() -> NoReturn:
    # Not through `sys.stdin`: a thread that waits with its lock keeps Python from ending in order.
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
