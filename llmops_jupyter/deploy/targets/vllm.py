"""A bundle as a folder for vLLM: weights in BF16, tokenizer, adapter, and what starts the server.

There is no GPU where this was written, so vLLM itself was not started on such a folder. What was done is told in its
manifest: transformers loads it, and what it expects next is compared with llama.cpp on the bundle's own file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_jupyter.deploy import folders
from llmops_jupyter.deploy.folders import Tell, silent
from llmops_jupyter.deploy.targets import containers
from llmops_jupyter.deploy.targets.arguments import (
    SEEN,
    Argument,
    check,
    read_arguments,
    words_of,
)
from llmops_jupyter.deploy.targets.target import MANIFEST, README, Target, files_of, write_json
from llmops_jupyter.errors import DeployError, ModelError, OptionError
from llmops_jupyter.finetune import exporting
from llmops_jupyter.finetune import manifest as exports
from llmops_jupyter.models.model import GGUF
from llmops_jupyter.store.aliases import NAME

if TYPE_CHECKING:
    from llmops_jupyter.deploy.bundle import Bundle
    from llmops_jupyter.engine.distance import Distance

SERVE = "serve.json"
STARTED = "not started under vLLM: no GPU was at hand where this export was written and tested"
# Our names of settings and those of generation_config.json, which vLLM takes for its defaults.
GENERATION = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
    "max_tokens": "max_new_tokens",
}
# Settings that have no place in that file: whoever asks says them with the request.
ASKED = ("stop", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs")


def export(
    bundle: Bundle,
    folder: str | os.PathLike[str],
    *,
    merged: bool = False,
    served_as: str | None = None,
    arguments: str | Sequence[str] = (),
    prompts: Sequence[str] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Tell | None = None,
) -> Target:
    """Write a bundle for vLLM; the folder appears whole or not at all.

    Args:
        bundle: with a GGUF model, and one adapter at most.
        folder: to be made.
        merged: add the adapter to the weights instead of writing it beside them.
        served_as: id of the model in requests; the deployment's name if left out.
        arguments: further ones of `vllm serve`, such as ``--max-num-seqs 64``.
        prompts: texts on which transformers and llama.cpp are compared; None takes 50 bundled ones.
        overwrite: replace an earlier export in the folder; files of others are never replaced.
        threads: None takes all physical cores.
        progress: told how far it is.

    Raises:
        OptionError: an argument or the folder cannot be used; nothing was written.
        DeployError: vLLM cannot have what the bundle has.
        ModelError: transformers reads the model otherwise than llama.cpp (by more than KL 0.05 nats), or not at all.
    """
    target = exports.target_of(folder)
    given = read_arguments(arguments)
    name = bundle.name if served_as is None else served_as
    if not NAME.fullmatch(name):
        raise OptionError(
            f"{name!r:.60} is no id of a model: small letters, digits, '.', '_', '-'."
        )
    _check_bundle(bundle, merged=merged)
    exports.check_target(target, overwrite=overwrite)
    with folders.begun(target.parent, target.name) as part:
        check_ = _model(bundle, part, merged, prompts, threads, progress or silent)
        beside = bool(bundle.adapters) and not merged
        arguments_ = _arguments(bundle, part, name, given, beside=beside)
        _generation(bundle, part / containers.BESIDE)
        notes = (*_notes(bundle), *check_.notes[1:])
        _write(bundle, part, name, words_of(arguments_), check_.check, notes)
        for file in part.rglob("*.safetensors"):
            file.chmod(0o644)  # a container may run as somebody else
        files = files_of(part)
        exports.write(part, "vllm", files)
        exports.check_target(target, overwrite=overwrite)  # it took a while
        folders.settle(part, target)
    command = ("sh", containers.SCRIPT)
    return Target("vllm", target, files, command, check_.check, notes)


def _check_bundle(bundle: Bundle, *, merged: bool) -> None:
    """Refuse what vLLM cannot have.

    Raises:
        DeployError: with the reason.
    """
    facts = bundle.manifest.model
    if facts.get("format") != GGUF:
        kind = "an endpoint" if "endpoint" in facts else "a folder of mlx-lm"
        raise DeployError(
            f"The model of {bundle.name}, {facts['name']}, is {kind}; only a GGUF file can be written for vLLM. Build the "
            "deployment on one, or serve the original model of its makers."
        )
    count = len(bundle.adapters)
    if count > 1:
        raise DeployError(
            f"{bundle.name} has {count} adapters at once, and vLLM gives a request one. Train or merge one of them, or "
            "serve the bundle itself: %deploy serve"
        )
    if merged and not count:
        raise OptionError(f"{bundle.name} has no adapter that could be merged. Leave --merged out.")


def _model(
    bundle: Bundle,
    part: Path,
    merged: bool,
    prompts: Sequence[str] | None,
    threads: int | None,
    tell: Tell,
) -> exporting.Exported:
    """The weights, the tokenizer and the adapter, compared with what is served here."""
    with bundle.workspace() as workspace:
        models = workspace.models
        base = models.get(str(bundle.manifest.model["name"]))
        adapters = bundle.manifest.adapters
        adapter = models.adapter(str(adapters[0]["name"])) if adapters else None
        try:
            made = exporting.export(
                models,
                base,
                adapter,
                "vllm",
                part / containers.BESIDE,
                scale=float(adapters[0]["scale"]) if adapters else 1.0,
                merged=merged,
                prompts=prompts,
                threads=threads,
                progress=tell,
            )
        except OSError as e:
            raise folders.unwritable(part, e) from e
    # These are for a folder that stands alone.
    (part / containers.BESIDE / exports.MANIFEST).unlink()
    (part / containers.BESIDE / exporting.README).unlink()
    if not _has_template(part / containers.BESIDE):
        raise ModelError(
            f"{base.ref} has no chat template, and vLLM answers no conversation without one. Serve the bundle itself: "
            "%deploy serve"
        )
    return made


def _has_template(model: Path) -> bool:
    if (model / "chat_template.jinja").is_file():
        return True
    try:
        config = json.loads((model / "tokenizer_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(config.get("chat_template"))


def _arguments(
    bundle: Bundle, part: Path, name: str, given: Sequence[Argument], *, beside: bool
) -> list[Argument]:
    """All arguments but the model's folder; paths in them are those in a container, see `_beside`."""
    base = f"{name}-base" if beside else name
    found = [Argument("--served-model-name", (base,))]
    if beside:
        config = json.loads(
            (part / containers.BESIDE / "adapter" / "adapter_config.json").read_text("utf-8")
        )
        rank = int(config["r"])
        most = next((r for r in exporting.RANKS if r >= rank), None)
        if most is None:
            raise DeployError(
                f"The adapter has the rank {rank}, and vLLM takes {exporting.RANKS[-1]} at most. Use --merged."
            )
        found += [
            Argument("--enable-lora"),
            Argument("--max-lora-rank", (str(most),)),
            Argument("--lora-modules", (f"{name}={containers.INSIDE}/adapter",)),
        ]
    names = {one.name for one in given}
    if "--dtype" not in names:
        found.append(Argument("--dtype", ("bfloat16",)))
    length = bundle.manifest.model.get("context_length")
    if length and "--max-model-len" not in names:
        found.append(Argument("--max-model-len", (str(length),)))
    found += given
    check(found)
    return found


