"""Files of traces, read piece by piece so that a large one takes little memory."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DataError
from llmops_jupyter.tracing.otlp.foreign import UnreadableError

# Bytes of one record, and of a file that is one record as a whole.
MOST_RECORD, MOST_DOCUMENT = 64 * 1024**2, 256 * 1024**2
SIGHT = 4096
GZIP = b"\x1f\x8b"
PREFIX = 4
# What text has none of.
CONTROLS = frozenset(range(9)) | frozenset(range(14, 32))

Record = tuple[str, Any]
Source = Any


def records(source: Source) -> Iterator[Record]:
    """What a source holds, with where each piece stands; a piece that is none is an `UnreadableError`.

    Args:
        source: a file's path, bytes, JSON values, a message of protobuf, or several of these.

    Raises:
        DataError: a file cannot be opened, or is cut off in a way that nothing behind can be read.
    """
    if isinstance(source, str | Path):
        yield from _of_file(Path(source).expanduser())
    elif isinstance(source, bytes | bytearray | memoryview):
        yield from _of_bytes(bytes(source))
    elif isinstance(source, Mapping) or hasattr(source, "resource_spans"):
        yield "record 1", source
    elif isinstance(source, Iterable):
        for number, one in enumerate(source, 1):
            if isinstance(one, str | Path):
                yield from records(one)
            else:
                yield f"record {number}", one
    else:
        raise DataError(
            f"Traces are imported from a file, bytes or records, not from {type(source).__name__}."
        )


def _of_bytes(data: bytes) -> Iterator[Record]:
    try:
        yield from _of_stream(BufferedReader(BytesIO(data)), "What was given as bytes")
    except (OSError, EOFError, zlib.error) as e:
        raise DataError("The bytes begin like gzip and are damaged. Read them anew.") from e


def _of_file(path: Path) -> Iterator[Record]:
    try:
        with path.open("rb") as raw:
            yield from _of_stream(raw, repr(str(path)))
    except (OSError, EOFError, zlib.error) as e:
        said = getattr(e, "strerror", None) or "it is damaged"
        raise DataError(f"{str(path)!r} cannot be read: {said}. Name a file of traces.") from e


def _of_stream(file: BufferedReader, what: str) -> Iterator[Record]:
    """The records of a file, or of bytes; `what` names it in errors."""
    if file.peek(2)[:2] == GZIP:
        # A reader that looks ahead, as the one of a plain file does.
        file = BufferedReader(gzip.GzipFile(fileobj=file))
    head = file.peek(SIGHT)[:SIGHT]
    if is_text(head):
        yield from _of_lines(file, what)
    elif _is_prefixed(head):
        yield from _of_prefixed(file, what)
    else:
        data = file.read(MOST_DOCUMENT + 1)
        if len(data) > MOST_DOCUMENT:
            raise DataError(
                f"{what} is one message of more than {MOST_DOCUMENT // 1024**2} MB. Have it written in several, as "
                "the collector's file exporter does."
            )
        yield "record 1", data


def is_text(head: bytes) -> bool:
    """Whether bytes are text: those of protobuf hold characters that no text has."""
    return not any(byte in CONTROLS for byte in head)


def _is_prefixed(head: bytes) -> bool:
    """Whether each message stands behind its length, as the collector's file exporter writes protobuf."""
    length = int.from_bytes(head[:PREFIX], "big")
    return len(head) > PREFIX and 0 < length <= MOST_RECORD and head[PREFIX] == 0x0A


def _of_prefixed(file: BufferedReader, what: str) -> Iterator[Record]:
    number = 0
    while head := file.read(PREFIX):
        number += 1
        length = int.from_bytes(head, "big")
        if len(head) < PREFIX or not 0 < length <= MOST_RECORD:
            raise DataError(
                f"{what} is damaged at message {number}: nothing behind it can be read. What is before it was "
                "imported."
            )
        data = file.read(length)
        if len(data) < length:
            yield f"message {number}", UnreadableError("the file ends in the middle of it")
            return
        yield f"message {number}", data


def _of_lines(file: BufferedReader, what: str) -> Iterator[Record]:
    """JSON lines; or one document over many lines, if its first line is none by itself."""
    number, first = 0, True
    while line := file.readline(MOST_RECORD + 1):
        number += 1
        if len(line) > MOST_RECORD:
            while line and not line.endswith(b"\n"):
                line = file.readline(MOST_RECORD)
            yield f"line {number}", UnreadableError(f"it has more than {MOST_RECORD // 1024**2} MB")
            continue
        if not line.strip():
            continue
        found = _json(line)
        if first and isinstance(found, UnreadableError) and line.strip()[:1] in (b"{", b"["):
            rest = file.read(MOST_DOCUMENT + 1 - len(line))
            document = _json(line + rest) if len(line + rest) <= MOST_DOCUMENT else found
            if not isinstance(document, UnreadableError):
                yield from _items("record", document)
                return
            if len(line + rest) > MOST_DOCUMENT:
                raise DataError(
                    f"{what} is one JSON document of more than {MOST_DOCUMENT // 1024**2} MB, or its first line is "
                    "broken. Write one record a line."
                )
            yield f"line {number}", found
            for after, one in enumerate(rest.splitlines(), number + 1):
                if one.strip():
                    yield f"line {after}", _json(one)
            return
        first = False
        yield from _items(f"line {number}", found)


def _items(where: str, found: Any) -> Iterator[Record]:
    if isinstance(found, list):
        for number, one in enumerate(found, 1):
            yield f"{where}, item {number}", one
    else:
        yield where, found


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as e:
        said = str(e)[:80] if isinstance(e, json.JSONDecodeError) else type(e).__name__
        return UnreadableError(f"it is no JSON ({said})")
