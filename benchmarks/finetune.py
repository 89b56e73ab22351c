"""Fine-tuning: the same examples, adapter and steps by us, by PEFT with Trainer, and by TRL."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import llmops_jupyter as lo
from benchmarks.child import environment
from benchmarks.peers import PeerMissing, peer_python
from benchmarks.report import Row, median, spread

EXAMPLES, EVALS, STEPS, QUICK = 200, 40, 12, 3
RECIPE = {"rank": 8, "alpha": 16, "batch": 8, "rate": 1e-3}
KL_TARGET = 0.01
# (precision, times as fast, share of the memory)
TARGETS = {"float32": (3.0, 0.45), "bfloat16": (2.3, 0.45)}
SYSTEM = (
    "You take notes for a workshop that repairs bicycles. Read the message of the customer and write the "
    "note for the mechanics. A note names the part first, then what is wrong with it in one word, then "
    "the day on which the bicycle is wanted. The word is noise, loose, broken, worn, stuck or missing. "
    "Where no day is named, write open. Use the words of the customer for the part, without an article "
    "and in small letters. Do not add a greeting, an apology, a price or an explanation. If a message "
    "names several parts, take the one that the customer complains about first. If the customer is angry, "
    "stay calm and write the note all the same. Days are written in full. Dates are not used. A part that "
    "is not on the list of the workshop is written as the customer has written it. Messages in other "
    "languages are answered in English. Every note ends with a full stop, and there is nothing after it."
)
PARTS = (
    "front wheel",
    "rear brake",
    "saddle",
    "chain",
    "left pedal",
    "bell",
    "rear light",
    "mudguard",
)
FAULTS = {
    "noise": "makes a grinding sound whenever I ride up the long hill behind our house",
    "loose": "wobbles from side to side although I have tightened every screw twice",
    "broken": "snapped in two when my neighbour drove over it with his car this morning",
    "worn": "is worn down after nine thousand kilometres in rain and snow and salt",
    "stuck": "has rusted solid over the winter and does not move however hard I pull",
    "missing": "was stolen at the station while I was waiting for the evening train",
}
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "open")


def measure(*, quick: bool) -> list[Row]:
    steps = QUICK if quick else STEPS
    with tempfile.TemporaryDirectory() as name, lo.open(name, worker="private") as ws:
        folder = Path(name)
        model = ws.models.add("smollm2")
        told = _write_work(folder, model.path, model.metadata.context_length, steps)
        ours = {p: _run(sys.executable, "ours", folder, p) for p in TARGETS}
        rows: list[Row] = []
        for precision in TARGETS:
            for kind in ("trainer", "trl"):
                rows += _beside(folder, kind, precision, ours[precision])
        return [*rows, *_exact(ours, told), *_served(ours)]


def _write_work(folder: Path, path: Path, context: int, steps: int) -> str:
    """The examples as tokens, the same for all; says how long they are."""
    from llmops_jupyter.data.examples import Format
    from llmops_jupyter.finetune.recipe import Recipe
    from llmops_jupyter.finetune.tokens import encoder_of

    draw = random.Random(5)
    form = Format("completion", ("message", "note"), SYSTEM)
    texts: dict[str, str] = {}
    while len(texts) < EXAMPLES + EVALS:
        part, fault, day = draw.choice(PARTS), draw.choice(list(FAULTS)), draw.choice(DAYS)
        when = f"I would need it back by {day}" if day != "open" else "There is no hurry"
        message = (
            f"Hello, order {draw.randint(1000, 9999)}: the {part} {FAULTS[fault]}. {when}, please."
        )
        texts[message] = f"{part}, {fault}, {day}."
    with encoder_of(path, context) as encoder:
        every = [
            encoder.encode(form.read({"message": m, "note": n}), str(i))[0]
            for i, (m, n) in enumerate(texts.items())
        ]
    sequences = [{"ids": s.ids, "learned": s.learned} for s in every]
    # As our trainer takes them (`Training.order`), so that all learn the same in the same step.
    order = np.random.default_rng([Recipe().seed, 0]).permutation(EXAMPLES).tolist()
    work = {
        "gguf": str(path),
        "order": order,
        "train": sequences[:EXAMPLES],
        "eval": sequences[EXAMPLES:],
        "steps": steps,
        **RECIPE,
    }
    (folder / "work.json").write_text(json.dumps(work), "utf-8")
    shared = every[0].shared(every[1])
    return f"{EXAMPLES} examples, {median([len(s.ids) for s in every]):.0f} tokens, {shared} shared"


def _run(python: str, kind: str, folder: Path, precision: str) -> dict[str, Any]:
    """What a trainer measured in a process of its own."""
    module = "benchmarks.finetune_ours" if kind == "ours" else "benchmarks.finetune_peer"
    command = [python, "-m", module, str(folder), precision, kind]
    print(f"  {kind}, {precision}", flush=True)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{kind} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(
        f"    a step {spread(found['steps'][1:], 's')}, peak {found['peak'] / 1e9:.2f} GB",
        flush=True,
    )
    return found


def _beside(folder: Path, kind: str, precision: str, ours: Mapping[str, Any]) -> list[Row]:
    faster, share = TARGETS[precision]
    title = {"trainer": "PEFT + Trainer", "trl": "TRL SFTTrainer"}[kind]
    what = f"a step of 8 examples, LoRA r = 8, {precision}, beside {title}"
    mine = spread(ours["steps"][1:], "s")
    try:
        theirs = _run(peer_python("trl"), kind, folder, precision)
    except PeerMissing as e:
        return [Row(what, mine, str(e))]
    ratio = median(theirs["steps"][1:]) / median(ours["steps"][1:])
    memory = ours["peak"] / theirs["peak"]
    losses = f"eval loss {ours['eval']:.3f}", f"eval loss {theirs['eval']:.3f}"
    return [
        Row(
            what,
            f"{mine}; {losses[0]}",
            f"{theirs['version']}: {spread(theirs['steps'][1:], 's')}; {losses[1]}",
            f"{ratio:.2f}×",
            f"≥ {faster}×",
            ratio >= faster,
        ),
        Row(
            f"peak memory of that, {precision}",
            f"{ours['peak'] / 1e9:.2f} GB",
            f"{theirs['peak'] / 1e9:.2f} GB",
            f"{memory:.2f}×",
            f"≤ {share}×",
            memory <= share,
        ),
    ]


def _exact(ours: Mapping[str, Mapping[str, Any]], told: str) -> list[Row]:
    found = ours["float32"]
    return [
        Row(
            f"packed against unpacked, one step, float32 ({told})",
            f"loss {found['loss_apart']:.1e}, gradients {found['gradients_apart']:.1e} relative",
            target="≤ 1e-4",
            reached=max(found["loss_apart"], found["gradients_apart"]) <= 1e-4,
        ),
        Row(
            "tokens that a step reads",
            f"{found['read']:.0f}",
            f"{found['plain']:.0f} one by one",
            f"{found['plain'] / found['read']:.2f}×",
        ),
    ]


def _served(ours: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    return [
        Row(
            f"served adapter against the trainer's own logits, 50 prompts, {precision}",
            f"KL {found['served']:.4f}",
            f"the base alone: KL {found['base']:.4f}",
            target=f"≤ {KL_TARGET}",
            reached=found["served"] <= KL_TARGET,
        )
        for precision, found in ours.items()
    ]
