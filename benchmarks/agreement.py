"""Scores of labels beside those that torch computes on the same weights."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.batched import messages
from benchmarks.child import Child
from benchmarks.labels import ITEMS, LABELS, SYSTEM, apart, questions
from benchmarks.peers import PeerMissing, peer_python, peer_version
from benchmarks.report import Row
from benchmarks.workload import Workload
from llmops_jupyter.engine.quantize import quantize

# One of them has several tokens; `Llama` is asked for the others.
ALL = (*LABELS, "Neither of the two")
COUNT, MOST = 12, 2_000
LIMITS = {"F16": 0.02, "Q8_0": 0.3}
QUANTISED = 0.3


def measure(ws: Any, model: str, workload: Workload, folder: Path, *, quick: bool) -> list[Row]:
    count = 4 if quick else COUNT
    asked = questions()[:: ITEMS // count][:count]
    source = ws.models.resolve(model)
    kinds = {source.metadata.quantization: (source, QUANTISED)}
    for kind, limit in LIMITS.items():
        copy = quantize(source.path, folder / f"compared-{kind}.gguf", kind)
        kinds[kind] = (ws.models.add(copy, f"compared-{kind.lower()}"), limit)
    return [_row(kind, ws, one, limit, workload, asked) for kind, (one, limit) in kinds.items()]


def _row(
    kind: str, ws: Any, model: Any, limit: float, workload: Workload, asked: Sequence[str]
) -> Row:
    what = f"label log-probabilities, {len(asked)} items × {len(ALL)} labels, weights {kind}"
    target = f"≤ {limit} from torch"
    engine = ws.engine.engine(model.name)
    threads, path = str(engine.status()["threads"]), str(model.path)
    ours = engine.score([(messages(SYSTEM, question), ALL) for question in asked])
    items = [_tokens(workload, question) for question in asked]
    try:
        python, version = peer_python("torch"), peer_version("torch")
    except PeerMissing as e:
        return Row(what, "", str(e), target=target)
    with Child(python, "benchmarks.dense", path, threads) as peer:
        torch = peer.ask("score", items=items)
    with Child(sys.executable, "benchmarks.stock", path, threads, "labels") as peer:
        prompts = [prompt for prompt, _ in items]
        stock = peer.ask("logprobs", prompts=prompts, labels=LABELS, top=MOST)["found"]
    found, theirs = apart(ours, torch), apart([row[: len(LABELS)] for row in torch], stock)
    print(f"  {kind}: {max(found):.3g} from torch, `Llama` {max(theirs):.3g}", flush=True)
    return Row(
        what,
        f"{_worst(found)} from torch, 1 run",
        f"torch {version} in 32 bits on the same weights; `Llama`, {len(theirs)} labels of one token: "
        f"{_worst(theirs)} from it",
        target=target,
        reached=max(found) <= limit,
    )


def _worst(values: Sequence[float]) -> str:
    return f"{max(values):.2g} at most, {statistics.median(values):.2g} in the median"


def _tokens(workload: Workload, question: str) -> tuple[list[int], list[list[int]]]:
    """A prompt and what each label adds to it."""
    prompt = workload.tokens(SYSTEM, question)
    wholes = [workload.tokens(SYSTEM, question, label) for label in ALL]
    if any(whole[: len(prompt)] != prompt for whole in wholes):
        raise RuntimeError("a label changes the tokens of its prompt")
    return prompt, [whole[len(prompt) :] for whole in wholes]
