"""Rows per second where the answers are there: ours, MLflow's evaluate and deepeval's runner."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

import llmops_jupyter as lo
from benchmarks.outputs import given
from benchmarks.peers import PeerMissing, peer_python, peer_version
from benchmarks.report import Row, median
from llmops_jupyter.evaluation import Metric

ROWS, PEER_ROWS, RUNS = 5_000, 100, 5
TARGET = 1_000
ROOT = Path(__file__).parents[1]


def measure(*, quick: bool) -> list[Row]:
    runs = 1 if quick else RUNS
    ours = median([_ours() for _ in range(runs)])
    peers = [
        _said("mlflow", "one worker", {"MLFLOW_GENAI_EVAL_MAX_WORKERS": "1"}, runs),
        _said("mlflow", "as it comes", {}, runs),
        _said("deepeval", "as it comes, nothing kept", {}, runs),
    ]
    return [
        Row(
            f"rows scored per second by one exact metric, answers given, {ROWS:,} rows, kept on disk",
            f"{ours:,.0f}",
            peer="; ".join(peers),
            target=f"≥ {TARGET:,}",
            reached=ours >= TARGET,
        )
    ]


def _said(name: str, what: str, settings: dict[str, str], runs: int) -> str:
    try:
        return f"{name} {peer_version(name)} ({what}) {_peer(name, settings, runs):,.3g}"
    except PeerMissing as e:
        return str(e)


def _ours() -> float:
    exact = Metric(
        "exact", each=lambda c: c.output == c.expected, digest="exact", needs_expected=True
    )
    rows = given(ROWS)
    with tempfile.TemporaryDirectory() as folder, lo.open(Path(folder) / "llmops.db") as ws:
        began = time.perf_counter()
        run = ws.evaluation.run("column=output", rows, exact)
        seconds = time.perf_counter() - began
        kept = ws.store.row("SELECT count(*) FROM scores WHERE valid")[0]
        assert kept == len(run.items) == ROWS
    return ROWS / seconds


def _peer(name: str, settings: dict[str, str], runs: int) -> float:
    """Rows per second of a peer, the best documented way to keep its results."""
    rates = []
    for _ in range(min(runs, 3)):
        with tempfile.TemporaryDirectory() as folder:
            arguments = [folder, str(PEER_ROWS)] if name == "mlflow" else [str(PEER_ROWS)]
            quiet = {"DEEPEVAL_TELEMETRY_OPT_OUT": "YES", "MLFLOW_DISABLE_TELEMETRY": "true"}
            done = subprocess.run(
                [peer_python(name), "-m", f"benchmarks.{name}_scoring", *arguments],
                cwd=folder,
                env={**os.environ, **quiet, **settings, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
                timeout=1_800,
            )
        last = [line for line in done.stdout.splitlines() if line.startswith("seconds ")]
        if not last:
            reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise PeerMissing(f"not run: {name} failed ({reason[:120]})")
        rates.append(PEER_ROWS / float(last[0].split()[1]))
    return median(rates)
