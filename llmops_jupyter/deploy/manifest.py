"""The manifest of a bundle: what is in it, with the checksum of every file, and one digest of all that decides.

The digest is of the canonical JSON of the manifest without what is only told: when and by whom it was built, and how the
weights are there. So the same inputs, the environment among them, have the same digest in every folder, and a bundle that carries
its weights the same as one that names them, for they are named by their own digest.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from llmops_jupyter.errors import DeployError
from llmops_jupyter.store.aliases import NAME

FILE = "manifest.json"
FORMAT = 1
# Told of a bundle, but no part of what it is.
TOLD = ("digest", "created_at", "built", "weights")
MOST_BYTES = 64 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Names that Windows keeps for devices, with or without an ending.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


@dataclass(frozen=True)
class File:
    """A file of a bundle: its sha256 in hexadecimal digits and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle is made of.

    Args:
        name: of the deployment that it is for.
        prompt: ``ref``, ``name``, ``version`` and ``content_hash`` of the prompt's version.
        settings: run options, as `prompts.run` takes them.
        model: ``name``, ``format``, ``digest``, ``quantization``, ``architecture``, sizes; an endpoint's address.
        adapters: ``name``, ``digest``, ``scale``, ``file`` and provenance of each.
        index: ``name``, ``fingerprint``, embedder and counts of the snapshot; None without one.
        guard: ``ref``, ``name`` and ``digest`` of the policy; None without one.
        evaluation: ``outcome``, ``summary`` and the figures; None where nothing was said.
        environment: Python, platform and packages in short; the whole lock is a file.
        files: every file but this and the weights, by its path in the bundle.
        weights: ``mode`` ('copy', 'link' or 'reference') and files of weights.
        built: who built it, with which release of this package, from which runs.
        created_at: when.
        data: data sets of examples, by their references.
        embedder: the model of the index's vectors, as `model`; None where there are none.
        reranker: the model that orders passages, as `model`; None without one.
    """

    name: str
    prompt: Mapping[str, Any]
    settings: Mapping[str, Any]
    model: Mapping[str, Any]
    adapters: tuple[Mapping[str, Any], ...] = ()
    index: Mapping[str, Any] | None = None
    guard: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, File] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    built: Mapping[str, Any] = field(default_factory=dict)
    created_at: str = ""
    data: tuple[str, ...] = ()
    embedder: Mapping[str, Any] | None = None
    reranker: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        """Of all that decides, as ``sha256:…``."""
        return f"sha256:{hashlib.sha256(canonical(self._decides()).encode()).hexdigest()}"

    def weight_files(self) -> dict[str, File]:
        """Files of weights in the bundle."""
        return {p: File(**f) for p, f in dict(self.weights.get("files") or {}).items()}

    def every_file(self) -> dict[str, File]:
        """All files but the manifest itself."""
        return {**self.files, **self.weight_files()}

    def as_dict(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        return {
            **self._decides(),
            "digest": self.digest,
            "created_at": self.created_at,
            "built": dict(self.built),
            "weights": dict(self.weights),
        }

    def text(self) -> str:
        """The manifest as it lies in the bundle: sorted, so that two of them can be compared line by line."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"

    def _decides(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "name": self.name,
            "prompt": dict(self.prompt),
            "settings": dict(self.settings),
            "model": dict(self.model),
            "adapters": [dict(one) for one in self.adapters],
            "index": _plain(self.index),
            "guard": _plain(self.guard),
            "evaluation": _plain(self.evaluation),
            "environment": dict(self.environment),
            "data": list(self.data),
            "embedder": _plain(self.embedder),
            "reranker": _plain(self.reranker),
            "files": {path: vars(file) for path, file in sorted(self.files.items())},
        }


