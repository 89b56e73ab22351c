"""Which worker a model runs in: a shared one, a private one, or none.

A shared worker is found by what it has loaded. It starts and leaves under one lock, so that two kernels
that start at the same instant get one, and nobody joins one that is leaving. Whatever is not as it should
be leads to a private worker, with a note that says why.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import AuthenticationError, connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.engine.worker import wire
from llmops_jupyter.engine.worker.channel import Channel, wait
from llmops_jupyter.engine.worker.client import WorkerEngine
from llmops_jupyter.engine.worker.folder import DoubtError, Place, lock, runtime_folder
from llmops_jupyter.engine.worker.link import (
    BROKEN,
    PROTOCOL,
    authenticate_server,
    dial,
    hang_up,
    limited,
)
from llmops_jupyter.engine.worker.process import StartError, start
from llmops_jupyter.engine.worker.spec import VERSION, Spec
from llmops_jupyter.errors import LLMOpsError, ModelMemoryError

if TYPE_CHECKING:
    from llmops_jupyter.engine.worker.link import Connection

SHARED, PRIVATE, OFF = "shared", "private", "off"
# With less free memory than this, in bytes, a worker is private and runs few rows.
LOW_MEMORY = 2 * 10**9
FEW_ROWS = 4
LOOK_S = 5.0
RELEASE_S = 15.0


@dataclass(frozen=True)
class Opened:
    """An engine, and why it is not the kind that was asked for."""

    engine: Engine
    notes: tuple[str, ...] = ()


def open_engine(
    spec: Spec,
    *,
    mode: str = SHARED,
    idle_s: float = 300.0,
    before_load: Callable[[], object] | None = None,
    folder: Path | None = None,
) -> Opened:
    """Load a model in a worker, or join the worker that has it loaded.

    Args:
        spec: the model and how to load it.
        mode: "shared", "private", or "off" for no worker.
        idle_s: seconds after which a shared worker without users ends.
        before_load: raises if the model cannot be loaded, for instance for lack of memory; not called
            when a worker has it loaded.
        folder: where shared workers are found; None is the user's runtime folder.

    Raises:
        ModelError, LLMOpsError: what loading the model raised, wherever it was tried.
    """
    weigh = before_load or (lambda: None)
    try:
        return _open(spec, mode, idle_s, weigh, folder)
    except ModelMemoryError:
        # Where memory is short, workers that nobody uses go first.
        if mode == OFF or not release_idle(folder):
            raise
    return _open(spec, mode, idle_s, weigh, folder)


def _open(
    spec: Spec, mode: str, idle_s: float, weigh: Callable[[], object], folder: Path | None
) -> Opened:
    notes: list[str] = []
    if mode == SHARED:
        try:
            return Opened(_shared(spec, idle_s, weigh, folder))
        except DoubtError as e:
            notes.append(f"The worker is private because {e}.")
    weigh()
    if mode != OFF:
        try:
            engine = _private(_modest(spec, folder), notes)
        except (DoubtError, StartError) as e:
            notes.append(f"The model runs in this process because {e}.")
        else:
            engine.wait_loaded()
            return Opened(engine, tuple(notes))
    return Opened(spec.load(), tuple(notes))


def workers(folder: Path | None = None) -> list[dict[str, Any]]:
    """The status of each shared worker that runs."""
    found = []
    for place in _places(folder):
        with _looking(place) as channel:
            if channel is None:
                continue
            try:
                found.append(dict(channel.call("status", {})))
            except LLMOpsError:
                continue  # It has just left.
    return found


def release_idle(folder: Path | None = None) -> int:
    """End shared workers that nobody uses; returns how many, once their memory is free."""
    ended = 0
    for place in _places(folder):
        with _looking(place) as channel:
            if channel is None:
                continue
            channel.send({"op": "release"})
            try:
                if wait(channel.control, LOOK_S).get("released"):
                    ended += "lost" in wait(channel.control, RELEASE_S)
            except queue.Empty:
                continue
    return ended


def _shared(
    spec: Spec, idle_s: float, weigh: Callable[[], object], folder: Path | None
) -> WorkerEngine:
    key = spec.key()
    place = Place(folder or runtime_folder(), key[:16])
    with lock(place.folder):
        engine = _join(place, spec, key)
    if engine is None:
        weigh()
        if _short_of_memory(place.folder):
            raise DoubtError("less than 2 GB of memory are free; it runs few rows at once")
        with lock(place.folder):
            engine = _join(place, spec, key) or _start(place, spec, key, idle_s)
    engine.wait_loaded()
    return engine


def _join(place: Place, spec: Spec, key: str) -> WorkerEngine | None:
    """The running worker, or None if there is none; what a dead one left is removed.

    One that could not load the model is about to leave and counts as none: the reason may be gone.
    """
    conn = _connect(place)
    if conn is None:
        return None
    _greet(conn, place.read_key, _hello(key=key))
    engine = WorkerEngine(conn, spec, log=place.log, tidy=lambda: _tidy(place))
    if not engine.failed:
        return engine
    engine.close()
    place.clear()
    return None


def _connect(place: Place) -> Connection | None:
    try:
        try:
            return dial(place.address)
        except (FileNotFoundError, ConnectionRefusedError):
            place.clear()
            return None
    except OSError as e:
        raise DoubtError(f"it cannot be reached ({e})") from e


def _greet(conn: Connection, read_key: Callable[[], bytes], hello: dict[str, Any]) -> None:
    """Authenticate both sides and say who we are; DoubtError, with the connection closed, if it fails."""
    try:
        with limited(conn):
            authenticate_server(conn, read_key())
        conn.send_bytes(wire.encode(hello))
    except (*BROKEN, AuthenticationError, AssertionError) as e:
        hang_up(conn)
        conn.close()
        raise DoubtError(f"its authentication fails ({type(e).__name__})") from e
    except BaseException:
        conn.close()
        raise


def _hello(**more: Any) -> dict[str, Any]:
    name = os.environ.get("JPY_SESSION_NAME", "")
    return {"protocol": PROTOCOL, "version": VERSION, "pid": os.getpid(), "name": name, **more}


def _start(place: Place, spec: Spec, key: str, idle_s: float) -> WorkerEngine:
    """A new shared worker; under the lock."""
    try:
        authkey = place.make_key()
        log = place.make_log()
    except OSError as e:
        raise DoubtError(f"{str(place.folder)!r} cannot be written ({e.strerror})") from e
    shared = {
        "folder": str(place.folder),
        "name": place.name,
        "authkey": authkey.hex(),
        "idle_s": idle_s,
    }
    try:
        process = start({"spec": spec.value(), "key": key, "shared": shared}, log)
    except StartError as e:
        place.clear()
        raise DoubtError(str(e)) from e
    with process.reached():
        conn = _connect(place)
        if conn is None:
            raise DoubtError("it cannot be reached")
        _greet(conn, lambda: authkey, _hello(key=key))
        return WorkerEngine(conn, spec, process=process, log=place.log, tidy=lambda: _tidy(place))


def _tidy(place: Place) -> None:
    """Remove what a worker that died left behind, unless another has taken its place."""
    try:
        with lock(place.folder, LOOK_S):
            conn = _connect(place)
    except DoubtError:
        return
    if conn is not None:
        hang_up(conn)
        conn.close()


def _private(spec: Spec, notes: list[str]) -> WorkerEngine:
    """A new worker that only this process knows, over a pipe that it inherits."""
    key = spec.key()
    try:
        ours, theirs = connection.Pipe(duplex=True)
    except OSError as e:
        raise StartError(f"no pipe can be made ({e})") from e
    try:
        with theirs:
            handle = theirs.fileno()
            if sys.platform == "win32":
                os.set_handle_inheritable(handle, True)
            # A file without a name: nothing is left behind, however both processes end.
            log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - the process closes it
            config = {"spec": spec.value(), "key": key, "handle": handle}
            process = start(config, log, inherit=(handle,))
        with process.reached():
            ours.send_bytes(wire.encode(_hello(key=key)))
    except OSError as e:
        ours.close()
        raise StartError(f"it cannot be reached ({e})") from e
    except BaseException:
        ours.close()
        raise
    # From here on the connection is the engine's, whose threads may close it at any time.
    with process.reached():
        return WorkerEngine(ours, spec, process=process, notes=notes)


def _short_of_memory(folder: Path | None) -> bool:
    if _memory() >= LOW_MEMORY:
        return False
    return not release_idle(folder) or _memory() < LOW_MEMORY


def _modest(spec: Spec, folder: Path | None) -> Spec:
    if not _short_of_memory(folder):
        return spec
    return replace(spec, rows=min(spec.rows or FEW_ROWS, FEW_ROWS))


def _memory() -> int:
    from llmops_jupyter.models.memory import available_memory

    return available_memory().bytes


def _places(folder: Path | None) -> list[Place]:
    """Where shared workers are or were."""
    try:
        where = folder or runtime_folder()
        return [Place(where, path.stem) for path in sorted(where.glob("*.key"))]
    except (DoubtError, OSError):
        return []


@contextmanager
def _looking(place: Place) -> Iterator[Channel | None]:
    """A connection that does not count as use; None if the worker cannot be reached."""
    channel = None
    try:
        with lock(place.folder, LOOK_S):
            conn = _connect(place)
            if conn is not None:
                _greet(conn, place.read_key, _hello(looks=True))
                channel = Channel(conn, lambda: "The worker has ended. Run again.")
                if "welcome" not in wait(channel.control, LOOK_S):
                    raise DoubtError("it is of another version")
    except (DoubtError, queue.Empty):
        if channel is not None:
            channel.close()
        channel = None
    try:
        yield channel
    finally:
        if channel is not None:
            channel.close()
