"""What goes into a bundle, found and checked before anything is written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.manifest import canonical
from llmops_jupyter.deploy.releases import KIND
from llmops_jupyter.deploy.rooms import Rooms
from llmops_jupyter.errors import OptionError, UnknownNameError, did_you_mean
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.models import Model
from llmops_jupyter.prompts.options import DOCUMENTS, SAMPLING, Options
from llmops_jupyter.store import aliases

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset
    from llmops_jupyter.guard.kept import PolicyVersion
    from llmops_jupyter.prompts.registry import PromptVersion
    from llmops_jupyter.rag.index import Index

# What may be said of a deployment; what is an object of a notebook, or of one conversation, may not.
OPTIONS = ("model", "adapters", "guard", "exact", "timeout", *DOCUMENTS, *SAMPLING)


@dataclass(frozen=True)
class Inputs:
    """What goes into a bundle.

    Args:
        name: of the deployment.
        version: of the prompt.
        settings: run options with the names that the bundle's own workspace knows.
        model: that answers.
        adapters: with their scales.
        index: of documents; None without one.
        guard: the policy; None without one.
        embedder: of the index's vectors.
        reranker: of passages.
        examples: the data set of the prompt's examples.
    """

    name: str
    version: PromptVersion
    settings: Mapping[str, Any]
    model: Model
    adapters: tuple[tuple[Model, float], ...] = ()
    index: Index | None = None
    guard: PolicyVersion | None = None
    embedder: Model | None = None
    reranker: Model | None = None
    examples: Dataset | None = None

    def models(self) -> list[Model]:
        """The models with weights of their own, each once."""
        every = [self.model, self.embedder, self.reranker]
        return list({m.sha256: m for m in every if m is not None}.values())

    def contents(self) -> dict[str, Any]:
        """All of it by content: equal for what answers alike."""
        return {
            "name": self.name,
            "prompt": [self.version.ref, self.version.content_hash],
            "settings": dict(self.settings),
            "model": self.model.sha256,
            "adapters": [[m.sha256, scale] for m, scale in self.adapters],
            "index": None if self.index is None else self.index.fingerprint(),
            "guard": None if self.guard is None else self.guard.policy.digest,
            "embedder": None if self.embedder is None else self.embedder.sha256,
            "reranker": None if self.reranker is None else self.reranker.sha256,
            "examples": None if self.examples is None else self.examples.content_hash,
        }

    def key(self, *more: Any) -> str:
        """The hash of the contents, with what else a step depends on."""
        return hashlib.sha256(canonical([self.contents(), *more]).encode()).hexdigest()

    def variant(self) -> Variant:
        """As evaluations run it in the workspace that it is from."""
        settings = {**self.settings, "model": self.model.ref}
        if self.adapters:
            settings["adapters"] = [[m.ref, scale] for m, scale in self.adapters]
        if self.guard is not None:
            settings["guard"] = self.guard.ref
        if self.reranker is not None:
            settings["rag_rerank"] = self.reranker.ref
        return Variant(prompt=self.version.ref, options=settings, name=self.words())

    def words(self) -> str:
        """All of it on one line."""
        parts = [self.version.ref, self.model.ref]
        parts += [f"adapter {m.ref}" for m, _ in self.adapters]
        parts += [] if self.index is None else [f"index {self.index.name}"]
        parts += [] if self.guard is None else [f"guard {self.guard.ref}"]
        return " · ".join(parts)


def resolved(rooms: Rooms, name: str, prompt: str, options: Mapping[str, Any]) -> Inputs:
    """Find and check what a deployment is made of; options as for `prompts.run`.

    Raises:
        OptionError: a name or a value cannot be used.
        UnknownNameError, ModelError, GuardError: something is not there, or does not go with the rest.
    """
    aliases.check_name(KIND, name)
    for option in options:
        if option not in OPTIONS:
            raise OptionError(
                f"A deployment has no setting {option!r:.60}.{did_you_mean(str(option), OPTIONS)} Settings: "
                f"{', '.join(OPTIONS)}."
            )
    given = {key: value for key, value in options.items() if value is not None}
    models, prompts = rooms.models(), rooms.prompts()
    version = prompts.get(prompt)
    made = prompts.resolved(version, **given)
    model = models.resolve(made.model)
    index = None if made.documents is None else rooms.rag().index(made.documents.index)
    rerank = None if made.documents is None else made.documents.rerank
    examples = version.content.examples
    inputs = Inputs(
        name=name,
        version=version,
        settings={},
        model=model,
        adapters=tuple((models.adapter(a.ref), a.scale) for a in made.adapters),
        index=index,
        guard=None if made.guard is None else made.guard.version,
        embedder=models.get(index.row.embedder)
        if index is not None and index.row.embedder
        else None,
        reranker=models.resolve(rerank) if rerank else None,
        examples=_examples(rooms, examples.dataset, examples.dataset_hash)
        if examples is not None and examples.dataset
        else None,
    )
    _check_names(inputs)
    return Inputs(**{**vars(inputs), "settings": _settings(made, inputs)})


def _settings(made: Options, inputs: Inputs) -> dict[str, Any]:
    """Run options that say everything, with names that do not depend on numbers of versions."""
    found: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name in SAMPLING
        if (value := getattr(made.sampling, name)) not in (None, ())
    }
    if "logit_bias" in found:
        found["logit_bias"] = [list(pair) for pair in found["logit_bias"]]
    found["model"] = inputs.model.name
    if inputs.adapters:
        found["adapters"] = [[m.name, scale] for m, scale in inputs.adapters]
    if inputs.guard is not None:
        found["guard"] = inputs.guard.name
    if made.exact:
        found["exact"] = True
    if made.timeout is not None:
        found["timeout"] = made.timeout
    documents = made.documents
    if documents is not None:
        told = {
            "rag": documents.index,
            "rag_tokens": documents.tokens,
            "rag_where": None if documents.where is None else dict(documents.where),
            "rag_rerank": None if inputs.reranker is None else inputs.reranker.name,
            "rag_only": documents.only or None,
            "rag_quote": documents.quote or None,
        }
        found.update({key: value for key, value in told.items() if value is not None})
    return found


def _check_names(inputs: Inputs) -> None:
    """Refuse two models of one name: the bundle's workspace has the first version of each."""
    every = [*inputs.models(), *(m for m, _ in inputs.adapters)]
    seen: dict[str, Model] = {}
    for model in every:
        other = seen.setdefault(model.name, model)
        if other.sha256 != model.sha256:
            raise OptionError(
                f"{other.ref} and {model.ref} have one name, and a bundle has one model of a name. Register one of them "
                f"under another: %model add {model.where} --name NAME"
            )


def _examples(rooms: Rooms, reference: str, content_hash: str) -> Dataset:
    found = rooms.data().find(reference.partition("@")[0], content_hash)
    if found is None:
        raise UnknownNameError(
            f"The examples of the prompt are the data set {reference}, which is not in this workspace. Import it, or save "
            "the prompt with other examples."
        )
    return found
