"""A project with all that goes into a bundle, small files for models, and engines that answer at once."""

from __future__ import annotations

import sys
from pathlib import Path

from engine_fakes import FakeEngine
from gguf_files import write_gguf
from rag_fakes import PAGES, WordEngine, documents_of

import llmops_jupyter as lo

SUITE = """
name: quality
data: qa
variant: support
gates:
  - {metric: exact, at_least: 0.7}
"""
PIPELINE = """\
name: support
model: tiny
options: {temperature: 0}
test:
  - {variables: {q: hello}, expect: contains=yes}
evaluate: {data: qa, metrics: [exact]}
gate: suite.yaml
"""


class Reader(FakeEngine):
    """Answers with yes, has room for passages."""

    context_length = 2_000


def project(home: Path, said=lambda _: "yes"):
    """A workspace in a project's folder, with a model, a prompt, a data set, a suite and a pipeline."""
    home.mkdir(parents=True, exist_ok=True)
    workspace = lo.open(home / ".llmops" / "llmops.db")
    files = home.parent / "files"
    if not (files / "tiny.gguf").exists():
        write_gguf(files / "tiny.gguf")
        write_gguf(files / "words.gguf", architecture="bert", fill=1.0)
    workspace.models.add(files / "tiny.gguf", name="tiny")
    workspace.reader = plugged(workspace, said)
    workspace.prompts.save("support", "good {{ q }}")
    workspace.data.add("qa", [{"q": f"q{i}", "expected": "yes"} for i in range(40)])
    (home / "suite.yaml").write_text(SUITE)
    (home / "deploy.yaml").write_text(PIPELINE)
    return workspace


def plugged(workspace, said=lambda _: "yes"):
    """Have a workspace answer without weights; its reader, which counts requests."""
    embedder, reader = WordEngine(), Reader(said)

    def engine(name=None):
        if name and name.partition("@")[0] == "words":
            embedder.model_digest = workspace.models.get("words").sha256
            return embedder
        return reader

    workspace.engine.engine = engine
    return reader


def add_index(workspace, home: Path, name="manual"):
    """An index of some pages in the project's folder."""
    (home / "docs").mkdir(exist_ok=True)
    documents_of(home / "docs", PAGES)
    workspace.models.add(home.parent / "files" / "words.gguf", name="words")
    workspace.rag.add(name, home / "docs", embedder="words")


def add_adapter(workspace, home: Path, name="style"):
    """An adapter of the model, which says what it was trained on."""
    from gguf import GGUFWriter
    from numpy import zeros

    base = workspace.models.get("tiny")
    path = home.parent / "files" / f"{name}.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_string("llmops.base.sha256", base.sha256)
    writer.add_string("llmops.base.name", base.name)
    writer.add_string("llmops.made_at", "2026-01-01T00:00:00+00:00")
    writer.add_tensor("blk.0.attn_q.weight.lora_a", zeros((2, 64), "float32"))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", zeros((64, 2), "float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return workspace.models.add_copy(path, name, base, "finetune run")


# What a bundle with everything in it is built with.
WHOLE = {"adapters": ["style:0.5"], "rag": "manual", "guard": "standard", "temperature": 0}


def whole(workspace, home: Path, **options):
    """A release with everything in it."""
    add_index(workspace, home)
    add_adapter(workspace, home)
    return workspace.deploy.build("support", model="tiny", **{**WHOLE, **options})


def python(code: str) -> list[str]:
    """A command that runs code in a process of its own, which finds these fakes."""
    return [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"]
