"""API keys: shown once, kept as hashes in a file for the owner's eyes only."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from llmops_jupyter.deploy.serving.places import serving_folder
from llmops_jupyter.errors import DeployError, OptionError, unknown_name
from llmops_jupyter.store.aliases import NAME

PREFIX = "llmops-"
FILE = "keys.json"
MOST_A_MINUTE = 1_000_000
LOCK_S = 10.0


@dataclass(frozen=True)
class Key:
    """A key, without the key itself.

    Args:
        id: by which logs and `revoke` name it.
        name: whose it is.
        sha256: of the key. The key has 256 random bits, so that a plain hash cannot be turned back.
        made_at: when it was made.
        per_minute: requests a minute; None leaves it to the server.
        revoked_at: since when it is not accepted; '' while it is.
    """

    id: str
    name: str
    sha256: str
    made_at: str
    per_minute: int | None = None
    revoked_at: str = ""

    def row(self) -> dict[str, Any]:
        """The key as a row for people."""
        return {
            "id": self.id,
            "name": self.name,
            "made": self.made_at[:16].replace("T", " "),
            "per minute": "" if self.per_minute is None else self.per_minute,
            "revoked": self.revoked_at[:16].replace("T", " "),
        }


class Keys:
    """The keys of a user, in one file; a change is seen by servers that run.

    Args:
        path: of the file; the user's own if left out.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = serving_folder() / FILE if path is None else Path(path).expanduser()
        self._read: tuple[Any, tuple[Key, ...]] | None = None

    def add(self, name: str, *, per_minute: int | None = None) -> tuple[Key, str]:
        """Make a key; its text is returned here and nowhere else."""
        if not NAME.fullmatch(name):
            raise OptionError(
                f"{name!r:.80} is no name of a key. Use small letters, digits, '.', '_' and '-', as in ci-tests."
            )
        if per_minute is not None and not 1 <= per_minute <= MOST_A_MINUTE:
            raise OptionError(f"--per-minute is from 1 to {MOST_A_MINUTE:,}, not {per_minute}.")
        text = PREFIX + secrets.token_urlsafe(32)
        key = Key(secrets.token_hex(4), name, _hash(text), _now(), per_minute)
        with _locked(self.path):
            self._write([*self.all(), key])
        return key, text

    def revoke(self, wanted: str) -> Key:
        """Accept a key no more; by its id, or by its name if only one has it.

        Raises:
            UnknownNameError: there is none.
        """
        with _locked(self.path):
            every = self.all()
            active = [k for k in every if not k.revoked_at]
            found = [k for k in active if k.id == wanted] or [k for k in active if k.name == wanted]
            if not found:
                known = [k.id for k in active] + [k.name for k in active]
                raise unknown_name("key", wanted, known, "llmops serve keys list shows them.")
            if len(found) > 1:
                listed = ", ".join(k.id for k in found)
                raise OptionError(
                    f"{len(found)} keys are called {wanted!r}. Name one by its id: {listed}"
                )
            gone = Key(**{**asdict(found[0]), "revoked_at": _now()})
            self._write([gone if k.id == gone.id else k for k in every])
        return gone

    def remove(self, key_id: str) -> None:
        """Take a key away, without leaving a word of it."""
        with _locked(self.path):
            every = self.all()
            left = [k for k in every if k.id != key_id]
            if len(left) < len(every):
                self._write(left)

    def all(self) -> tuple[Key, ...]:
        """Every key, also those that were revoked.

        Raises:
            DeployError: others can read or write the file, or it is damaged.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return ()
        except OSError as e:
            raise DeployError(f"{str(self.path)!r} cannot be read: {e.strerror or e}") from e
        mark = (status.st_mtime_ns, status.st_size, status.st_ino)
        if self._read is None or self._read[0] != mark:
            _check_owner(status, self.path)
            self._read = (mark, _parsed(self.path))
        return self._read[1]

    def find(self, text: str) -> Key | None:
        """The key with this text, if it is accepted; takes the same time whichever it is."""
        given, found = _hash(text), None
        for key in self.all():
            if hmac.compare_digest(key.sha256, given) and not key.revoked_at:
                found = key
        return found

    def _write(self, every: list[Key]) -> None:
        part = self.path.with_suffix(f".{os.getpid()}.part")
        part.unlink(missing_ok=True)
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump([asdict(k) for k in every], file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as e:
            part.unlink(missing_ok=True)
            raise DeployError(f"{str(self.path)!r} cannot be written: {e.strerror or e}") from e


def _parsed(path: Path) -> tuple[Key, ...]:
    try:
        return tuple(Key(**one) for one in json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as e:
        raise DeployError(
            f"{str(path)!r} holds no keys that can be read: {e}. Move it away and make new ones: llmops serve keys add NAME"
        ) from e


def _check_owner(status: os.stat_result, path: Path) -> None:
    if sys.platform == "win32":
        return  # The profile's folder is closed to others by its access list.
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise DeployError(
            f"Others may read or write {str(path)!r} (mode {stat.S_IMODE(status.st_mode):o}), so its keys are not trusted. "
            "Close it (chmod 600), or make new keys."
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One change of a file of keys at a time.

    Raises:
        DeployError: another one does not end, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"), timeout=LOCK_S, mode=0o600)
        lock.acquire()
    except Timeout as e:
        raise DeployError(
            f"{str(path)!r} is being changed by another process all the time. Try again."
        ) from e
    except OSError as e:
        raise DeployError(
            f"{str(path)!r} cannot be written: {e.strerror or e}. Make its folder writable."
        ) from e
    try:
        yield
    finally:
        lock.release()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
