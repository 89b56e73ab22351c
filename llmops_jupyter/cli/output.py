"""Printing to a terminal or file of any encoding, and to one that takes no more."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any

FAULTS = (errno.EPIPE, errno.ENOSPC, errno.EIO)


def use_any_encoding() -> None:
    """Print a question mark for what the terminal's encoding lacks, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and not speaks_unicode(stream):
            stream.reconfigure(errors="replace")


def speaks_unicode(stream: Any) -> bool:
    """Whether a stream can print every character."""
    name = str(getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-")
    return name.startswith("utf")


def for_reader(text: str, stream: Any = None) -> str:
    """A text as it is for a file or a program, and without what a terminal obeys for a person who reads it there."""
    from llmops_jupyter.render.controls import visible

    return visible(text) if (stream or sys.stdout).isatty() else text


def give_up(error: OSError) -> int:
    """Say that the output cannot be written; when its reader has gone, that is no fault."""
    # What is still buffered cannot be printed either, and the interpreter must not try at its end.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return 0
    print(f"The output cannot be written: {error.strerror}.", file=sys.stderr)
    return 1
