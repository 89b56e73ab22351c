"""Running the load from a notebook or a terminal: begin the generator, look how far it is, read what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_jupyter.deploy.sizing.calling import Call
from llmops_jupyter.deploy.sizing.generator import CALLS, LEVELS
from llmops_jupyter.deploy.sizing.load import Load
from llmops_jupyter.engine.worker.process import apart, environment, package_folder
from llmops_jupyter.errors import DeployError

MODULE = "llmops_jupyter.deploy.sizing.generator"
STEP_S, END_S = 0.25, 15.0
OK, INTERRUPTED, BROKEN = "ok", "interrupted", "broken off"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Raw:
    """What a level left.

    Args:
        calls: in the order in which they ended.
        lasted: seconds of the level, warm-up included; None if it was broken off.
        cpu: share of a core that the generator used.
        late: seconds that its loop was late, the 99th percentile.
        full: whether requests of an open loop were left out, since too many ran.
    """

    calls: Sequence[Call]
    lasted: float | None = None
    cpu: float = 0.0
    late: float = 0.0
    full: bool = False


def measure(load: Load, job: Mapping[str, Any], tell: Tell) -> tuple[dict[int, Raw], str]:
    """Run a load; an interrupt keeps what there is.

    Args:
        load: what is run.
        job: url, key, model, prompts, unique, usage, local: where and what is asked.
        tell: told how far it is.

    Returns:
        What each level left that was begun, by its number, and the status: 'ok', 'interrupted' or 'broken off'.

    Raises:
        DeployError: the generator did not start.
    """
    with tempfile.TemporaryDirectory(prefix="llmops-load-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        status = OK
        with _generator(folder, {**job, "load": load.as_dict()}) as process:
            try:
                _follow(process, folder, load, tell)
            except KeyboardInterrupt:
                status = INTERRUPTED
        if status == OK and process.returncode:
            status = BROKEN
        found = _read(folder)
        if status == BROKEN and not any(raw.calls for raw in found.values()):
            said = (folder / "log").read_text("utf-8", "replace").strip().splitlines()
            last = said[-1][:200] if said else f"it ended with {process.returncode}"
            raise DeployError(f"The load generator failed: {last}. Run it again.")
        return found, status


@contextmanager
def _generator(folder: Path, job: Mapping[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """The running generator; it ends with the block, and by itself if this process dies."""
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603 - this Python and a module of ours
            [sys.executable, "-m", MODULE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=package_folder(),
            env=environment(),
            text=True,
            **apart(()),
        )
    assert process.stdin is not None
    try:
        # The key goes this way, and is in no file and on no command line.
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        yield process
    finally:
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(END_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()


def _follow(process: subprocess.Popen[str], folder: Path, load: Load, tell: Tell) -> None:
    """Say how far it is until it ends."""
    began = time.monotonic()
    path, place, done = folder / CALLS, 0, 0
    while True:
        try:
            process.wait(STEP_S)
        except subprocess.TimeoutExpired:
            pass
        else:
            return
        if path.exists():
            with path.open("rb") as file:
                file.seek(place)
                new = file.read()
            place, done = place + len(new), done + new.count(b"\n")
        tell(_progress(folder, load, done, time.monotonic() - began))


def _progress(folder: Path, load: Load, done: int, passed: float) -> str:
    begun = [entry for entry in _lines(folder / LEVELS) if "began" in entry]
    number = begun[-1]["level"] if begun else 0
    level = load.levels[number]
    each = load.warmup_s + load.duration_s
    inside = max(0.0, time.time() - begun[-1]["began"]) if begun else 0.0
    left = max(0.0, each - inside) + (len(load.levels) - 1 - number) * each
    told = f"{left:.0f} s left" if inside <= each else "waiting for the last answers"
    return f"{level.words()} ({number + 1} of {len(load.levels)}) · {done} answers · {passed:.0f} s, {told}"


def _read(folder: Path) -> dict[int, Raw]:
    calls: dict[int, list[Call]] = {}
    for values in _lines(folder / CALLS):
        calls.setdefault(values.pop("level"), []).append(Call.from_dict(values))
    found: dict[int, Raw] = {}
    for entry in _lines(folder / LEVELS):
        number = entry["level"]
        if "began" in entry:
            found[number] = Raw(calls.get(number, []))
        else:
            own = {name: entry[name] for name in ("lasted", "cpu", "late", "full")}
            found[number] = Raw(calls.get(number, []), **own)
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file that may still be written."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