def _generation(bundle: Bundle, model: Path) -> None:
    """Put the bundle's sampling where vLLM looks for its defaults; ends of an answer stay as they are."""
    path = model / "generation_config.json"
    values = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    settings = bundle.settings
    for ours, theirs in GENERATION.items():
        if ours in settings:
            values[theirs] = settings[ours]
    values["do_sample"] = bool(values.get("temperature", 1.0))
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")


def _notes(bundle: Bundle) -> list[str]:
    """What of the bundle is not in the folder."""
    notes = [STARTED]
    read = bundle.manifest
    left = [f"the prompt {read.prompt['ref']}"]
    left += [] if read.guard is None else [f"the guard {read.guard['ref']}"]
    left += [] if read.index is None else [f"the index {read.index['name']}"]
    notes.append(
        f"vLLM serves the model alone, without {', '.join(left)}: these are applied where the requests are made (%model add "
        "NAME http://HOST:8000/v1 --model ID, and run the prompt on it)"
    )
    if "max_tokens" in bundle.settings:
        notes.append(
            f"no request gets more than {bundle.settings['max_tokens']} tokens: vLLM takes max_new_tokens in "
            "model/generation_config.json for a limit. Raise it there, or leave it out"
        )
    asked = [s for s in ASKED if bundle.settings.get(s) not in (None, (), [], 0, 0.0)]
    if asked:
        notes.append(f"to be said with each request, since no file holds it: {', '.join(asked)}")
    return notes


def _write(
    bundle: Bundle,
    part: Path,
    name: str,
    words: list[str],
    found: Distance | None,
    notes: Sequence[str],
) -> None:
    """The files beside the model."""
    import yaml

    read = bundle.manifest
    (part / containers.SCRIPT).write_text(containers.script(_beside(words)), "utf-8")
    (part / containers.SCRIPT).chmod(0o755)
    (part / containers.DOCKERFILE).write_text(containers.dockerfile(words), "utf-8")
    composed = yaml.safe_dump(containers.compose(name, words), sort_keys=False, allow_unicode=True)
    (part / containers.COMPOSE).write_text(composed, "utf-8")
    serve = {"command": ["vllm", "serve"], "model": containers.BESIDE, "arguments": _beside(words)}
    write_json(part / SERVE, {**serve, "known_arguments": dict(SEEN)})
    told = {
        "target": "vllm",
        "bundle": {"name": read.name, "digest": bundle.digest},
        "model": {k: read.model[k] for k in ("name", "digest", "quantization")},
        "adapters": [{k: a[k] for k in ("name", "digest", "scale")} for a in read.adapters],
        "compared_with_llama_cpp": None if found is None else asdict(found),
        "started": False,
        "notes": list(notes),
    }
    write_json(part / MANIFEST, told)
    (part / README).write_text(_readme(bundle, name, found, notes), "utf-8")


def _beside(words: Sequence[str]) -> list[str]:
    """Arguments for a server that is started in the folder rather than in a container."""
    inside = f"={containers.INSIDE}/"
    return [word.replace(inside, f"={containers.BESIDE}/") for word in words]


def _readme(bundle: Bundle, name: str, found: Distance | None, notes: Sequence[str]) -> str:
    facts = bundle.manifest.model
    what = (
        f"The model {facts['name']} (sha256 {facts['digest']}) of the bundle {bundle.release}, its weights unpacked from "
        f"{facts['quantization']} to BF16."
    )
    image = f"VLLM_IMAGE set to the image that you use ({containers.IMAGE}:latest if it is not set)"
    lines = [
        f"# {name} for vLLM",
        "",
        what,
        "",
        f"transformers against llama.cpp on the same prompts: {found}.",
        "",
        f"* On a machine with vLLM: `sh {containers.SCRIPT}`",
        f"* In a container: `docker compose up`, with {image}.",
        f"* As an image with the model in it: `docker build -t {name} .`",
        f"* From a notebook: `%model add {name} http://127.0.0.1:{containers.PORT}/v1 --model {name}`",
        "",
        *[f"* {note}" for note in notes],
    ]
    return "\n".join(lines) + "\n"
