"""MLflow's tracing on a SQLite file; this program runs in MLflow's own environment.

`python -m benchmarks.mlflow_peer FOLDER` answers `version`, `write` and `search`; with COUNT and SEED it
writes traces and prints the id of each instead.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import mlflow

from benchmarks.child import serve
from benchmarks.payload import exchanges


def write(asked: str, made: str) -> str:
    with mlflow.start_span("prompt", span_type="CHAIN") as root:
        root.set_inputs({"messages": [{"role": "user", "content": asked}]})
        with mlflow.start_span("chat", span_type="CHAT_MODEL") as chat:
            chat.set_inputs({"messages": [{"role": "user", "content": asked}]})
            chat.set_outputs(made)
        root.set_outputs(made)
    return root.trace_id


def write_many(count: int, seed: int) -> dict[str, Any]:
    """Seconds until the traces are flushed, the seconds of each traced call, and the ids."""
    texts, calls, ids = list(exchanges(count, seed)), [], []
    began = time.perf_counter()
    for asked, made in texts:
        before = time.perf_counter()
        ids.append(write(asked, made))
        calls.append(time.perf_counter() - before)
    mlflow.flush_trace_async_logging()
    return {"seconds": time.perf_counter() - began, "calls": calls, "ids": ids}


def search(word: str, runs: int, *, spans: bool) -> list[float]:
    """Seconds of each search for the newest 100 traces, with a word or without one."""
    given = {"filter_string": f"trace.text ILIKE '%{word}%'"} if word else {}
    seconds = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        mlflow.search_traces(max_results=100, return_type="list", include_spans=spans, **given)
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def main() -> None:
    mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/mlflow.db")
    mlflow.set_experiment("traces")
    if len(sys.argv) > 2:
        for asked, made in exchanges(int(sys.argv[2]), int(sys.argv[3])):
            print(write(asked, made), flush=True)
        mlflow.flush_trace_async_logging()
        return
    serve(version=lambda: mlflow.__version__, write=write_many, search=search)


if __name__ == "__main__":
    main()
