"""Building a bundle: all that a deployment runs on, written beside its place and put there as a whole."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy import environment, evidence, folders, indexes, manifest
from llmops_jupyter.deploy.actors import Actor
from llmops_jupyter.deploy.folders import REFERENCE, Filling, Tell, silent
from llmops_jupyter.deploy.inputs import Inputs
from llmops_jupyter.deploy.manifest import Manifest
from llmops_jupyter.deploy.rooms import Rooms
from llmops_jupyter.deploy.weights import Weights, adapter_facts, facts_of
from llmops_jupyter.errors import DeployError
from llmops_jupyter.models.memory import megabytes

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset

PROMPT, LOCK, POLICY = "prompt/prompt.json", "environment.json", "guard/policy.yaml"
BUNDLES = "bundles"


def build(
    rooms: Rooms,
    inputs: Inputs,
    *,
    weights: str = REFERENCE,
    out: Path | None = None,
    told: evidence.Told | None = None,
    actor: Actor,
    overwrite: bool = False,
    tell: Tell = silent,
) -> tuple[Path, Manifest]:
    """Write a bundle; its folder and its manifest.

    Without `out` it lies beside the store, in a folder with its name and digest; one that is there already is used as it
    is. Nothing is there before all of it is.

    Raises:
        DeployError: something cannot be read, the disk is full, or the folder holds something else.
        ModelError: weights are gone, or not those that were registered.
    """
    ways = Weights.of(weights)
    parent = rooms_folder(rooms) if out is None else out.parent
    if out is not None:
        check_target(out, overwrite=True)  # whether it is another one shows when this one is made
    _check_space(inputs, ways.mode, parent)
    with folders.begun(parent, inputs.name if out is None else out.name) as part:
        made = _filled(rooms, inputs, Filling(part, tell), ways, told, actor)
        (part / manifest.FILE).write_text(made.text(), "utf-8")
        short = made.digest.removeprefix("sha256:")[:12]
        # One that carries its weights lies apart, so that none is replaced that a server may be reading.
        carries = "" if ways.mode == REFERENCE else f"-{ways.mode}"
        target = out or parent / f"{inputs.name}-{short}{carries}"
        if not _is_same(target, made, tell):
            if out is not None:  # else an altered one lies under the name that its content had
                check_target(target, overwrite=overwrite)
            try:
                folders.settle(part, target)
            except OSError:  # another process may have built the same meanwhile
                if not _is_same(target, made, tell):
                    raise
    return target, manifest.read(target)


def rooms_folder(rooms: Rooms) -> Path:
    """Where bundles lie that nobody has named a folder for."""
    from llmops_jupyter.finetune.blobs import blobs_folder

    path = rooms.store.path
    return (blobs_folder(rooms.store) if path is None else path.parent) / BUNDLES


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse to replace what no build wrote, and a bundle unless that is asked for.

    Raises:
        DeployError: the folder is there.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise DeployError(f"{str(target)!r} is no folder. Name another one: --folder FOLDER")
    if not target.is_dir() or not any(target.iterdir()):
        return
    try:
        known = {manifest.FILE, *manifest.read(target).every_file()}
    except DeployError as e:
        raise DeployError(
            f"{str(target)!r} holds something that is no bundle, so it is not replaced. Name another folder: --folder FOLDER"
        ) from e
    found = {p.relative_to(target).as_posix() for p in target.rglob("*") if not p.is_dir()}
    if others := sorted(found - known):
        raise DeployError(
            f"{str(target)!r} holds {others[0]!r}, which is not of the bundle there, so it is not replaced. Move that away, "
            "or name another folder: --folder FOLDER"
        )
    if not overwrite:
        raise DeployError(
            f"{str(target)!r} holds another bundle. Name another folder, or replace it with --overwrite."
        )


def _filled(
    rooms: Rooms,
    inputs: Inputs,
    filling: Filling,
    ways: Weights,
    told: evidence.Told | None,
    actor: Actor,
) -> Manifest:
    models = rooms.models()
    filling.tell("prompt, policy and environment")
    _prompt(inputs, filling)
    lock = environment.lock()
    filling.value(LOCK, lock)
    if inputs.guard is not None:
        filling.text(POLICY, inputs.guard.text)
    if told is not None:
        filling.value(evidence.JSON, dict(told.report))
        filling.text(evidence.MARKDOWN, told.markdown)
    adapters = tuple(
        adapter_facts(m, scale, inputs.model, models, rooms.store, filling)
        for m, scale in inputs.adapters
    )
    index = None if inputs.index is None else indexes.snapshot(inputs.index, filling)
    for model in inputs.models():
        ways.add(model, models, filling)
    return Manifest(
        name=inputs.name,
        settings=dict(inputs.settings),
        model=facts_of(inputs.model),
        adapters=adapters,
        index=index,
        evaluation=None if told is None else told.facts(),
        environment=environment.in_short(lock),
        files=dict(filling.files),
        weights=ways.as_dict(filling),
        built={"by": asdict(actor), "store": {} if told is None else dict(told.numbers)},
        created_at=rooms.store.now(),
        **_named(inputs),
    )


def _named(inputs: Inputs) -> dict[str, Any]:
    """What the manifest says of versions and further models."""
    version, guard, examples = inputs.version, inputs.guard, inputs.examples
    return {
        "prompt": {
            "ref": version.ref,
            "name": version.name,
            "version": version.version,
            "content_hash": version.content_hash,
        },
        "guard": None
        if guard is None
        else {"ref": guard.ref, "name": guard.name, "digest": guard.policy.digest},
        "data": () if examples is None else (examples.name,),
        "embedder": None if inputs.embedder is None else facts_of(inputs.embedder),
        "reranker": None if inputs.reranker is None else facts_of(inputs.reranker),
    }


def _prompt(inputs: Inputs, filling: Filling) -> None:
    """The content in the order of its schema, since answers are written in it; and its data set of examples."""
    version = inputs.version
    filling.value(
        PROMPT,
        {"name": version.name, "version": version.version, "content": version.content.as_dict()},
        ordered=True,
    )
    if inputs.examples is not None:
        _examples(inputs.examples, filling)


def _examples(dataset: Dataset, filling: Filling) -> None:
    filling.lines(
        f"data/{dataset.name}.jsonl", ({"row_id": i, "row": row} for i, row in dataset.items())
    )
    header: dict[str, Any] = {
        "name": dataset.name,
        "rows": dataset.n_rows,
        "columns": list(dataset.columns),
        "source": "",
        "note": "",
        "content_hash": dataset.content_hash,
    }
    filling.value(f"data/{dataset.name}.json", header)


def _check_space(inputs: Inputs, mode: str, parent: Path) -> None:
    """Refuse what will not fit on the disk, before anything is copied."""
    if mode != folders.COPY:
        return
    needed = sum(m.size for m in inputs.models() if m.endpoint is None)
    there = next((p for p in (parent.absolute(), *parent.absolute().parents) if p.exists()), None)
    if there is None:
        return
    free = shutil.disk_usage(there).free
    if free < needed:
        raise DeployError(
            f"The weights of the bundle take {megabytes(needed)} and {str(there)!r} has {megabytes(free)} free. Free space, "
            "name a folder on another disk (--folder), or leave them where they are (--weights reference)."
        )


def _is_same(target: Path, made: Manifest, tell: Tell) -> bool:
    """Whether the very bundle is there already, whole, with its weights in the same way."""
    from llmops_jupyter.deploy.opening import check_files

    try:
        there = manifest.read(target)
        if there.digest != made.digest or there.weights.get("mode") != made.weights.get("mode"):
            return False
        check_files(target, there, tell)
    except DeployError:
        return False
    return True
