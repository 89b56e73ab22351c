"""The stage a workspace hands out: add models, pull them, choose the one to run."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from llmops_jupyter.errors import (
    ModelChangedError,
    ModelError,
    ModelFormatError,
    UnknownNameError,
)
from llmops_jupyter.models import sources
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.models.folders import WEIGHTS, is_sentence_folder
from llmops_jupyter.models.gguf import GGUFMetadata, check_architecture, read_metadata
from llmops_jupyter.models.model import ENDPOINT, MLX, Model, Progress
from llmops_jupyter.models.registry import ADAPTER, DEFAULT_KEY, KIND, Registry
from llmops_jupyter.models.sources import Candidate
from llmops_jupyter.store import aliases


class Models(Registry):
    """The models of a workspace: those registered, and those found on this machine or pulled."""

    def add(
        self,
        source: str | os.PathLike[str],
        name: str | None = None,
        progress: Progress | None = None,
    ) -> Model:
        """Register a path, a source or a discovered name, and return its version.

        The same content under the same name is the same version; new content is the next one. A
        file whose path, size and time are known is not hashed again.

        Raises:
            OptionError: the name cannot be used.
            UnknownNameError, ModelError: there is no such file, or it is not a model that runs.
        """
        return self._register(self._locate(os.fspath(source)), name, progress)

    def add_endpoint(self, name: str, endpoint: Endpoint) -> Model:
        """Register a model that an OpenAI-compatible endpoint runs. Nothing is sent to it.

        The same address and model under the same name are the same version, whatever else has changed.

        Raises:
            OptionError: the name cannot be used.
        """
        name = aliases.check_name(KIND, name)
        metadata = GGUFMetadata(
            "", name=endpoint.model, context_length=endpoint.context_length or 0
        )
        values = {
            "path": "",
            "size": 0,
            "mtime_ns": 0,
            "source": endpoint.url,
            "metadata": json.dumps(metadata.as_dict()),
            "format": ENDPOINT,
            "endpoint": json.dumps(endpoint.as_dict()),
        }
        return self.get(f"{name}@{self._write(name, endpoint.digest, values)}")

    def add_copy(self, path: Path, name: str, parent: Model, made_by: str) -> Model:
        """Register a file that was made from a registered model by the command `made_by`."""
        found = Candidate(name, path, made_by, path.stat().st_size)
        return self._register(found, name, None, parent.sha256)

    def pull(
        self,
        source: str,
        name: str | None = None,
        revision: str | None = None,
        progress: Progress | None = None,
    ) -> Model:
        """Download ``hf:org/repo/file.gguf`` into the Hugging Face cache and register it.

        Raises:
            DownloadError: see `hub.pull`.
        """
        from llmops_jupyter.models import hub

        if name is not None:
            aliases.check_name(KIND, name)
        path = hub.pull(source, revision=revision, progress=progress)
        found = Candidate(sources.registry_name(path.stem), path, source, path.stat().st_size)
        return self._register(found, name, progress)

    def resolve(self, ref: str | None = None) -> Model:
        """The model to run: `ref`, else the default, else the only one there is.

        What is not registered but lies on this machine under that name, or under a path or source,
        is registered on the way; so is the only packaged model where none is registered.

        Raises:
            UnknownNameError: nothing fits; the message lists what there is.
        """
        if ref:
            return self._resolve_named(ref)
        default = self.default()
        if default is not None:
            return default
        # An embedding model answers nothing, so it is never the only one to run.
        names = sorted({m.name for m in self.list() if not m.metadata.is_embedder})
        if len(names) == 1:
            return self.get(names[0])
        if names:
            raise UnknownNameError(
                f"Which model? There are {', '.join(names)}. Name one with -m, or choose a default "
                f"with: %model use {names[0]}"
            )
        packaged = [c for c in self.discover()[0] if c.origin == "package" and not c.path.is_dir()]
        if len(packaged) == 1:
            return self._register(packaged[0], None, None)
        raise UnknownNameError(f"No model is registered. {self._what_there_is()}")

    def use(self, ref: str) -> Model:
        """Make a model the workspace's default; a bare name or an alias is followed later on."""
        model = self._resolve_named(ref)
        kept = model.name if sources.is_source(ref) else ref
        with self._store.write() as conn:
            conn.execute(
                "INSERT INTO settings(key, value) VALUES (?, ?) "
                "ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                (DEFAULT_KEY, json.dumps(kept)),
            )
        return model

    def _find_named(self, ref: str) -> Model:
        if sources.is_source(ref):
            return self.add(ref)
        name, selector = aliases.parse_reference(ref, KIND)
        if not self._versions(name):
            found = [c for c in self.discover()[0] if c.name == name]
            if not found:
                raise self._unknown(name)
            self._register(found[0], name, None)
        return self._pick(name, selector, self._versions(name))

    def _resolve_named(self, ref: str) -> Model:
        found = self._find_named(ref)
        if found.metadata.kind == ADAPTER:
            raise ModelError(
                f"{found.ref} is an adapter and does not run alone. Name a model, and add the adapter "
                f"to it with --adapter {found.name}"
            )
        return found

    def _locate(self, text: str) -> Candidate:
        if not sources.is_source(text) and not Path(text).exists():
            found, _ = self.discover()
            for candidate in found:
                if candidate.name == text:
                    return candidate
        return sources.find(text, self._roots)

    def _register(
        self,
        candidate: Candidate,
        name: str | None,
        progress: Progress | None,
        parent: str = "",
    ) -> Model:
        name = aliases.check_name(KIND, name or candidate.name)
        path = candidate.path
        if path.is_dir() and is_sentence_folder(path):
            return self._register_sentences(candidate, name, progress)
        if path.is_dir():
            return self._register_folder(candidate, name, progress)
        metadata = read_metadata(path)
        if metadata.parts > 1:
            raise ModelFormatError(
                f"{str(path)!r} is one of {metadata.parts} parts of a split model. Join them first "
                "with: llama-gguf-split --merge"
            )
        # An adapter is of its base model's architecture.
        check_architecture(
            replace(metadata, kind="model") if metadata.kind == ADAPTER else metadata
        )
        stat = path.stat()
        digest = self._digest(path, stat, progress)
        after = path.stat()
        if (after.st_size, after.st_mtime_ns) != (stat.st_size, stat.st_mtime_ns):
            raise ModelChangedError(
                f"{str(path)!r} is being written. Wait until it is complete and add it again."
            )
        values = {
            "path": str(path),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "source": candidate.source,
            "metadata": json.dumps(metadata.as_dict()),
            "parent": parent,
        }
        return self.get(f"{name}@{self._write(name, digest, values)}")

    def _register_folder(self, candidate: Candidate, name: str, progress: Progress | None) -> Model:
        """Register a folder of mlx-lm."""
        from llmops_jupyter.models import mlxfolder

        path = candidate.path
        metadata = mlxfolder.read_folder(path)
        before = mlxfolder.stat_of_folder(path)
        digest = mlxfolder.digest_of_folder(path, progress)
        if mlxfolder.stat_of_folder(path) != before:
            raise ModelChangedError(
                f"{str(path)!r} is being written. Wait until it is complete and add it again."
            )
        values = {
            "path": str(path),
            "size": before[0],
            "mtime_ns": before[1],
            "source": candidate.source,
            "metadata": json.dumps(metadata.as_dict()),
            "format": MLX,
        }
        return self.get(f"{name}@{self._write(name, digest, values)}")

    def _register_sentences(
        self, candidate: Candidate, name: str, progress: Progress | None
    ) -> Model:
        """Import a folder of sentence-transformers into a GGUF file in the user's cache, and register it.

        The file is made once for each content of the folder's weights.
        """
        from llmops_jupyter.models import sentences

        weights = candidate.path / WEIGHTS
        digest = self._digest(weights, weights.stat(), progress)
        target = sentences.cache_folder() / f"{digest}-{sentences.KIND.lower()}.gguf"
        if not target.exists():
            sentences.convert(candidate.path, target)
        made = Candidate(name, target, candidate.source, target.stat().st_size)
        return self._register(made, name, progress)
