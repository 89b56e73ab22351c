"""A model with its adapter, in the form that another program runs; each form measured against ours."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmops_jupyter.engine.distance import Distance, bundled_prompts, compare, predict
from llmops_jupyter.engine.divergence import LIMIT
from llmops_jupyter.engine.fitting import check_fits
from llmops_jupyter.engine.vocabularies import tokenize
from llmops_jupyter.errors import ModelError, OptionError, did_you_mean
from llmops_jupyter.finetune import huggingface, manifest, ollama
from llmops_jupyter.finetune.blobs import is_tied, peft_folder
from llmops_jupyter.finetune.ggufadapter import read_gguf, write_gguf
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.merging import merge
from llmops_jupyter.finetune.peftfolder import write_peft
from llmops_jupyter.finetune.provenance import Provenance, provenance_of
from llmops_jupyter.finetune.whole import check_space, place, whole_folder
from llmops_jupyter.models import Model, Models
from llmops_jupyter.models.memory import megabytes
from llmops_jupyter.models.model import need_file

Progress = Callable[[str], None]
TARGETS = ("gguf", "adapter", "ollama", "vllm")
MODEL, ADAPTER, PEFT = "model.gguf", "adapter.gguf", "peft"
MODELFILE, README = "Modelfile", "README.md"
# What vLLM takes for --max-lora-rank.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class Exported:
    """What was written: bytes of each file by its path in the folder.

    `check` is how far it is from the base model with the adapter in this engine; None if it was not measured,
    or if the very files that this engine uses were copied. `notes` are what is to be known before it is used.
    """

    to: str
    folder: Path
    files: Mapping[str, int] = field(repr=False)
    check: Distance | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    def __str__(self) -> str:
        lines = [f"{self.to}: {self.folder} ({len(self.files)} files, {megabytes(self.size)})"]
        if self.check is not None:
            lines.append(str(self.check))
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True)
class _Job:
    """One export in progress."""

    base: Model
    adapter: Model | None
    scale: float
    kind: str | None
    merged: bool
    system: str
    prompts: Sequence[str]
    threads: int | None
    say: Progress

    @property
    def lora(self) -> Lora:
        assert self.adapter is not None
        metadata = self.base.metadata
        return read_gguf(self.adapter.path, heads=metadata.heads, kv_heads=metadata.kv_heads)

    @property
    def origin(self) -> Provenance | None:
        return None if self.adapter is None else provenance_of(self.adapter.path)

    @property
    def name(self) -> str:
        return self.base.name if self.adapter is None else self.adapter.name

    def ours(self) -> list[tuple[Path, float]]:
        return [] if self.adapter is None else [(self.adapter.path, self.scale)]

    def write_merged(self, target: Path) -> None:
        merge(
            self.base.path,
            self.lora,
            target,
            kind=self.kind,
            scale=self.scale,
            name=self.name,
            provenance=self.origin,
            threads=self.threads,
            progress=self.say,
        )

    def write_adapter(self, target: Path) -> None:
        """The adapter in GGUF, its scale within it."""
        assert self.adapter is not None
        if self.scale == 1:
            shutil.copyfile(self.adapter.path, target)
            return
        metadata = self.base.metadata
        write_gguf(
            self.scaled(),
            target,
            heads=metadata.heads,
            kv_heads=metadata.kv_heads,
            provenance=self.origin,
            tied=is_tied(self.base),
        )

    def scaled(self) -> Lora:
        lora = self.lora
        return dataclasses.replace(lora, alpha=lora.alpha * self.scale)

    def write_peft(self, target: Path) -> None:
        """The adapter for PEFT: as it was kept after the training, if nothing of it changes."""
        assert self.adapter is not None
        kept = peft_folder(self.adapter.path)
        if self.scale == 1 and kept.is_dir():
            shutil.copytree(kept, target)
            return
        write_peft(self.scaled(), target, base_model=self.base.ref, provenance=self.origin)

    def distance_to(self, path: Path, adapters: Sequence[tuple[Path, float]] = ()) -> Distance:
        """How far what was written is from what is served here.

        Raises:
            ModelError: it is another model.
        """
        self.say("comparing with the base model and its adapter")
        first = predict(self.base.path, self.prompts, adapters=self.ours(), threads=self.threads)
        second = predict(path, self.prompts, adapters=adapters, threads=self.threads)
        found = compare(first, second)
        if not found.mean <= LIMIT:
            raise ModelError(
                f"What was written does something else than {self.base.ref} with its adapter here ({found}), "
                f"so it was not kept. {'Choose another --kind' if self.kind else 'Use a smaller --scale'}, or "
                "keep it as it is with --no-check."
            )
        return found


def export(
    models: Models,
    base: Model,
    adapter: Model | None,
    to: str,
    folder: str | os.PathLike[str],
    *,
    scale: float = 1.0,
    kind: str | None = None,
    merged: bool = False,
    system: str = "",
    check: bool = True,
    prompts: Sequence[str] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a model with its adapter for another program; the folder appears whole or not at all.

    Args:
        models: of the workspace.
        base: the GGUF model that the adapter was trained on, or a copy of it.
        adapter: a registered adapter; None exports the base model alone, to ollama and vllm.
        to: 'gguf' (one file, the adapter merged), 'adapter' (GGUF and PEFT), 'ollama' or 'vllm'.
        folder: to be made.
        scale: of the adapter; it becomes a part of what is written.
        kind: of the weights of a merged GGUF file; see `merge`.
        merged: for ollama and vllm, merge the adapter instead of writing it beside the model.
        system: for ollama, what the system says in each conversation.
        check: measure what was written against this engine; vllm's is always measured.
        prompts: on which; None takes 50 bundled ones.
        overwrite: replace an earlier export in the folder; files of others are never replaced.
        threads: None takes all physical cores.
        progress: gets a line for each step.

    Raises:
        OptionError: the folder is there, or there is no such form.
        ModelArchitectureError: the adapter does not fit, or the form cannot hold the model.
        ModelError: there is no space, or what was written does something else; nothing was left.
    """
    target = manifest.target_of(folder)
    job = _Job(
        models.check_unchanged(need_file(base, "exported")),
        adapter,
        float(scale),
        kind,
        merged or to == "gguf",
        system,
        tuple(bundled_prompts() if prompts is None else prompts),
        threads,
        progress or (lambda _: None),
    )
    _check_options(job, to)
    if adapter is not None:
        check_fits(models, models.check_unchanged(adapter), base)
    manifest.check_target(target, overwrite=overwrite)
    write = {"gguf": _gguf, "adapter": _adapter, "ollama": _ollama, "vllm": _vllm}[to]
    with whole_folder(target, overwrite=overwrite) as part:
        found, notes = write(job, part, check=check)
        files = {
            p.relative_to(part).as_posix(): p.stat().st_size
            for p in sorted(part.rglob("*"))
            if p.is_file()
        }
        manifest.write(part, to, files)
        manifest.check_target(target, overwrite=overwrite)  # it took a while
    return Exported(to, target, files, found, tuple(notes))


