"""Putting what a bundle has into a workspace of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy import indexes
from llmops_jupyter.deploy.building import POLICY, PROMPT
from llmops_jupyter.errors import DeployError, LLMOpsError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.prompts.content import from_dict
from llmops_jupyter.prompts.exchange import located
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from llmops_jupyter.deploy.bundle import Bundle
    from llmops_jupyter.models import Model
    from llmops_jupyter.workspace import Workspace

KEY = "bundle"


def restore(workspace: Workspace, bundle: Bundle) -> None:
    """Have a workspace hold what a bundle has; nothing is done where it does already.

    Raises:
        DeployError: it holds something else, or something of the bundle cannot be put there.
    """
    store = workspace.store
    row = store.row("SELECT value FROM settings WHERE key = ?", (KEY,))
    state = {"digest": "", "whole": False} if row is None else json.loads(row[0])
    if row is not None and state["digest"] != bundle.digest:
        raise DeployError(
            f"The store {str(store.path)!r} is that of another bundle. Name another file or folder for {bundle.name}."
        )
    if state["whole"]:
        _models(workspace, bundle)  # whose files may lie elsewhere by now
        return
    if row is None and (
        store.row("SELECT 1 FROM prompt_versions LIMIT 1")
        or store.row("SELECT 1 FROM models LIMIT 1")
    ):
        raise DeployError(
            f"The store {str(store.path)!r} has content of its own, and a bundle gets a store of its own. Name another file."
        )
    _keep(store, bundle.digest, whole=False)
    try:
        _models(workspace, bundle)
        _prompt(workspace, bundle)
        _policy(workspace, bundle)
        _index(workspace, bundle)
    except DeployError:
        raise
    except (LLMOpsError, KeyError, TypeError, ValueError, AttributeError) as e:
        raise DeployError(
            f"The bundle {str(bundle.folder)!r} cannot be opened: {' '.join(str(e).split())}"
        ) from e
    _keep(store, bundle.digest, whole=True)


def _keep(store: Store, digest: str, *, whole: bool) -> None:
    """Note whose store it is, and whether all is there; what a kill left of a beginning is done again."""
    text = json.dumps({"digest": digest, "whole": whole})
    with store.write() as conn:
        conn.execute(
            "INSERT INTO settings(key, value) VALUES (?, ?) "
            "ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            (KEY, text),
        )


def _models(workspace: Workspace, bundle: Bundle) -> None:
    from llmops_jupyter.engine.divergence import Divergence
    from llmops_jupyter.engine.remembered import keep_divergence

    read, models = bundle.manifest, workspace.models
    main = _model(workspace, bundle, read.model, bundle.given)
    for facts in (read.embedder, read.reranker):
        if facts is not None and facts["digest"] != read.model["digest"]:
            _model(workspace, bundle, facts, None)
    models.use(main.name)
    for facts in read.adapters:
        path = bundle.file(str(facts["file"]))
        made = models.add_copy(path, str(facts["name"]), main, "deploy open")
        _check(made, facts, path)
        for scale, values in dict(facts.get("follows") or {}).items():
            found = Divergence(**values)
            keep_divergence(workspace.store, main.sha256, made.sha256, float(scale), found)


def _model(
    workspace: Workspace, bundle: Bundle, facts: Mapping[str, Any], given: Path | None
) -> Model:
    models = workspace.models
    if "endpoint" in facts:
        return models.add_endpoint(str(facts["name"]), Endpoint.from_dict(facts["endpoint"]))
    path = bundle.path_of(facts, given)
    assert path is not None
    made = models.add(str(path), name=str(facts["name"]))
    _check(made, facts, path)
    if facts.get("parent"):
        # A copy of a model goes with the adapters of its parent, as it did where the bundle was built.
        made = models.add_copy(path, made.name, replace(made, sha256=str(facts["parent"])), "")
    return made


def _check(made: Model, facts: Mapping[str, Any], path: Path) -> None:
    if made.sha256 != facts["digest"]:
        raise DeployError(
            f"{str(path)!r} is not what the bundle was built with (sha256 {made.sha256[:12]}…, not "
            f"{str(facts['digest'])[:12]}…). Put the file back, or name the right one: open_bundle(FOLDER, model=FILE)"
        )


def _prompt(workspace: Workspace, bundle: Bundle) -> None:
    from llmops_jupyter.data import read_exported

    for name in bundle.manifest.data:
        bundle.file(f"data/{name}.jsonl")
        read_exported(bundle.file(f"data/{name}.json")).add_to(workspace.data)
    content = from_dict(bundle.value(PROMPT)["content"])
    if content.examples is not None:
        content = replace(content, examples=located(content.examples, workspace.data))
    wanted = bundle.manifest.prompt
    workspace.prompts.save(str(wanted["name"]), content, note=f"{wanted['ref']} of a bundle")


def _policy(workspace: Workspace, bundle: Bundle) -> None:
    facts = bundle.manifest.guard
    if facts is None:
        return
    text = bundle.file(POLICY).read_text("utf-8")
    made = workspace.guard.add(str(facts["name"]), text)
    if made.policy.digest != facts["digest"]:
        raise DeployError(
            f"The policy {facts['ref']} of the bundle decides otherwise here than where it was built: its checks are of "
            "another release. Install that one (environment.json), or build the bundle again."
        )


def _index(workspace: Workspace, bundle: Bundle) -> None:
    facts = bundle.manifest.index
    if facts is None:
        return
    for name in (
        indexes.DOCUMENTS,
        indexes.PASSAGES,
        *([indexes.VECTORS] if facts["vectors"] else []),
    ):
        bundle.file(name)
    embedder = bundle.manifest.embedder
    rag = workspace.rag
    if any(row["index"] == facts["name"] for row in rag.list()):
        rag.remove(str(facts["name"]))  # which was begun and not finished
    indexes.restore(
        workspace.store,
        bundle.folder,
        facts,
        "" if embedder is None else str(embedder["name"]),
        lambda name: rag.index(name).vectors,
    )
