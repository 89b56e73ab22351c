"""The same prompts through all sides in turn, and the rows that come of it."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.batched import Ours
from benchmarks.child import Child
from benchmarks.raw import KINDS, ROWS
from benchmarks.report import Row, spread
from benchmarks.workload import MADE, PROMPTS, SHARED, Batch, Workload, check

MOST, FEWEST, BUDGET_S = 15, 5, 330
# The threads of the last turn spin for a while.
SETTLE_S = 0.3
# Steps before those that are compared, and these.
SKIP, STEPS = 16, 64
# Of prompts that no round has.
CALIBRATION, WARMING = 400, 401
WHAT = f"{PROMPTS} prompts, {MADE} tokens each"
SAME, ALTERNATING = f"{SHARED} shared tokens", f"two system prompts of {SHARED} tokens in turn"
Rates = dict[str, list[float]]


@dataclass(frozen=True)
class Peer:
    """A peer by its name in the table, and how it is asked."""

    name: str
    ask: Callable[..., Any]


@dataclass
class Sides:
    """Who takes part. `missing` says of peers why they do not."""

    ours: Ours
    tuned: Ours
    workload: Workload
    tuning: str
    raw: Child | None = None
    peers: dict[str, Peer] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def measure(sides: Sides, *, quick: bool) -> list[Row]:
    kinds = _kinds(sides)
    _warm(sides)
    rates: Rates = defaultdict(list)
    began = time.monotonic()
    most = 2 if quick else MOST
    for number in range(most):
        turns = _turns(sides, kinds, number)
        for name in list(turns) if number % 2 == 0 else list(turns)[::-1]:
            time.sleep(SETTLE_S)
            rates[name].append(turns[name]())
        shown = "  ".join(f"{name} {found[-1]:.4g}" for name, found in rates.items())
        print(f"  round {number + 1}: {shown}", flush=True)
        if number + 1 >= FEWEST and time.monotonic() - began > BUDGET_S:
            break
    return _rows(sides, kinds, rates)


def _kinds(sides: Sides) -> dict[str, str]:
    """The kinds of contexts with which the raw calls are fastest: for the whole work, for writing."""
    batch = sides.workload.batch(CALIBRATION)
    found = {}
    for kind in KINDS:
        best = [
            max(_raw_read(sides, kind, batch) for _ in range(2)),
            max(_raw_write(sides, kind, batch, 0, 16) for _ in range(2)),
        ]
        found[kind] = (1 / _floor(batch, *best), best[1])
        print(f"  raw, {kind}: reads {best[0]:.0f}, writes {best[1]:.0f} tok/s", flush=True)
    whole, writing = (max(KINDS, key=lambda kind: found[kind][i]) for i in (0, 1))
    return {"whole": whole, "writing": writing}


def _warm(sides: Sides) -> None:
    """Let each side compute once before it is measured."""
    batch = sides.workload.batch(WARMING, count=2)
    for ours in (sides.ours, sides.tuned):
        ours.generate(batch)
    for peer in sides.peers.values():
        _peer(peer, batch, sides.workload.ends)


def _floor(batch: Batch, reads: float, writes: float) -> float:
    """Seconds that reading each token once and writing in steps of 16 rows takes."""
    return batch.unique / reads + MADE * len(batch.tokens) / writes


def _raw_read(sides: Sides, kind: str, batch: Batch) -> float:
    tokens = [token for prompt in batch.tokens for token in prompt][:512]
    return sides.raw.ask("read", kind=kind, tokens=tokens)


def _raw_write(sides: Sides, kind: str, batch: Batch, skip: int, count: int) -> float:
    shared = batch.tokens[0][:SHARED]
    rests = [prompt[SHARED:] for prompt in batch.tokens[:ROWS]]
    return sides.raw.ask("write", kind=kind, shared=shared, rests=rests, skip=skip, count=count)


def _turns(sides: Sides, kinds: dict[str, str], number: int) -> dict[str, Callable[[], float]]:
    """What is measured in a round; no two turns of one side share a system prompt."""
    workload, whole = sides.workload, kinds["whole"]
    same, two, third = (workload.batch(4 * number + i, 1 + i % 2) for i in range(3))
    even = workload.even(4 * number + 3, ROWS)
    turns: dict[str, Callable[[], float]] = {
        "reads": lambda: max(_raw_read(sides, whole, same) for _ in range(2)),
        "writes": lambda: _raw_write(sides, whole, same, 0, MADE),
        "ours": lambda: sides.ours.generate(same),
        "ours two": lambda: sides.ours.generate(two),
        "map": lambda: sides.ours.map(third),
        "steps": lambda: sides.ours.steps(even, SKIP, STEPS),
        "raw steps": lambda: _raw_write(sides, kinds["writing"], even, SKIP, STEPS),
        "tuned": lambda: sides.tuned.generate(same),
        "tuned two": lambda: sides.tuned.generate(two),
    }
    for name, peer in sides.peers.items():
        turns[name] = lambda peer=peer: _peer(peer, same, workload.ends)
        if name in ("stock2", "slots"):
            turns[f"{name} two"] = lambda peer=peer: _peer(peer, two, workload.ends)
    return turns


def _peer(peer: Peer, batch: Batch, ends: Sequence[int]) -> float:
    found = peer.ask("batch", prompts=batch.tokens, count=MADE, ends=ends)
    check(peer.name, batch, found["read"], found["made"])
    return MADE * len(batch.tokens) / found["seconds"]


def _rows(sides: Sides, kinds: dict[str, str], rates: Rates) -> list[Row]:
    def row(what: str, ours: str, peer: str, key: str, target: float | None) -> Row:
        if peer in sides.missing:
            text = "" if target is None else f"≥ {target}×"
            return Row(what, spread(rates[ours], "tok/s"), sides.missing[peer], target=text)
        return compared(what, rates[ours], rates[key], sides.peers[peer].name, target)

    generate = f"{WHAT}, {SAME}: `engine.generate` in the worker"
    traced = f"{WHAT}, {SAME}: `ws.prompts.map`, each row traced"
    two = f"{WHAT}, {ALTERNATING}: `engine.generate` in the worker"
    tuned = f"after `%model tune` ({sides.tuning}), {SAME}"
    tuned_two = f"after `%model tune`, {ALTERNATING}"
    return [
        row(generate, "ours", "stock2", "stock2", 1.55),
        row(generate, "ours", "stock", "stock", None),
        row(generate, "ours", "slots", "slots", 1.9),
        row(generate, "ours", "server", "server", None),
        row(traced, "map", "stock2", "stock2", 1.55),
        row(traced, "map", "slots", "slots", 1.9),
        row(two, "ours two", "stock2", "stock2 two", 3.5),
        row(two, "ours two", "slots", "slots two", 1.4),
        row(tuned, "tuned", "stock2", "stock2", 2.3),
        row(tuned_two, "tuned two", "stock2", "stock2 two", 5.3),
        _share(sides.workload.batch(0), kinds["whole"], rates),
        compared(
            f"decode steps alone, {ROWS} rows of equal depth, {STEPS} steps: `engine.generate`",
            rates["steps"],
            rates["raw steps"],
            f"raw `llama_decode`, nothing sampled ({kinds['writing']})",
            0.95,
        ),
    ]


def _share(batch: Batch, kind: str, rates: Rates) -> Row:
    made = MADE * len(batch.tokens)
    floors = [
        made / _floor(batch, reads, writes)
        for reads, writes in zip(rates["reads"], rates["writes"], strict=True)
    ]
    raw = (
        f"floor by raw `llama_decode`, {kind}: reads {spread(rates['reads'], 'tok/s', digits=0)}; "
        f"writes {ROWS} rows {spread(rates['writes'], 'tok/s')}; in all"
    )
    what = f"share of the floor: {batch.unique:,} unique prompt tokens read, {made:,} written"
    return compared(what, rates["ours"], floors, raw, 0.9)


def compared(
    what: str, ours: Sequence[float], theirs: Sequence[float], peer: str, target: float | None
) -> Row:
    """A row of two rates; the ratio is the median of those of the rounds."""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row(
        what,
        spread(ours, "tok/s"),
        f"{peer}: {spread(theirs, 'tok/s')}",
        f"{ratio:.3g}×",
        "" if target is None else f"≥ {target}×",
        None if target is None else ratio >= target,
    )
