"""Traces: what writing one costs, what survives (`durability`), how fast they are found (`reading`)."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llmops_jupyter as lo
from benchmarks import durability, reading
from benchmarks.payload import exchanges
from benchmarks.peers import PeerMissing, peer_python
from benchmarks.report import Row, median, spread
from benchmarks.trackers import Mlflow, Written
from benchmarks.writers import Plain, complete, complete_plain, write_ours

OURS, DURABLE, PLAIN = "ours", "ours, durable=True", "plain sqlite3 with FTS"


def measure(*, quick: bool) -> list[Row]:
    peer, missing = None, ""
    try:
        peer = peer_python("mlflow")
    except PeerMissing as e:
        missing = str(e)
    return [
        *_writing(peer, missing, quick=quick),
        durability.kills_row(peer, missing, quick=quick),
        durability.crowd_row(peer, missing, quick=quick),
        *reading.measure(peer, missing, quick=quick),
    ]


def _writing(peer: str | None, missing: str, *, quick: bool) -> list[Row]:
    texts = list(exchanges(300 if quick else 4000))
    few = 30 if quick else 100
    with contextlib.ExitStack() as end:
        sides: dict[str, Callable[[], Written]] = {
            OURS: lambda: _write_ours(texts),
            DURABLE: lambda: _write_ours(texts[:few], durable=True),
            PLAIN: lambda: _write_plain(texts),
        }
        for background in (True, False) if peer else ():
            mlflow = end.enter_context(Mlflow(peer, background=background))
            how = "as it comes" if background else "async off"
            sides[f"MLflow {mlflow.version} {how}"] = lambda m=mlflow: m.write(few)
        rates: dict[str, list[float]] = {name: [] for name in sides}
        calls: dict[str, list[float]] = {name: [] for name in sides}
        for i in range((2 if quick else 5) + 1):
            for name, write in sides.items():
                rate, seconds = write()
                if i:  # the first round warms up
                    rates[name].append(rate)
                    calls[name] += seconds
    return [_rate_row(rates, missing), _added_row(calls, missing), _durable_row(rates, calls)]


def _write_ours(texts: list[tuple[str, str]], *, durable: bool = False) -> Written:
    with tempfile.TemporaryDirectory() as folder, lo.open(folder, durable=durable) as ws:
        write_ours(ws, "first", "call")
        calls, seconds = _write(texts, lambda asked, made: write_ours(ws, asked, made))
        return (len(complete(ws.path)) - 1) / seconds, calls


def _write_plain(texts: list[tuple[str, str]]) -> Written:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain.db"
        with contextlib.closing(Plain(path)) as plain:
            calls, seconds = _write(texts, plain.write)
            return len(complete_plain(path)) / seconds, calls


def _write(
    texts: list[tuple[str, str]], write: Callable[[str, str], Any]
) -> tuple[list[float], float]:
    """Seconds of each call and of all of them."""
    calls = []
    began = time.perf_counter()
    for asked, made in texts:
        before = time.perf_counter()
        write(asked, made)
        calls.append(time.perf_counter() - before)
    return calls, time.perf_counter() - began


def _rate_row(rates: dict[str, list[float]], missing: str) -> Row:
    ours = median(rates[OURS])
    plain = ours / median(rates[PLAIN])
    peers = [median(values) for name, values in rates.items() if name.startswith("MLflow")]
    times = ours / max(peers) if peers else None
    return Row(
        "durable two-span traces a second, 1 KB in and 1 KB out, counted from a second connection",
        spread(rates[OURS], "/s", digits=0),
        _peers(rates, lambda v: spread(v, "/s", digits=0), missing),
        f"{times:.0f}× MLflow, {plain:.2f}× plain" if times else f"{plain:.2f}× plain",
        "≥ 1,500/s, ≥ 40× MLflow",
        ours >= 1500 and (times is None or times >= 40),
    )


def _added_row(calls: dict[str, list[float]], missing: str) -> Row:
    return Row(
        "time added to the traced call; ours is in the file when the call returns",
        _quantiles(calls[OURS]),
        _peers(calls, _quantiles, missing),
        target="p50 ≤ 0.2 ms",
        reached=median(calls[OURS]) <= 2e-4,
    )


def _durable_row(rates: dict[str, list[float]], calls: dict[str, list[float]]) -> Row:
    return Row(
        "both with `durable=True`, which survives a power cut as well as a killed process",
        f"{spread(rates[DURABLE], '/s', digits=0)}; {_quantiles(calls[DURABLE])}",
    )


def _peers(values: dict[str, list[float]], show: Callable[[list[float]], str], missing: str) -> str:
    shown = [f"{name}: {show(v)}" for name, v in values.items() if not name.startswith(OURS)]
    return "; ".join([*shown, missing] if missing else shown)


def _quantiles(calls: list[float]) -> str:
    p95 = statistics.quantiles(calls, n=20)[-1]
    return f"p50 {1e3 * median(calls):.3f}, p95 {1e3 * p95:.2f} ms, {len(calls):,} calls"
