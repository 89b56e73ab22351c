"""One file with the state of a prompt's beginning: a head, the tokens, the state, a checksum of all that.

llama.cpp trusts a state: it may stop the process over a wrong one. So none is handed on unless its
checksum, its length and what it was made with are right.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIX = ".kv"
MAGIC, VERSION = b"llmopsKV", 1
START = struct.Struct("<8sII")  # magic, version, bytes of the JSON that follows
MOST_HEAD = 4096
CHECKSUM_BYTES = 32


class DamagedError(Exception):
    """A file is not what its name says."""


@dataclass(frozen=True)
class Entry:
    """A state on disk: the tokens that it stands for, and how many seconds reading them takes."""

    path: Path
    identity: str
    tokens: NDArray[np.int32]
    state_bytes: int
    seconds: float

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self._head()) + 4 * len(self.tokens) + self.state_bytes + CHECKSUM_BYTES

    def _head(self) -> bytes:
        facts = {
            "identity": self.identity,
            "tokens": len(self.tokens),
            "state": self.state_bytes,
            "seconds": self.seconds,
        }
        text = json.dumps(facts).encode()
        return START.pack(MAGIC, VERSION, len(text)) + text

    def write(self, target: Path, state: NDArray[np.uint8]) -> None:
        """Write a new file that only its owner may read; raises an OSError."""
        checksum = hashlib.sha256()
        with _create(target) as file:
            for part in (self._head(), self.tokens.astype("<i4").data, state.data):
                checksum.update(part)
                file.write(part)
            file.write(checksum.digest())

    def read(self) -> NDArray[np.uint8]:
        """The state.

        Raises:
            DamagedError: the file is not whole, or has changed.
            OSError: it cannot be read.
        """
        import numpy as np

        with _open(self.path) as file:
            content = np.empty(os.fstat(file.fileno()).st_size, dtype=np.uint8)
            # A copy in memory, since a file that is mapped can change between the check and the use.
            count = file.readinto(content.data)  # type: ignore[attr-defined]
        offset = len(content) - self.state_bytes - CHECKSUM_BYTES
        if count != len(content) or offset <= 0:
            raise DamagedError
        body, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
        if hashlib.sha256(body.data).digest() != checksum.tobytes():
            raise DamagedError
        again = _parse(self.path, content[:offset].tobytes(), len(content))
        if again.identity != self.identity or not np.array_equal(again.tokens, self.tokens):
            raise DamagedError
        return body[offset:]


def named(folder: Path, identity: str, tokens: NDArray[np.int32]) -> Path:
    """Where the state of these tokens lies; `identity` is a hex digest of what it was made with."""
    digest = hashlib.sha256(identity.encode() + tokens.astype("<i4").tobytes()).hexdigest()
    return folder / f"{beginning(identity)}{digest[:32]}{SUFFIX}"


def beginning(identity: str) -> str:
    """What the names of all files with this identity begin with."""
    return f"{identity[:32]}-"


def look(path: Path, identity: str) -> Entry:
    """What a file says it holds; the state itself is not read.

    Raises:
        DamagedError: it is no such file, or of another identity.
        OSError: it cannot be read.
    """
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(START.size)
        if len(content) == START.size:
            content += file.read(min(START.unpack(content)[2], MOST_HEAD))
        facts = _facts(content)
        content += file.read(min(4 * facts["tokens"], size))
    entry = _parse(path, content, size)
    if entry.identity != identity:
        raise DamagedError
    return entry


def _facts(content: bytes) -> dict[str, Any]:
    """What the head of a file says."""
    if len(content) < START.size:
        raise DamagedError
    magic, version, length = START.unpack_from(content)
    if (magic, version) != (MAGIC, VERSION) or length > MOST_HEAD:
        raise DamagedError
    try:
        facts = json.loads(content[START.size : START.size + length])
    except ValueError as e:
        raise DamagedError from e
    kinds = {"identity": str, "tokens": int, "state": int, "seconds": float}
    if not isinstance(facts, dict) or {k: type(v) for k, v in facts.items()} != kinds:
        raise DamagedError
    if facts["tokens"] <= 0 or facts["state"] <= 0:
        raise DamagedError
    return facts


def _parse(path: Path, content: bytes, size: int) -> Entry:
    """The entry of a file of `size` bytes from its head and tokens."""
    import numpy as np

    facts = _facts(content)
    begin = START.size + START.unpack_from(content)[2]
    end = begin + 4 * facts["tokens"]
    if len(content) < end or size != end + facts["state"] + CHECKSUM_BYTES:
        raise DamagedError
    tokens = np.frombuffer(content[begin:end], dtype="<i4").astype(np.int32)
    if path != named(path.parent, facts["identity"], tokens):
        raise DamagedError
    return Entry(path, facts["identity"], tokens, facts["state"], facts["seconds"])


def _create(path: Path) -> BinaryIO:
    extra = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | extra, 0o600)
    return os.fdopen(handle, "wb")


def _open(path: Path) -> BinaryIO:
    extra = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, os.O_RDONLY | extra), "rb")
