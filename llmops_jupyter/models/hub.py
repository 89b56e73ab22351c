"""Models from a Hugging Face hub, into the cache that every other tool shares."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from llmops_jupyter.errors import DownloadError, OptionError, did_you_mean, missing_dependency
from llmops_jupyter.models.model import Progress
from llmops_jupyter.models.sources import hf_cache
from llmops_jupyter.models.transfer import download, link

if TYPE_CHECKING:
    import httpx

DEFAULT_ENDPOINT = "https://huggingface.co"
MOST_REDIRECTS = 5
MOST_LISTED = 8
_ANSWER_S = 10.0
_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STEP = re.compile(r"(?!\.{1,2}$)[^\\:\x00-\x1f]+")
_YES = ("1", "on", "yes", "true")


@dataclass(frozen=True)
class _File:
    """A file of a repository at a revision, on the hub that the environment names."""

    repo: str
    name: str
    revision: str
    endpoint: str
    cache: Path
    headers: Mapping[str, str]

    @property
    def folder(self) -> Path:
        return self.cache / f"models--{self.repo.replace('/', '--')}"

    def url(self, revision: str) -> str:
        place = f"{self.repo}/resolve/{quote(revision, safe='')}/{quote(self.name)}"
        return f"{self.endpoint}/{place}"


@dataclass(frozen=True)
class _Announced:
    """What the hub says about a file: its commit, hash and size in bytes."""

    commit: str
    digest: str
    size: int | None


class _UnreachableError(Exception):
    """No answer, or none that makes sense; the cache may still have the file."""


def pull(source: str, revision: str | None = None, progress: Progress | None = None) -> Path:
    """Download ``hf:org/repo/file.gguf`` into the Hugging Face cache; the path of the file there.

    HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN, HF_HOME and HF_HUB_CACHE are read at each call. A broken
    download goes on where it stopped, also in a later call, and the content is checked against the
    hash that the hub announces. Without a connection the cached copy is used.

    Args:
        source: the file, as ``hf:org/repo/file.gguf``.
        revision: a branch, tag or commit; 'main' if None.
        progress: called with the bytes that are there and the size.

    Raises:
        OptionError: the source is not of that form.
        MissingDependencyError: huggingface_hub is not installed.
        DownloadError: with what to do next.
    """
    repo, name = parse_source(source)
    if revision is not None and not all(map(_STEP.fullmatch, revision.split("/"))):
        raise OptionError(f"{revision!r} is no revision. Name a branch, a tag or a commit.")
    file = _file(repo, name, revision or "main")
    if not name:
        raise OptionError(
            f"{source!r} names no file. Write hf:{repo}/FILE.gguf.{_listing(_names(file))}"
        )
    if _is_yes("HF_HUB_OFFLINE") or _is_yes("TRANSFORMERS_OFFLINE"):
        return _cached(file) or _raise_offline(file)
    if _COMMIT.fullmatch(file.revision):
        cached = _cached(file)
        if cached is not None:
            return cached
    try:
        announced = _ask(file)
    except _UnreachableError as e:
        cached = _cached(file)
        if cached is not None:
            return cached
        raise DownloadError(
            f"{file.endpoint} cannot be reached: {e}. Check the connection, HF_ENDPOINT and the "
            "proxy, then run the same pull again; or add a file that is here with %model add PATH."
        ) from e
    return _fetch(file, announced, progress)


def parse_source(source: str) -> tuple[str, str]:
    """Repository and file of ``hf:org/repo/file.gguf``; the file is '' if it is left out."""
    origin, _, rest = str(source).partition(":")
    parts = rest.strip().split("/")
    owner, steps = parts[:2], parts[2:]
    if (
        origin != "hf"
        or len(owner) != 2
        or not all(map(_OWNER.fullmatch, owner))
        or not all(map(_STEP.fullmatch, steps))
    ):
        raise OptionError(
            f"{source!r} cannot be pulled. Write hf:org/repo/file.gguf, for example "
            "hf:bartowski/SmolLM2-360M-Instruct-GGUF/SmolLM2-360M-Instruct-Q8_0.gguf."
        )
    return "/".join(owner), "/".join(steps)


def _file(repo: str, name: str, revision: str) -> _File:
    try:
        from huggingface_hub.utils import build_hf_headers
    except ImportError as e:
        raise missing_dependency("huggingface_hub", "%model pull", "hub") from e
    endpoint = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    headers = build_hf_headers(library_name="llmops-jupyter")
    return _File(repo, name, revision, endpoint, hf_cache(), headers)


def _cached(file: _File) -> Path | None:
    """The file in the cache, found as huggingface_hub finds it."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        file.repo, file.name, cache_dir=file.cache, revision=file.revision
    )
    return Path(found) if isinstance(found, str) else None


def _raise_offline(file: _File) -> Path:
    raise DownloadError(
        f"hf:{file.repo}/{file.name} is not in the cache {str(file.cache)!r} and HF_HUB_OFFLINE is "
        "set. Unset it to download, or add a file that is here with %model add PATH."
    )