def canonical(value: Any) -> str:
    """JSON that is equal for equal values.

    Raises:
        DeployError: something cannot be written as JSON, such as an infinite number.
    """
    try:
        return json.dumps(
            value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except (TypeError, ValueError) as e:
        raise DeployError(f"A setting of the bundle cannot be written as JSON: {e}.") from e


def read(folder: Path) -> Manifest:
    """The manifest of a bundle, checked as far as it can be without its files.

    Raises:
        DeployError: there is none, it is of a newer release, was altered, or names a file that may not be.
    """
    path = folder / FILE
    value = _value(path)
    if value.get("format") != FORMAT:
        raise DeployError(
            f"The bundle {str(folder)!r} has the format {value.get('format')!r:.20}, and this release reads {FORMAT}. Run: "
            "pip install -U llmops-jupyter"
        )
    try:
        made = _manifest(value)
        bad = made.digest != value["digest"]
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise DeployError(
            f"{str(path)!r} is no manifest of a bundle: {_why(e)}. Build or copy the bundle again."
        ) from e
    check_paths(made.every_file(), path)
    if bad:
        raise DeployError(
            f"{str(path)!r} was altered: what it says is not what its digest is of. Build or copy the bundle again."
        )
    return made


def check_paths(files: Mapping[str, File], path: Path) -> None:
    """Refuse names of files that lie outside the bundle, or are not the same file on every system.

    Raises:
        DeployError: with the name.
    """
    seen: dict[str, str] = {}
    for name in files:
        parts = PurePosixPath(name).parts
        plain = PurePosixPath(*parts).as_posix() == name if parts else False
        outside = name.startswith(("/", "~")) or "\\" in name or ":" in name or "\0" in name
        odd = any(
            part in (".", "..") or _DEVICES.fullmatch(part) or part != part.rstrip(". ")
            for part in parts
        )
        if not plain or outside or odd or name == FILE:
            raise DeployError(
                f"{str(path)!r} names the file {name!r:.100}, which no bundle has: files lie below its folder, with plain "
                "names. It is not opened; get the bundle from whom you trust."
            )
        # Two names that a disk may hold for one.
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            raise DeployError(
                f"{str(path)!r} names {seen[folded]!r} and {name!r}, which are one file on some disks. It is not opened."
            )
        seen[folded] = name


def _value(path: Path) -> dict[str, Any]:
    try:
        if path.is_symlink():
            raise DeployError(
                f"{str(path)!r} is a link, and a bundle has none. Copy the bundle again with its files."
            )
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is larger than any manifest")
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as e:
        raise DeployError(
            f"{str(path.parent)!r} is no bundle: it has no {FILE}. Build one: %deploy build NAME PROMPT"
        ) from e
    except (OSError, ValueError, RecursionError) as e:
        raise DeployError(
            f"{str(path)!r} cannot be read: {_why(e)}. Build or copy the bundle again."
        ) from e
    if not isinstance(value, dict):
        raise DeployError(f"{str(path)!r} is no manifest of a bundle. Build the bundle again.")
    return value


def _manifest(value: Mapping[str, Any]) -> Manifest:
    name = value["name"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{name!r:.60} is no name of a deployment")
    weights = dict(value.get("weights") or {})
    weights["files"] = {str(p): vars(_file(f)) for p, f in dict(weights.get("files") or {}).items()}
    return Manifest(
        name=name,
        prompt=dict(value["prompt"]),
        settings=dict(value["settings"]),
        model=dict(value["model"]),
        adapters=tuple(dict(one) for one in value["adapters"]),
        index=_plain(value["index"]),
        guard=_plain(value["guard"]),
        evaluation=_plain(value["evaluation"]),
        environment=dict(value["environment"]),
        files={str(p): _file(f) for p, f in dict(value["files"]).items()},
        weights=weights,
        built=dict(value.get("built") or {}),
        created_at=str(value.get("created_at") or ""),
        data=tuple(map(str, value["data"])),
        embedder=_plain(value["embedder"]),
        reranker=_plain(value["reranker"]),
    )


def _file(value: Mapping[str, Any]) -> File:
    digest, size = value["sha256"], value["size"]
    if not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise ValueError(f"{digest!r:.80} is no sha256")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ValueError(f"{size!r:.40} is no size of a file")
    return File(digest, size)


def _plain(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else dict(value)


def _why(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rstrip(".") or type(error).__name__
