"""A cassette: recorded calls of models in a JSON text file that reads well in review.

The same request made several times is replayed in the order of recording, the last one again and again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import ReplayError

FORMAT = 1
# What a process records into, or plays from, is named by these variables of its environment.
RECORD, REPLAY = "LLMOPS_RECORD", "LLMOPS_REPLAY"


class Cassette:
    """Recordings in a file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.models: dict[str, dict[str, Any]] = {}
        self.calls: list[dict[str, Any]] = []
        self._played: dict[str, int] = {}
        self._lock = threading.RLock()

    @classmethod
    def load(cls, path: str | Path) -> Cassette:
        """Read a cassette.

        Raises:
            ReplayError: there is none, or it is damaged.
        """
        cassette = cls(path)
        try:
            value = json.loads(cassette.path.read_text(encoding="utf-8"))
            if value["format"] != FORMAT:
                raise ReplayError(
                    f"The cassette {str(path)!r} has format {value['format']}; this release reads "
                    f"{FORMAT}. Record it again with %trace record."
                )
            cassette.models, cassette.calls = value["models"], value["calls"]
            for call in cassette.calls:
                call["key"] = _key(call["kind"], call["model"], call["request"])
        except FileNotFoundError as e:
            raise ReplayError(
                f"There is no cassette {str(path)!r}. Record one with %trace record {path}."
            ) from e
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise ReplayError(
                f"The cassette {str(path)!r} cannot be read ({type(e).__name__}: {e}). "
                f"Record it again with %trace record {path}."
            ) from e
        return cassette

    def add(self, kind: str, model: str, request: Mapping[str, Any], response: Any) -> None:
        """Keep one call and write the file, whole or not at all; until the first, it stays as it is."""
        call = {"kind": kind, "model": model, "request": request, "response": response}
        with self._lock:
            self.calls.append(call)
            self._save()

    def check_place(self) -> None:
        """Raise a ReplayError if no file can be written where the cassette is to lie."""
        folder = next((p for p in self.path.absolute().parents if p.exists()), self.path.parent)
        if self.path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ReplayError(
                f"The cassette {str(self.path)!r} cannot be written there. Name another file."
            )

    def _save(self) -> None:
        value = {
            "format": FORMAT,
            "models": self.models,
            "calls": [{k: v for k, v in c.items() if k != "key"} for c in self.calls],
        }
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
            part.replace(self.path)
        except OSError as e:
            raise ReplayError(
                f"The cassette {str(self.path)!r} cannot be written: {e.strerror}. Name another file."
            ) from e
        finally:
            part.unlink(missing_ok=True)

    def peek(self, kind: str, model: str, request: Mapping[str, Any]) -> Any:
        """The recording that `take` would give next, or None."""
        key = _key(kind, model, request)
        found = [c for c in self.calls if c["key"] == key]
        return found[min(self._played.get(key, 0), len(found) - 1)]["response"] if found else None

    def take(self, kind: str, model: str, request: Mapping[str, Any]) -> Any:
        """The next recording of a request.

        Raises:
            ReplayError: there is none; the message says what differs from the nearest one.
        """
        with self._lock:
            response = self.peek(kind, model, request)
            if response is None:
                raise ReplayError(self._miss(kind, model, request))
            key = _key(kind, model, request)
            self._played[key] = self._played.get(key, 0) + 1
            return response

    def _miss(self, kind: str, model: str, request: Mapping[str, Any]) -> str:
        again = "Record again with %trace record, or run live with %trace replay off."
        same = [c for c in self.calls if c["kind"] == kind]
        if not same:
            return f"The cassette {self.path.name!r} has no recording of {kind!r}. {again}"
        scored = [(_differences(model, request, c), c) for c in same]
        nearest = min(scored, key=lambda pair: len(pair[0]))[0]
        return (
            f"The cassette {self.path.name!r} has no such call: {'; '.join(nearest[:3])}. {again}"
        )


class _Owner:
    """Stands for this process where `LLMOPS_RECORD` says what to record into."""


# Recordings that go on in this process, by file, with those that record into each.
_recording: dict[Path, tuple[Cassette, weakref.WeakSet[Any]]] = {}
_recording_lock = threading.Lock()
_process = _Owner()


def begin_recording(path: str | Path, owner: object, *, process: bool = False) -> Cassette:
    """The cassette that `owner` records into from now on.

    It is a new one, unless others in this process record into the same file: then it is theirs. With
    `process` all that this process records into that file, until it ends, is one recording. The file is
    replaced by the first call that is recorded, not before.

    Raises:
        ReplayError: no file can be written there.
    """
    cassette = Cassette(path)
    cassette.check_place()
    file = cassette.path.resolve()
    end_recording(owner)
    with _recording_lock:
        found, owners = _recording.get(file, (cassette, weakref.WeakSet[Any]()))
        if not len(owners):
            found = cassette
        owners.update({owner, _process} if process else {owner})
        _recording[file] = (found, owners)
        return found


def end_recording(owner: object) -> None:
    """`owner` records no more."""
    with _recording_lock:
        for _, owners in _recording.values():
            owners.discard(owner)


# Cassettes that this process plays from, by file, with time and size of what was read.
_playing: dict[Path, tuple[tuple[int, int], Cassette]] = {}


def playing(path: str | Path) -> Cassette:
    """The cassette that all of this process plays from: what was recorded as one recording goes on as one.

    A file that has changed since is read anew, from its beginning.

    Raises:
        ReplayError: there is none, or it is damaged.
    """
    file = Path(path).expanduser().resolve()
    try:
        stat = file.stat()
        now = (stat.st_mtime_ns, stat.st_size)
    except OSError:
        return Cassette.load(path)  # says why
    with _recording_lock:
        before, found = _playing.get(file, (None, None))
        if found is None or before != now:
            found = Cassette.load(path)
            _playing[file] = (now, found)
        return found


def beside(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables by which another process takes part in what this one records or plays.

    It has a cassette of its own beside this one's, since two that write one file would lose calls, and since its calls come
    in an order of their own: beside ``tour.cassette.json`` that of `support` is ``tour.cassette.support.json``.
    """
    found = {}
    for variable in (RECORD, REPLAY):
        if environ.get(variable):
            path = Path(environ[variable])
            found[variable] = str(path.with_name(f"{path.stem}.{name}{path.suffix}"))
    return found


def _key(kind: str, model: str, request: Mapping[str, Any]) -> str:
    text = json.dumps([kind, model, request], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _differences(model: str, request: Mapping[str, Any], call: Mapping[str, Any]) -> list[str]:
    """Each difference as a phrase, the recorded value first."""
    found = []
    if call["model"] != model:
        found.append(f"the model is {model[:12]} instead of {call['model'][:12]}")
    before, now = _flat(call["request"]), _flat(request)
    for path in sorted(set(before) | set(now)):
        a, b = before.get(path), now.get(path)
        if a != b:
            found.append(f"{path} is {_short(b)} instead of {_short(a)}")
    return found


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        items = [(f"{path}.{k}" if path else str(k), v) for k, v in value.items()]
    elif isinstance(value, list):
        items = [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    else:
        return {path: value}
    return {k: v for name, inner in items for k, v in _flat(inner, name).items()} or {path: value}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}…{text[-16:]}"
