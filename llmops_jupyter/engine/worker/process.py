"""Starting a worker process, reaping it, and telling how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from llmops_jupyter.errors import EngineError

MODULE = "llmops_jupyter.engine.worker"
READY_S = 60.0
LOG_TAIL = 4096
# The status with which it ends where it cannot serve, and Python where it cannot run it.
REFUSED = 1
# What a native library or Python writes to its standard error before it dies.
LAST_WORDS = ("GGML_ASSERT", "ggml_abort", "CUDA error", "Fatal Python error", "MemoryError")


class StartError(Exception):
    """The process did not come up; the message is a clause that follows 'because'."""


class Process:
    """A worker that this process started. A thread of its own waits for it, so it never is a zombie.

    Once it has `ended`, `returncode` is its status and `tail` the end of its log, which is closed.
    """

    def __init__(self, running: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.pid = running.pid
        self.returncode: int | None = None
        self.tail = ""
        self.ended = threading.Event()
        self._log = log
        self._owner = os.getpid()
        self.ready: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._watchers: list[Callable[[], None]] = []
        # Only the thread holds the Popen: it must not be collected while the worker outlives us.
        thread = threading.Thread(
            target=self._reap, args=(running,), name=f"llmops-reap-{self.pid}", daemon=True
        )
        thread.start()

    def when_ended(self, watcher: Callable[[], None]) -> None:
        """Call this once the process has ended, at once if it has."""
        self._watchers.append(watcher)
        if self.ended.is_set():
            watcher()

    def stop(self, patience: float = 0.0) -> None:
        """Wait until it is gone, and end it if that takes longer than `patience` seconds.

        Does nothing in a process forked from the one that started it.
        """
        if os.getpid() != self._owner or self.ended.wait(patience):
            return
        with contextlib.suppress(OSError):
            os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        self.ended.wait(5)

    @contextlib.contextmanager
    def reached(self) -> Iterator[None]:
        """Around what makes contact: if that fails since the process crashed, an EngineError says so.

        Without it we would load the model ourselves, and the notebook's process would crash the same way.
        """
        try:
            yield
        except Exception as e:
            if self.ended.wait(2) and self.returncode not in (0, REFUSED):
                raise EngineError(death(self, self.pid, None)) from e
            raise

    def _reap(self, running: subprocess.Popen[bytes]) -> None:
        assert running.stdout is not None
        with running.stdout as out:
            self.ready.put(out.readline())
        self.returncode = running.wait()
        with self._log as log:
            self.tail = tail_of(log)
        self.ended.set()
        for watcher in list(self._watchers):
            watcher()


def start(config: Mapping[str, Any], log: IO[bytes], inherit: Sequence[int] = ()) -> Process:
    """Start a worker and wait until it can be reached; the model is loaded after that.

    Args:
        config: what it reads from its standard input.
        log: takes its standard output and error; opened for appending and reading, and closed here.
        inherit: file descriptors (on Windows, handles) that it keeps.

    Raises:
        StartError: it could not be started or ended at once.
        EngineError: it crashed.
    """
    if not sys.executable:
        raise StartError("this Python does not know its own program")
    line = json.dumps(config).encode() + b"\n"
    try:
        running = launch(MODULE, log, inherit)
    except (OSError, ValueError) as e:
        log.close()
        raise StartError(f"its process cannot be started ({e})") from e
    process = Process(running, log)
    try:
        # It may have died before it reads; the missing answer tells.
        with contextlib.suppress(OSError):
            assert running.stdin is not None
            with running.stdin as given:
                given.write(line)
        with process.reached():
            _wait_ready(process)
    except BaseException:
        process.stop()
        raise
    return process


def launch(module: str, log: IO[bytes], inherit: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """A module of ours as a program, with pipes for its input and output; `log` takes its errors.

    Raises:
        OSError, ValueError: it could not be started.
    """
    return subprocess.Popen(  # noqa: S603 - this Python and a module of ours
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=package_folder(),
        env=environment(),
        **apart(inherit),
    )


def reap(running: subprocess.Popen[Any]) -> None:
    """Wait for a process on a thread of its own, or it stays as a zombie for as long as this process lives."""
    name = f"llmops-reap-{running.pid}"
    threading.Thread(target=running.wait, name=name, daemon=True).start()


def _wait_ready(process: Process) -> None:
    try:
        answer = process.ready.get(timeout=READY_S)
    except queue.Empty:
        raise StartError(f"its process was not ready within {READY_S:g} s") from None
    if answer.strip() != b"ready":
        process.ended.wait(5)
        said = answer.decode("utf-8", "replace").strip() or last_line(process.tail)
        raise StartError(f"its process ended at once{': ' + said if said else ''}")


def apart(inherit: Sequence[int]) -> dict[str, Any]:
    """A session of its own, since Jupyter signals the kernel's whole process group."""
    if sys.platform == "win32":
        startup = subprocess.STARTUPINFO()
        startup.lpAttributeList = {"handle_list": list(inherit)}
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"startupinfo": startup if inherit else None, "creationflags": flags}
    else:  # noqa: RET505 - the type checker reads only one of the branches
        return {"start_new_session": True, "pass_fds": tuple(inherit)}


def package_folder() -> Path:
    return Path(__file__).resolve().parents[3]


# Enough for the waits within one token, some microseconds each.
SPINS = "6000"


def environment() -> dict[str, str]:
    """Ours, without the working directory on the module path, where a notebook's files may lie.

    Threads of libgomp that wait for each other spin for a short time only: by default they do so for many
    milliseconds, and a model on a machine that is busy with something else is then a hundred times slower.
    """
    found = {"GOMP_SPINCOUNT": SPINS, **os.environ, "PYTHONSAFEPATH": "1"}
    folder = package_folder()
    if folder.name not in ("site-packages", "dist-packages"):
        paths = [p for p in (found.get("PYTHONPATH"), str(folder)) if p]
        found["PYTHONPATH"] = os.pathsep.join(paths)
    return found


def death(process: Process | None, pid: int, log: Path | None) -> str:
    """A sentence on how a worker ended, and what to do.

    Args:
        process: the worker, if this process started it; only then is it known what ended it.
        pid: its process id.
        log: its log file, if it has one.
    """
    code, tail = None, ""
    if process is not None and process.ended.wait(2):
        code, tail = process.returncode, process.tail
    elif log is not None:
        tail = _tail_of(log)
    said = last_words(tail)
    return (
        f"The process in which the model ran (pid {pid}) {ending(code)}"
        f"{f' ({said})' if said else ''}. "
        "Nothing of this notebook is lost: run the cell again, and a new one starts."
    )


def ending(code: int | None) -> str:
    """How a process ended, by its status: a clause whose subject it is."""
    if not code:
        return "ended"
    if code > 0:
        return f"ended with status {code}"
    try:
        how = f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        how = f"was killed by signal {-code}"
    if -code == getattr(signal, "SIGKILL", 9):
        how += ", which the system also does when memory runs out"
    return how


def _tail_of(path: Path) -> str:
    try:
        with path.open("rb") as log:
            return tail_of(log)
    except OSError:
        return ""


def tail_of(log: IO[bytes]) -> str:
    """The last 4 KB of a log as text."""
    try:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - LOG_TAIL))
        return log.read().decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def last_line(tail: str) -> str:
    """The last line of a log that is not blank, 200 characters of it."""
    lines = tail.split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def last_words(tail: str) -> str:
    """The line in which a library or Python said why it gave up, if there is one."""
    lines = [line.strip() for line in tail.splitlines()]
    return next((s[:200] for s in lines if any(word in s for word in LAST_WORDS)), "")