def _check_options(job: _Job, to: str) -> None:
    if to not in TARGETS:
        raise OptionError(
            f"There is no form {to!r} to export to.{did_you_mean(to, TARGETS)} Forms: {', '.join(TARGETS)}."
        )
    if job.adapter is None and (job.merged or to in ("gguf", "adapter")):
        raise OptionError(f"Exporting to {to!r} needs an adapter here. Name one.")
    if job.kind is not None and (to not in ("gguf", "ollama") or not job.merged):
        raise OptionError(
            "A kind of weights can be chosen for a merged GGUF file only. Leave it out."
        )
    if job.system and to != "ollama":
        raise OptionError("Only Ollama's Modelfile holds a system message. Leave it out.")
    if not 0 < abs(job.scale) < 1e6:
        raise OptionError(f"The scale of an adapter is a number other than 0, not {job.scale:g}.")


Found = tuple["Distance | None", list[str]]


def _gguf(job: _Job, folder: Path, *, check: bool) -> Found:
    target = folder / f"{job.name}.gguf"
    job.write_merged(target)
    return (job.distance_to(target) if check else None), []


def _adapter(job: _Job, folder: Path, *, check: bool) -> Found:
    job.write_adapter(folder / ADAPTER)
    job.write_peft(folder / PEFT)
    if not check or job.scale == 1:
        return None, []
    return job.distance_to(job.base.path, [(folder / ADAPTER, 1.0)]), []


