"""One file over HTTP: resumed where it broke off, and checked against its announced hash.

huggingface_hub itself throws a partial file away when a download fails and compares only its length,
so the bytes are fetched here and handed to its cache when they are right.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DownloadError
from llmops_jupyter.models.memory import megabytes
from llmops_jupyter.models.model import Progress

if TYPE_CHECKING:
    import httpx

RETRIES = 5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
CHUNK = 1 << 20
_SHA256_LENGTH = 64
_RETRIED = (408, 429, 500, 502, 503, 504)


class _BrokenError(Exception):
    """A transfer that is worth another try."""


def download(
    url: str,
    target: Path,
    *,
    headers: Mapping[str, str],
    digest: str,
    size: int | None,
    progress: Progress | None = None,
) -> None:
    """Fetch `url` into `target`, going on from `target` + '.part' if an earlier try left one.

    Args:
        url: where the file is; redirects are followed.
        target: where it goes.
        headers: sent along, but not the token to another host.
        digest: the hex sha256 of the content, or the hex sha1 of its git blob.
        size: bytes of the whole file, if known.
        progress: called with the bytes that are there and the size.

    Raises:
        DownloadError: the transfer broke off too often, the disk is full, or the content is not
            what was announced (then nothing is kept).
    """
    part = target.with_name(target.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if size is not None and part.exists() and part.stat().st_size > size:
            part.unlink()
        _check_space(part, size)
        _fetch(url, part, headers, size, progress)
        _check_content(part, digest, size)
        part.replace(target)
    except DownloadError:
        raise  # an OSError as well, but it has its own next step
    except OSError as e:
        raise DownloadError(
            f"{str(part)!r} cannot be written: {e.strerror or e}. Free space or set HF_HOME to "
            "another folder, then run the same pull again."
        ) from e


def _fetch(
    url: str, part: Path, headers: Mapping[str, str], size: int | None, progress: Progress | None
) -> None:
    """Repeat until the part is whole; only tries that brought nothing count."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        if before == size:
            return
        try:
            _fetch_once(url, part, headers, size, progress)
        except _BrokenError as e:
            done = part.stat().st_size if part.exists() else 0
            failures = 0 if done > before else failures + 1
            if failures > RETRIES:
                of = f" of {megabytes(size)}" if size else ""
                raise DownloadError(
                    f"The download stopped after {megabytes(done)}{of}: {e}. What arrived is kept; "
                    "run the same pull again to go on."
                ) from e
            time.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**failures))
            continue
        if size is None or part.stat().st_size >= size:
            return


def _fetch_once(
    url: str, part: Path, headers: Mapping[str, str], size: int | None, progress: Progress | None
) -> None:
    have = part.stat().st_size if part.exists() else 0
    asked = {**headers, "accept-encoding": "identity"}
    if have:
        asked["range"] = f"bytes={have}-"
    import httpx

    with _broken_on(httpx.TransportError), _stream(url, asked) as response:
        if response.status_code in _RETRIED:
            raise _BrokenError(f"the server answered {response.status_code}")
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise DownloadError(
                f"The server answered {response.status_code} to {response.url.host}. "
                "Run the same pull again; what arrived is kept."
            )
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        done = have if resumed else 0
        total = size if size is not None else _length(response, done)
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)


@contextmanager
def _stream(url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    import httpx

    timeout = httpx.Timeout(30.0, connect=10.0)
    with (
        httpx.Client(follow_redirects=True, timeout=timeout) as client,
        client.stream("GET", url, headers=dict(headers)) as response,
    ):
        yield response


@contextmanager
def _broken_on(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as e:
        raise _BrokenError(str(e) or type(e).__name__) from e


def _length(response: httpx.Response, done: int) -> int | None:
    text = response.headers.get("content-length", "")
    return done + int(text) if text.isdigit() else None


def _check_space(part: Path, size: int | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if size is not None and size - have > free:
        raise DownloadError(
            f"The file needs {megabytes(size - have)} and {str(part.parent)!r} has "
            f"{megabytes(free)} free. Free space or set HF_HOME to another folder."
        )


def _check_content(part: Path, digest: str, size: int | None) -> None:
    length = part.stat().st_size
    found = _digest(part, digest, length)
    if (size is not None and length != size) or found != digest:
        part.unlink()
        raise DownloadError(
            f"The file arrived damaged: its hash is {found[:12]}… and the hub announced "
            f"{digest[:12]}…. The damaged copy was deleted; run the same pull again."
        )


def _digest(path: Path, like: str, length: int) -> str:
    """The hash of the file, of the kind that `like` is."""
    found: Any = hashlib.sha256()
    if len(like) != _SHA256_LENGTH:
        found = hashlib.sha1(f"blob {length}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return str(found.hexdigest())


def link(blob: Path, pointer: Path) -> None:
    """Make `pointer` name the blob: a relative link, or the file itself where links are refused."""
    if pointer.exists():
        return
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.unlink(missing_ok=True)  # a link whose blob was deleted
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:
        # Windows without developer mode: huggingface_hub keeps the file itself there, too.
        blob.replace(pointer)
