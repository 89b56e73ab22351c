"""Many prompts: batches beside their peers, scoring of labels, adapters, and a worker with little memory."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llmops_jupyter as lo
from benchmarks import agreement, labels, limit, rounds, swap
from benchmarks.batched import Ours
from benchmarks.child import Child
from benchmarks.peers import PeerMissing, peer_python, peer_version
from benchmarks.report import Row
from benchmarks.server import running
from benchmarks.slots import batch as ask_slots
from benchmarks.workload import Workload

MODEL = "smollm2"


def measure(*, quick: bool) -> list[Row]:
    with contextlib.ExitStack() as end:
        folder = Path(end.enter_context(tempfile.TemporaryDirectory()))
        end.enter_context(_cache_in(folder))
        # Of workers that nobody else uses; tuning stays in a store of its own.
        ws, tuned = (
            end.enter_context(lo.open(folder / name, worker="private"))
            for name in ("as-is", "tuned")
        )
        path = str(ws.models.resolve(MODEL).path)
        workload = Workload(path)
        rows = _throughput(ws, tuned, path, workload, quick=quick)
        tuned.engine.close()
        rows += labels.measure(ws, MODEL, workload, quick=quick)
        rows += agreement.measure(ws, MODEL, workload, folder, quick=quick)
        rows.append(swap.measure(ws, MODEL, folder, 3 if quick else 9))
        ws.engine.close()
        return [*rows, limit.measure(MODEL)]


@contextlib.contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Let copies of models be made in a folder that goes away."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    try:
        yield
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


def _throughput(ws: Any, other: Any, path: str, workload: Workload, *, quick: bool) -> list[Row]:
    print("  tuning, in about two minutes", flush=True)
    tuning = other.engine.tune(MODEL, only=("Q8_0",) if quick else None)
    print(f"  {tuning.verdict()}", flush=True)
    ours, tuned = Ours(ws, MODEL, workload), Ours(other, tuning.registered, workload)
    threads = ours.engine.status()["threads"]
    with contextlib.ExitStack() as end:
        sides = rounds.Sides(ours, tuned, workload, _chosen(tuning))
        arguments = (path, str(threads))

        def start(module: str, *given: str) -> Child:
            return end.enter_context(Child(sys.executable, module, *given))

        sides.raw = start("benchmarks.raw", *arguments)
        sides.peers["stock2"] = rounds.Peer(
            f"`Llama(n_threads={threads})`", start("benchmarks.stock", *arguments).ask
        )
        stock = start("benchmarks.stock", path, "0")
        sides.peers["stock"] = rounds.Peer(
            f"`Llama` as it comes, {stock.ask('threads')} thread", stock.ask
        )
        for name, made in (("slots", _xllamacpp), ("server", _llama_server)):
            _add(sides, name, lambda made=made: made(end, path, threads))
        return rounds.measure(sides, quick=quick)


def _chosen(tuning: Any) -> str:
    """What was chosen, and what it promises by the rates of a single thing at a time."""
    one, base = tuning.chosen, tuning.candidates[0]
    kind = f"{one.kind}{' as it is' if one.is_original else ''}, {one.speed.setting}"
    batched = one.speed.batched.median / base.speed.batched.median
    cost = "" if one.ratio is None else f", perplexity {one.ratio}"
    return f"{kind}; writes {batched:.2f}× as fast in 16 rows by its own measure{cost}"


def _add(sides: rounds.Sides, name: str, made: Callable[[], rounds.Peer]) -> None:
    try:
        sides.peers[name] = made()
    except PeerMissing as e:
        sides.missing[name] = str(e)


def _xllamacpp(end: contextlib.ExitStack, path: str, threads: int) -> rounds.Peer:
    python, version = peer_python("xllamacpp"), peer_version("xllamacpp")
    child = end.enter_context(Child(python, "benchmarks.slots", path, str(threads)))
    address = child.ask("address")
    flags = ", ".join(f.split("=")[0].strip() for f in child.ask("system").split("|") if "= 1" in f)
    name = f"xllamacpp {version}, 16 slots, {threads} threads ({flags.removeprefix('CPU : ')})"
    return rounds.Peer(name, lambda _, **given: ask_slots(address, **given))


def _llama_server(end: contextlib.ExitStack, path: str, threads: int) -> rounds.Peer:
    address = end.enter_context(running(path, threads))
    name = f"llama-server -np 16 of the same sources, {threads} threads"
    return rounds.Peer(name, lambda _, **given: ask_slots(address, **given))