def _ollama(job: _Job, folder: Path, *, check: bool) -> Found:
    metadata, beside = job.base.metadata, job.adapter is not None and not job.merged
    if job.merged:
        job.write_merged(folder / MODEL)
    else:
        check_space(folder, job.base.size, "The copy of the model")
        place(job.base.path, folder / MODEL)
        if beside:
            job.write_adapter(folder / ADAPTER)
    text = ollama.modelfile(
        model=f"./{MODEL}",
        adapter=f"./{ADAPTER}" if beside else "",
        template=metadata.chat_template,
        stops=tokenize(job.base.path, []).ends,
        system=job.system,
    )
    (folder / MODELFILE).write_text(text, "utf-8")
    notes = [f"Run in its folder: ollama create {job.name} -f {MODELFILE}"]
    if "TEMPLATE" not in text:
        notes.append(
            "The chat template is not one that could be written as Ollama's; Ollama chooses one by the "
            f"model's own. Compare: ollama show --template {job.name}"
        )
    if not check or (not job.merged and job.scale == 1):
        return None, notes
    beside_it = [(folder / ADAPTER, 1.0)] if beside else []
    return job.distance_to(folder / MODEL, beside_it), notes


def _vllm(job: _Job, folder: Path, *, check: bool) -> Found:
    del check  # transformers reads the file in its own way, so this is always measured
    metadata = job.base.metadata
    check_space(folder, int(2.2 * metadata.parameters), "The folder")
    merged = job.lora if job.merged else None
    job.say("unpacking the weights")
    count = huggingface.write_folder(job.base.path, metadata, folder, lora=merged, scale=job.scale)
    beside = folder / "adapter" if job.adapter is not None and not job.merged else None
    if beside is not None:
        job.write_peft(beside)
    job.say("comparing with llama.cpp")
    ours = predict(job.base.path, job.prompts, adapters=job.ours(), threads=job.threads)
    found = compare(ours, huggingface.predict_folder(folder, ours.tokens, beside, job.threads))
    if not found.mean <= LIMIT:
        raise ModelError(
            f"What transformers made of {job.base.ref} does something else than llama.cpp ({found}), so it "
            "was not kept. Export it as gguf or ollama."
        )
    other = _cut_otherwise(job, folder)
    notes = [f"Serve it with: {_serve(job, beside)}"]
    if other:
        notes.append(
            f"The tokenizer cuts {len(other)} of {len(job.prompts) + len(huggingface.HARD_TEXTS)} texts "
            f"otherwise than llama.cpp, such as {other[0]!r}."
        )
    (folder / README).write_text(_readme(job, count, found, notes), "utf-8")
    return found, notes


def _cut_otherwise(job: _Job, folder: Path) -> list[str]:
    """Texts that the folder's tokenizer cuts into other tokens."""
    texts = [*job.prompts, *huggingface.HARD_TEXTS]
    ours = tokenize(job.base.path, texts).tokens
    theirs = huggingface.tokenize_folder(folder, texts)
    return [t for t, a, b in zip(texts, ours, theirs, strict=True) if tuple(a) != tuple(b)]


def _serve(job: _Job, beside: Path | None) -> str:
    """The command, to be run in the folder."""
    command = f"vllm serve . --served-model-name {job.name if job.merged else job.base.name}"
    if beside is None:
        return command
    rank = job.lora.rank
    most = next((r for r in RANKS if r >= rank), rank)
    return (
        f"{command} --enable-lora --max-lora-rank {most} --lora-modules {job.name}=./{beside.name}"
    )


def _readme(job: _Job, count: int, found: Distance, notes: Sequence[str]) -> str:
    what = f"{job.base.ref} (sha256 {job.base.sha256})"
    if job.adapter is not None:
        how = "merged into it" if job.merged else "in the folder adapter"
        what += f" with the adapter {job.adapter.ref} (sha256 {job.adapter.sha256}) {how}"
    lines = [
        f"# {job.name}",
        "",
        f"{what}: {count:,} weights in BF16, unpacked from a GGUF file ({job.base.metadata.quantization}).",
        "",
        f"Compared with llama.cpp on that file: {found}.",
        "",
        *[f"* {note}" for note in notes],
    ]
    return "\n".join(lines) + "\n"