def _ask(file: _File) -> _Announced:
    """Commit, hash and size of a file, from the hub's answer before it hands over to a CDN."""
    import httpx

    url = file.url(file.revision)
    try:
        with httpx.Client(follow_redirects=False, timeout=_ANSWER_S) as client:
            for _ in range(MOST_REDIRECTS):
                headers = {**file.headers, "accept-encoding": "identity"}
                if urlsplit(url).netloc != urlsplit(file.endpoint).netloc:
                    headers.pop("authorization", None)
                response = client.head(url, headers=headers)
                told = response.headers
                if "x-repo-commit" in told or not response.is_redirect:
                    break
                url = urljoin(url, told.get("location", ""))
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise _UnreachableError(str(e) or type(e).__name__) from e
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise _UnreachableError(f"it answered {response.status_code}")
    if response.is_error:
        raise _refusal(file, response)
    return _announced(response)


def _announced(response: httpx.Response) -> _Announced:
    told = response.headers
    commit = told.get("x-repo-commit", "")
    tag = told.get("x-linked-etag") or told.get("etag", "")
    digest = tag.removeprefix("W/").strip('"')
    if not _COMMIT.fullmatch(commit) or not _HASH.fullmatch(digest):
        raise _UnreachableError("its answer has no commit or hash, so it is not a model hub")
    size = told.get("x-linked-size")
    if size is None and not response.is_redirect:
        size = told.get("content-length")
    return _Announced(commit, digest, int(size) if size and size.isdigit() else None)


def _refusal(file: _File, response: httpx.Response) -> DownloadError:
    """The error for an answer of 4xx, after the hub's own error code."""
    code, status = response.headers.get("x-error-code", ""), response.status_code
    page = f"{file.endpoint}/{file.repo}"
    if code == "GatedRepo":
        return DownloadError(
            f"{file.repo!r} asks for consent to its terms. Accept them at {page}, set HF_TOKEN to "
            "a token of that account and run the same pull again."
        )
    if code == "RevisionNotFound":
        return DownloadError(
            f"{file.repo!r} has no revision {file.revision!r}. See {page}/tree/main."
        )
    if code == "EntryNotFound" or (status == 404 and code != "RepoNotFound"):
        names = _names(file)
        return DownloadError(
            f"{file.repo!r} has no file {file.name!r}.{did_you_mean(file.name, names)}"
            f"{_listing(names) or f' See {page}/tree/main.'}"
        )
    if status == 401 or code == "RepoNotFound":
        return DownloadError(
            f"There is no public repository {file.repo!r} on {file.endpoint} ({status}). Check the "
            "spelling; if it is private, set HF_TOKEN to a token that may read it."
        )
    return DownloadError(
        f"{file.endpoint} refused {file.repo!r} ({status}). "
        + (
            "Wait a while and run the same pull again."
            if status == 429
            else "Set HF_TOKEN to a token that may read it."
        )
    )


def _names(file: _File) -> list[str]:
    """GGUF files of the repository, or none if the hub does not tell."""
    import httpx

    if _is_yes("HF_HUB_OFFLINE"):
        return []
    url = f"{file.endpoint}/api/models/{file.repo}/revision/{quote(file.revision, safe='')}"
    try:
        response = httpx.get(
            url, headers=dict(file.headers), timeout=_ANSWER_S, follow_redirects=True
        )
        siblings: list[Any] = response.json().get("siblings", [])
        names = [str(s["rfilename"]) for s in siblings]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError, AttributeError):
        return []
    return sorted(n for n in names if n.endswith(".gguf"))


def _listing(names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return f" GGUF files there: {', '.join(names[:MOST_LISTED])}{more}."


def _fetch(file: _File, announced: _Announced, progress: Progress | None) -> Path:
    """Blob, link and reference, laid out as huggingface_hub lays them out."""
    pointer = file.folder / "snapshots" / announced.commit / file.name
    try:
        if not pointer.exists():
            _fetch_blob(file, announced, pointer, progress)
        if file.revision != announced.commit:
            reference = file.folder / "refs" / file.revision
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_text(announced.commit, encoding="utf-8")
    except DownloadError:
        raise  # an OSError as well, but it has its own next step
    except OSError as e:
        raise DownloadError(
            f"The cache {str(file.cache)!r} cannot be written: {e.strerror or e}. Set HF_HOME "
            "to another folder."
        ) from e
    return pointer


def _fetch_blob(
    file: _File, announced: _Announced, pointer: Path, progress: Progress | None
) -> None:
    """Download the content unless it is there, one process at a time, and link it."""
    from filelock import FileLock  # comes with huggingface_hub

    blob = file.folder / "blobs" / announced.digest
    lock = file.cache / ".locks" / file.folder.name / f"{announced.digest}.llmops.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(lock)):
        if not blob.exists() and not pointer.exists():
            download(
                file.url(announced.commit),
                blob,
                headers=file.headers,
                digest=announced.digest,
                size=announced.size,
                progress=progress,
            )
        link(blob, pointer)


def _is_yes(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in _YES
